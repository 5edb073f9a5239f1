"""A stranger tells, under the hash of Bob's client (XEP-0115), that it lacks encryption: nothing goes in plaintext."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

from slixmpp import ClientXMPP, Iq
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import StanzaPath

from interop.harness import Harness
from interop.helpers import Events, plugin, say
from interop.servers.setup import Setup

SETUP = Setup(friends=False)
SECRET = "the treasure is under the oak"
EXTRA = "urn:example:what-only-the-client-of-bob-has"
"""Else Alice would know the hash, of her own client."""
NS_DISCO = "http://jabber.org/protocol/disco#info"
FORM = "<x xmlns='jabber:x:data' type='result'>{}</x>"


def in_one_name(features: list[str]) -> str:
    """All features as one, with the character that separates them."""
    return f"<feature var='{'&lt;'.join(features)}'/>"


def in_a_form(features: list[str]) -> str:
    """The last features as a form: its type, the name of a field, and the values of that."""
    kept = next(index for index, feature in enumerate(features) if feature.startswith("urn:"))
    form_type, name, *values = features[kept:]
    fields = f"<field var='FORM_TYPE' type='hidden'><value>{form_type}</value></field><field var='{name}' type='list-multi'>"
    fields += "".join(f"<value>{value}</value>" for value in values) + "</field>"
    return "".join(f"<feature var='{feature}'/>" for feature in features[:kept]) + FORM.format(fields)


async def run(harness: Harness) -> None:
    """Alice has never met Bob. What she writes first goes encrypted, whatever the stranger has said before."""
    bob = await harness.e2e_client("bob", prepare=add_feature, accept_from="anyone")
    version = await plugin(bob, "xep_0115").get_verstring()
    info = await plugin(bob, "xep_0115").get_caps(verstring=version)
    identities = [ET.tostring(identity, encoding="unicode") for identity in info.xml.findall(f"{{{NS_DISCO}}}identity")]
    features = sorted(info["features"])
    for resource, poison in (("one", in_one_name), ("form", in_a_form)):
        alice = await harness.e2e_client("alice", resource, accept_from="anyone")
        made_up = ET.fromstring(f"<query xmlns='{NS_DISCO}'>{''.join(identities)}{poison(features)}</query>")
        stranger = await harness.client("carol", resource)
        asked = answer_with(stranger, made_up)
        announce(stranger, alice, version)
        await asked.take()
        await harness.settle(stranger, alice)
        heard = Events(bob, "message")
        announce(bob, alice, version)
        await harness.settle(bob, alice)
        say(alice, bob.boundjid, SECRET)
        message = await heard.take()
        assert (message["body"], str(message["e2e"]["assurance"])) == (SECRET, "vouched")
        for client in (stranger, alice):
            await harness.log_out(client)
    assert harness.find_text(SECRET) == []


def add_feature(bob: ClientXMPP) -> None:
    """Give Bob's client a hash of its own."""
    bob.register_plugin("xep_0115")
    plugin(bob, "xep_0030").add_feature(EXTRA)


def answer_with(stranger: ClientXMPP, info: ET.Element) -> Events:
    """Let the stranger answer disco#info with this; return the times that it does."""

    def answer(request: Any) -> None:
        reply: Iq = request.reply()
        query = ET.fromstring(ET.tostring(info))
        query.set("node", request["disco_info"]["node"])
        reply.append(query)
        reply.send()
        stranger.event("answered", reply)

    stranger.register_plugin("xep_0030")
    stranger.remove_handler("Disco Info")
    stranger.register_handler(Callback("poison", StanzaPath("iq@type=get/disco_info"), answer))
    return Events(stranger, "answered")


def announce(client: ClientXMPP, to: ClientXMPP, version: str) -> None:
    """Send presence with the hash, past the filters: Bob's plugin would open a session for it."""
    caps = f"<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='https://bob.example' ver='{version}'/>"
    client.send_raw(f"<presence to='{to.boundjid}'>{caps}</presence>")
