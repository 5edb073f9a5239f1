"""A component (XEP-0114) has one key, many addresses, and sessions of each address with each peer."""

from __future__ import annotations

import asyncio
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest
from slixmpp import ClientXMPP, ComponentXMPP, Iq
from slixmpp.exceptions import IqError
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

from slixmpp_e2e.errors import ConfigError, PeerWithoutE2E
from slixmpp_e2e.settings import DEFAULTS, Settings
from tests.slixmpp_e2e.env import ALICE, BOTS, PATIENCE, SECRET, Env, Events, e2e, echo, turns, until
from tests.slixmpp_e2e.messages.stanzas import stanza
from xmpp_e2e.errors import E2EError
from xmpp_e2e.negotiate.jingle import NS_SECURITY
from xmpp_loopback import Direction, to_text

ECHO, HELP = f"echo@{BOTS}/bot", f"help@{BOTS}/bot"
POLICIES = pytest.mark.parametrize("policy", ["prefer", "require"])


async def together(env: Env, **config: Any) -> tuple[ClientXMPP, ComponentXMPP]:
    config.setdefault("accept_from", ["localhost"])
    policy = {"policy": config["policy"]} if "policy" in config else {}
    bots, alice = await env.component(**config), await env.client(ALICE, **policy, accept_from=[BOTS])
    env.server.set_subscription("alice@localhost", f"echo@{BOTS}", "both")
    here = Events(alice, "presence_available")
    bots.send_presence(pfrom=ECHO, pto="alice@localhost")
    while (await here.take())["from"].full != ECHO:
        pass
    return alice, bots


@POLICIES
@pytest.mark.parametrize("to", [ECHO, f"echo@{BOTS}"], ids=["full", "bare"])
async def test_a_bot_that_is_a_component_answers_through_the_session(env: Env, policy: str, to: str) -> None:
    """An unmodified bot answers a client, and the server can read nothing of it."""
    alice, bots = await together(env, policy=policy)
    echo(bots)
    heard, replies = Events(bots, "message"), Events(alice, "message")
    alice.send_message(mto=to, mbody=SECRET, mtype="chat")
    message, reply = await heard.take(), await replies.take()
    assert (message["from"], message["body"]) == (ALICE, SECRET)
    assert (reply["from"], reply["body"]) == (ECHO, f"echo: {SECRET}")
    for each in (message, reply):
        assert str(each["e2e"]["assurance"]) in ("vouched", "known")
    assert env.in_clear(SECRET) == []


@POLICIES
@pytest.mark.parametrize("to", [ALICE, "alice@localhost"], ids=["full", "bare"])
async def test_a_component_writes_first(env: Env, policy: str, to: str) -> None:
    """It writes from the address that the stanza names, and finds devices by the presence that this address got."""
    alice, bots = await together(env, policy=policy)
    here = Events(bots, "presence_available")
    alice.send_presence()
    await here.take()
    heard, started = Events(alice, "message"), Events(bots, "e2e_session_opened")
    bots.send_message(mfrom=ECHO, mto=to, mbody=SECRET, mtype="chat")
    message = await heard.take()
    assert (message["from"], message["body"], str(message["e2e"]["assurance"])) == (ECHO, SECRET, "vouched")
    await started.take()
    assert [(session.own_jid, session.peer) for session in e2e(bots).sessions()] == [(ECHO, ALICE)]
    assert env.in_clear(SECRET) == []


async def test_every_address_has_sessions_of_its_own_under_one_key(env: Env) -> None:
    """Two addresses have two sessions with the same client, under one fingerprint, and nothing crosses between them."""
    alice, bots = await together(env)
    links = [await e2e(alice).connect(name) for name in (ECHO, HELP)]
    for link in links:
        await until(link.wait_open())
    assert {link.fingerprint for link in links} == {e2e(bots).fingerprint}
    assert sorted(link.own_jid for link in e2e(bots).sessions()) == [ECHO, HELP]
    heard = Events(bots, "message")
    for name in (ECHO, HELP):
        alice.send_message(mto=name, mbody=SECRET, mtype="chat")
        message = await heard.take()
        assert message["to"] == name
        assert message["e2e"]["session"].own_jid == name
    await until(links[0].close())
    assert [link.own_jid for link in e2e(bots).sessions()] == [HELP]
    assert env.in_clear(SECRET) == []


async def test_iqs_and_their_answers_are_encrypted(env: Env) -> None:
    alice, bots = await together(env, policy="require")
    for client in (alice, bots):
        client.register_plugin("xep_0092", {"software_name": SECRET})
    for asker, target, sender in ((alice, ECHO, None), (bots, ALICE, ECHO)):
        question = asker.make_iq_get(ito=target, ifrom=sender, queryxmlns="jabber:iq:version")
        answer = await until(question.send(timeout=10))
        assert SECRET in to_text(answer.xml)
        question = asker.make_iq_get(ito=target, ifrom=sender, queryxmlns="urn:unheard-of")
        with pytest.raises(IqError) as caught:
            await until(question.send(timeout=10))
        assert caught.value.iq["error"]["condition"] == "feature-not-implemented"
    assert env.in_clear(SECRET) == []


async def test_every_address_answers_disco(env: Env) -> None:
    alice, bots = await together(env)
    for name in (ECHO, HELP, f"anything@{BOTS}/x"):
        info = await alice.plugin["xep_0030"].get_info(jid=name, timeout=10)
        assert NS_SECURITY in info["disco_info"]["features"], name
    env.unload(bots)
    await turns()
    info = await alice.plugin["xep_0030"].get_info(jid=ECHO, timeout=10)
    assert NS_SECURITY not in info["disco_info"]["features"]


async def test_nobody_may_open_sessions_with_a_component_by_default(env: Env) -> None:
    """``accept_from`` is nobody until a list is given. What is not accepted is not advertised, so users write in plaintext."""
    alice, bots = await together(env, accept_from=None)
    heard = Events(bots, "message")
    alice.send_message(mto=ECHO, mbody="hello", mtype="chat")
    assert await heard.bodies(1) == ["hello"]
    with pytest.raises(PeerWithoutE2E):
        await until(e2e(alice).connect(ECHO))
    e2e(bots).set_accept_from(["alice@localhost"])
    await turns()
    alice.send_message(mto=HELP, mbody=SECRET, mtype="chat")
    assert await heard.bodies(1) == [SECRET]
    assert env.in_clear(SECRET) == []


async def test_under_require_plaintext_is_refused(env: Env) -> None:
    bots, alice = await env.component(policy="require", accept_from=["localhost"]), await env.client(ALICE, load=False)
    refused, failed = Events(bots, "e2e_plaintext_refused"), Events(bots, "e2e_send_failed")
    heard = Events(alice, "message")
    alice.send_message(mto=ECHO, mbody="in clear", mtype="chat")
    assert (await refused.take()).stanza["body"] == "in clear"
    bots.send_message(mfrom=ECHO, mto=ALICE, mbody=SECRET, mtype="chat")
    assert isinstance((await failed.take()).error, E2EError)
    assert len(heard) == 0
    assert env.in_clear(SECRET) == []


async def test_under_prefer_strangers_get_plaintext(env: Env) -> None:
    bots, alice = await env.component(), await env.client(ALICE, load=False)
    echo(bots)
    heard, replies = Events(bots, "message"), Events(alice, "message")
    alice.send_message(mto=ECHO, mbody="in clear", mtype="chat")
    assert str((await heard.take())["e2e"]["assurance"]) == "none"
    assert await replies.bodies(1) == ["echo: in clear"]


async def test_a_known_component_is_known_again(env: Env) -> None:
    """The component's key is remembered for each of its addresses."""
    alice, _ = await together(env)
    link = await e2e(alice).connect(ECHO)
    await until(link.wait_open())
    await until(link.close())
    again = await e2e(alice).connect(ECHO)
    other = await e2e(alice).connect(HELP)
    assert [str(one.assurance) for one in (again, other)] == ["known", "vouched"]


async def test_a_lost_stream_ends_the_sessions_of_a_component(env: Env) -> None:
    alice, bots = await together(env)
    await until((await e2e(alice).connect(ECHO)).wait_open())
    ended = Events(bots, "e2e_session_closed")
    bots.abort()
    assert not (await ended.take()).clean
    assert not e2e(bots).sessions()


async def test_the_resource_of_the_highest_priority_comes_first(env: Env) -> None:
    """A priority in the namespace of the component's stream counts."""
    _, bots = await together(env)
    here = Events(bots, "presence_available")
    other = await env.client("alice@localhost/high", load=False)
    other.send_presence(ppriority=5)
    while (await here.take())["priority"] != 5:
        pass
    known = e2e(bots)._client._presence
    assert list(await known.online(f"echo@{BOTS}", "alice@localhost")) == ["alice@localhost/high", ALICE]


async def test_refusals_are_understood_and_well_formed(env: Env) -> None:
    """The component understands a client's refusal, and its own refusals are in the namespace of its stream."""
    alice, bots = await together(env, accept_from=None)
    for sender, origin, to in ((bots, ECHO, ALICE), (alice, None, ECHO)):
        for each in (alice, bots):  # this also forgets to whom each has offered a session
            e2e(each).set_accept_from(["nobody@nowhere.test"])
        failed = Events(sender, "e2e_send_failed")
        sender.send_message(mfrom=origin, mto=to, mbody=SECRET, mtype="chat")
        assert "service-unavailable" in str((await failed.take()).error)
    of_component = [one.text for one in env.server.handled if (one.client, one.direction) == (BOTS, Direction.RECEIVED)]
    refusals = [text for text in of_component if "<error" in text]
    assert refusals
    assert not [text for text in refusals if "jabber:client" in text]


async def test_the_addresses_of_a_component_are_strangers_to_each_other(env: Env) -> None:
    """Who leaves one, loses no session with another; and one id towards two of them is two questions."""
    alice, bots = await together(env)
    links = [await e2e(alice).connect(name) for name in (ECHO, HELP)]
    for link in links:
        await until(link.wait_open())
    asked: list[Any] = []
    bots.register_handler(Callback("asked", MatchXPath("{jabber:component:accept}iq/{urn:ask}ask"), asked.append))
    answers = Events(alice, "answered")
    alice.register_handler(
        Callback("answered", MatchXPath("{jabber:client}iq/{urn:ask}answer"), lambda iq: alice.event("answered", iq))
    )
    for link in links:
        request = Iq(xml=fromstring("<iq xmlns='jabber:client' type='get' id='same'><ask xmlns='urn:ask'/></iq>"))
        link.send(request)
    async with asyncio.timeout(PATIENCE):
        while len(asked) < 2:
            await env.settle(alice)
    for request in reversed(asked):
        reply = request.reply()
        reply.append(fromstring(f"<answer xmlns='urn:ask' of='{request['to']}'/>"))
        reply.send()
    for name in (HELP, ECHO):
        answer = await answers.take()
        assert (answer["from"].full, answer.xml[0].get("of"), answer["e2e"]["session"].peer) == (name, name, name)
    # as her server sends it, when she blocks one of them
    e2e(bots)._client.changes.on_presence(stanza("presence", "unavailable", sender=ALICE, to=ECHO))
    assert [session.own_jid for session in e2e(bots).sessions()] == [HELP]


def test_a_component_has_no_roster() -> None:
    with pytest.raises(ConfigError, match="a component has none"):
        Settings.parse({**DEFAULTS, "accept_from": "roster"}, component=True)
