"""Each client announces end-to-end encryption in its presence, and disco#info confirms it."""

from __future__ import annotations

from slixmpp import ClientXMPP, Presence

from interop.harness import Harness
from interop.helpers import Events, plugin

SECURITY = "urn:x-xmpp-e2e:security:0"


async def features(client: ClientXMPP, presence: Presence) -> set[str]:
    """Return the features behind the capabilities hash in ``presence`` (XEP-0115), as the client looked them up."""
    info = await plugin(client, "xep_0115").get_caps(verstring=presence["caps"]["ver"])
    return set(info["features"]) if info else set()


async def advertises(client: ClientXMPP, peer: str) -> bool:
    """Return whether ``peer`` answers disco#info (XEP-0030) with our feature."""
    answer = await plugin(client, "xep_0030").get_info(peer, cached=False)
    return SECURITY in answer["disco_info"]["features"]


async def run(harness: Harness) -> None:
    """Alice sees the feature of Bob's client, not of Bob's other client, and no longer after Bob has unloaded the
    plugin."""
    alice = await harness.e2e_client("alice")
    came = Events(alice, "presence_available")

    async def seen(client: ClientXMPP) -> set[str]:
        """Return the features that Alice knows from the last presence of this client."""
        await harness.settle(client, alice, client)
        presences = [presence for presence in came.all() if presence["from"] == client.boundjid]
        return await features(alice, presences[-1])

    bob = await harness.e2e_client("bob")
    assert SECURITY in await seen(bob)
    assert await advertises(alice, bob.boundjid.full)
    assert await advertises(bob, alice.boundjid.full)

    plain = await harness.client("bob", "plain", lambda client: client.register_plugin("xep_0115"))
    assert SECURITY not in await seen(plain)
    assert not await advertises(alice, plain.boundjid.full)

    await harness.unload(bob)
    assert SECURITY not in await seen(bob)
    assert not await advertises(alice, bob.boundjid.full)
