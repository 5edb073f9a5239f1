"""A peer who had encryption and comes back without it gets nothing in clear until the user allows it."""

from __future__ import annotations

from interop.props import Heard, e2e, say, session
from interop.stage import Stage


async def play(stage: Stage) -> None:
    """Bob's new client has no encryption, or the server hides it: from here nobody can tell."""
    alice, bob = await stage.encrypted("alice"), await stage.encrypted("bob")
    await session(alice, bob)
    failed, told, came = (
        Heard(alice, event) for event in ("e2e_send_failed", "e2e_plaintext_received", "presence_available")
    )
    await stage.leave(bob)
    bob = await stage.client("bob")
    heard = Heard(bob, "message")
    while (await came.take())["from"] != bob.boundjid:
        pass

    say(alice, bob.boundjid.bare, "Between the two of us")
    assert "does not advertise end-to-end encryption" in str(await failed.take())
    say(bob, alice.boundjid, "My old client broke.")
    assert "wrote in clear, though we have had an encrypted session" in str(await told.take())
    await stage.settle(alice, bob)
    assert not len(heard)
    assert stage.readable("Between the two of us") == []

    e2e(alice).allow_plaintext(bob.boundjid.bare)
    say(alice, bob.boundjid.bare, "Then let us talk about the weather.")
    message = await heard.take()
    assert message["body"] == "Then let us talk about the weather."
    assert stage.readable("Between the two of us") == []
