"""If two share a key and a password, both must be right before the first message is sent."""

from __future__ import annotations

from interop.harness import Harness
from interop.helpers import Events, derive_password, say, share, verified_keys
from xmpp_e2e.errors import AuthenticationFailed

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))


async def run(harness: Harness) -> None:
    """Bob uses a wrong key, then a wrong password, then both right."""
    alice, bob = await harness.e2e_client("alice"), await harness.e2e_client("bob")
    right, wrong = derive_password(alice, bob, "belt and braces"), bytes(32)
    share(alice, bob, psk=KEY, srp=right)
    heard, failed = Events(bob, "message"), Events(alice, "e2e_send_failed")
    for key, password in ((OTHER, right), (KEY, wrong)):
        share(bob, alice, psk=key, srp=password)
        say(alice, bob.boundjid, "It will not fall.")
        assert isinstance((await failed.take()).error, AuthenticationFailed)
        await harness.settle(alice, bob)
    assert not len(heard)
    assert verified_keys(alice, bob) == verified_keys(bob, alice) == []

    share(bob, alice, psk=KEY, srp=right)
    say(alice, bob.boundjid, "It does not fall.")
    message = await heard.take()
    assert (message["body"], str(message["e2e"]["assurance"])) == ("It does not fall.", "verified")
    assert harness.find_text("It will not fall", "It does not fall") == []
