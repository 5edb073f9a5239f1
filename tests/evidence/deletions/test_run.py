"""The whole way on a module that has nothing to do with the project: each check left out, the test that notices found."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.evidence.deletions import data
from tests.evidence.deletions.run import ROOT, Run, changed, units

EVIDENCE = Path(__file__).parents[1]
TOY = '''"""A toy."""


def half(number: int) -> int:
    if number < 0:
        raise ValueError("less than nothing")
    if number > 10**9:
        raise ValueError("more than there is")
    while number > 100:
        number -= 100
    return number // 2
'''
TESTS = '''"""What is known of the toy."""

import pytest

from toys import toy


def test_half():
    assert toy.half(8) == 4


def test_hundreds():
    assert toy.half(108) == 4


def test_negative():
    with pytest.raises(ValueError, match="nothing"):
        toy.half(-2)
'''


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A repository of its own."""
    (tmp_path / "tests/evidence/deletions").mkdir(parents=True)
    for name in ("shapes", "deletions/checks", "deletions/worker"):
        shutil.copy(EVIDENCE / f"{name}.py", tmp_path / f"tests/evidence/{name}.py")
    (tmp_path / "toys").mkdir()
    (tmp_path / "toys/toy.py").write_text(TOY)
    (tmp_path / "tests/test_toy.py").write_text(TESTS)
    return tmp_path


def run_of(root: Path, *modules: str) -> Run:
    return Run(root, modules or ("toys/toy.py",), ("tests",), preload=())


def outcomes(run: Run) -> dict[str, str]:
    return {check.text: fails for check, fails in run.outcomes.items()}


def test_a_run(toy: Path) -> None:
    """For each check the test that fails is found, and one without a test."""
    run = run_of(toy)
    run.over(run.checks, 1)
    assert outcomes(run) == {
        "number < 0": "tests/test_toy.py::test_negative",
        "number > 10 ** 9": data.NOTHING,
        "number > 100": "tests/test_toy.py::test_hundreds",
    }
    assert [check.text for check in run.survivors(run.checks)] == ["number > 10 ** 9"]
    assert (toy / "toys/toy.py").read_text() == TOY
    assert run_of(toy).outcomes == run.outcomes


def test_tests_that_are_called_otherwise(toy: Path) -> None:
    """What notices other checks is tried, and so are files of tests that have changed, and no others."""
    run = run_of(toy)
    run.over(run.checks, 1)
    (toy / "tests/test_toy.py").rename(toy / "tests/test_half.py")
    again = run_of(toy)
    again.over(again.checks[:1], 1)
    assert again.outcomes[again.checks[0]] == data.NOTHING
    again = Run(toy, ("toys/toy.py",), ("tests",), preload=(), changed=["tests/test_half.py"])
    again.over(again.checks[:1], 1)
    assert again.outcomes[again.checks[0]] == "tests/test_half.py::test_negative"
    (toy / "toys/toy.py").write_text(TOY.replace("number > 100", "100 < number"))
    again = run_of(toy)
    again.over(again.checks[:1], 1)
    assert again.outcomes[again.checks[0]] == "tests/test_half.py::test_negative"


def test_new_names_cost_nothing(toy: Path) -> None:
    """What is known of a function is known when it is called otherwise, with all that it names, in another module."""
    run = run_of(toy)
    run.outcomes = dict.fromkeys(run.checks, "tests/test_toy.py::test_half")
    data.write(toy / data.FILE, run.units, run.outcomes)
    (toy / "toys/toy.py").unlink()
    (toy / "toys/games.py").write_text(TOY.replace("half", "halve").replace("number", "count").replace("there is", "we have"))
    moved = run_of(toy, "toys/games.py")
    assert [moved.outcomes[check] for check in moved.checks] == ["tests/test_toy.py::test_half"] * 3
    (toy / "toys/games.py").write_text(TOY.replace(" > 100:", " >= 100:"))
    assert not run_of(toy, "toys/games.py").outcomes


def test_what_has_changed(toy: Path) -> None:
    """Against a commit, what is renamed or moved has not changed, and what asks something else, or is there twice, has."""

    def git(*arguments: str) -> None:
        author = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", *author, *arguments], cwd=toy, check=True, capture_output=True)

    def chosen() -> list[str]:
        return [check.text for check in changed(toy, "HEAD", run_of(toy, "toys/*.py").units)]

    git("init")
    git("add", "toys")
    git("commit", "-m", "toys")
    module = toy / "toys/toy.py"
    module.rename(toy / "toys/games.py")
    module.write_text("def whole(number):\n    if number % 1:\n        raise ValueError\n")
    assert chosen() == ["number % 1"]
    module.write_text(TOY.replace("half", "halve").replace("number < 0", "number <= 0"))
    assert chosen() == ["number <= 0", "number > 10 ** 9", "number > 100"]
    module.unlink()
    assert chosen() == []


def test_one_comment_excuses_one_check(toy: Path) -> None:
    """What no test notices is told, but for one check beside a comment that says why."""
    reason = "# no test fails without this: nobody has so much"
    (toy / "toys/toy.py").write_text(TOY.replace("number > 10**9:", f"number > 10**9 or more:  {reason}"))
    run = run_of(toy)
    run.outcomes = {check: data.NOTHING if "*" in check.text or check.text == "more" else "a test" for check in run.checks}
    assert [check.text for check in run.survivors(run.checks)] == ["number > 10 ** 9", "more"]


def test_the_modules_that_guard_are_there() -> None:
    """What the tool tries in this repository exists, and the table of states has rows that could be added."""
    assert any(check.how == "added" for unit in units(ROOT) for check in unit.checks)


def test_modules_that_have_gone(toy: Path) -> None:
    """A module that is not there any more is not left out in silence."""
    with pytest.raises(FileNotFoundError, match=r"no module is called toys/games\.py"):
        run_of(toy, "toys/toy.py", "toys/games.py")


def test_slow_tests_notice_nothing(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that does not end, or fails, notices the loss of a check only if it passes with the check."""
    monkeypatch.setattr("tests.evidence.deletions.run.SECONDS", 1)
    slow = "import time\n\nfrom toys import toy\n\n\ndef test_slow():\n    time.sleep(5)\n\n\ndef test_bad():\n    toy.bad()\n"
    (toy / "tests/test_toy.py").write_text(slow)
    run = run_of(toy)
    run.over(run.checks[:1], 1)
    assert run.outcomes == {run.checks[0]: data.NOTHING}
    count = "def half(number):\n    while number:\n        number -= 1\n        if number < 9:\n            break\n"
    (toy / "toys/toy.py").write_text(count)
    (toy / "tests/test_toy.py").write_text(f"{slow}\n\ndef test_end():\n    toy.half(0.5)\n")
    run = run_of(toy)
    chosen = [check for check in run.checks if check.how == "never" and "9" in check.text]
    run.over(chosen, 1)
    assert run.outcomes[chosen[0]] == "tests/test_toy.py::test_end"
