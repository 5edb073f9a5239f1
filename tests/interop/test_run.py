"""The runner finds scenes, writes the matrix, and reports failures."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from interop import run, runner
from interop.harness import Harness
from interop.run import matrix
from interop.runner import Result, Scene, SceneFunction, scenes
from interop.servers.setup import Setup

ROOT = Path(__file__).parents[2]
ENDLESS = """
import asyncio, sys
from interop import run

async def endless(harness):
    await harness.e2e_client("alice")
    print(harness.server.pid, flush=True)
    await asyncio.Event().wait()

run.scenes = lambda: [run.Scene("endless", "It never ends", endless)]
sys.exit(run.main(["endless", "--server", "prosody"]))
"""


def children() -> set[str]:
    """Return our child processes, zombies included."""
    tasks = Path("/proc/self/task").glob("*/children")
    return {pid for task in tasks for pid in task.read_text().split()}


@pytest.fixture
def two_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit the servers to those that start quickly."""
    monkeypatch.setattr(run, "SERVERS", {name: runner.SERVERS[name] for name in ("loopback", "prosody")})


async def succeed(harness: Harness) -> None:
    """A scene in which nothing happens."""


async def fail(harness: Harness) -> None:
    """A scene that goes wrong."""
    raise AssertionError("Romeo drank too early")


def test_scenes_are_found_with_their_titles() -> None:
    """Each file in interop/scenes is a scene, titled by its docstring's first line."""
    plaintext = {scene.name: scene for scene in scenes()}["plaintext"]
    assert plaintext.title.startswith("Two ordinary clients exchange a message")


def test_the_matrix_shows_each_scene_on_each_server() -> None:
    """There is a row for each scene and a column for each server, with reasons for gaps. Debian's limits have their own
    table."""
    good = Scene("good", "It works", succeed, not_on={"loopback": "it is too small"})
    bad = Scene("bad", "It does not", fail)
    slow = Scene("good", "It works", succeed, Setup(limits=True), not_on=runner.NOT_LIMITED_ON)
    results = [
        Result(good, "prosody", ("Prosody 1",), None),
        Result(bad, "prosody", ("Prosody 1",), AssertionError()),
        Result(slow, "ejabberd", ("ejabberd 2",), None),
    ]
    first, second = matrix([good, bad, slow], results).split("Debian's packages")
    assert "Servers: Prosody 1, ejabberd 2." in first
    assert "| scene | what happens | Loopback | Prosody | ejabberd | Prosody\N{EN DASH}ejabberd |" in first
    assert "| good | It works | not run: it is too small | passed | not run |" in first
    assert "| bad | It does not | not run | **failed** |" in first
    assert "| scene | what happens | Prosody | ejabberd | Prosody\N{EN DASH}ejabberd |" in second
    assert "| good | It works | not run | passed |" in second


@pytest.mark.usefixtures("two_servers")
@pytest.mark.parametrize(("scene", "code", "cell"), [(succeed, 0, "passed"), (fail, 1, "**failed**")])
def test_the_exit_code_tells_of_failures(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    scene: SceneFunction,
    code: int,
    cell: str,
) -> None:
    """A failed scene is in the matrix, its traceback on standard error, and the exit code is 1."""
    monkeypatch.setattr(run, "scenes", lambda: [Scene("only", "One scene", scene)])
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
def test_a_scene_does_not_run_where_it_makes_no_sense(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A scene that excludes a server with a reason runs on the others."""
    everywhere = Scene("everywhere", "On all", succeed)
    somewhere = Scene("somewhere", "On one", succeed, not_on={"prosody": "it is too old"})
    monkeypatch.setattr(run, "scenes", lambda: [everywhere, somewhere])
    monkeypatch.setattr(run, "RESULTS", tmp_path / "RESULTS.md")
    assert run.main([]) == 0
    assert "| everywhere | On all | passed | passed |" in run.RESULTS.read_text()
    assert "| somewhere | On one | passed | not run: it is too old |" in run.RESULTS.read_text()


def test_what_scenes_say_of_servers_is_of_those_that_there_are() -> None:
    """Scenes use the names of `SERVERS`, and none excludes all of them, except those too long for Debian's limits."""
    for scene in scenes():
        assert scene.not_on.keys() <= runner.SERVERS.keys()
        assert scene.setup.limits or scene.not_on.keys() < runner.SERVERS.keys()
    assert run.COLUMNS.keys() == runner.SERVERS.keys()


async def test_a_server_is_kept_for_those_who_want_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another setup, or a failure, gets a new server."""
    seen: list[object] = []

    async def note(harness: Harness) -> None:
        """Note the server."""
        seen.append(harness.server)

    async def trip(harness: Harness) -> None:
        """Note it, and fail."""
        seen.append(harness.server)
        raise AssertionError("Juliet woke too late")

    usual, other = Scene("a", "", note), Scene("b", "", note, Setup(friends=False))
    async with runner.Runner() as running:
        for scene in (usual, usual, other, usual, Scene("c", "", trip), usual):
            await running.run(scene, "loopback")
    first = seen[0]
    assert [server is first for server in seen] == [True, True, False, False, False, False]
    assert seen[3] is seen[4]
    assert seen[4] is not seen[5]


async def test_a_scene_sees_nothing_of_the_one_before() -> None:
    counts: list[int] = []

    async def count(harness: Harness) -> None:
        """Count before and after a login."""
        counts.append(len(harness.server.handled()))
        await harness.client("alice")
        counts.append(len(harness.server.handled()))

    async with runner.Runner() as running:
        for server in ("loopback", "prosody"):
            counts.clear()
            for _ in range(2):
                result = await running.run(Scene("counting", "", count), server)
                assert result.error is None
            assert counts[0] == counts[2] == 0
            assert counts[1] > 0


def test_a_scene_that_hangs_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A timeout ends it, and the end of the server's log is shown."""
    monkeypatch.setattr(runner, "SCENE_SECONDS", 0.5)

    async def hang(harness: Harness) -> None:
        await harness.client("alice")
        await asyncio.Event().wait()

    monkeypatch.setattr(run, "scenes", lambda: [Scene("hanging", "It hangs", hang)])
    assert run.main(["hanging", "--server", "prosody"]) == 1
    told = capsys.readouterr().err
    assert "TimeoutError" in told
    assert "Authenticated as alice@a.test" in told


def test_a_failing_scene_leaves_its_logs_and_no_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names the folder with the logs."""
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
    """A missing server neither skips scenes nor ends the run."""
    monkeypatch.setattr(run, "scenes", lambda: [Scene("only", "One scene", succeed)])
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("interop.servers.process.shutil.which", lambda *_, **__: None)
    assert run.main(["only", "--server", "prosody", "--server", "loopback"]) == 1
    told = capsys.readouterr()
    assert "prosody is not installed" in told.err
    assert "1 passed, 1 failed" in told.out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    """It ends its server, removes the folders, and its exit code names the signal."""
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
