"""If one of two lacks the shared key or has another one, nothing is delivered, whoever begins; with the same key it is."""

from __future__ import annotations

from interop.harness import Harness
from interop.helpers import Events, say, share, verified_keys
from xmpp_e2e.errors import AuthenticationFailed

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))


async def run(harness: Harness) -> None:
    """Alice has stored the key. Bob has none, then a wrong one, then the right one."""
    alice, bob = await harness.e2e_client("alice"), await harness.e2e_client("bob")
    share(alice, bob, psk=KEY)
    pair = [(alice, bob), (bob, alice)]
    heard = [Events(client, "message") for client in (alice, bob)]
    failed = {client: Events(client, "e2e_session_failed") for client in (alice, bob)}
    for key in (None, OTHER):
        if key is not None:
            share(bob, alice, psk=key)
        for client, peer in pair:
            say(client, peer.boundjid, "For your eyes only.")
            for each in failed.values():
                assert isinstance((await each.take()).error, AuthenticationFailed)
            await harness.settle(alice, bob)
    assert not any(map(len, (*heard, *failed.values())))
    assert verified_keys(alice, bob) == verified_keys(bob, alice) == []

    share(bob, alice, psk=KEY)
    say(alice, bob.boundjid, "Your eyes, at last.")
    message = await heard[1].take()
    assert (message["body"], str(message["e2e"]["assurance"])) == ("Your eyes, at last.", "verified")
    assert harness.find_text("Your eyes", "your eyes") == []
