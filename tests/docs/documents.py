"""The documents as tests read them: links, named code blocks, tables."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md")))
_BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


def text(name: str) -> str:
    """A document, by its path from the top of the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str) -> dict[str, str]:
    """The code blocks of a document that have a name: what follows the language."""
    named = ((info.partition(" ")[2], body) for info, body in _BLOCK.findall(text(name)))
    return {label: body for label, body in named if label}


def prose(path: Path) -> str:
    """A document without its code blocks."""
    return _BLOCK.sub("", path.read_text(encoding="utf-8"))


def links(path: Path) -> list[str]:
    """Where a document points."""
    return _LINK.findall(prose(path))


def anchors(path: Path) -> set[str]:
    """The headings of a document, as GitHub makes anchors of them."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(prose(path))}


def rows(name: str, heading: str, number: int = 1) -> list[list[str]]:
    """The cells of a table below a heading (the first one, or another by number), its header left out."""
    below = text(name).partition(f"# {heading}\n")[2]
    tables = re.findall(r"(?:^\|.*\n)+", below, re.MULTILINE)
    # a bar inside a cell is written \|
    return _cells(tables[number - 1])


def all_rows(name: str) -> list[list[str]]:
    """The rows of all tables of a document, without their headers."""
    return [row for table in re.findall(r"(?:^\|.*\n)+", text(name), re.MULTILINE) for row in _cells(table)]


def _cells(table: str) -> list[list[str]]:
    lines = table.splitlines()[2:]
    return [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def code(cell: str) -> list[str]:
    """What a cell has in `backticks`."""
    return re.findall(r"`([^`]+)`", cell)
