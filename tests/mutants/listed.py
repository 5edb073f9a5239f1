"""What mutmut has left in ``mutants/``, and docs/mutants.md: each mutant that survives, and why nothing has to notice it."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.deletions.listed import coded

DOCUMENT = "docs/mutants.md"
OPEN = "**nobody has judged it**"
_SURVIVES = (0, 33)
"""mutmut's codes: no test failed, and no test executes it."""
_REFUSED = 37
"""mypy does not let it pass."""
_FILES = "## What was mutated\n"
_FILES_HEAD = "| file | SHA-256 | mutants | fail a test | fail mypy | survive |\n|---|---|---|---|---|---|\n"
_HEADING = "## `"
_HEAD = "| in | the line | changed | why nothing notices |\n|---|---|---|---|\n"
_FILE_ROW = re.compile(r"^\| `([\w/.]+)` \| `([0-9a-f]{64})` \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", re.MULTILINE)
_MUTANT = re.compile(r"x(?:ǁ(?P<cls>\w+?)ǁ|_)(?P<function>\w+)__mutmut_(?P<number>\d+|orig)")
_TOKEN = re.compile(r"\w+|\s+|[-!=<>+*/|&%]+|[^\w\s]")

Key = tuple[str, str, str, str]
"""The file, the function, the line and the change: what tells a mutant from others, and outlives changes elsewhere."""


@dataclass(frozen=True)
class Mutated:
    """One file, and what became of its mutants."""

    path: str
    digest: str
    """SHA-256 of the file, in hexadecimal."""
    mutants: int
    by_tests: int
    by_mypy: int
    survivors: tuple[Key, ...]


def selected(root: Path) -> list[str]:
    """The files that mutmut is set to mutate, from the top of the repository."""
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mutmut"]
    paths = (path for pattern in settings["only_mutate"] for path in sorted(root.glob(pattern)))
    return [path.relative_to(root).as_posix() for path in paths]


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def results(root: Path) -> list[Mutated]:
    """What the last run has left; ValueError if it has not come to its end."""
    return [_of_file(root, path) for path in selected(root)]


def _of_file(root: Path, path: str) -> Mutated:
    codes = json.loads((root / f"mutants/{path}.meta").read_text(encoding="utf-8"))["exit_code_by_key"]
    if None in codes.values():
        raise ValueError(f"mutmut has not tried every mutant of {path}")
    changes = _changes((root / "mutants" / path).read_text(encoding="utf-8"))
    names = [name.rpartition(".")[2] for name, code in codes.items() if code in _SURVIVES]
    seen: Counter[Key] = Counter()
    survivors = []
    for name in names:
        place, line, change = changes[name]
        key = (path, place, line, change)
        seen[key] += 1
        survivors.append(key if seen[key] == 1 else (path, place, line, f"{change} ({seen[key]})"))
    refused = sum(code == _REFUSED for code in codes.values())
    return Mutated(
        path, digest(root / path), len(codes), len(codes) - refused - len(survivors), refused, tuple(survivors)
    )


def _changes(source: str) -> dict[str, tuple[str, str, str]]:
    """By the name of a mutant: its function, the line that is changed, and how."""
    texts = dict(_functions(ast.parse(source), source))
    found = {}
    for name, text in texts.items():
        mutant = _MUTANT.fullmatch(name)
        assert mutant is not None
        if mutant["number"] != "orig":
            place = f"{mutant['cls']}.{mutant['function']}" if mutant["cls"] else mutant["function"]
            found[name] = (place, *change(texts[name.rpartition("_")[0] + "_orig"], text))
    return found


def _functions(tree: ast.AST, source: str) -> Iterator[tuple[str, str]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield from _functions(node, source)
        elif isinstance(node, ast.FunctionDef) and "__mutmut_" in node.name:
            lines = source.splitlines()[node.lineno - 1 : node.end_lineno]
            yield node.name, "\n".join(lines).replace(node.name, "it", 1)


def change(before: str, after: str) -> tuple[str, str]:
    """The line of a function that differs from the one that it became (or the first, if there are more), and the difference."""
    old, new = _TOKEN.findall(before), _TOKEN.findall(after)
    start = next((place for place, (one, other) in enumerate(zip(old, new, strict=False)) if one != other), 0)
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1

    def differ() -> tuple[str, str]:
        was, became = ("".join(tokens[start : len(tokens) - end]) for tokens in (old, new))
        return was, became

    line = before[: len("".join(old[:start])) + 1].rstrip("\n").count("\n")
    while start and not all(part.strip() for part in differ()):  # what is left out, or put in, is told by what is before it
        start -= 1
    was, became = differ()
    return _flat(before.splitlines()[line]), f"`{_flat(was)}` → `{_flat(became)}`"


def _flat(text: str) -> str:
    return " ".join(text.split())


# --- the document ------------------------------------------------------------------------------------------------------


def taken_from(document: Path) -> dict[str, tuple[str, int]]:
    """Each file that was mutated: the SHA-256 that it had, and how many mutants survived."""
    rows = _FILE_ROW.findall(document.read_text(encoding="utf-8"))
    return {path: (hashed, int(survive)) for path, hashed, _, _, _, survive in rows}


def write(document: Path, files: list[Mutated], judged: dict[Key, str]) -> None:
    """Write the tables anew, below the text in front of them."""
    text = document.read_text(encoding="utf-8").partition(_FILES)[0] + f"{_FILES}\n{_FILES_HEAD}"
    for file in files:
        counts = (file.mutants, file.by_tests, file.by_mypy, len(file.survivors))
        text += f"| `{file.path}` | `{file.digest}` | " + " | ".join(map(str, counts)) + " |\n"
    for file in files:
        if file.survivors:
            text += f"\n{_HEADING}{file.path}`\n\n{_HEAD}"
        for key in file.survivors:
            cells = (f"`{key[1]}`", coded(key[2]), key[3], judged.get(key, OPEN))
            text += "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"
    document.write_text(text, encoding="utf-8")
