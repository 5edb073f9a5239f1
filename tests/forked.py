"""Processes that begin at once: forked from one that has imported everything, for which a new Python takes a second (Linux)."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

_SERVER = get_context("forkserver")
_SERVER.set_forkserver_preload(["pytest", "slixmpp_e2e.store", "xmpp_e2e_cli.app", __name__])
Run = Callable[[Sequence[str]], int | None]
"""What a process does with its words; returns the exit code. It is found by its name."""


class Forked:
    """One process, with standard streams, an environment and a folder of its own."""

    def __init__(
        self, run: Run, words: Sequence[str], streams: Sequence[int], environment: Mapping[str, str], folder: Path
    ) -> None:
        """``streams``: three descriptors, which stay open here."""
        ends = [Connection(os.dup(descriptor)) for descriptor in streams]
        self._process = _SERVER.Process(target=_begin, args=(run, list(words), ends, dict(environment), folder))
        self._process.start()
        for end in ends:
            end.close()

    @property
    def pid(self) -> int:
        """As the system knows it."""
        assert self._process.pid is not None
        return self._process.pid

    def wait(self, seconds: float) -> int:
        """Until it has ended; the exit code, or a signal's number below zero. TimeoutError."""
        self._process.join(seconds)
        if self._process.exitcode is None:
            raise TimeoutError(f"it still runs after {seconds} seconds")
        return self._process.exitcode

    def kill(self) -> None:
        """End it at once, if it has not ended."""
        self._process.kill()


def script(words: Sequence[str]) -> None:
    """Runs the first word as ``python -c`` would, with the others as its arguments."""
    sys.argv = ["-c", *words[1:]]
    exec(words[0], {"__name__": "__main__"})


def _begin(run: Run, words: Sequence[str], ends: Sequence[Connection], environment: Mapping[str, str], folder: Path) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell ignores for what runs in its background
    for number, end in enumerate(ends):
        os.dup2(end.fileno(), number)
        end.close()
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.exit(run(words))
