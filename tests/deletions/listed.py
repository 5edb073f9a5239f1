"""docs/deletions.md: for each check the test that fails without it, or why none can."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path

from tests.deletions.checks import Check

Key = tuple[str, str, str, str]
DOCUMENT = "docs/deletions.md"
SURVIVED = "**nothing**"
"""What fails without a check that no test knows of, and that nobody has judged."""
IMPORT = "(import)"
_HEADING = "## `"
_HEAD = "| in | the check | left out | what fails |\n|---|---|---|---|\n"


def read(document: Path) -> dict[Key, str]:
    """The last cell of each row by the others (file, place, text, what was done): here what fails, a test from `tests/` on in
    backticks, or a judgement in words, or `SURVIVED`."""
    listed: dict[Key, str] = {}
    path = ""
    for line in document.read_text(encoding="utf-8").splitlines():
        if line.startswith(_HEADING):
            path = line.strip("# `")
        elif line.startswith("| ") and path and not line.startswith("| in |"):
            place, text, how, fails = (cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1])
            listed[path, place.strip("`"), _uncoded(text), how] = fails
    return listed


def write(document: Path, checks: list[Check], listed: dict[Key, str]) -> None:
    """Write the tables anew, below the text in front of them."""
    text = document.read_text(encoding="utf-8").partition(_HEADING)[0]
    for path, group in groupby(checks, lambda check: check.path):
        text += f"{_HEADING}{path}`\n\n{_HEAD}"
        for check in group:
            cells = (f"`{check.place}`" if check.place else "", coded(check.text), check.how, listed.get(check.key, SURVIVED))
            text += "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"
        text += "\n"
    document.write_text(text.rstrip("\n") + "\n", encoding="utf-8")


def test_of(fails: str) -> str | None:
    """The test that is named, as pytest knows it; None if there is only a judgement."""
    return f"tests/{fails.strip('`')}" if fails.startswith("`") and "::" in fails else None


def named(test: str) -> str:
    """A test as it is listed."""
    return f"`{test.removeprefix('tests/')}`"


def coded(text: str) -> str:
    """Source text as a cell shows it."""
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def _uncoded(cell: str) -> str:
    return cell[3:-3] if cell.startswith("`` ") else cell[1:-1]
