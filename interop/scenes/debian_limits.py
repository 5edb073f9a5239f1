"""Under Debian's limits a session opens and a letter of 24 KiB and its answer arrive: slowly, but whole."""

from __future__ import annotations

from interop.props import Heard, echo, say
from interop.servers.setup import Setup
from interop.stage import Stage

SETUP = Setup(limits=True)

LETTER = "My dear Alice, " * 1638


async def play(stage: Stage) -> None:
    """Alice sends Bob the letter, and his bot sends it back."""
    alice, bob = await stage.encrypted("alice"), await stage.encrypted("bob", prepare=echo)
    heard = Heard(alice, "message")
    say(alice, bob.boundjid, "Are you there?")
    assert await heard.body() == "You said: Are you there?"
    say(alice, bob.boundjid, LETTER)
    assert await heard.body() == f"You said: {LETTER}"
    assert stage.readable("Are you there", "My dear Alice") == []
