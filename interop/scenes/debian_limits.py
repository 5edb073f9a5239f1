"""Under Debian's limits a letter of 24 KiB and its answer arrive, and fifty messages and iqs each way: slowly, but whole."""

from __future__ import annotations

from interop.props import Heard, echo, say
from interop.scenes import many_stanzas
from interop.servers.setup import Setup
from interop.stage import Stage

SETUP = Setup(limits=True)

LETTER = "My dear Alice, " * 1638
COUNT = 50


async def play(stage: Stage) -> None:
    """Alice sends Bob the letter, and his bot sends it back; with Carol she talks."""
    alice, bob = await stage.encrypted("alice"), await stage.encrypted("bob", prepare=echo)
    heard = Heard(alice, "message")
    say(alice, bob.boundjid, "Are you there?")
    assert await heard.body() == "You said: Are you there?"
    say(alice, bob.boundjid, LETTER)
    assert await heard.body() == f"You said: {LETTER}"
    carol = await stage.encrypted("carol")
    said = {client: many_stanzas.bodies(client.boundjid.user, large=0)[:COUNT] for client in (alice, carol)}
    await many_stanzas.converse(alice, carol, said)
    assert stage.readable("Are you there", "My dear Alice", "urn:example:sums", "<body") == []
