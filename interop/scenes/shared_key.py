"""A key that two have set up is proved before their first message, on both sides; what it has proved needs no proof again."""

from __future__ import annotations

from interop.props import Heard, e2e, proved, say, session, share
from interop.stage import Stage

KEY = bytes(range(32))


async def play(stage: Stage) -> None:
    """Alice and Bob have it on paper. Bob loses his, which does not matter, then his phone, and takes a copy of Alice's."""
    alice, bob = await stage.encrypted("alice"), await stage.encrypted("bob")
    share(alice, bob, psk=KEY)
    share(bob, alice, psk=KEY)
    heard, answers = Heard(bob, "message"), Heard(alice, "message")
    say(alice, bob.boundjid, "As we said on paper.")
    first = await heard.take()
    first.reply("So it is you, on paper.").send()
    for message in (first, await answers.take()):
        assert str(message["e2e"]["assurance"]) == "verified"
    assert proved(alice, bob) == proved(bob, alice) == [("verified", "psk")]

    ended = Heard(alice, "e2e_session_end")
    await first["e2e"]["session"].close()
    await ended.take()
    e2e(bob).shared.forget(alice.boundjid.bare, "psk")
    ours, theirs = await session(alice, bob)
    assert (str(ours.assurance), str(theirs.assurance)) == ("verified", "verified")
    await ours.close()
    await theirs.ended()

    await stage.leave(bob)
    phone = await stage.encrypted("bob", device="another phone")
    share(phone, alice, psk=KEY)
    say(phone, alice.boundjid, "My new phone, on paper.")
    message = await answers.take()
    assert (message["body"], str(message["e2e"]["assurance"])) == ("My new phone, on paper.", "verified")
    assert proved(alice, phone) == [("verified", "psk")] * 2
    assert stage.readable("on paper") == []
