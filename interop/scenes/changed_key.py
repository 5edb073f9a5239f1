"""A verified peer shows another key: the user is warned, and nothing is sent or delivered until they decide."""

from __future__ import annotations

from interop.harness import Harness
from interop.helpers import Events, e2e, say, session


async def run(harness: Harness) -> None:
    """Bob has lost the phone and returns with a new one, or somebody else does."""
    alice, bob = await harness.e2e_client("alice"), await harness.e2e_client("bob")
    ours, theirs = await session(alice, bob)
    to, before = bob.boundjid.bare, e2e(bob).fingerprint
    await e2e(alice).trust.pin(to, before)
    await ours.close()
    await theirs.wait_closed()
    changed, started, heard, came = (
        Events(alice, event) for event in ("e2e_key_changed", "e2e_session_opened", "message", "presence_available")
    )

    await harness.log_out(bob)
    bob = await harness.e2e_client("bob", device="another phone")
    received = Events(bob, "message")
    while (await came.take())["from"] != bob.boundjid:
        pass
    say(alice, to, "Is it still you?")
    told = (await changed.take())
    assert told.fingerprint == e2e(bob).fingerprint != before
    assert f"trust pin {to}" in told.text
    say(bob, alice.boundjid, "I have a new phone.")
    await harness.settle(alice, bob)
    assert (len(received), len(heard), len(started)) == (0, 0, 0)

    await e2e(alice).trust.pin(to, e2e(bob).fingerprint)
    assert await received.body() == "Is it still you?"
    answer = await heard.take()
    assert (answer["body"], str(answer["e2e"]["assurance"])) == ("I have a new phone.", "verified")
    assert harness.find_text("Is it still", "a new phone") == []
