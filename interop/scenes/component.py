"""A component (XEP-0114) with the plugin talks with a client through a session, as a bot does that has an account."""

from __future__ import annotations

from interop.props import Heard, e2e, echo, say
from interop.stage import Stage

NOT_ON = {"exchanged": "the component is Prosody's"}


async def play(stage: Stage) -> None:
    """Bob writes to an address of the component's, which admits who is named alone."""
    bots = await stage.component(echo, accept_from=[stage.jid("bob")])
    alice, bob = await stage.encrypted("alice"), await stage.encrypted("bob")
    to = f"echo@{bots.boundjid.domain}/desk"
    heard, failed = Heard(bob, "message"), Heard(alice, "e2e_send_failed")
    say(bob, to, "Is anybody there?")
    answer = await heard.take()
    assert (answer["body"], answer["from"]) == ("You said: Is anybody there?", to)
    assert str(answer["e2e"]["assurance"]) == "vouched"
    assert answer["e2e"]["fingerprint"] == e2e(bots).fingerprint

    say(alice, to, "And for me?")
    assert (await failed.take()).stanza["body"] == "And for me?"
    assert stage.readable("Is anybody there", "And for me", "You said") == []
