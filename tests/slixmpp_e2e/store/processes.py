"""Other processes that use the same modules, and what a store looks like from outside."""

from __future__ import annotations

import os
import sqlite3
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from tests import forked
from tests.forked import Forked

SECONDS = 60
"""Longer than any of them takes on a busy computer."""


class Running:
    """A script in a process of its own that sees the same modules, and what it reads and prints. Use it in `with`, at whose end
    it is killed if it still runs."""

    def __init__(self, script: str, *arguments: object) -> None:
        (its_input, write), (read, its_output) = os.pipe(), os.pipe()
        words = [script, *map(str, arguments)]
        self._process = Forked(forked.script, words, (its_input, its_output, 2), os.environ, Path.cwd())
        os.close(its_input)
        os.close(its_output)
        self.stdin, self.stdout = os.fdopen(write, "w"), os.fdopen(read)
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.stdin.close()
        self.stdout.close()

    def rest(self) -> str:
        """Wait for its end; what it has printed and nobody has read, which fits into a pipe."""
        self.stdin.close()
        self._process.wait(SECONDS)
        return self.stdout.read()

    def kill(self) -> None:
        """End it at once, if it has not ended."""
        self._process.kill()


def run(script: str, *arguments: object) -> str:
    """What a script prints that runs to its end."""
    with Running(script, *arguments) as process:
        return process.rest()


def at_once(script: str, *arguments: tuple[object, ...]) -> list[list[str]]:
    """The words that processes print which start in the same instant: each says ``ready`` and waits for a line."""
    with ExitStack() as stack:
        processes = [stack.enter_context(Running(script, *each)) for each in arguments]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        return [process.rest().split() for process in processes]


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
