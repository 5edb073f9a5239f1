"""Ask the user at the terminal while sessions run, one question at a time.

The event loop reads the answer, not a thread: the program can end without somebody pressing Return.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from slixmpp_e2e.prompts import SasPrompt
from xmpp_e2e_cli.output import Output, one_line

LINE_BYTES = 4096
"""The longest line that a terminal delivers (n_tty of Linux)."""
YES = frozenset({"y", "yes"})
"""The answers that agree. All others do not."""


def has_terminal() -> bool:
    """Return whether a user can see our questions and answer them."""
    return sys.stdin.isatty() and sys.stderr.isatty() and find_spec("termios") is not None


def prompt_settings(out: Output) -> dict[str, Any]:
    """Return the plugin's settings that send its prompts to the user at the terminal; none without a terminal."""
    if not has_terminal():
        return {}
    user = TerminalUser(out)
    return {"ask_sas": user.compare_sas, "ask_password": user.ask_password}


class TerminalUser:
    """Answers the plugin's prompts by asking the user at the terminal."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._turn = asyncio.Lock()

    async def compare_sas(self, shown: SasPrompt) -> bool:
        """Show the short string; return whether the user says that both sides see the same."""
        question = [
            f"Compare this with what {one_line(shown.peer)} sees, by telephone or face to face:",
            f"  {shown.text}",
            "Is it the same on both sides? [y/N] ",
        ]
        if shown.interrupted:
            question.insert(0, _interrupted(shown.interrupted))
        same = (await self._ask("\n".join(question))).strip().casefold() in YES
        result = "the same. The key is verified" if same else "different. The key is not verified, and the session ends"
        self._out.info(f"You say that it is {result}.")
        return same

    async def ask_password(self, peer: str) -> str | None:
        """Ask for the password that the user shares with the peer; None if they enter nothing."""
        question = f"{one_line(peer)} wants to verify a password that you two share. Shared password (Enter to skip): "
        return await self._ask(question, hidden=True) or None

    async def _ask(self, question: str, *, hidden: bool = False) -> str:
        """Return the line that the user types, empty if they close the input. Cancelled when the session ends."""
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
                    self._out.info("\nThe session has ended. No answer is needed any more.")
                    raise
                finally:
                    loop.remove_reader(descriptor)
                    if hidden:
                        self._out.info("")


def _interrupted(count: int) -> str:
    comparisons, were = ("comparison", "was") if count == 1 else ("comparisons", "were")
    return f"{count} earlier {comparisons} with this contact {were} interrupted. Check carefully."


@contextmanager
def _terminal(descriptor: int, *, hidden: bool) -> Iterator[None]:
    """Discard what was typed before the question, and show no password while it is typed."""
    import termios  # Not on every platform. The other commands work without it.

    before = termios.tcgetattr(descriptor)
    during = list(before)
    if hidden:
        during[3] &= ~termios.ECHO
    termios.tcsetattr(descriptor, termios.TCSAFLUSH, during)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
