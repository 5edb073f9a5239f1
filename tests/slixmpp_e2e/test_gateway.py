"""A component as gateways are: it answers at its domain, at bare JIDs, and has rooms of its own. Nothing is lost there."""

from __future__ import annotations

import asyncio
from typing import Any
from xml.etree.ElementTree import SubElement, fromstring

import pytest
from slixmpp import JID, ClientXMPP, ComponentXMPP, Iq
from slixmpp.exceptions import IqError
from slixmpp.plugins.xep_0030 import DiscoInfo

from slixmpp_e2e.errors import ConfigError, NotSent, NotSentReason
from slixmpp_e2e.xmpp import presence
from tests.slixmpp_e2e.env import ALICE, BOTS, PATIENCE, SECRET, Env, Events, e2e, echo, turns, until
from xmpp_e2e.errors import PeerRefused
from xmpp_e2e.types import Assurance
from xmpp_loopback import Direction

ECHO, ROOM = f"echo@{BOTS}/bot", f"room@{BOTS}"
ALICES = "alice@localhost"
NS_MUC = "http://jabber.org/protocol/muc"
NO_ENDS = pytest.mark.parametrize("address", [BOTS, f"{BOTS}/x", f"echo@{BOTS}"], ids=["domain", "domain/x", "bare"])


async def together(env: Env, **config: Any) -> tuple[ClientXMPP, ComponentXMPP]:
    """Return Alice and the component, who have had a session: from now on each knows the other by its encryption."""
    bots, alice = await env.component(**{"accept_from": ["localhost"], **config}), await env.client(ALICE, accept_from=[BOTS])
    session = await e2e(alice).connect(ECHO)
    await until(session.wait_open())
    await until(session.close())
    await env.settle(alice)
    return alice, bots


@NO_ENDS
async def test_who_has_encryption_is_answered_the_way_they_asked(env: Env, address: str) -> None:
    """Questions and messages, and nobody is alarmed by what could not have gone another way."""
    alice, bots = await together(env)
    echo(bots)
    bots.register_plugin("xep_0092", {"software_name": "gateway"})
    bots.register_plugin("xep_0199")
    alarmed = [Events(bots, "e2e_plaintext_received"), Events(alice, "e2e_plaintext_received"), Events(bots, "e2e_send_failed")]
    for question in ("<query xmlns='jabber:iq:version'/>", "<ping xmlns='urn:xmpp:ping'/>"):
        iq = alice.make_iq_get(ito=JID(address))
        iq.append(fromstring(question))
        answer: Iq = await until(iq.send(timeout=10))
        assert answer["from"] == address
    iq = alice.make_iq_get(ito=JID(address))
    SubElement(iq.xml, "{urn:unheard-of}query")
    with pytest.raises(IqError) as caught:
        await until(iq.send(timeout=10))
    assert caught.value.condition == "feature-not-implemented"
    assert [len(each) for each in alarmed] == [0, 0, 0]


@pytest.mark.parametrize("address", [BOTS, f"{BOTS}/x"])
async def test_a_message_to_the_domain_is_answered_in_clear(env: Env, address: str) -> None:
    alice, bots = await together(env)
    echo(bots)
    replies, alarmed = Events(alice, "message"), Events(bots, "e2e_plaintext_received")
    alice.send_message(mto=address, mbody="help", mtype="chat")
    reply = await replies.take()
    assert (reply["from"], reply["body"], str(reply["e2e"]["assurance"])) == (address, "echo: help", "none")
    assert len(alarmed) == 0


async def test_a_bare_jid_that_was_never_met_is_answered_in_clear(env: Env) -> None:
    """Nobody is there who could open a session; Alice has encryption all the same."""
    alice, bots = await together(env)
    echo(bots)
    replies = Events(alice, "message")
    alice.send_message(mto=f"new@{BOTS}", mbody="hello", mtype="chat")
    reply = await replies.take()
    assert (reply["from"], reply["body"]) == (f"new@{BOTS}", "echo: hello")


@NO_ENDS
@pytest.mark.parametrize("to", [ALICE, ALICES], ids=["full", "bare"])
async def test_what_leaves_from_no_end_of_a_session_leaves_in_clear(env: Env, address: str, to: str) -> None:
    alice, bots = await together(env)
    heard = Events(alice, "message")
    bots.send_message(mfrom=address, mto=to, mbody="news", mtype="headline")
    message = await heard.take()
    assert (message["from"], message["body"], str(message["e2e"]["assurance"])) == (address, "news", "none")


@NO_ENDS
async def test_under_require_it_fails_and_is_told(env: Env, address: str) -> None:
    _, bots = await together(env, policy="require")
    failed = Events(bots, "e2e_send_failed")
    bots.send_message(mfrom=address, mto=ALICE, mbody=SECRET, mtype="chat")
    error = (await failed.take()).error
    assert isinstance(error, NotSent)
    assert error.reason is NotSentReason.SERVER_WOULD_READ
    assert "write from the full JID of a person" in str(error)
    iq = bots.make_iq_set(ito=ALICE, ifrom=JID(address))
    SubElement(iq.xml, "{urn:example}query").text = SECRET
    with pytest.raises(IqError) as caught:
        await until(iq.send(timeout=10))
    assert caught.value.condition == "service-unavailable"
    assert env.in_clear(SECRET) == []


async def test_words_in_a_users_name_are_the_users(env: Env) -> None:
    """XEP-0356: the server that writes them would read them."""
    alice, bots = await together(env)
    bots.register_plugin("xep_0356")
    bots.register_plugin("xep_0297")
    privileges: Any = bots.plugin["xep_0356"]
    failed = Events(bots, "e2e_send_failed")
    for policy, sent in (("prefer", True), ("require", False)):
        e2e(bots).set_policy(ALICES, policy)
        words = bots.make_message(mfrom=JID(ALICES), mto=JID(f"echo@{BOTS}"), mbody=f"{SECRET} {policy}", mtype="chat")
        words.xml.tag = "{jabber:client}message"
        privileges._make_privileged_message(words).send()
        if not sent:
            assert (await failed.take()).error.reason is NotSentReason.SERVER_WOULD_READ
        await turns()
        await env.settle(alice)
        assert bool(env.in_clear(f"{SECRET} {policy}")) is sent


# --- rooms of its own ------------------------------------------------------------------------------------------------


def occupant(bots: ComponentXMPP, nick: str, to: str) -> None:
    """As a room tells its occupants who is there."""
    presence = bots.make_presence(pfrom=JID(f"{ROOM}/{nick}"), pto=JID(to))
    presence.xml.append(fromstring(f"<x xmlns='{NS_MUC}#user'><item affiliation='member' role='participant'/></x>"))
    presence.send()


def is_room(jid: JID, *words: Any) -> DiscoInfo:
    info = DiscoInfo()
    info.add_identity("conference" if jid.user == "room" else "client", "text")
    return info


@pytest.mark.parametrize("known_by", ["presence", "disco"])
@pytest.mark.parametrize("kind", ["groupchat", "chat"])
async def test_its_rooms_stay_outside(env: Env, known_by: str, kind: str) -> None:
    """What a room says, to all or to one, opens no session, though whom it is for has encryption."""
    alice, bots = await together(env)
    if known_by == "presence":
        occupant(bots, "romeo", ALICE)
    else:
        bots.plugin["xep_0030"].set_node_handler("get_info", None, None, is_room)
    heard, offered = Events(alice, "message"), len(e2e(bots).sessions())
    for body in ("one", "two", "three"):
        bots.send_message(mfrom=JID(f"{ROOM}/romeo"), mto=ALICE, mbody=body, mtype=kind)
    assert await heard.bodies(3) == ["one", "two", "three"]
    assert len(e2e(bots).sessions()) == offered
    sent = [one.text for one in env.server.handled if (one.client, one.direction) == (BOTS, Direction.RECEIVED)]
    assert not [text for text in sent if "session-initiate" in text]


async def test_under_require_a_room_of_its_own_is_told(env: Env) -> None:
    _, bots = await together(env, policy="require")
    bots.plugin["xep_0030"].set_node_handler("get_info", None, None, is_room)
    failed = Events(bots, "e2e_send_failed")
    for kind in ("chat", "groupchat", "chat"):
        bots.send_message(mfrom=JID(f"{ROOM}/romeo"), mto=ALICE, mbody=SECRET, mtype=kind)
        assert (await failed.take()).error.reason is NotSentReason.SERVER_WOULD_READ
    assert env.in_clear(SECRET) == []


async def test_what_comes_to_a_room_of_its_own_alarms_nobody(env: Env) -> None:
    alice, bots = await together(env)
    occupant(bots, "romeo", ALICE)
    here = Events(alice, "presence_available")
    await here.take()
    heard, alarmed = Events(bots, "message"), Events(bots, "e2e_plaintext_received")
    alice.send_message(mto=ROOM, mbody="hello all", mtype="groupchat")
    assert await heard.bodies(1) == ["hello all"]
    assert len(alarmed) == 0


# --- ends ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("own_jid", [None, BOTS, f"echo@{BOTS}", "echo@elsewhere.test/x"])
async def test_a_component_names_the_end_of_a_session(env: Env, own_jid: str | None) -> None:
    alice, bots = await together(env)
    with pytest.raises(
        ConfigError, match="own_jid='bot@bots.localhost/bot'" if own_jid != "echo@elsewhere.test/x" else "not ours"
    ):
        await e2e(bots).connect(ALICE, own_jid=own_jid)
    session = await e2e(bots).connect(ALICE, own_jid=ECHO)
    await until(session.wait_open())
    assert session.own_jid == ECHO
    with pytest.raises(ConfigError, match="not ours: we are alice@localhost/a"):
        await e2e(alice).connect(ECHO, own_jid="alice@localhost/other")


@pytest.mark.parametrize("address", [f"echo@{BOTS}", f"{ROOM}/romeo"], ids=["bare", "room"])
async def test_what_can_be_no_end_accepts_no_session(env: Env, address: str) -> None:
    alice, bots = await together(env)
    occupant(bots, "romeo", ALICE)
    await turns()
    with pytest.raises(PeerRefused):
        await until(e2e(alice)._client.registry.connect((ALICE, address), Assurance.NONE))
    assert not e2e(bots).sessions()


# --- presence --------------------------------------------------------------------------------------------------------


async def test_a_component_that_starts_again_asks_who_is_online(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its server tells it nothing by itself. Nobody who is online is taken to be offline, and nothing goes in plaintext."""
    monkeypatch.setattr(presence, "ARRIVAL_SECONDS", PATIENCE)
    alice = await env.client(ALICE, accept_from=[BOTS])
    env.server.set_subscription(ALICES, f"echo@{BOTS}", "from")
    await env.settle(alice)
    heard = Events(alice, "message")
    bots = await env.component()
    for body in (SECRET, "again"):
        bots.send_message(mfrom=ECHO, mto=ALICES, mbody=body, mtype="chat")
        message = await heard.take()
        assert (message["body"], str(message["e2e"]["assurance"])) == (body, "vouched")
    probes = [one.element for one in env.server.handled if one.element.get("type") == "probe"]
    assert [(probe.get("from"), probe.get("to")) for probe in probes] == [(f"echo@{BOTS}", ALICES)]
    assert env.in_clear(SECRET) == []


async def test_the_answer_that_nobody_may_be_seen_is_not_the_programs(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has asked nothing, and might take it for the end of a friendship. What the peer decides is its business."""
    monkeypatch.setattr(presence, "ARRIVAL_SECONDS", PATIENCE)
    bots, alice = await env.component(), await env.client(ALICE, load=False)
    decided, heard = Events(bots, "presence_unsubscribed"), Events(alice, "message")

    def unsubscribe() -> None:
        answer = bots.make_presence(pfrom=JID(ALICES), pto=JID(f"echo@{BOTS}"), ptype="unsubscribed")
        answer.xml.tag = "{jabber:client}presence"
        env.server.route(answer.xml, ALICES)

    bots.send_message(mfrom=ECHO, mto=ALICES, mbody="in clear", mtype="chat")
    async with asyncio.timeout(PATIENCE):
        while not [one for one in env.server.handled if one.element.get("type") == "probe"]:
            await turns()
    unsubscribe()
    assert await heard.bodies(1) == ["in clear"]
    assert len(decided) == 0
    unsubscribe()
    await decided.take()
