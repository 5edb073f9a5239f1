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

from interop import run, theatre
from interop.run import matrix
from interop.servers.setup import Setup
from interop.stage import Stage
from interop.theatre import Play, Result, Scene, scenes

ROOT = Path(__file__).parents[2]
ENDLESS = """
import asyncio, sys
from interop import run

async def play(stage):
    await stage.encrypted("alice")
    print(stage.server.pid, flush=True)
    await asyncio.Event().wait()

run.scenes = lambda: [run.Scene("endless", "It never ends", play)]
sys.exit(run.main(["endless", "--server", "prosody"]))
"""


def children() -> set[str]:
    """The processes that this one has started and that are left, zombies too."""
    tasks = Path("/proc/self/task").glob("*/children")
    return {pid for task in tasks for pid in task.read_text().split()}


@pytest.fixture
def two_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said of every server is tried on those that start at once."""
    monkeypatch.setattr(run, "SERVERS", {name: theatre.SERVERS[name] for name in ("loopback", "prosody")})


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
    """A row a scene and a column a server; what was not played says why; Debian's limits have a table of their own."""
    good = Scene("good", "It works", succeed, not_on={"loopback": "it is too small"})
    bad = Scene("bad", "It does not", fail)
    slow = Scene("good", "It works", succeed, Setup(limits=True), not_on=theatre.LIMITED)
    played = [
        Result(good, "prosody", ("Prosody 1",), None),
        Result(bad, "prosody", ("Prosody 1",), AssertionError()),
        Result(slow, "ejabberd", ("ejabberd 2",), None),
    ]
    first, second = matrix([good, bad, slow], played).split("Debian's packages")
    assert "Servers: Prosody 1, ejabberd 2." in first
    assert "| scene | what happens | Loopback | Prosody | ejabberd | Prosody\N{EN DASH}ejabberd |" in first
    assert "| good | It works | not played: it is too small | passed | not played |" in first
    assert "| bad | It does not | not played | **failed** |" in first
    assert "| scene | what happens | Prosody | ejabberd | Prosody\N{EN DASH}ejabberd |" in second
    assert "| good | It works | not played | passed |" in second


@pytest.mark.usefixtures("two_servers")
@pytest.mark.parametrize(("play", "code", "cell"), [(succeed, 0, "passed"), (fail, 1, "**failed**")])
def test_the_exit_code_tells_of_failures(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    play: Play,
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
def test_a_scene_is_not_played_where_it_makes_no_sense(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A scene that names a server, and a reason, is played on the others alone."""
    everywhere = Scene("everywhere", "On all", succeed)
    somewhere = Scene("somewhere", "On one", succeed, not_on={"prosody": "it is too old"})
    monkeypatch.setattr(run, "scenes", lambda: [everywhere, somewhere])
    monkeypatch.setattr(run, "RESULTS", tmp_path / "RESULTS.md")
    assert run.main([]) == 0
    assert "| everywhere | On all | passed | passed |" in run.RESULTS.read_text()
    assert "| somewhere | On one | passed | not played: it is too old |" in run.RESULTS.read_text()


def test_what_scenes_say_of_servers_is_of_those_that_there_are() -> None:
    """Scenes name servers by the names that the command line knows; all but those too long for Debian's limits are played."""
    for scene in scenes():
        assert scene.not_on.keys() <= theatre.SERVERS.keys()
        assert scene.setup.limits or scene.not_on.keys() < theatre.SERVERS.keys()
    assert run.COLUMNS.keys() == theatre.SERVERS.keys()


async def test_a_server_is_kept_for_those_who_want_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next scene that wants another one gets another; after a failure everybody does."""
    seen: list[object] = []

    async def play(stage: Stage) -> None:
        """Note the server."""
        seen.append(stage.server)

    async def trip(stage: Stage) -> None:
        """Note it, and fail."""
        seen.append(stage.server)
        raise AssertionError("Juliet woke too late")

    usual, other = Scene("a", "", play), Scene("b", "", play, Setup(friends=False))
    async with theatre.Theatre() as running:
        for scene in (usual, usual, other, usual, Scene("c", "", trip), usual):
            await running.play(scene, "loopback")
    first = seen[0]
    assert [server is first for server in seen] == [True, True, False, False, False, False]
    assert seen[3] is seen[4]
    assert seen[4] is not seen[5]


async def test_a_scene_sees_nothing_of_the_one_before() -> None:
    """What the server handled before is none of its business."""
    counts: list[int] = []

    async def play(stage: Stage) -> None:
        """Count before and after a login."""
        counts.append(len(stage.server.handled()))
        await stage.client("alice")
        counts.append(len(stage.server.handled()))

    async with theatre.Theatre() as running:
        for server in ("loopback", "prosody"):
            counts.clear()
            for _ in range(2):
                result = await running.play(Scene("counting", "", play), server)
                assert result.error is None
            assert counts[0] == counts[2] == 0
            assert counts[1] > 0


def test_a_scene_that_hangs_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It is given up after a while, and the end of the server's log is shown."""
    monkeypatch.setattr(theatre, "SCENE_SECONDS", 0.5)

    async def hang(stage: Stage) -> None:
        await stage.client("alice")
        await asyncio.Event().wait()

    monkeypatch.setattr(run, "scenes", lambda: [Scene("hanging", "It hangs", hang)])
    assert run.main(["hanging", "--server", "prosody"]) == 1
    told = capsys.readouterr().err
    assert "TimeoutError" in told
    assert "Authenticated as alice@a.test" in told


def test_a_failing_scene_leaves_its_logs_and_no_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No server is left, and of its folders only what it logged and handled; the message says where."""
    monkeypatch.setattr(run, "scenes", lambda: [Scene("failing", "It fails", fail)])
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = children()
    assert run.main(["failing", "--server", "prosody"]) == 1
    assert children() == before
    (kept,) = tmp_path.iterdir()
    assert f"is in {kept}." in capsys.readouterr().err
    assert {"Prosody-server.log", "Prosody-handled.jsonl"} <= {path.name for path in kept.iterdir()}


def test_a_server_that_does_not_start_fails_its_scenes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is not installed is no reason to skip anything, nor to end the whole run."""
    monkeypatch.setattr(run, "scenes", lambda: [Scene("only", "One scene", succeed)])
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("interop.servers.process.shutil.which", lambda *_, **__: None)
    assert run.main(["only", "--server", "prosody", "--server", "loopback"]) == 1
    told = capsys.readouterr()
    assert "prosody is not installed" in told.err
    assert "1 passed, 1 failed" in told.out


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
