"""Who requires encryption sends nothing in clear to a client without it, reads why, and refuses what comes in clear."""

from __future__ import annotations

from collections.abc import Awaitable

from slixmpp.exceptions import IqError

from interop.props import Heard, plugin, say
from interop.stage import Stage


async def refusal(answer: Awaitable[object]) -> str:
    """The text of the error that a program gets for an iq."""
    try:
        await answer
    except IqError as error:
        return str(error.text)
    raise AssertionError("an iq went out in clear")


async def play(stage: Stage) -> None:
    """Alice requires; Bob's client has never heard of it."""
    alice = await stage.encrypted("alice", policy="require")
    bob = await stage.client("bob")
    failed, refused, heard = (Heard(alice, event) for event in ("e2e_send_failed", "e2e_plaintext_refused", "message"))
    came = Heard(bob, "message")

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

    await stage.settle(alice, bob)
    assert (len(came), len(heard)) == (0, 0)
    assert stage.readable("For your eyes only", "<ping") == []
    assert stage.readable("Why so silent?"), "the tap is deaf"
