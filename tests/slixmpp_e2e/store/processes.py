"""Run scripts in other processes that use the same modules, and look at a store from outside."""

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
    """A script in its own process, with the same modules. Use it in `with`, which kills a script that still runs."""

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
        self.stdin.close()
        self._process.wait(SECONDS)
        return self.stdout.read()

    def kill(self) -> None:
        self._process.kill()


def run(script: str, *arguments: object) -> str:
    with Running(script, *arguments) as process:
        return process.rest()


def at_once(script: str, *arguments: tuple[object, ...]) -> list[list[str]]:
    with ExitStack() as stack:
        processes = [stack.enter_context(Running(script, *each)) for each in arguments]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        return [process.rest().split() for process in processes]


def execute(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def dump(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    lines = list(connection.iterdump())
    connection.close()
    return lines


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
