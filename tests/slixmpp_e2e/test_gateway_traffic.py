"""Everything that a gateway says from any of its addresses, and is told there, arrives or fails with a word."""

from __future__ import annotations

import asyncio
from itertools import product
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest
from slixmpp import JID, ClientXMPP, ComponentXMPP
from slixmpp.basexmpp import BaseXMPP
from slixmpp.exceptions import IqError
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

from tests.slixmpp_e2e.env import ALICE, BOTS, PATIENCE, SECRET, Env, e2e, turns, until
from tests.slixmpp_e2e.test_gateway import ALICES, ECHO, ROOM, occupant

WORDS = f"<body>{SECRET}</body>"
STATE, RECEIPT = "<composing xmlns='http://jabber.org/protocol/chatstates'/>", "<received xmlns='urn:xmpp:receipts' id='1'/>"
MARKER, SUBJECT = "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>", f"<subject>{SECRET}</subject>"
_ITEM = f"<item id='1'><m xmlns='urn:example'>{SECRET}</m></item>"
EVENT = f"<event xmlns='http://jabber.org/protocol/pubsub#event'><items node='n'>{_ITEM}</items></event>"
INVITATION = f"<x xmlns='jabber:x:conference' jid='{ROOM}' reason='{SECRET}'/>"
MEDIATED = f"<x xmlns='http://jabber.org/protocol/muc#user'><invite from='juliet@{BOTS}'><reason>{SECRET}</reason></invite></x>"
_SAID = f"<message xmlns='jabber:client' from='{ROOM}/x'>{WORDS}</message>"
ARCHIVED = f"<result xmlns='urn:xmpp:mam:2' id='1'><forwarded xmlns='urn:xmpp:forward:0'>{_SAID}</forwarded></result>"
MESSAGES = [
    *product(("chat", "", "headline", "groupchat"), (WORDS, STATE, RECEIPT, MARKER)),
    ("groupchat", SUBJECT),
    ("headline", EVENT),
    ("", INVITATION),
    ("", MEDIATED),
    ("", ARCHIVED),
    ("error", "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"),
]
PRESENCES = [(kind, status) for kind in ("", "unavailable") for status in ("", f"<status>{SECRET}</status>")]
QUERIES = [
    ("get", "<query xmlns='jabber:iq:version'/>"),
    ("get", "<ping xmlns='urn:xmpp:ping'/>"),
    ("get", "<vCard xmlns='vcard-temp'/>"),
    ("get", "<query xmlns='http://jabber.org/protocol/disco#items'/>"),
    ("get", "<query xmlns='http://jabber.org/protocol/disco#info'/>"),
    ("set", f"<command xmlns='http://jabber.org/protocol/commands' node='{SECRET}' action='execute'/>"),
]
ADDRESSES = [BOTS, f"echo@{BOTS}", ECHO, ROOM, f"{ROOM}/romeo"]


class Traffic:
    """What one side sends, and what has become of it, by id."""

    def __init__(self, sender: BaseXMPP, receiver: BaseXMPP) -> None:
        self.sender, self.arrived, self.failed = sender, set[str](), set[str]()
        for name in ("message", "presence"):
            path = MatchXPath(f"{{{receiver.default_ns}}}{name}")
            receiver.register_handler(Callback(f"every {name}", path, lambda stanza: self.arrived.add(stanza["id"])))
        sender.add_event_handler("e2e_send_failed", lambda event: self.failed.add(event.stanza["id"]))
        self.sent: dict[str, str] = {}

    def send(self, name: str, kind: str, child: str, to: str, sender: str | None) -> None:
        stanza: Any = self.sender.make_message(mto=JID(to)) if name == "message" else self.sender.make_presence(pto=JID(to))
        stanza["id"] = f"{name} {len(self.sent)}"
        self.sent[stanza["id"]] = f"{name} {kind!r} {child} from {sender} to {to}"
        stanza.xml.attrib.pop("type", None)
        if kind:
            stanza.xml.set("type", kind)
        if sender is not None:
            stanza["from"] = JID(sender)
        if child:
            stanza.xml.append(fromstring(child.replace("<", "<", 1)) if "xmlns" in child else element(self.sender, child))
        stanza.send()

    async def is_settled(self) -> None:
        """Wait until nothing is on its way, and say what is lost, and what has both arrived and failed."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not (self.arrived | self.failed) >= set(self.sent):
                    await turns()
        except TimeoutError:
            pass
        assert [told for key, told in self.sent.items() if key not in self.arrived | self.failed] == []
        assert [told for key, told in self.sent.items() if key in self.arrived & self.failed] == []


def element(xmpp: BaseXMPP, child: str) -> Any:
    """A child, in the namespace of the stream if it names none."""
    return fromstring(child if " xmlns=" in child.partition(">")[0] else child.replace(">", f" xmlns='{xmpp.default_ns}'>", 1))


async def ask(asker: BaseXMPP, to: str, sender: str | None) -> None:
    """Each question is answered, in whatever way."""
    for kind, child in QUERIES:
        iq = asker.make_iq(ito=JID(to), itype=kind)
        if sender is not None:
            iq["from"] = JID(sender)
        iq.append(fromstring(child))
        try:
            answer: Any = await until(iq.send(timeout=PATIENCE))
        except IqError as error:
            answer = error.iq
        assert answer["from"] == to or answer["from"].bare == JID(to).bare, child


async def two(env: Env, policy: str, encrypted: bool) -> tuple[ClientXMPP, ComponentXMPP]:
    """Return Alice and the component; with ``encrypted`` they know each other by it."""
    bots = await env.component(accept_from=["localhost"], policy=policy)
    alice = await env.client(ALICE, "xep_0092", "xep_0199", **({"accept_from": [BOTS]} if encrypted else {"load": False}))
    for plugin in ("xep_0092", "xep_0199"):
        bots.register_plugin(plugin)
    if encrypted:
        session = await e2e(alice).connect(ECHO)
        await until(session.wait_open())
    occupant(bots, "romeo", ALICE)
    await env.settle(alice)
    return alice, bots


CASES = pytest.mark.parametrize(
    ("policy", "encrypted"), [("prefer", True), ("prefer", False), ("require", True), ("require", False)]
)


@CASES
@pytest.mark.parametrize("to", [ALICE, ALICES], ids=["full", "bare"])
async def test_whatever_a_gateway_says(env: Env, policy: str, encrypted: bool, to: str) -> None:
    alice, bots = await two(env, policy, encrypted)
    traffic = Traffic(bots, alice)
    for address in ADDRESSES:
        for kind, child in MESSAGES:
            if to == ALICE or kind not in ("groupchat", "error"):  # servers drop these (RFC 6121 §8.5.2.1.1)
                traffic.send("message", kind, child, to, address)
        for kind, child in PRESENCES:
            traffic.send("presence", kind, child, to, address)
    await traffic.is_settled()
    if policy == "require":
        assert env.in_clear(SECRET) == []
    elif encrypted:
        assert traffic.failed == set()


@CASES
async def test_whatever_a_gateway_asks(env: Env, policy: str, encrypted: bool) -> None:
    _, bots = await two(env, policy, encrypted)
    for address in ADDRESSES:
        await ask(bots, ALICE, address)
    if policy == "require":
        assert env.in_clear(SECRET) == []


@CASES
async def test_whatever_a_gateway_is_asked(env: Env, policy: str, encrypted: bool) -> None:
    alice, _ = await two(env, "prefer", encrypted)
    if encrypted:
        e2e(alice).set_policy(f"echo@{BOTS}", policy)
    for address in ADDRESSES:
        await ask(alice, address, None)


@pytest.mark.parametrize("encrypted", [True, False])
async def test_whatever_a_gateway_is_told(env: Env, encrypted: bool) -> None:
    alice, bots = await two(env, "prefer", encrypted)
    traffic = Traffic(alice, bots)
    for address in ADDRESSES:
        for kind, child in MESSAGES:
            traffic.send("message", kind, child, address, None)
    await traffic.is_settled()
    no_client_says = {key for key, told in traffic.sent.items() if EVENT in told or ARCHIVED in told}
    assert traffic.failed <= no_client_says
    assert bool(traffic.failed) is encrypted
