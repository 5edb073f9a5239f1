"""tests/evidence/mutants.json: the mutants that survive, by the shape of the function that they change, and why each may.

``why`` begins with a class: *words* of a message to a person; *same*: the mutant does what the original does; *default*: of an
argument that is always given; *slack*: a size of which only the order matters; *open*: nobody has judged it.
``in`` only says to people where the function was.
"""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.evidence.shapes import shape

FILE = "tests/evidence/mutants.json"
OPEN = "open"
_SURVIVES = (0, 33)
"""mutmut's codes: no test failed, and no test executes it."""
_REFUSED = 37
"""mypy does not let it pass."""
_MUTANT = re.compile(r"x(?:ǁ(?P<cls>\w+?)ǁ|_)(?P<function>\w+)__mutmut_(?P<number>\d+|orig)")
_TOKEN = re.compile(r"\w+|\s+|[-!=<>+*/|&%]+|[^\w\s]")

Judged = list[tuple[str, str]]
"""Each change to a function that nothing notices, and why nothing has to."""


@dataclass(frozen=True)
class Function:
    """One function, and what became of its mutants."""

    place: str
    shape: str
    mutants: int
    by_mypy: int
    survivors: tuple[str, ...]
    """How each differs from the function."""


def results(root: Path) -> list[Function]:
    """What mutmut's last run has left in ``mutants/``; ValueError if it has not come to its end."""
    return [function for path in modules(root) for function in _of_file(root, path.relative_to(root).as_posix())]


def modules(root: Path) -> list[Path]:
    """What mutmut is to change."""
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mutmut"]
    found = {pattern: sorted(root.glob(pattern)) for pattern in settings["only_mutate"]}
    if gone := [pattern for pattern, paths in found.items() if not paths]:
        raise FileNotFoundError(f"no module is called {', '.join(gone)}: where is it now?")
    return [path for paths in found.values() for path in paths]


def _of_file(root: Path, path: str) -> Iterator[Function]:
    codes = json.loads((root / f"mutants/{path}.meta").read_text(encoding="utf-8"))["exit_code_by_key"]
    if None in codes.values():
        raise ValueError(f"mutmut has not tried every mutant of {path}")
    mutated = (root / "mutants" / path).read_text(encoding="utf-8")
    texts: dict[str, str] = {}
    originals: dict[str, tuple[str, ast.FunctionDef]] = {}
    for name, place, node in _functions(ast.parse(mutated)):
        lines = mutated.splitlines()[node.lineno - 1 : node.end_lineno]
        texts[name] = "\n".join(lines).replace(name, "it", 1)
        originals[name.rpartition("_")[0]] = place, node
    outcomes: dict[str, dict[str, int]] = defaultdict(dict)
    for key, code in codes.items():
        name = key.rpartition(".")[2]
        outcomes[name.rpartition("_")[0]][name] = code
    for stem, of_each in outcomes.items():
        place, node = originals[stem]
        survivors = (change(texts[f"{stem}_orig"], texts[name]) for name, code in of_each.items() if code in _SURVIVES)
        refused = sum(code == _REFUSED for code in of_each.values())
        yield Function(f"{path} {place}", shape(node), len(of_each), refused, tuple(survivors))


def _functions(tree: ast.AST) -> Iterator[tuple[str, str, ast.FunctionDef]]:
    """What mutmut has made of functions: its name for each, the function's own, and the function."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield from _functions(node)
        elif isinstance(node, ast.FunctionDef) and (mutant := _MUTANT.fullmatch(node.name)):
            name, node.name = node.name, mutant["function"]
            yield name, f"{mutant['cls']}.{node.name}" if mutant["cls"] else node.name, node


def change(before: str, after: str) -> str:
    """How a function differs from the one that it became."""
    old, new = _TOKEN.findall(before), _TOKEN.findall(after)
    start = next((place for place, (one, other) in enumerate(zip(old, new, strict=False)) if one != other), 0)
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1

    def differ() -> tuple[str, str]:
        was, became = ("".join(tokens[start : len(tokens) - end]) for tokens in (old, new))
        return " ".join(was.split()), " ".join(became.split())

    while start and not all(differ()):  # what is left out, or put in, is told by what is before it
        start -= 1
    return " → ".join(differ())


# --- the data ----------------------------------------------------------------------------------------------------------


def read(file: Path) -> dict[str, Judged]:
    """By shape: what survives, and why it may."""
    functions = json.loads(file.read_text(encoding="utf-8"))["functions"] if file.exists() else {}
    return {shape: [(what, why) for what, why in function["survive"]] for shape, function in functions.items()}


def judged(function: Function, known: Mapping[str, Judged]) -> Judged:
    """Its survivors, with what is known of them: by the change, or in their order, if names have changed."""
    before = known.get(function.shape, [])
    if len(before) == len(function.survivors):
        return [(what, why) for what, (_, why) in zip(function.survivors, before, strict=True)]
    reasons = dict(before)
    return [(what, reasons.get(what, OPEN)) for what in function.survivors]


def write(file: Path, functions: list[Function], known: Mapping[str, Judged]) -> None:
    """Write down what survives, and how many mutants there were."""
    survive = sum(len(function.survivors) for function in functions)
    mutants, by_mypy = (sum(numbers) for numbers in zip(*((f.mutants, f.by_mypy) for f in functions), strict=True))
    totals = {"mutants": mutants, "fail a test": mutants - by_mypy - survive, "fail mypy": by_mypy, "survive": survive}
    lines: dict[str, dict[str, Any]] = {
        function.shape: {"in": function.place, "survive": judged(function, known)}
        for function in functions
        if function.survivors
    }
    said = ",\n".join(f"{json.dumps(key)}: {json.dumps(line, ensure_ascii=False)}" for key, line in sorted(lines.items()))
    file.write_text(f'{{"totals": {json.dumps(totals)},\n"functions": {{\n{said}\n}}}}\n', encoding="utf-8")
