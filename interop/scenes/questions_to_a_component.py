"""An encrypted user asks a component's domain and bare JID, and writes to them: the answers come the way the questions went."""

from __future__ import annotations

from slixmpp.basexmpp import BaseXMPP

from interop.harness import Harness
from interop.helpers import Events, echo, plugin, say

NOT_ON = {"swapped": "the component is Prosody's"}


def load(client: BaseXMPP) -> None:
    """Load what asks, and answers, by iqs."""
    for name in ("xep_0092", "xep_0199"):
        client.register_plugin(name)


async def run(harness: Harness) -> None:
    """Bob has had a session with one address of the component."""
    bots = await harness.component(load, accept_from=[harness.jid("bob")])
    echo(bots)
    bob = await harness.e2e_client("bob", prepare=load)
    domain = bots.boundjid.domain
    heard = Events(bob, "message")
    say(bob, f"echo@{domain}/desk", "Inside.")
    assert str((await heard.take())["e2e"]["assurance"]) == "vouched"
    for to in (domain, f"help@{domain}", f"echo@{domain}/desk"):
        assert (await plugin(bob, "xep_0199").send_ping(to))["type"] == "result"
        assert (await plugin(bob, "xep_0092").get_version(to))["type"] == "result"
    for to in (domain, f"help@{domain}"):
        say(bob, to, f"To {to}.")
        answer = await heard.take()
        assert (answer["body"], str(answer["e2e"]["assurance"])) == (f"You said: To {to}.", "none")
    assert harness.find_text("Inside") == []
