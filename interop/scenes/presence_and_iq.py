"""Directed presence and iqs go through the session both ways, for plugins that know nothing of encryption."""

from __future__ import annotations

from slixmpp import ClientXMPP

from interop.harness import Harness
from interop.helpers import Events, plugin, session


def tell_version(client: ClientXMPP) -> None:
    """Load two plugins that use iqs."""
    client.register_plugin("xep_0092", {"software_name": f"Client of {client.requested_jid.user}", "version": "6.6"})
    client.register_plugin("xep_0199")


async def run(harness: Harness) -> None:
    """Alice and Bob send each other directed presence, ping, and ask for versions (XEP-0092, XEP-0199)."""
    alice = await harness.e2e_client("alice", prepare=tell_version)
    bob = await harness.e2e_client("bob", prepare=tell_version)
    await session(alice, bob)

    for client, peer in ((alice, bob), (bob, alice)):
        await harness.settle(client, peer)
        heard = Events(peer, "presence")
        client.send_presence(pto=peer.boundjid, pshow="away", pstatus="In the orchard")
        presence = await heard.take()
        assert (presence["from"], presence["show"], presence["status"]) == (client.boundjid, "away", "In the orchard")
        assert str(presence["e2e"]["assurance"]) == "vouched"

        answer = await plugin(client, "xep_0092").get_version(peer.boundjid)
        assert answer["software_version"]["name"] == f"Client of {peer.boundjid.user}"
        assert str(answer["e2e"]["assurance"]) == "vouched"
        assert await plugin(client, "xep_0199").ping(peer.boundjid) < 30

        client.send_presence(pto=peer.boundjid, ptype="unavailable", pstatus="Behind the wall")
        presence = await heard.take()
        assert (presence["status"], str(presence["e2e"]["assurance"])) == ("Behind the wall", "vouched")

    assert harness.find_text("In the orchard", "Behind the wall", "Client of", "<version>", "<ping") == []
