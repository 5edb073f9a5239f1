"""The runner of the scenes: what it finds, what it writes, and that a failure is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from interop import run
from interop.run import Result, Scene, matrix, scenes
from interop.stage import Stage


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
