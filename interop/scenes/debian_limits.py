"""Under Debian's limits a letter of 24 KiB, its answer, and fifty messages and iqs each way arrive slowly, but whole."""

from __future__ import annotations

from interop.harness import Harness
from interop.helpers import Events, echo, say
from interop.scenes import many_stanzas
from interop.servers.setup import Setup

SETUP = Setup(limits=True)

LETTER = "My dear Alice, " * 1638
COUNT = 50


async def run(harness: Harness) -> None:
    """Alice sends Bob's bot the letter and gets it back, and talks with Carol."""
    alice, bob = await harness.e2e_client("alice"), await harness.e2e_client("bob", prepare=echo)
    heard = Events(alice, "message")
    say(alice, bob.boundjid, "Are you there?")
    assert await heard.body() == "You said: Are you there?"
    say(alice, bob.boundjid, LETTER)
    assert await heard.body() == f"You said: {LETTER}"
    carol = await harness.e2e_client("carol")
    said = {client: many_stanzas.bodies(client.boundjid.user, large=0)[:COUNT] for client in (alice, carol)}
    await many_stanzas.converse(alice, carol, said)
    assert harness.find_text("Are you there", "My dear Alice", "urn:example:sums", "<body") == []
