"""Under `require`, nothing is sent to a client without encryption, with a reason, and incoming plaintext is refused."""

from __future__ import annotations

from collections.abc import Awaitable

from slixmpp.exceptions import IqError

from interop.harness import Harness
from interop.helpers import Events, plugin, say


async def refusal(answer: Awaitable[object]) -> str:
    """Return the text of the error that a program gets for its iq."""
    try:
        await answer
    except IqError as error:
        return str(error.text)
    raise AssertionError("an iq went out in plaintext")


async def run(harness: Harness) -> None:
    """Alice requires encryption; Bob's client does not have it."""
    alice = await harness.e2e_client("alice", policy="require")
    bob = await harness.client("bob")
    failed, refused, heard = (Events(alice, event) for event in ("e2e_send_failed", "e2e_plaintext_refused", "message"))
    came = Events(bob, "message")

    for to in (bob.boundjid.full, bob.boundjid.bare):
        say(alice, to, "For your eyes only.")
        failure = await failed.take()
        assert failure.stanza["body"] == "For your eyes only."
        assert "does not advertise end-to-end encryption" in str(failure)
        assert "Nothing was sent." in str(failure)

    alice.register_plugin("xep_0199")
    assert "does not advertise end-to-end encryption" in await refusal(plugin(alice, "xep_0199").ping(bob.boundjid))

    say(bob, alice.boundjid, "Why so silent?")
    assert "the policy `require` refuses" in str(await refused.take())

    await harness.settle(alice, bob)
    assert (len(came), len(heard)) == (0, 0)
    assert harness.find_text("For your eyes only", "<ping") == []
    assert harness.find_text("Why so silent?"), "the tap is deaf"
