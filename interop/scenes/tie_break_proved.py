"""Two who share a key and a password write to each other in the same instant: one session, and both messages as `verified`."""

from __future__ import annotations

from interop.props import Heard, agreed, e2e, say, share
from interop.stage import Stage


async def play(stage: Stage) -> None:
    """The proofs of the offer that gives way are no guesses, and those of the other run once."""
    alice, bob = await stage.encrypted("alice"), await stage.encrypted("bob")
    password = agreed(alice, bob, "after you, please")
    pair = ((alice, bob), (bob, alice))
    for client, peer in pair:
        share(client, peer, psk=bytes(range(32)), srp=password)
    await stage.settle(alice, bob)
    heard = {client: Heard(client, "message") for client in (alice, bob)}
    failed = [Heard(client, "e2e_send_failed") for client in (alice, bob)]
    for client, peer in pair:
        say(client, peer.boundjid, "Who goes first?")
    messages = [await heard[client].take() for client in (alice, bob)]
    (ours,), (theirs,) = e2e(alice).sessions(), e2e(bob).sessions()
    assert [message["e2e"]["session"] for message in messages] == [ours, theirs]
    assert {str(message["e2e"]["assurance"]) for message in messages} == {"verified"}
    assert ours.sid == theirs.sid
    assert [e2e(client).memory.failures(peer.boundjid.bare, "srp") for client, peer in pair] == [0, 0]
    await stage.settle(alice, bob)
    assert not any(map(len, (*heard.values(), *failed)))
    assert stage.readable("Who goes first") == []
