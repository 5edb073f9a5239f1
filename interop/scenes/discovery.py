"""Each client tells in its presence that it has end-to-end encryption, and disco#info confirms it."""

from __future__ import annotations

from slixmpp import ClientXMPP, Presence

from interop.props import Heard, plugin
from interop.stage import Stage

SECURITY = "urn:x-xmpp-e2e:security:0"


async def features(client: ClientXMPP, presence: Presence) -> set[str]:
    """What the capabilities hash in ``presence`` stands for (XEP-0115), as the client found out."""
    info = await plugin(client, "xep_0115").get_caps(verstring=presence["caps"]["ver"])
    return set(info["features"]) if info else set()


async def advertises(client: ClientXMPP, peer: str) -> bool:
    """Whether ``peer`` answers a question (XEP-0030) by our feature."""
    answer = await plugin(client, "xep_0030").get_info(peer, cached=False)
    return SECURITY in answer["disco_info"]["features"]


async def play(stage: Stage) -> None:
    """Alice sees that Bob has it, that another client of his has not, and that he has it no more once he has unloaded it."""
    alice = await stage.encrypted("alice")
    came = Heard(alice, "presence_available")

    async def seen(client: ClientXMPP) -> set[str]:
        """What Alice knows of this client of Bob's by the last presence that came from it."""
        await stage.settle(client, alice, client)
        presences = [presence for presence in came.all() if presence["from"] == client.boundjid]
        return await features(alice, presences[-1])

    bob = await stage.encrypted("bob")
    assert SECURITY in await seen(bob)
    assert await advertises(alice, bob.boundjid.full)
    assert await advertises(bob, alice.boundjid.full)

    plain = await stage.client("bob", "plain", lambda client: client.register_plugin("xep_0115"))
    assert SECURITY not in await seen(plain)
    assert not await advertises(alice, plain.boundjid.full)

    await stage.unload(bob)
    assert SECURITY not in await seen(bob)
    assert not await advertises(alice, bob.boundjid.full)
