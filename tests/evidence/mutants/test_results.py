"""What mutmut leaves is read, and what was judged of it stays with the function."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.evidence.mutants import results
from tests.evidence.mutants.run import ROOT, note

MUTATED = """\
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
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A repository in which mutmut has run."""
    (tmp_path / "pyproject.toml").write_text('[tool.mutmut]\nonly_mutate = ["core/*.py"]\n')
    (tmp_path / "tests/evidence").mkdir(parents=True)
    for name, text in (("core/m.py", ""), ("mutants/core/m.py", MUTATED)):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def ended(root: Path, *codes: int | None) -> None:
    """These are the outcomes of the mutants, in order."""
    names = ["core.m.xǁCǁm__mutmut_1", *(f"core.m.x_f__mutmut_{number}" for number in range(1, len(codes)))]
    outcomes = {"exit_code_by_key": dict(zip(names, codes, strict=True))}
    (root / "mutants/core/m.py.meta").write_text(json.dumps(outcomes))


def judge(root: Path, change: str, why: str) -> None:
    """Somebody writes down why nothing has to notice it."""
    file = root / results.FILE
    data = json.loads(file.read_text())
    for function in data["functions"].values():
        function["survive"] = [[what, why if what == change else before] for what, before in function["survive"]]
    file.write_text(json.dumps(data))


WORDS = ("core/m.py f", "it is `empty` | void → IT IS `EMPTY` | VOID")
FOUND = [("core/m.py C.m", "1 → 2"), WORDS, ("core/m.py f", ", a → ,"), ("core/m.py f", ", a → ,")]


def test_what_survives_is_listed_until_it_is_judged(run: Path) -> None:
    """A mutant that no test fails for, or that none executes, is listed; a judgement of it stays, also if others go."""
    ended(run, 33, 1, 0, 0, 0)
    assert note(run) == FOUND
    judge(run, WORDS[1], "words")
    left = [found for found in FOUND if found != WORDS]
    assert note(run) == left
    ended(run, 1, 1, 0, 1, 0)
    assert note(run) == left[1:2]


def test_a_judgement_outlives_new_names(run: Path) -> None:
    """What was judged of a function is known when everything in it is called otherwise, and it is elsewhere."""
    ended(run, 33, 1, 0, 0, 0)
    note(run)
    judge(run, WORDS[1], "words")
    file = run / "mutants/core/m.py"
    renamed = file.read_text().replace("empty", "bare").replace("EMPTY", "BARE").replace("(a", "(b").replace("not a", "not b")
    file.write_text(renamed.replace(", a", ", b"))
    assert [what for _, what in note(run)] == ["1 → 2", ", b → ,", ", b → ,"]


def test_what_is_noticed_is_counted(run: Path) -> None:
    ended(run, 37, 1, 37, 36, 1)
    assert note(run) == []
    totals = {"mutants": 5, "fail a test": 3, "fail mypy": 2, "survive": 0}
    assert json.loads((run / results.FILE).read_text()) == {"totals": totals, "functions": {}}


def test_a_pattern_without_files_is_named(run: Path) -> None:
    """What has moved away would not be changed any more, and nobody would notice."""
    (run / "pyproject.toml").write_text('[tool.mutmut]\nonly_mutate = ["core/*.py", "gone/*.py"]\n')
    with pytest.raises(FileNotFoundError, match=r"gone/\*\.py"):
        results.modules(run)


def test_the_modules_are_where_they_are_looked_for() -> None:
    assert results.modules(ROOT)


def test_an_interrupted_run_is_no_result(run: Path) -> None:
    """Nothing is written as long as a mutant was not tried."""
    ended(run, 1, None)
    with pytest.raises(ValueError, match="not tried"):
        note(run)
    assert not (run / results.FILE).exists()
