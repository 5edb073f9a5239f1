"""docs/mutants.md gives a reason for each mutant that survives, and says of which files."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from tests.deletions.listed import read
from tests.mutants import listed
from tests.mutants.run import ROOT, note

DOCUMENT = ROOT / listed.DOCUMENT
AGAIN = "run `make mutants`, and write a test for what survives, or the reason why nothing has to notice it"
SOURCE = '''\
def f(a):
    if not a:
        raise ValueError("it is `empty` | void")
    return g(a, a)
'''
MUTATED = '''\
def f(a):
    return trampoline(a)

class C:
    def xǁCǁm__mutmut_orig(self):
        return 1

    def xǁCǁm__mutmut_1(self):
        return 2

def x_f__mutmut_orig(a):
    if not a:
        raise ValueError("it is `empty` | void")
    return g(a, a)

def x_f__mutmut_1(a):
    if a:
        raise ValueError("it is `empty` | void")
    return g(a, a)

def x_f__mutmut_2(a):
    if not a:
        raise ValueError("IT IS `EMPTY` | VOID")
    return g(a, a)

def x_f__mutmut_3(a):
    if not a:
        raise ValueError("it is `empty` | void")
    return g(a, )

def x_f__mutmut_4(a):
    if not a:
        raise ValueError("it is `empty` | void")
    return g(a, )
'''


def test_each_file_is_listed() -> None:
    """Every file that mutmut mutates was, and what survived of it is in its table."""
    taken = listed.taken_from(DOCUMENT)
    assert list(taken) == listed.selected(ROOT), AGAIN
    counted = Counter(path for path, *_ in read(DOCUMENT))
    assert {path: survive for path, (_, survive) in taken.items() if survive} == counted


def test_each_reason_is_of_a_class() -> None:
    """Nothing that survives is without a reason, which begins with one of the classes that the document explains."""
    text = DOCUMENT.read_text(encoding="utf-8")
    classes = re.findall(r"^- \*\*([\w ]+)\*\*: ", text, re.MULTILINE)
    assert classes
    for key, why in read(DOCUMENT).items():
        assert why.partition(":")[0] in classes, (key, AGAIN)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A repository in which mutmut has run."""
    (tmp_path / "docs").mkdir()
    (tmp_path / listed.DOCUMENT).write_text("# Mutants\n\nText.\n\n")
    (tmp_path / "pyproject.toml").write_text('[tool.mutmut]\nonly_mutate = ["core/*.py"]\n')
    for name, text in (("core/m.py", SOURCE), ("mutants/core/m.py", MUTATED)):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def ended(root: Path, *codes: int | None) -> None:
    """These are the outcomes of the mutants, in order."""
    names = ["core.m.xǁCǁm__mutmut_1", *(f"core.m.x_f__mutmut_{number}" for number in range(1, len(codes)))]
    outcomes = {"exit_code_by_key": dict(zip(names, codes, strict=True))}
    (root / "mutants/core/m.py.meta").write_text(json.dumps(outcomes))


def test_what_survives_is_listed_until_it_is_judged(run: Path) -> None:
    """A mutant that no test fails for, or that none executes, is listed with its line; a judgement of it stays."""
    ended(run, 33, 1, 0, 0, 0)
    document = run / listed.DOCUMENT
    words = ("core/m.py", "f", 'raise ValueError("it is `empty` | void")', "`it is `empty` | void` → `IT IS `EMPTY` | VOID`")
    twice = ("core/m.py", "f", "return g(a, a)", "`, a` → `,`")
    found = [("core/m.py", "C.m", "return 1", "`1` → `2`"), words, twice, (*twice[:3], "`, a` → `,` (2)")]
    assert note(run) == found
    listed.write(document, listed.results(run), {words: "words: of a | person"})
    assert note(run) == [key for key in found if key != words]
    assert read(document)[words] == "words: of a | person"
    assert listed.taken_from(document) == {"core/m.py": (listed.digest(run / "core/m.py"), 4)}
    assert document.read_text().startswith("# Mutants\n\nText.\n\n")


def test_what_is_noticed_is_counted(run: Path) -> None:
    """Mutants that mypy refuses, and those for which a test fails or does not end, are in the table of files."""
    ended(run, 37, 1, 37, 36, 1)
    assert note(run) == []
    (file,) = listed.results(run)
    assert (file.mutants, file.by_tests, file.by_mypy, file.survivors) == (5, 3, 2, ())


def test_an_interrupted_run_is_no_result(run: Path) -> None:
    """Nothing is written as long as a mutant was not tried."""
    ended(run, 1, None)
    with pytest.raises(ValueError, match="not tried"):
        note(run)
    assert (run / listed.DOCUMENT).read_text() == "# Mutants\n\nText.\n\n"
