"""Where two have set up a key and a password both must prove right, whichever is wrong; then the first message goes."""

from __future__ import annotations

from interop.props import Heard, agreed, proved, say, share
from interop.stage import Stage
from xmpp_e2e.errors import AuthenticationFailed

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))


async def play(stage: Stage) -> None:
    """Bob takes a wrong key, then mistypes the password, then has both."""
    alice, bob = await stage.encrypted("alice"), await stage.encrypted("bob")
    right, wrong = agreed(alice, bob, "belt and braces"), bytes(32)
    share(alice, bob, psk=KEY, srp=right)
    heard, failed = Heard(bob, "message"), Heard(alice, "e2e_send_failed")
    for key, password in ((OTHER, right), (KEY, wrong)):
        share(bob, alice, psk=key, srp=password)
        say(alice, bob.boundjid, "It will not fall.")
        assert isinstance((await failed.take()).error, AuthenticationFailed)
        await stage.settle(alice, bob)
    assert not len(heard)
    assert proved(alice, bob) == proved(bob, alice) == []

    share(bob, alice, psk=KEY, srp=right)
    say(alice, bob.boundjid, "It does not fall.")
    message = await heard.take()
    assert (message["body"], str(message["e2e"]["assurance"])) == ("It does not fall.", "verified")
    assert stage.readable("It will not fall", "It does not fall") == []
