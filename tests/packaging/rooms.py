"""Prints the rooms of the core and of the plugin, and which room imports which: `python -m tests.packaging.rooms`.

A room is a folder, or a module beside it. Exits with 1 if the arrows go in a circle. Imports for types only are left out.
"""

from __future__ import annotations

import importlib.util
import statistics
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp

PACKAGES = ("xmpp_e2e", "slixmpp_e2e")


def arrows(package: str) -> dict[str, set[str]]:
    """Return the rooms of a package, each with the rooms that it imports."""
    graph = grimp.build_graph(package, exclude_type_checking_imports=True, cache_dir=None)
    rooms = {room: set[str]() for room in graph.find_children(package)}
    for room in rooms:
        inside = {room, *graph.find_descendants(room)}
        imported = {other for module in inside for other in graph.find_modules_directly_imported_by(module)}
        rooms[room] = {
            other for other in rooms if other != room and imported & {other, *graph.find_descendants(other)}
        }
    return rooms


def ordered(rooms: dict[str, set[str]]) -> list[str]:
    """Return the rooms from the top to the bottom. CycleError if the arrows go in a circle."""
    return list(TopologicalSorter(rooms).static_order())[::-1]


def question(module: str) -> str:
    """Return the first line of a module's docstring."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    text = Path(spec.origin).read_text(encoding="utf-8")
    return text.partition('"""')[2].partition('"""')[0].partition("\n")[0]


def files(module: str) -> list[Path]:
    """Return the files of a room."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin)
    return sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]


def main() -> int:
    """Print the rooms of both packages."""
    for package in PACKAGES:
        rooms = arrows(package)
        try:
            order = ordered(rooms)
        except CycleError as error:
            print(f"{package}: these import each other: {' → '.join(error.args[1])}")
            return 1
        print(f"{package}: {question(package)}\n")
        for room in order:
            lines = [len(file.read_text(encoding="utf-8").splitlines()) for file in files(room)]
            below = ", ".join(other.rpartition(".")[2] for other in order if other in rooms[room])
            median = f"{statistics.median(lines):.0f} lines"
            size = f"{len(lines)} modules, median {median}" if len(lines) > 1 else median
            print(f"  {room.rpartition('.')[2]} ({size})\n      {question(room)}\n      imports: {below or 'no other room'}")
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
