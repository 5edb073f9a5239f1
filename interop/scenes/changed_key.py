"""A verified peer shows another key: nothing is sent or delivered and the user is told, until he has decided."""

from __future__ import annotations

from interop.props import Heard, e2e, say, session
from interop.stage import Stage


async def play(stage: Stage) -> None:
    """Bob has lost his phone, and comes back with a new one; or somebody else does."""
    alice, bob = await stage.encrypted("alice"), await stage.encrypted("bob")
    ours, theirs = await session(alice, bob)
    to, before = bob.boundjid.bare, e2e(bob).fingerprint
    await e2e(alice).trust.pin(to, before)
    await ours.close()
    await theirs.ended()
    changed, started, heard, came = (
        Heard(alice, event) for event in ("e2e_key_changed", "e2e_session_start", "message", "presence_available")
    )

    await stage.leave(bob)
    bob = await stage.encrypted("bob", device="another phone")
    received = Heard(bob, "message")
    while (await came.take())["from"] != bob.boundjid:
        pass
    say(alice, to, "Is it still you?")
    told = (await changed.take()).detail
    assert told.fingerprint == e2e(bob).fingerprint != before
    assert f"trust pin {to}" in told.text
    say(bob, alice.boundjid, "I have a new phone.")
    await stage.settle(alice, bob)
    assert (len(received), len(heard), len(started)) == (0, 0, 0)

    await e2e(alice).trust.pin(to, e2e(bob).fingerprint)
    assert await received.body() == "Is it still you?"
    answer = await heard.take()
    assert (answer["body"], str(answer["e2e"]["assurance"])) == ("I have a new phone.", "verified")
    assert stage.readable("Is it still", "a new phone") == []
