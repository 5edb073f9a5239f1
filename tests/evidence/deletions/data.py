"""tests/evidence/deletions.json: for each check the test that fails without it, by the shape of the function that it is in.

A line is a shape, and what is known of the functions that have it. ``in`` only says to people where such a function was, and
which of several is which: nothing is lost when that is not true any more. ``fails`` has for each test (from ``tests/`` on) the
checks whose loss it notices, by their numbers in the function; ``nothing`` the checks whose loss no test notices. A check that
is in neither was not tried.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.evidence.deletions.checks import Check, Unit

FILE = "tests/evidence/deletions.json"
NOTHING = ""
"""What fails without a check that no test knows of."""

Entry = dict[str, Any]


def read(file: Path, units: Sequence[Unit]) -> dict[Check, str]:
    """What fails without each check, as pytest knows it, or `NOTHING`. What was not tried is not there."""
    known: dict[str, list[Entry]] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    found: dict[Check, str] = {}
    moved = []
    for unit in units:
        entries = known.get(unit.shape, [])
        here = next((entry for entry in entries if entry["in"] == _place(unit)), None)
        if here:
            entries.remove(here)
            found.update(_outcomes(unit, here))
        else:
            moved.append(unit)
    for unit in moved:
        if entries := known.get(unit.shape, []):
            found.update(_outcomes(unit, entries.pop(0)))
    return found


def noticing(file: Path) -> dict[str, Counter[str]]:
    """By the module that it was in: the tests that notice the loss of a check, and of how many."""
    known: dict[str, list[Entry]] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for entry in (entry for entries in known.values() for entry in entries):
        for test, numbers in entry.get("fails", {}).items():
            found[entry["in"].partition(" ")[0]][f"tests/{test}"] += len(numbers)
    return found


def write(file: Path, units: Sequence[Unit], outcomes: Mapping[Check, str]) -> None:
    """Write down what is known of these, and of nothing else."""
    by_shape: dict[str, list[Entry]] = defaultdict(list)
    for unit in units:
        if entry := _entry(unit, outcomes):
            by_shape[unit.shape].append(entry)
    lines = (f"{json.dumps(shape)}: {json.dumps(entries)}" for shape, entries in sorted(by_shape.items()))
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def _place(unit: Unit) -> str:
    return f"{unit.path} {unit.place}".rstrip()


def _outcomes(unit: Unit, entry: Entry) -> Iterator[tuple[Check, str]]:
    for test, numbers in entry.get("fails", {}).items():
        yield from ((unit.checks[number], f"tests/{test}") for number in numbers)
    yield from ((unit.checks[number], NOTHING) for number in entry.get("nothing", ()))


def _entry(unit: Unit, outcomes: Mapping[Check, str]) -> Entry:
    fails: dict[str, list[int]] = defaultdict(list)
    for number, check in enumerate(unit.checks):
        if check in outcomes:
            fails[outcomes[check].removeprefix("tests/")].append(number)
    nothing = fails.pop(NOTHING, [])
    known = ({"fails": fails} if fails else {}) | ({"nothing": nothing} if nothing else {})
    return {"in": _place(unit), **known} if known else {}
