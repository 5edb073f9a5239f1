"""Prints every bound of the core and the plugin with its value and its reason: ``python -m tests.evidence.bounds``.

A bound is a constant of a module that is a number, or is made of numbers. Its reason stands beside it: in the text below it, or
in the comment above it. Numbers without a reason are printed last; a specification gives those.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

from xmpp_e2e.states import STATE_TIMEOUTS

ROOT = Path(__file__).parents[2]
_PACKAGES = ("xmpp_e2e", "plugins/slixmpp_e2e")
_ONCE = "migrations"
"""Run once, on our own data."""


class Bound(NamedTuple):
    """A number, and why it is this one."""

    name: str
    value: str
    why: str


def bounds(root: Path = ROOT) -> list[Bound]:
    """Every constant that is a number or made of some, by module."""
    found = []
    for package in _PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to((root / package).parent).with_suffix("").parts
            if _ONCE not in parts:
                name = ".".join(part for part in parts if part != "__init__")
                found += list(_of_module(name, path.read_text(encoding="utf-8")))
    return found


def _of_module(name: str, source: str) -> Iterator[Bound]:
    values = vars(importlib.import_module(name))
    lines = source.splitlines()
    body = ast.parse(source).body
    for statement, following in zip(body, (*body[1:], None), strict=True):
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets = [statement.target]
        names = [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
        for constant in names:
            value = values.get(constant)
            if constant.isupper() and is_number(value):
                yield Bound(f"{name}.{constant}", shown(value), _below(following) or _beside(lines, statement))


def _below(following: ast.stmt | None) -> str:
    if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
        return " ".join(str(following.value.value).split())
    return ""


def _beside(lines: list[str], statement: ast.stmt) -> str:
    """The comment at the end of the line, or the one above it."""
    comment = [lines[(statement.end_lineno or statement.lineno) - 1].partition("  # ")[2]]
    first = statement.lineno - 1
    while first and lines[first - 1].startswith("#"):
        first -= 1
        comment.insert(0, lines[first].removeprefix("# "))
    return " ".join(filter(None, comment))


def is_number(value: Any) -> bool:
    """A number, or a value that is made of some."""
    if is_dataclass(value) and not isinstance(value, type):
        given = [part for part in asdict(value).values() if part is not None]
        return bool(given) and all(map(is_number, given))
    return type(value) in (int, float)


def shown(value: Any) -> str:
    """A value, for people."""
    if is_dataclass(value) and not isinstance(value, type):
        return ", ".join(f"{name} {shown(part)}" for name, part in asdict(value).items() if part is not None)
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def main() -> None:
    """Print them."""
    found = bounds()
    for name, value, why in found:
        if why:
            print(f"{name} = {value}\n    {why}")
    print("\nwithout a reason beside them:", ", ".join(name for name, _, why in found if not why))
    print(f"deadlines by state: {', '.join(f'{state.value} {seconds:g} s' for state, seconds in STATE_TIMEOUTS.items())}")


if __name__ == "__main__":
    main()
