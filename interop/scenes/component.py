"""A component (XEP-0114) with the plugin talks with a client through a session, as a bot with an account does."""

from __future__ import annotations

from interop.harness import Harness
from interop.helpers import Events, e2e, echo, say

NOT_ON = {"swapped": "the component is Prosody's"}


async def run(harness: Harness) -> None:
    """Bob writes to an address of the component, which accepts nobody else."""
    bots = await harness.component(echo, accept_from=[harness.jid("bob")])
    alice, bob = await harness.e2e_client("alice"), await harness.e2e_client("bob")
    to = f"echo@{bots.boundjid.domain}/desk"
    heard, failed = Events(bob, "message"), Events(alice, "e2e_send_failed")
    say(bob, to, "Is anybody there?")
    answer = await heard.take()
    assert (answer["body"], answer["from"]) == ("You said: Is anybody there?", to)
    assert str(answer["e2e"]["assurance"]) == "vouched"
    assert answer["e2e"]["fingerprint"] == e2e(bots).fingerprint

    say(alice, to, "And for me?")
    assert (await failed.take()).stanza["body"] == "And for me?"
    assert harness.find_text("Is anybody there", "And for me", "You said") == []
