"""``stanza["e2e"]`` tells how a stanza came, cannot be forged, and never reaches the wire."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest
from slixmpp import Iq, Message

from slixmpp_e2e.xmpp import marker as mark
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e, until
from xmpp_e2e.types import Assurance, Fingerprint

NS = "urn:x-xmpp-e2e:local:0"


async def test_an_encrypted_stanza_tells_its_session(env: Env) -> None:
    alice, bob = await env.pair()
    _, theirs = await env.session(alice, bob)
    heard = Events(bob, "message")
    alice.send_message(mto=BOB, mbody="one")
    e2e_of = (await heard.take())["e2e"]
    assert e2e_of["session"] is theirs
    assert e2e_of["assurance"] is Assurance.VOUCHED
    assert e2e_of["fingerprint"] == e2e(alice).fingerprint == theirs.fingerprint
    await until(e2e(bob).trust.pin(ALICE, e2e(alice).fingerprint))
    alice.send_message(mto=BOB, mbody="two")
    assert (await heard.take())["e2e"]["assurance"] is theirs.assurance


async def test_plaintext_tells_that_it_is(env: Env) -> None:
    """Plaintext has no session, no key and the assurance ``none``; asking leaves nothing in the stanza to be sent on."""
    alice, bob = await env.pair(policy="off")
    heard = Events(bob, "message")
    alice.send_message(mto=BOB, mbody="one")
    message = await heard.take()
    assert message["e2e"]["session"] is None
    assert message["e2e"]["assurance"] is Assurance.NONE
    assert message["e2e"]["fingerprint"] is None
    message.reply("two", clear=False).send()
    await until(env.server.wait_for(lambda handled: "two" in handled.text))
    assert env.in_clear(NS) == []


async def test_a_true_marker_beside_a_second_one_counts_for_nothing(env: Env) -> None:
    alice, bob = await env.pair()
    _, theirs = await env.session(alice, bob)
    message = Message()
    for token in (e2e(bob)._client.sessions.token_of(theirs._driver), "x"):
        message.xml.append(copy.deepcopy(_marker(token)))
    assert mark.token_of(message) is None


def test_a_marker_takes_the_place_of_all_others() -> None:
    class Session:
        assurance = Assurance.VERIFIED
        fingerprint = Fingerprint(bytes(32))

    session = Session()
    token = mark.register(session)
    message = Message()
    for _ in range(2):
        message.xml.append(copy.deepcopy(_marker("x")))
    mark.put(message, token)
    assert mark.token_of(message) == token
    assert message["e2e"]["assurance"] is Assurance.VERIFIED
    mark.retire(token)


def test_a_stanza_without_its_marker_is_as_before() -> None:
    iq = Iq()
    error = iq["error"]
    mark.put(iq, "x")
    assert "e2e" not in iq.keys(), "nobody has asked for it, so there is no object"  # noqa: SIM118
    assert iq["e2e"].xml.get("token") == "x"
    assert "e2e" in iq.keys()  # noqa: SIM118
    mark.strip(iq)
    assert "e2e" not in iq.keys()  # noqa: SIM118
    assert iq["error"] is error


def _marker(token: str) -> Any:
    marked = Message()
    mark.put(marked, token)
    return marked.xml[0]


@pytest.mark.parametrize("policy", ["off", "prefer"])
async def test_a_marker_never_leaves(env: Env, policy: str) -> None:
    """It leaves neither with a reply that keeps everything nor inside a forwarded stanza, in plaintext or encrypted."""
    alice, bob = await env.pair()
    carol = await env.client("carol@localhost/c", policy=policy)
    e2e(bob).set_policy("carol@localhost", policy)
    await env.settle(alice, bob, carol)
    await env.session(alice, bob)
    heard, passed_on, replies = Events(bob, "message"), Events(carol, "message"), Events(alice, "message")
    alice.send_message(mto=BOB, mbody="secret")
    message = await heard.take()
    token = message.xml.find(f"{{{NS}}}protection").get("token")
    taps: list[str] = []

    def tap(stanza: Any) -> Any:
        taps.append(str(stanza))
        return stanza

    for client in (alice, carol):
        client.add_filter("in", tap)
    message.reply("again", clear=False).send()
    forwarded = bob.make_message(mto="carol@localhost/c", mbody="look")
    forwarded.xml.append(copy.deepcopy(message.xml))
    forwarded.send()
    assert await replies.bodies(1) == ["again"]
    assert await passed_on.bodies(1) == ["look"]
    assert taps
    assert not any(token in text for text in taps)
    assert env.in_clear(token) == []


async def test_a_handler_may_ask_after_the_session_has_ended(env: Env) -> None:
    """A slow asynchronous handler still learns how the stanza came, though nothing new can come by that session."""
    alice, bob = await env.pair()
    ours, theirs = await env.session(alice, bob)
    go, seen = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def slow(message: Any) -> None:
        await go.wait()
        seen.set_result((message["e2e"]["assurance"], message["e2e"]["fingerprint"]))

    arrived = Events(bob, "message")
    bob.add_event_handler("message", slow)
    alice.send_message(mto=BOB, mbody="one")
    message = await arrived.take()
    await until(ours.close())
    await until(theirs.wait_closed())
    go.set()
    assert await until(seen) == (Assurance.VOUCHED, e2e(alice).fingerprint)
    await env.settle(alice, bob)
    assert mark.token_of(message) is None


def test_a_marker_keeps_no_session_in_memory() -> None:
    """A marker does not keep a session in memory, which would keep its client and everything that the client has."""

    class Session:
        assurance = Assurance.VERIFIED
        fingerprint = Fingerprint(bytes(32))

    session: Session | None = Session()
    stanza = Message()
    mark.put(stanza, mark.register(session))
    mark.retire(stanza.xml[0].get("token"))
    mark.retire("")  # of one that never opened
    assert (stanza["e2e"]["assurance"], mark.token_of(stanza)) == (Assurance.VERIFIED, None)
    session = None
    assert (stanza["e2e"]["assurance"], stanza["e2e"]["session"]) == (Assurance.NONE, None)
