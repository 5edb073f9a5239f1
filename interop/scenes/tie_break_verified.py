"""Two who share a key and a password write at the same moment: one session, and both messages are `verified`."""

from __future__ import annotations

from interop.harness import Harness
from interop.helpers import Events, derive_password, e2e, say, share


async def run(harness: Harness) -> None:
    """The verifications of the discarded offer do not count as attempts, and those of the other run once."""
    alice, bob = await harness.e2e_client("alice"), await harness.e2e_client("bob")
    password = derive_password(alice, bob, "after you, please")
    pair = ((alice, bob), (bob, alice))
    for client, peer in pair:
        share(client, peer, psk=bytes(range(32)), srp=password)
    await harness.settle(alice, bob)
    heard = {client: Events(client, "message") for client in (alice, bob)}
    failed = [Events(client, "e2e_send_failed") for client in (alice, bob)]
    for client, peer in pair:
        say(client, peer.boundjid, "Who goes first?")
    messages = [await heard[client].take() for client in (alice, bob)]
    (ours,), (theirs,) = e2e(alice).sessions(), e2e(bob).sessions()
    assert [message["e2e"]["session"] for message in messages] == [ours, theirs]
    assert {str(message["e2e"]["assurance"]) for message in messages} == {"verified"}
    assert ours.sid == theirs.sid
    assert [e2e(client)._store.failed_attempts(peer.boundjid.bare, "srp") for client, peer in pair] == [0, 0]
    await harness.settle(alice, bob)
    assert not any(map(len, (*heard.values(), *failed)))
    assert harness.find_text("Who goes first") == []
