"""The whole way on a module that has nothing to do with the project: each check left out, the test that notices found."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.deletions import listed, record
from tests.deletions.run import Run

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

import toy


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
    (tmp_path / "docs").mkdir()
    (tmp_path / listed.DOCUMENT).write_text("# What fails\n\nAbove.\n\n")
    (tmp_path / "tests/deletions").mkdir(parents=True)
    for name in ("checks", "listed", "record", "worker"):
        shutil.copy(Path(__file__).with_name(f"{name}.py"), tmp_path / "tests/deletions")
    (tmp_path / "toy.py").write_text(TOY)
    (tmp_path / "tests/test_toy.py").write_text(TESTS)
    return tmp_path


def outcomes(root: Path) -> dict[str, str]:
    return {text: fails for (_, _, text, _), fails in listed.read(root / listed.DOCUMENT).items()}


def test_a_run(toy: Path) -> None:
    """For each check the test that fails is listed, one without a test is found, and a judgement is kept."""
    run = Run(toy, ("toy.py",), ("tests",), preload=())
    run.over(run.checks, 1)
    assert outcomes(toy) == {
        "number < 0": "`test_toy.py::test_negative`",
        "number > 10 ** 9": listed.SURVIVED,
        "number > 100": "`test_toy.py::test_hundreds`",
    }
    assert [check.text for check in run.survivors()] == ["number > 10 ** 9"]
    assert (toy / "toy.py").read_text() == TOY
    document = toy / listed.DOCUMENT
    assert document.read_text().startswith("# What fails\n\nAbove.\n\n## `toy.py`\n")

    text = document.read_text().replace("test_hundreds", "test_half")
    document.write_text(text.replace(listed.SURVIVED, "nobody has so much"))
    again = Run(toy, ("toy.py",), ("tests",), preload=())
    again.over(again.checks, 1)
    assert again.survivors() == []
    assert outcomes(toy)["number > 10 ** 9"] == "nobody has so much"
    assert outcomes(toy)["number > 100"] == "`test_toy.py::test_hundreds`"


def test_what_is_recorded_anew(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of tests that have changed; all of them, if a module has been added."""
    recorded: list[tuple[list[str], list[str]]] = []

    def recording(_: Path, modules: list[str], files: list[str]) -> dict[str, record.Test]:
        recorded.append((modules, files))
        return {}

    monkeypatch.setattr(record, "_recorded", recording)
    (toy / "tests/test_other.py").write_text("")
    for modules in (["toy.py"], ["toy.py"], ["toy.py", "more.py"], ["toy.py"]):
        record.record(toy, modules, ["tests"])
    (toy / "tests/test_other.py").write_text("changed = True")
    record.record(toy, ["toy.py"], ["tests"])
    both, files = ["toy.py", "more.py"], ["tests/test_other.py", "tests/test_toy.py"]
    assert recorded == [(["toy.py"], files), (both, files), (both, files[:1])]
