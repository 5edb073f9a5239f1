"""What goes inside, and what always stays outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.etree.ElementTree import Element, SubElement

import pytest
from slixmpp import ClientXMPP, Iq, Message, Presence
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import StanzaPath

from tests.slixmpp_e2e.world import ALICE, BOB, Heard, World, e2e, until

Build = Callable[[ClientXMPP], Any]
WORD = "urn:example:word"


def message(to: str, kind: str) -> Build:
    def build(client: ClientXMPP) -> Message:
        return client.make_message(mto=to, mbody="x", mtype=kind)

    return build


def presence(to: str | None, kind: str | None = None, payload: str = "") -> Build:
    def build(client: ClientXMPP) -> Presence:
        stanza = client.make_presence(pto=to, ptype=kind)
        if payload:
            stanza.xml.append(Element(payload))
        return stanza

    return build


def iq(to: str | None, kind: str, payload: str) -> Build:
    def build(client: ClientXMPP) -> Iq:
        stanza = client.make_iq(ito=to, itype=kind)
        stanza.xml.append(Element(payload))
        return stanza

    return build


MUC = "{http://jabber.org/protocol/muc}x"
DISCO = "{http://jabber.org/protocol/disco#info}query"
ROOM = "room@localhost"

INSIDE: dict[str, Build] = {
    **{f"message-{kind}": message(BOB, kind) for kind in ("chat", "normal", "headline", "error")},
    "message-bare": message("bob@localhost", "chat"),
    "presence": presence(BOB),
    "presence-unavailable": presence(BOB, "unavailable"),
    "presence-bare": presence("bob@localhost"),
    "iq-get": iq(BOB, "get", "{jabber:iq:version}query"),
    "iq-set": iq(BOB, "set", "{http://jabber.org/protocol/commands}command"),
    "disco-items": iq(BOB, "get", "{http://jabber.org/protocol/disco#items}query"),
}
OUTSIDE: dict[str, Build] = {
    "presence-undirected": presence(None),
    **{f"presence-{kind}": presence("bob@localhost", kind) for kind in ("subscribe", "subscribed", "unsubscribe", "probe")},
    "disco-info": iq(BOB, "get", DISCO),
    "iq-own-server": iq(None, "get", "{jabber:iq:roster}query"),
    "iq-server": iq("localhost", "get", "{urn:xmpp:ping}ping"),
    "iq-bare": iq("bob@localhost", "get", "{http://jabber.org/protocol/pubsub}pubsub"),
    "iq-own-account": iq("alice@localhost", "set", "{http://jabber.org/protocol/pubsub}pubsub"),
    "message-server": message("localhost", "chat"),
    "message-groupchat": message(ROOM, "groupchat"),
    "message-private": message(f"{ROOM}/bob", "chat"),
    "presence-room": presence(f"{ROOM}/alice", None, MUC),
    "presence-room-later": presence(f"{ROOM}/alice"),
    "iq-occupant": iq(f"{ROOM}/bob", "get", "{jabber:iq:version}query"),
}


@pytest.mark.parametrize("build", INSIDE.values(), ids=INSIDE.keys())
async def test_what_is_for_a_person_goes_inside(world: World, build: Build) -> None:
    """Messages, requests and directed presence reach the peer, and the server sees none of it."""
    alice, bob = await world.pair()
    await world.session(alice, bob)
    taken: list[Any] = []

    def tap(stanza: Any) -> Any:
        taken.append(stanza)
        return stanza

    bob.add_filter("in", tap)
    stanza = build(alice)
    SubElement(stanza.xml, f"{{{WORD}}}marked")
    stanza.send()
    await world.settle(alice, bob)
    [got] = [stanza for stanza in taken if stanza.xml.find(f"{{{WORD}}}marked") is not None]
    assert str(got["e2e"]["assurance"]) == "vouched"
    assert got["from"].full == ALICE
    assert got.xml[0].tag == stanza.xml[0].tag
    assert world.in_clear(WORD) == []


@pytest.mark.parametrize("policy", ["prefer", "require"])
@pytest.mark.parametrize("build", OUTSIDE.values(), ids=OUTSIDE.keys())
async def test_what_must_be_seen_by_servers_stays_outside(world: World, build: Build, policy: str) -> None:
    """Under every policy, and also while a session with the same peer is open."""
    alice, bob = await world.pair(policy=policy)
    await world.session(alice, bob)
    failed = Heard(alice, "e2e_send_failed")
    presence(f"{ROOM}/alice", None, MUC)(alice).send()
    stanza = build(alice)
    SubElement(stanza.xml, f"{{{WORD}}}marked")
    stanza.send()
    await until(world.server.saw(lambda handled: WORD in handled.text))
    assert len(failed) == 0


async def test_a_room_that_the_muc_plugin_has_joined_is_a_room(world: World) -> None:
    """Known by slixmpp's own plugin, a room's occupants are not taken for people, in either direction."""
    alice, bob = await world.pair(policy="require")
    alice.register_plugin("xep_0045")
    muc: Any = alice.plugin["xep_0045"]
    muc.rooms["bob@localhost"] = {}
    heard = Heard(alice, "message")
    alice.send_message(mto=BOB, mbody="to an occupant")
    await until(world.server.saw(lambda handled: "to an occupant" in handled.text))
    e2e(bob).set_policy(ALICE, "off")
    bob.send_message(mto=ALICE, mbody="from an occupant")
    assert await heard.bodies(1) == ["from an occupant"]
    del muc.rooms["bob@localhost"]


async def test_nothing_in_an_incoming_stanza_makes_a_person_a_room(world: World) -> None:
    """Its type and its children are the server's to write."""
    alice = await world.client(ALICE, policy="require")
    refused, heard = Heard(alice, "e2e_plaintext_refused"), Heard(alice, "message")
    inner = f"<body>x</body><x xmlns='{MUC[1:].partition('}')[0]}#user'/><query xmlns='{DISCO[1:].partition('}')[0]}'/>"
    for kind in ("chat", "groupchat", "headline", "error", "normal"):
        world.server.inject(ALICE, f"<message from='{BOB}' to='{ALICE}' type='{kind}'>{inner}</message>")
        await refused.take()
    world.server.inject(ALICE, f"<presence from='{BOB}' to='{ALICE}'><x xmlns='{MUC[1:].partition('}')[0]}#user'/></presence>")
    world.server.inject(ALICE, f"<message from='{BOB}' to='{ALICE}' type='groupchat'>{inner}</message>")
    await refused.take()
    assert len(heard) == 0


async def test_what_a_server_says_in_clear_is_delivered(world: World) -> None:
    """Presence, what comes from a domain or a bare JID by iq, and answers are no plaintext of a person."""
    alice = await world.client(ALICE, "xep_0030", "xep_0199", policy="require")
    bob = await world.client(BOB, "xep_0030", load=False)
    refused, online, heard = Heard(alice, "e2e_plaintext_refused"), Heard(alice, "presence_available"), Heard(alice, "message")
    bob.send_presence(pstatus="here")
    assert (await online.take())["from"].full == BOB
    world.server.inject(ALICE, f"<message from='localhost' to='{ALICE}'><body>maintenance</body></message>")
    assert await heard.bodies(1) == ["maintenance"]
    info: Any = bob.plugin["xep_0030"]
    assert "http://jabber.org/protocol/caps" in (await until(info.get_info(jid=ALICE)))["disco_info"]["features"]
    assert len(refused) == 0


@pytest.mark.parametrize("policy", ["prefer", "require"])
@pytest.mark.parametrize("sender", [BOB, "bob@localhost", "localhost"])
async def test_an_answer_that_nobody_waits_for_is_plaintext(world: World, policy: str, sender: str) -> None:
    """A server can make one up that a handler would take for news; under ``require`` a person's is dropped, an awaited one
    is not."""
    alice = await world.client(ALICE, "xep_0030", policy=policy)
    bob = await world.client(BOB, "xep_0030", load=False)
    await world.settle(alice, bob)
    results: list[Any] = []
    alice.register_handler(Callback("results", StanzaPath("iq@type=result"), results.append))
    world.server.inject(ALICE, f"<iq type='result' id='made-up' from='{sender}' to='{ALICE}'><x xmlns='urn:example'/></iq>")
    info: Any = alice.plugin["xep_0030"]
    await until(info.get_info(jid=BOB, cached=False))
    came = [iq["id"] for iq in results if iq["id"] == "made-up"]
    assert came == ([] if policy == "require" and sender != "localhost" else ["made-up"])


# --- what services say in the name of people -------------------------------------------------------------------------

EVENT = "<event xmlns='http://jabber.org/protocol/pubsub#event'><items node='n'><item id='1'/></items></event>"
DELAY = "<delay xmlns='urn:xmpp:delay' stamp='2020-01-01T00:00:00Z'/>"
BODY = "<body>forged</body>"


def copied(sender: str, to: str = ALICE, inner: str = BODY) -> str:
    """A message as servers wrap it (XEP-0297)."""
    message = f"<message xmlns='jabber:client' from='{sender}' to='{to}' type='chat'>{inner}</message>"
    return f"<forwarded xmlns='urn:xmpp:forward:0'>{message}</forwarded>"


def carbon(kind: str, *inner: str) -> str:
    return f"<{kind} xmlns='urn:xmpp:carbons:2'>{''.join(inner)}</{kind}>"


def archived(inner: str) -> str:
    return f"<result xmlns='urn:xmpp:mam:2' queryid='q' id='1'>{inner}</result>"


BARE = "alice@localhost"
FROM_BOB, TO_BOB, FROM_CAROL = copied(BOB), copied(BARE + "/x", "bob@localhost"), copied("carol@localhost/c")
SERVICES: list[tuple[str, str, bool, bool]] = [
    # from whom, what, delivered when `require` is for everybody, and when it is for Bob
    ("bob@localhost", EVENT, True, True),
    ("bob@localhost", EVENT + DELAY, True, True),
    (BARE, EVENT, True, True),
    ("bob@localhost", EVENT + BODY, False, False),
    ("bob@localhost", EVENT + EVENT, False, False),
    (BOB, EVENT, False, False),
    (BARE, archived(FROM_BOB), True, True),
    (BARE, archived(FROM_BOB) + BODY, False, True),
    ("bob@localhost", archived(FROM_BOB), False, False),
    (BARE, carbon("received", FROM_BOB), False, False),
    (BARE, carbon("sent", TO_BOB), False, False),
    ("", carbon("received", FROM_BOB), False, False),
    (BARE, carbon("received", FROM_CAROL), False, True),
    (BARE, carbon("received", FROM_CAROL, FROM_BOB), False, False),
    (BARE, carbon("sent", copied(BARE, ALICE, carbon("received", FROM_BOB))), False, False),
    (BARE, carbon("received", copied("bob@localhost", ALICE, EVENT)), True, True),
    (BARE, carbon("received", copied("localhost")), True, True),
    (BARE, carbon("received", copied("localhost")) + BODY, False, True),
    ("", BODY, False, True),
]


@pytest.mark.parametrize("everybody", [True, False], ids=["everybody", "Bob"])
async def test_what_a_service_brings_is_judged_by_whose_it_is(world: World, everybody: bool) -> None:
    """Events and archives are a service's and hold nothing else; a carbon is judged as what it is a copy of."""
    alice = await world.client(ALICE, policy="require" if everybody else "prefer")
    if not everybody:
        e2e(alice).set_policy(BOB, "require")
    came: list[Any] = []
    alice.add_filter("in", lambda stanza: came.append(stanza) if isinstance(stanza, Message) else stanza)
    for sender, payload, if_everybody, if_bob in SERVICES:
        came.clear()
        refused = Heard(alice, "e2e_plaintext_refused")
        name = f" from='{sender}'" if sender else ""
        world.server.inject(ALICE, f"<message{name} to='{ALICE}'>{payload}</message>")
        await world.settle(alice)
        delivered = if_everybody if everybody else if_bob
        assert (len(came), len(refused)) == ((1, 0) if delivered else (0, 1)), (sender, payload)
        assert all(stanza["e2e"]["session"] is None for stanza in came)
