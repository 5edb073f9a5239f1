"""A peer that had encryption and returns without it gets no plaintext until the user allows it."""

from __future__ import annotations

from interop.harness import Harness
from interop.helpers import Events, e2e, say, session


async def run(harness: Harness) -> None:
    """Bob's new client has no encryption, or the server hides it: Alice cannot tell."""
    alice, bob = await harness.e2e_client("alice"), await harness.e2e_client("bob")
    await session(alice, bob)
    failed, told, came = (
        Events(alice, event) for event in ("e2e_send_failed", "e2e_plaintext_received", "presence_available")
    )
    await harness.log_out(bob)
    bob = await harness.client("bob")
    heard = Events(bob, "message")
    while (await came.take())["from"] != bob.boundjid:
        pass

    say(alice, bob.boundjid.bare, "Between the two of us")
    assert "does not advertise end-to-end encryption" in str(await failed.take())
    say(bob, alice.boundjid, "My old client broke.")
    assert "wrote in plaintext, though we have had an encrypted session" in str(await told.take())
    await harness.settle(alice, bob)
    assert not len(heard)
    assert harness.find_text("Between the two of us") == []

    e2e(alice).allow_plaintext(bob.boundjid.bare)
    say(alice, bob.boundjid.bare, "Then let us talk about the weather.")
    message = await heard.take()
    assert message["body"] == "Then let us talk about the weather."
    assert harness.find_text("Between the two of us") == []
