"""What counts as a check, and what its module is without it."""

from __future__ import annotations

import ast
import textwrap

import pytest

from tests.evidence.deletions.checks import Check, additions, find

CASES = {
    "a refusal": ("if bad:\n    raise ValueError", [("bad", "never", "if (False):\n    raise ValueError")]),
    "a guard of something done": (
        "if good:\n    x = 1",
        [("good", "never", "if (False):\n    x = 1"), ("good", "always", "if (True):\n    x = 1")],
    ),
    "a part of a condition": (
        "if a and b:\n    raise ValueError",
        [
            ("a and b", "never", "if (False):\n    raise ValueError"),
            ("a", "left out", "if ((b)):\n    raise ValueError"),
            ("b", "left out", "if ((a)):\n    raise ValueError"),
        ],
    ),
    "a part that names something": (
        "return (a := f()) is not None and a.b",
        [
            ("(a := f()) is not None", "left out", "return ([(a := f()) is not None, True][1] and (a.b))"),
            ("a.b", "left out", "return (((a := f()) is not None))"),
        ],
    ),
    "a condition that names something": (
        "while a := f():\n    g(a)",
        [("(a := f())", "never", "while ([a := f(), False][1]):\n    g(a)"), ("g(a)", "left out", "while a := f():\n    pass")],
    ),
    "a comparison that is returned": (
        "return a == b",
        [("a == b", "never", "return (False)"), ("a == b", "always", "return (True)")],
    ),
    "a denial": ("x = not a", [("not a", "never", "x = (False)"), ("not a", "always", "x = (True)")]),
    "a choice": (
        "return a if b else c",
        [("b", "never", "return a if (False) else c"), ("b", "always", "return a if (True) else c")],
    ),
    "a filter": ("return [a for a in b if a]", [("a", "always", "return [a for a in b if (True)]")]),
    "a call for its effect": ("check(a)", [("check(a)", "left out", "pass")]),
    "a call for its exception": ("_ = a['b']", [("_ = a['b']", "left out", "pass")]),
    "what is caught": (
        "try:\n    f()\nexcept (A, B):\n    x = 1",
        [
            ("f()", "left out", "try:\n    pass\nexcept (A, B):\n    x = 1"),
            ("A", "not caught", "try:\n    f()\nexcept (B, ):\n    x = 1"),
            ("B", "not caught", "try:\n    f()\nexcept (A, ):\n    x = 1"),
        ],
    ),
    "one thing that is caught": (
        "try:\n    x = 1\nexcept A:\n    x = 2",
        [("A", "not caught", "try:\n    x = 1\nexcept ():\n    x = 2")],
    ),
    "one of several": (
        "if a in (b, c):\n    raise ValueError",
        [
            ("a in (b, c)", "never", "if (False):\n    raise ValueError"),
            ("b", "left out", "if a in (c, ):\n    raise ValueError"),
            ("c", "left out", "if a in (b, ):\n    raise ValueError"),
        ],
    ),
    "one of several kinds": (
        "return isinstance(a, B | C)",
        [("B", "left out", "return isinstance(a, (C))"), ("C", "left out", "return isinstance(a, (B))")],
    ),
    "strictness": ("return f(a, validate=True)", [("validate=True", "left out", "return f(a, validate=False)")]),
    "a message": ('x = f"{a if b else c}"', []),
    "a line in the log": ("log.info(a)", []),
    "a word to mypy": ("assert a is not None", []),
    "another word to mypy": ("if TYPE_CHECKING:\n    from a import b", []),
}


def checks(source: str) -> list[Check]:
    return [check for unit in find("m.py", source) for check in unit.checks]


@pytest.mark.parametrize("case", CASES)
def test_what_is_found(case: str) -> None:
    """Each kind of check is found in a function, and what is left of the function without it is what one would write."""
    body, expected = CASES[case]

    def function(lines: str) -> str:
        return "def f():\n" + textwrap.indent(lines, "    ")

    found = checks(function(body))
    assert [(check.text, check.how, check.without) for check in found] == [
        (text, how, function(without)) for text, how, without in expected
    ]
    for check in found:
        ast.parse(check.without)
        assert check.place == "f"
        assert check.lines <= set(range(2, 6))


def test_entries_of_tables() -> None:
    """Outside of functions each entry of a table can be left out; it is read by whoever imports the module."""
    found = checks("A = {B: 1, **C}\nD: set = frozenset({E})\nF = (G, H)\nI, J = K, L\n")
    assert [(check.text, check.without.splitlines()[line]) for line, check in zip((0, 0, 1, 2, 2), found, strict=True)] == [
        ("B: 1", "A = {**C}"),
        ("**C", "A = {B: 1}"),
        ("E", "D: set = frozenset(())"),
        ("G", "F = (H, )"),
        ("H", "F = (G, )"),
    ]
    assert all(not check.lines and not check.place for check in found)


def test_places() -> None:
    """Checks are of a function, with what is inside it, or of a statement outside."""
    method = "    async def f(self):\n        g()\n        def h():\n            g()\n"
    source = f"class A:\n    B = (c,)\n{method}\ndef f():\n    'é'; g()\n"
    found = find("m.py", source)
    assert [(unit.place, [check.place for check in unit.checks]) for unit in found] == [
        ("A", ["A"]),
        ("A.f", ["A.f", "A.f.h"]),
        ("f", ["f"]),
    ]
    assert "'é'; pass" in found[2].checks[0].without


def test_comments_that_excuse() -> None:
    """A comment on the line, or in one of its own above, says why no test fails; no other comment does."""
    reason = "# no test fails without this: it is so"
    source = f"def f():\n    {reason}\n    g()\n    h()  {reason}\n    i()\n    # because\n    j()\n"
    assert [check.excuse for check in checks(source)] == [2, 4, 0, 0]


def test_rows_that_are_not_there() -> None:
    """What the table of states does not say is a check as well: each row can be added."""
    source = "import enum\n\nclass State(enum.Enum):\n    A = 1\n    B = 2\n\nclass Trigger(enum.Enum):\n    X = 1\n\n"
    (check,) = additions("m.py", source + "TRANSITIONS = {(State.A, Trigger.X): State.B}\n").checks
    assert check.text == "(State.B, Trigger.X): State.B"
    assert check.without.endswith("\n\nTRANSITIONS[State.B, Trigger.X] = State.B\n")
