"""The committed list: whole, and of nothing that has gone."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

from tests.deletions import listed
from tests.deletions.checks import find
from tests.deletions.run import ROOT, checks

AGAIN = "run `make deletions only=--new`, and write the test if nothing fails"


@cache
def functions(path: Path) -> set[str]:
    """The names of the functions and classes in a module. (What a class inherits is not looked for.)"""
    nodes = ast.walk(ast.parse(path.read_text()))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}


def test_every_check_is_listed() -> None:
    """Each check of today has a test that fails without it, or a judgement; none is listed that is not there."""
    known = listed.read(ROOT / listed.DOCUMENT)
    today = [check.key for check in checks(ROOT)]
    assert not sorted(set(today) - set(known)), AGAIN
    assert not sorted(set(known) - set(today)), AGAIN
    assert not [key for key, fails in known.items() if fails == listed.SURVIVED], AGAIN


def test_the_tests_are_there() -> None:
    """Each test that is listed exists, as far as can be told without running it."""
    for fails in listed.read(ROOT / listed.DOCUMENT).values():
        if test := listed.test_of(fails):
            path, _, name = test.partition("::")
            assert name.partition("[")[0].partition("::")[0] in {"", *functions(ROOT / path)}, test


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Bars and backticks in a check or in the name of a test survive."""
    document = tmp_path / "list.md"
    document.write_text("# List\n\nText.\n")
    found = find("m.py", "def f():\n    g('`a`' | b)\n\nA = {1 | 2: 3}\n")
    outcomes = {check.key: f"`test_m.py::test[{number}|`]`" for number, check in enumerate(found)}
    outcomes[found[-1].key] = "never | ever"
    listed.write(document, found, outcomes)
    assert listed.read(document) == outcomes
    listed.write(document, found[:1], {})
    assert listed.read(document) == {found[0].key: listed.SURVIVED}
    assert document.read_text().startswith("# List\n\nText.\n")
