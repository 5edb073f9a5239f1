"""Other processes that use the same modules, and what a store looks like from outside."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

SECONDS = 60
"""Longer than any of them takes on a busy computer."""


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    """A Python process that sees the same modules."""
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def run(script: str, *arguments: object) -> str:
    """What a Python process prints that runs to its end."""
    return start(script, *arguments).communicate(timeout=SECONDS)[0]


def at_once(script: str, *arguments: tuple[object, ...]) -> list[list[str]]:
    """The words that processes print which start in the same instant: each says ``ready`` and waits for a line."""
    processes = [start(script, *each) for each in arguments]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        return [process.communicate(timeout=SECONDS)[0].split() for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def execute(path: Path, *statements: str) -> None:
    """What another program does to a database."""
    connection = sqlite3.connect(path)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def dump(path: Path) -> list[str]:
    """All that is in a database, as SQL."""
    connection = sqlite3.connect(path)
    lines = list(connection.iterdump())
    connection.close()
    return lines


def files(folder: Path) -> dict[str, bytes]:
    """The files in a folder."""
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
