"""A person at the terminal who is asked while sessions run: is it the same, and what is the password? One question at a time.

What is typed is read by the event loop, not by a thread: nobody who ends the program has to press Return for it.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from slixmpp_e2e.prompts import Compare
from xmpp_e2e_cli import show
from xmpp_e2e_cli.codes import UsageProblem
from xmpp_e2e_cli.show import Output

LINE_BYTES = 4096
"""The longest line that a terminal gives (n_tty of Linux)."""
_YES = frozenset({"y", "yes"})


class NoTerminal(UsageProblem):
    """There is nobody to ask."""

    remedy = "Run it in a terminal; or let a password or a key prove him: --password --file FILE, or --key."


def is_there() -> bool:
    """Is there somebody who sees what we ask, and can answer?"""
    return sys.stdin.isatty() and sys.stderr.isatty() and find_spec("termios") is not None


class Person:
    """Whoever sits at the terminal, as what the plugin's settings ``sas`` and ``password`` ask."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._turn = asyncio.Lock()

    @classmethod
    def at_terminal(cls, out: Output) -> Person | None:
        """If somebody is there."""
        return cls(out) if is_there() else None

    @property
    def settings(self) -> dict[str, Any]:
        """Of the plugin, which lead to him."""
        return {"sas": self.compares, "password": self.knows}

    async def compares(self, shown: Compare) -> bool:
        """Does he say that it is the same?"""
        question = [
            f"Compare this with what {show.one_line(shown.peer)} sees, by telephone or face to face:",
            f"  {shown.text}",
            "Is it the same on both sides? [y/N] ",
        ]
        if shown.cut:
            question.insert(0, f"So many comparisons with him were cut off before: {shown.cut}. Look closely.")
        same = (await self._answer("\n".join(question))).strip().casefold() in _YES
        said = "the same: you have verified his key" if same else "not the same: his key is not verified, and the session ends"
        self._out.tell(f"You say that it is {said}.")
        return same

    async def knows(self, peer: str) -> str | None:
        """The password that he shares with a peer; None: he knows of none."""
        question = f"{show.one_line(peer)} wants to prove a password that you two share. It is (empty: there is none): "
        return await self._answer(question, hidden=True) or None

    async def _answer(self, question: str, *, hidden: bool = False) -> str:
        """A line without its end; empty if he closes the input. Cancelled when its session ends."""
        loop, descriptor = asyncio.get_running_loop(), sys.stdin.fileno()
        async with self._turn:
            line: asyncio.Future[str] = loop.create_future()

            def typed() -> None:
                if not line.done():
                    line.set_result(os.read(descriptor, LINE_BYTES).decode(errors="replace").rstrip("\n"))

            with _terminal(descriptor, hidden=hidden):
                self._out.ask(question)
                loop.add_reader(descriptor, typed)
                try:
                    return await line
                except asyncio.CancelledError:
                    self._out.tell("\nThat session is over; there is nothing to answer any more.")
                    raise
                finally:
                    loop.remove_reader(descriptor)
                    if hidden:
                        self._out.tell("")


@contextmanager
def _terminal(descriptor: int, *, hidden: bool) -> Iterator[None]:
    """What was typed before the question is no answer to it; and a password is not to be seen."""
    import termios  # not everywhere, and the other commands are

    before = termios.tcgetattr(descriptor)
    during = list(before)
    if hidden:
        during[3] &= ~termios.ECHO
    termios.tcsetattr(descriptor, termios.TCSAFLUSH, during)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
