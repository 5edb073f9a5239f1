"""The whole way on a module that has nothing to do with the project: each check left out, the test that notices found."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.deletions import listed
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
