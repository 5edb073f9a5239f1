"""Directed presence and iqs go inside, both ways, for plugins that know nothing of encryption."""

from __future__ import annotations

from slixmpp import ClientXMPP

from interop.props import Heard, plugin, session
from interop.stage import Stage


def tell_version(client: ClientXMPP) -> None:
    """Load two plugins that ask and answer by iqs."""
    client.register_plugin("xep_0092", {"software_name": f"Client of {client.requested_jid.user}", "version": "6.6"})
    client.register_plugin("xep_0199")


async def play(stage: Stage) -> None:
    """Alice and Bob tell each other alone where they are, ping, and ask for versions (XEP-0092, XEP-0199)."""
    alice = await stage.encrypted("alice", prepare=tell_version)
    bob = await stage.encrypted("bob", prepare=tell_version)
    await session(alice, bob)

    for client, peer in ((alice, bob), (bob, alice)):
        await stage.settle(client, peer)
        heard = Heard(peer, "presence")
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

    assert stage.readable("In the orchard", "Behind the wall", "Client of", "<version>", "<ping") == []
