"""The processes of a server under test, as the system shows them (Linux)."""

from __future__ import annotations

from pathlib import Path


def gone(pid: int) -> bool:
    """Return whether no process, not even a zombie, has this id."""
    return not Path(f"/proc/{pid}").exists()


def command(pid: int) -> str:
    """Return the name of the program that ``pid`` runs."""
    return Path(f"/proc/{pid}/comm").read_text().strip()


def family(pid: int) -> list[int]:
    """Return ``pid`` and the ids of all its descendants."""
    children = [int(word) for path in Path(f"/proc/{pid}/task").glob("*/children") for word in path.read_text().split()]
    return [pid, *(member for child in children for member in family(child))]
