"""Whoever has encryption asks a component's domain and bare JID, hears its rooms, and is found again when it starts anew."""

from __future__ import annotations

from typing import cast
from xml.etree.ElementTree import SubElement, fromstring

from slixmpp import JID, ClientXMPP, Iq
from slixmpp.basexmpp import BaseXMPP
from slixmpp.exceptions import IqError

from interop.harness import Harness
from interop.helpers import EVENT_SECONDS, Events, e2e, echo, say

NOT_ON = {"swapped": "the component is Prosody's"}
MUC_USER = "<x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='member' role='participant'/></x>"
QUESTIONS = ("{urn:xmpp:ping}ping", "{jabber:iq:version}query", "{vcard-temp}vCard", "{urn:example:unheard-of}query")


def load(component: BaseXMPP) -> None:
    """Load what answers questions, and a bot that answers everybody."""
    component.register_plugin("xep_0092", {"software_name": "bots"})
    component.register_plugin("xep_0199")
    echo(component)


async def run(harness: Harness) -> None:
    """Alice has met a bot of the component, and lets it see her presence. Then the component starts again."""
    bots = await harness.component(load, accept_from="anyone")
    domain = bots.boundjid.domain
    alice = await harness.e2e_client("alice", accept_from=[domain])
    bot, full = f"echo@{domain}", f"echo@{domain}/bot"
    told = [Events(alice, "e2e_send_failed"), Events(bots, "e2e_send_failed")]
    told += [Events(alice, "e2e_plaintext_received"), Events(bots, "e2e_plaintext_received")]
    heard = Events(alice, "message")
    say(alice, full, "We meet.")
    assert str((await heard.take())["e2e"]["assurance"]) == "vouched"

    for address in (domain, bot):
        for tag in QUESTIONS:
            assert (await ask(alice, address, tag))["from"] == address
    say(alice, domain, "Help")
    answer = await heard.take()
    assert (answer["from"], answer["body"], str(answer["e2e"]["assurance"])) == (domain, "You said: Help", "none")

    presence = bots.make_presence(pfrom=JID(f"room@{domain}/romeo"), pto=alice.boundjid)
    presence.xml.append(fromstring(MUC_USER))
    presence.send()
    for kind in ("groupchat", "chat"):
        bots.send_message(mfrom=JID(f"room@{domain}/romeo"), mto=alice.boundjid, mbody=kind, mtype=kind)
        answer = await heard.take()
        assert (answer["body"], str(answer["e2e"]["assurance"])) == (kind, "none")
    assert [session.own_jid for session in e2e(bots).sessions()] == [full]
    assert [len(events) for events in told] == [0, 0, 0, 0]

    watched = Events(bots, "presence_subscribed")
    bots.send_presence(pfrom=JID(bot), pto=JID(alice.boundjid.bare), ptype="subscribe")
    await watched.take()
    await harness.settle(alice)
    await harness.log_out(cast(ClientXMPP, bots))
    bots = await harness.component(load, accept_from="anyone")
    bots.send_message(mfrom=JID(full), mto=JID(alice.boundjid.bare), mbody="I am back.", mtype="chat")
    answer = await heard.take()
    assert (answer["body"], str(answer["e2e"]["assurance"])) == ("I am back.", "known")
    assert harness.find_text("We meet", "I am back") == []


async def ask(client: ClientXMPP, to: str, tag: str) -> Iq:
    """Return the answer to a question, whatever it is; IqTimeout for none."""
    iq = client.make_iq_get(ito=JID(to))
    SubElement(iq.xml, tag)
    try:
        answer: Iq = await iq.send(timeout=EVENT_SECONDS)
    except IqError as error:
        answer = error.iq
    return answer
