"""The server's archive (XEP-0313) and carbons (XEP-0280) contain nothing of what was sent through a session."""

from __future__ import annotations

from slixmpp import ClientXMPP

from interop.harness import Harness
from interop.helpers import Events, plugin, say, session
from interop.servers.setup import Setup

SETUP = Setup(archive=True)
NOT_ON = {"loopback": "it keeps no archive"}


def read_along(client: ClientXMPP) -> None:
    """Load archive and carbons."""
    for name in ("xep_0313", "xep_0280"):
        client.register_plugin(name)


async def archived(client: ClientXMPP) -> list[str]:
    """Return every body that the server has archived for this account."""
    return [
        result["mam_result"]["forwarded"]["stanza"]["body"]
        async for result in plugin(client, "xep_0313").iterate()
    ]


async def run(harness: Harness) -> None:
    """Alice sends one message through a session and another in plaintext, while a second client of Alice's reads along."""
    alice, bob = await harness.e2e_client("alice"), await harness.e2e_client("bob", policy="prefer")
    onlooker = await harness.client("alice", "onlooker", read_along)
    await plugin(onlooker, "xep_0280").enable()
    copies = Events(onlooker, "carbon_sent")
    heard = Events(bob, "message")

    await session(alice, bob)
    say(alice, bob.boundjid, "This stays here.")
    assert await heard.body() == "This stays here."
    await harness.unload(alice)
    say(alice, bob.boundjid, "This does not.")
    assert await heard.body() == "This does not."

    assert (await copies.take())["carbon_sent"]["body"] == "This does not."
    await harness.settle(onlooker)
    assert not len(copies)
    assert await archived(onlooker) == ["This does not."]
