"""A wrong password delivers nothing and counts on both sides. After the fifth attempt it is locked until unlocked."""

from __future__ import annotations

from interop.harness import Harness
from interop.helpers import Events, derive_password, e2e, say, share
from slixmpp_e2e.alarms import explain
from slixmpp_e2e.errors import PasswordLocked
from slixmpp_e2e.verification import attempt_limiter
from xmpp_e2e.errors import AuthenticationFailed


async def run(harness: Harness) -> None:
    """Bob has mistyped the password, and Alice tries again and again."""
    alice, bob = await harness.e2e_client("alice"), await harness.e2e_client("bob")
    right = derive_password(alice, bob, "correct horse")
    share(alice, bob, srp=right)
    share(bob, alice, srp=derive_password(alice, bob, "correct house"))
    pair = [(alice, bob.boundjid.bare), (bob, alice.boundjid.bare)]
    failed, heard = Events(alice, "e2e_send_failed"), Events(bob, "message")
    for count in range(1, attempt_limiter.MAX_PASSWORD_ATTEMPTS + 1):
        say(alice, bob.boundjid, "Battery staple")
        assert isinstance((await failed.take()).error, AuthenticationFailed)
        assert [e2e(client)._store.failed_attempts(peer, "srp") for client, peer in pair] == [count, count]
    say(alice, bob.boundjid, "Battery staple")
    told = (await failed.take()).error
    assert isinstance(told, PasswordLocked)
    assert "xmpp-e2e trust unlock" in explain(told)
    await harness.settle(alice, bob)
    assert not len(heard)

    share(bob, alice, srp=right)
    for client, peer in pair:
        e2e(client)._store.clear_failed_attempts(peer, "srp")
    say(alice, bob.boundjid, "Battery staple, at last")
    message = await heard.take()
    assert (message["body"], str(message["e2e"]["assurance"])) == ("Battery staple, at last", "verified")
    assert [e2e(client)._store.failed_attempts(peer, "srp") for client, peer in pair] == [0, 0]
    assert harness.find_text("Battery staple", "correct horse") == []
