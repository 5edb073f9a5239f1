"""A wrong password delivers nothing and is counted on both sides; after the fifth it is locked, until it is unlocked."""

from __future__ import annotations

from interop.props import Heard, agreed, e2e, say, share
from interop.stage import Stage
from slixmpp_e2e.verification import verifier as proofs
from xmpp_e2e.errors import AuthenticationFailed


async def play(stage: Stage) -> None:
    """Bob has mistyped it; Alice tries again and again."""
    alice, bob = await stage.encrypted("alice"), await stage.encrypted("bob")
    right = agreed(alice, bob, "correct horse")
    share(alice, bob, srp=right)
    share(bob, alice, srp=agreed(alice, bob, "correct house"))
    pair = [(alice, bob.boundjid.bare), (bob, alice.boundjid.bare)]
    failed, heard = Heard(alice, "e2e_send_failed"), Heard(bob, "message")
    for count in range(1, proofs.GUESSES + 1):
        say(alice, bob.boundjid, "Battery staple")
        assert isinstance((await failed.take()).error, AuthenticationFailed)
        assert [e2e(client).memory.failures(peer, "srp") for client, peer in pair] == [count, count]
    say(alice, bob.boundjid, "Battery staple")
    told = (await failed.take()).error
    assert isinstance(told, proofs.Locked)
    assert "xmpp-e2e trust unlock" in told.explain()
    await stage.settle(alice, bob)
    assert not len(heard)

    share(bob, alice, srp=right)
    for client, peer in pair:
        e2e(client).memory.clear_failures(peer, "srp")
    say(alice, bob.boundjid, "Battery staple, at last")
    message = await heard.take()
    assert (message["body"], str(message["e2e"]["assurance"])) == ("Battery staple, at last", "verified")
    assert [e2e(client).memory.failures(peer, "srp") for client, peer in pair] == [0, 0]
    assert stage.readable("Battery staple", "correct horse") == []
