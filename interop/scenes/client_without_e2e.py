"""With a client without the plugin, everything works in plaintext under `prefer`, and nothing is sent under `require`."""

from __future__ import annotations

from slixmpp import ClientXMPP

from interop.harness import Harness
from interop.helpers import Events, e2e, plugin, say
from interop.servers.setup import Setup

SETUP = Setup(friends=False)


def tell_version(client: ClientXMPP) -> None:
    """Load a plugin that uses iqs."""
    client.register_plugin("xep_0092", {"software_name": f"Client of {client.requested_jid.user}", "version": "6.6"})


async def run(harness: Harness) -> None:
    """Alice and Bob, who has no plugin, become contacts, chat, and remove each other. In between Alice requires
    encryption."""
    alice = await harness.e2e_client("alice", prepare=tell_version)
    bob = await harness.client("bob", prepare=tell_version)
    pairs = ((alice, bob), (bob, alice))
    came = {client: Events(client, "presence_available") for client in (alice, bob)}
    heard = {client: Events(client, "message") for client in (alice, bob)}
    failed, refused = Events(alice, "e2e_send_failed"), Events(alice, "e2e_plaintext_refused")

    # slixmpp accepts subscriptions, and requests them in turn.
    alice.send_presence_subscription(bob.boundjid.bare)
    for client, peer in pairs:
        while (await came[client].take())["from"] != peer.boundjid:
            pass
    await harness.settle(alice, bob)
    for client, peer in pairs:
        assert client.client_roster[peer.boundjid.bare]["subscription"] == "both"
        client.send_presence(pstatus="In the garden")
        while (await came[peer].take())["status"] != "In the garden":
            pass
    for client, peer in pairs:
        for to in (peer.boundjid.bare, peer.boundjid.full):
            say(client, to, f"To {to}.")
            assert await heard[peer].body() == f"To {to}."
        answer = await plugin(client, "xep_0092").get_version(peer.boundjid)
        assert answer["software_version"]["name"] == f"Client of {peer.boundjid.user}"
    assert harness.find_text(f"To {bob.boundjid.bare}."), "it should be plaintext"

    e2e(alice).set_policy(bob.boundjid.bare, "require")
    for to in (bob.boundjid.bare, bob.boundjid.full):
        say(alice, to, "For your eyes only.")
        assert "Nothing was sent." in str(await failed.take())
    say(bob, alice.boundjid, "Why so silent?")
    assert "the policy `require` refuses" in str(await refused.take())

    for client, peer in pairs:
        gone = Events(client, "roster_update")
        client.del_roster_item(peer.boundjid.bare)
        await gone.take()
    await harness.settle(alice, bob)
    assert not any(map(len, heard.values()))
    assert harness.find_text("For your eyes only", "session-initiate") == []
