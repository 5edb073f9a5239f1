"""A shared key is verified before the first message, on both sides; a key that it verified needs no new verification."""

from __future__ import annotations

from interop.harness import Harness
from interop.helpers import Events, e2e, say, session, share, verified_keys

KEY = bytes(range(32))


async def run(harness: Harness) -> None:
    """Alice and Bob have the key on paper. Bob loses the copy, which does not matter, then the phone, and copies
    Alice's."""
    alice, bob = await harness.e2e_client("alice"), await harness.e2e_client("bob")
    share(alice, bob, psk=KEY)
    share(bob, alice, psk=KEY)
    heard, answers = Events(bob, "message"), Events(alice, "message")
    say(alice, bob.boundjid, "As we said on paper.")
    first = await heard.take()
    first.reply("So it is you, on paper.").send()
    for message in (first, await answers.take()):
        assert str(message["e2e"]["assurance"]) == "verified"
    assert verified_keys(alice, bob) == verified_keys(bob, alice) == [("verified", "psk")]

    ended = Events(alice, "e2e_session_closed")
    await first["e2e"]["session"].close()
    await ended.take()
    e2e(bob).secrets.forget(alice.boundjid.bare, "psk")
    ours, theirs = await session(alice, bob)
    assert (str(ours.assurance), str(theirs.assurance)) == ("verified", "verified")
    await ours.close()
    await theirs.wait_closed()

    await harness.log_out(bob)
    phone = await harness.e2e_client("bob", device="another phone")
    share(phone, alice, psk=KEY)
    say(phone, alice.boundjid, "My new phone, on paper.")
    message = await answers.take()
    assert (message["body"], str(message["e2e"]["assurance"])) == ("My new phone, on paper.", "verified")
    assert verified_keys(alice, phone) == [("verified", "psk")] * 2
    assert harness.find_text("on paper") == []
