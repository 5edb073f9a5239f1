"""The server's archive (XEP-0313) and the copies for other devices (XEP-0280) hold nothing of what was said inside."""

from __future__ import annotations

from slixmpp import ClientXMPP

from interop.props import Heard, plugin, say, session
from interop.servers.setup import Setup
from interop.stage import Stage

SETUP = Setup(archive=True)
NOT_ON = {"loopback": "it keeps no archive"}


def read_along(client: ClientXMPP) -> None:
    """Load archive and carbons."""
    for name in ("xep_0313", "xep_0280"):
        client.register_plugin(name)


async def archived(client: ClientXMPP) -> list[str]:
    """Every body that the server has stored for this account."""
    return [
        result["mam_result"]["forwarded"]["stanza"]["body"]
        async for result in plugin(client, "xep_0313").iterate()
    ]


async def play(stage: Stage) -> None:
    """Alice says one thing inside and another in clear, with a second client of hers looking on."""
    alice, bob = await stage.encrypted("alice"), await stage.encrypted("bob", policy="prefer")
    onlooker = await stage.client("alice", "onlooker", read_along)
    await plugin(onlooker, "xep_0280").enable()
    copies = Heard(onlooker, "carbon_sent")
    heard = Heard(bob, "message")

    await session(alice, bob)
    say(alice, bob.boundjid, "This stays here.")
    assert await heard.body() == "This stays here."
    await stage.unload(alice)
    say(alice, bob.boundjid, "This does not.")
    assert await heard.body() == "This does not."

    assert (await copies.take())["carbon_sent"]["body"] == "This does not."
    await stage.settle(onlooker)
    assert not len(copies)
    assert await archived(onlooker) == ["This does not."]
