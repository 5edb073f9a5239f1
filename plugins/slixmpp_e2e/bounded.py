"""Keep so many entries and no more."""

from __future__ import annotations

from typing import TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")


def keep_newest(table: dict[_K, _V], key: _K, value: _V, most: int) -> None:
    """Put an entry into a table. Beyond ``most`` the oldest one goes, and only that one: a newcomer costs nobody else."""
    table[key] = value
    if len(table) > most:
        del table[next(iter(table))]
