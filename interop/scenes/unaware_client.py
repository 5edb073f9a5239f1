"""With a client that has never heard of encryption all is as ever under `prefer`; under `require` nothing goes in clear."""

from __future__ import annotations

from slixmpp import ClientXMPP

from interop.props import Heard, e2e, plugin, say
from interop.servers.setup import Setup
from interop.stage import Stage

SETUP = Setup(friends=False)


def tell_version(client: ClientXMPP) -> None:
    """Load a plugin that asks and answers by iqs."""
    client.register_plugin("xep_0092", {"software_name": f"Client of {client.requested_jid.user}", "version": "6.6"})


async def play(stage: Stage) -> None:
    """Alice and Bob, who has no plugin, become friends, chat, and part; in between Alice asks for more than he has."""
    alice = await stage.encrypted("alice", prepare=tell_version)
    bob = await stage.client("bob", prepare=tell_version)
    pairs = ((alice, bob), (bob, alice))
    came = {client: Heard(client, "presence_available") for client in (alice, bob)}
    heard = {client: Heard(client, "message") for client in (alice, bob)}
    failed, refused = Heard(alice, "e2e_send_failed"), Heard(alice, "e2e_plaintext_refused")

    # Clients of slixmpp agree, and ask in their turn.
    alice.send_presence_subscription(bob.boundjid.bare)
    for client, peer in pairs:
        while (await came[client].take())["from"] != peer.boundjid:
            pass
    await stage.settle(alice, bob)
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
    assert stage.readable(f"To {bob.boundjid.bare}."), "it was to be in clear"

    e2e(alice).set_policy(bob.boundjid.bare, "require")
    for to in (bob.boundjid.bare, bob.boundjid.full):
        say(alice, to, "For your eyes only.")
        assert "Nothing was sent." in str(await failed.take())
    say(bob, alice.boundjid, "Why so silent?")
    assert "the policy `require` refuses" in str(await refused.take())

    for client, peer in pairs:
        gone = Heard(client, "roster_update")
        client.del_roster_item(peer.boundjid.bare)
        await gone.take()
    await stage.settle(alice, bob)
    assert not any(map(len, heard.values()))
    assert stage.readable("For your eyes only", "session-initiate") == []
