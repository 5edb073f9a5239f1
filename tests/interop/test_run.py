"""The runner of the scenes: what it finds, what it writes, and that a failure is one."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from interop import run
from interop.run import Result, Scene, matrix, scenes
from interop.servers.loopback import Loopback
from interop.servers.prosody import Prosody
from interop.stage import Stage

ROOT = Path(__file__).parents[2]
ENDLESS = """
import asyncio, sys
from interop import run
from interop.servers.prosody import Prosody

async def play(stage):
    await stage.encrypted("alice")
    print(stage.server.pid, flush=True)
    await asyncio.Event().wait()

run.scenes = lambda: [run.Scene("endless", "It never ends", play, {"prosody": Prosody})]
sys.exit(run.main(["endless"]))
"""


def children() -> set[str]:
    """The processes that this one has started and that are left, zombies too."""
    tasks = Path("/proc/self/task").glob("*/children")
    return {pid for task in tasks for pid in task.read_text().split()}


@pytest.fixture
def two_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said of every server is tried on those that start at once."""
    monkeypatch.setattr(run, "SERVERS", {"loopback": Loopback, "prosody": Prosody})


async def succeed(stage: Stage) -> None:
    """A scene in which nothing happens."""


async def fail(stage: Stage) -> None:
    """A scene that goes wrong."""
    raise AssertionError("Romeo drank too early")


def test_scenes_are_found_with_their_titles() -> None:
    """Each file in interop/scenes is a scene, titled by its docstring's first line."""
    plaintext = {scene.name: scene for scene in scenes()}["plaintext"]
    assert plaintext.title.startswith("Two ordinary clients exchange a message")


def test_the_matrix_shows_each_scene_on_each_server() -> None:
    """A row a scene and a column a server; what was not played says so."""
    good, bad = Scene("good", "It works", succeed), Scene("bad", "It does not", fail)
    text = matrix([Result(good, "A 1", None), Result(good, "B 2", None), Result(bad, "A 1", AssertionError())])
    assert "| scene | what happens | A 1 | B 2 |" in text
    assert "| good | It works | passed | passed |" in text
    assert "| bad | It does not | **failed** | not played |" in text


@pytest.mark.usefixtures("two_servers")
@pytest.mark.parametrize(("play", "code", "cell"), [(succeed, 0, "passed"), (fail, 1, "**failed**")])
def test_the_exit_code_tells_of_failures(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    play: run.Play,
    code: int,
    cell: str,
) -> None:
    """A failed scene is in the matrix, its traceback on standard error, and the exit code is 1."""
    monkeypatch.setattr(run, "scenes", lambda: [Scene("only", "One scene", play)])
    monkeypatch.setattr(run, "RESULTS", tmp_path / "RESULTS.md")
    assert run.main([]) == code
    assert f"| only | One scene | {cell} |" in run.RESULTS.read_text()
    assert ("Romeo drank too early" in capsys.readouterr().err) == bool(code)


@pytest.mark.usefixtures("two_servers")
def test_a_choice_of_scenes_leaves_the_results_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only a whole run may write the matrix, and a scene that does not exist is a mistake in usage."""
    monkeypatch.setattr(run, "scenes", lambda: [Scene("only", "One scene", succeed)])
    monkeypatch.setattr(run, "RESULTS", tmp_path / "RESULTS.md")
    assert run.main(["only"]) == 0
    assert not run.RESULTS.exists()
    assert run.main(["another"]) == 2
    assert "no such scene: another" in capsys.readouterr().err


@pytest.mark.usefixtures("two_servers")
def test_a_scene_is_played_on_its_own_servers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A scene that names its servers is played on them alone, and the matrix says so."""
    everywhere = Scene("everywhere", "On all", succeed)
    somewhere = Scene("somewhere", "On one", succeed, {"loopback": Loopback})
    monkeypatch.setattr(run, "scenes", lambda: [everywhere, somewhere])
    monkeypatch.setattr(run, "RESULTS", tmp_path / "RESULTS.md")
    assert run.main([]) == 0
    assert "| everywhere | On all | passed | passed |" in run.RESULTS.read_text()
    assert "| somewhere | On one | passed | not played |" in run.RESULTS.read_text()


def test_what_scenes_want_of_servers_is_there() -> None:
    """Scenes name servers by the names that the command line knows."""
    for scene in scenes():
        assert scene.servers.keys() <= run.SERVERS.keys()


def test_a_scene_that_hangs_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It is given up after a while, and the end of the server's log is shown."""
    monkeypatch.setattr(run, "SCENE_SECONDS", 0.5)

    async def hang(stage: Stage) -> None:
        await stage.client("alice")
        await asyncio.Event().wait()

    monkeypatch.setattr(run, "scenes", lambda: [Scene("hanging", "It hangs", hang)])
    assert run.main(["hanging", "--server", "prosody"]) == 1
    told = capsys.readouterr().err
    assert "TimeoutError" in told
    assert "Authenticated as alice@a.test" in told


def test_a_failing_scene_leaves_no_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither a server nor a folder is left."""
    monkeypatch.setattr(run, "scenes", lambda: [Scene("failing", "It fails", fail)])
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = children()
    assert run.main(["failing", "--server", "prosody"]) == 1
    assert children() == before
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    """Interrupted in the middle of a scene it ends its server, removes the folders, and says by its exit code why."""
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    command, pipe = [sys.executable, "-c", ENDLESS], subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True) as runner:
        assert runner.stdout is not None
        pid = runner.stdout.readline().strip()
        assert Path("/proc", pid).exists()
        runner.send_signal(number)
        _, told = runner.communicate(timeout=30)
    assert runner.returncode == 128 + number
    assert told == f"interrupted by {number.name}\n"
    assert not Path("/proc", pid).exists()
    assert not os.listdir(tmp_path)
