"""A client that answers no disco gets its messages soon: it is waited for once, and the sender is told."""

from __future__ import annotations

import asyncio

from slixmpp import ClientXMPP, Iq
from slixmpp.xmlstream.stanzabase import StanzaBase

from interop.harness import Harness
from interop.helpers import Events, say

SECONDS = 1.0
"""Time that Alice gives devices to answer."""


def be_silent(client: ClientXMPP) -> None:
    """Drop what others ask."""

    def drop(stanza: StanzaBase) -> StanzaBase | None:
        return None if isinstance(stanza, Iq) and stanza["type"] == "get" else stanza

    client.add_filter("in", drop)


async def run(harness: Harness) -> None:
    """Bob's client says nothing of what it can do, and its presence changes."""
    alice = await harness.e2e_client("alice", disco_seconds=SECONDS)
    came, waiting = Events(alice, "presence_available"), Events(alice, "e2e_waiting")
    bob = await harness.client("bob", prepare=be_silent)
    heard = Events(bob, "message")
    while (await came.take())["from"] != bob.boundjid:
        pass
    say(alice, harness.jid("bob"), "Hello?")
    assert await heard.body() == "Hello?"
    assert (await waiting.take()).to == harness.jid("bob")
    loop = asyncio.get_running_loop()
    for status in ("here", "there"):
        bob.send_presence(pstatus=status)
        while (await came.take())["status"] != status:
            pass
        began = loop.time()
        say(alice, harness.jid("bob"), status)
        assert await heard.body() == status
        assert loop.time() - began < SECONDS
    assert not len(waiting)
