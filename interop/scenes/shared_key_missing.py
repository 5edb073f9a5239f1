"""Where one of two has no key, or another one, nothing is delivered, whoever begins; with the same key it is."""

from __future__ import annotations

from interop.props import Heard, proved, say, share
from interop.stage import Stage
from xmpp_e2e.errors import AuthenticationFailed

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))


async def play(stage: Stage) -> None:
    """Alice has set it up. Bob has nothing, then he mistakes one key for another."""
    alice, bob = await stage.encrypted("alice"), await stage.encrypted("bob")
    share(alice, bob, psk=KEY)
    pair = [(alice, bob), (bob, alice)]
    heard = [Heard(client, "message") for client in (alice, bob)]
    failed = {client: Heard(client, "e2e_session_failed") for client in (alice, bob)}
    for key in (None, OTHER):
        if key is not None:
            share(bob, alice, psk=key)
        for client, peer in pair:
            say(client, peer.boundjid, "For your eyes only.")
            for each in failed.values():
                assert isinstance((await each.take()).detail.error, AuthenticationFailed)
            await stage.settle(alice, bob)
    assert not any(map(len, (*heard, *failed.values())))
    assert proved(alice, bob) == proved(bob, alice) == []

    share(bob, alice, psk=KEY)
    say(alice, bob.boundjid, "Your eyes, at last.")
    message = await heard[1].take()
    assert (message["body"], str(message["e2e"]["assurance"])) == ("Your eyes, at last.", "verified")
    assert stage.readable("Your eyes", "your eyes") == []
