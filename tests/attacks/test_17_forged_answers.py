"""Attack 17: a plain iq result of a server answers an iq that was sent inside a session.

slixmpp takes an answer to an iq from the peer's full JID, bare JID and *domain*, and from our own account and domain; ids that
went inside must accept inside answers only.
"""

from __future__ import annotations

import asyncio
from xml.etree.ElementTree import Element, SubElement

import pytest
from slixmpp import ClientXMPP, Iq
from slixmpp.exceptions import IqError
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import StanzaPath

from slixmpp_e2e.messages.iq_tracking import IqTracker
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, jingle, until
from xmpp_loopback import hostile

QUERY = "{urn:example:query}query"
FORGERS = ["localhost", "bob@localhost", BOB, "alice@localhost", ALICE, None]
KINDS = pytest.mark.parametrize("kind", ["result", "error"])


class Oracle:
    """Bob's client keeps what it was asked, until the test lets it answer."""

    def __init__(self, client: ClientXMPP) -> None:
        self._asked: asyncio.Queue[Iq] = asyncio.Queue()
        client.register_handler(Callback("oracle", StanzaPath("iq@type=get"), self._take))

    def _take(self, iq: Iq) -> None:
        if iq.xml.find(QUERY) is not None:
            self._asked.put_nowait(iq)

    async def asked(self) -> Iq:
        """The next question."""
        return await until(self._asked.get())


def ask(client: ClientXMPP) -> tuple[str, asyncio.Future[Iq]]:
    """A question for Bob: its id, and the answer to come."""
    iq = client.make_iq_get(ito=BOB)
    SubElement(iq.xml, QUERY).text = "which key?"
    answer: asyncio.Future[Iq] = iq.send(timeout=20)
    return iq["id"], answer


def answer_text(iq: Iq) -> str:
    return iq.xml.findtext(QUERY) or ""


def forgery(iq_id: str, sender: str | None, kind: str = "result") -> Element:
    """What a server writes."""
    stanza = Element("{jabber:client}iq", {"type": kind, "id": iq_id, "to": ALICE})
    if sender is not None:
        stanza.set("from", sender)
    SubElement(stanza, QUERY).text = "the forged one"
    if kind == "error":
        error = SubElement(stanza, "{jabber:client}error", {"type": "cancel"})
        SubElement(error, "{urn:ietf:params:xml:ns:xmpp-stanzas}forbidden")
    return stanza


def reply(question: Iq) -> None:
    """Bob's genuine answer."""
    answer = question.reply()
    SubElement(answer.xml, QUERY).text = "the genuine one"
    answer.send()


@KINDS
@pytest.mark.parametrize("sender", FORGERS)
async def test_a_forged_answer_is_dropped(env: Env, sender: str | None, kind: str) -> None:
    """Whoever it claims to be from: the user is told, and the caller gets the genuine answer, through the session."""
    alice, bob = await env.pair()
    oracle, told = Oracle(bob), Events(alice, "e2e_plaintext_refused")
    await env.session(alice, bob)
    iq_id, answer = ask(alice)
    question = await oracle.asked()
    env.server.inject(ALICE, forgery(iq_id, sender, kind))
    report = await told.take()
    assert "asked inside a session came outside of it" in str(report)
    assert not answer.done()
    reply(question)
    genuine = await until(answer)
    assert answer_text(genuine) == "the genuine one"
    assert str(genuine["e2e"]["assurance"]) == "vouched"
    assert env.in_clear("which key?", "the genuine one", iq_id) != []  # the id is what the forger wrote; the words are not
    assert env.in_clear("which key?", "the genuine one") == []


@KINDS
async def test_a_forged_answer_while_the_question_waits(env: Env, kind: str) -> None:
    """The question has not left, for its session is not open: an answer can only be forged, too."""
    alice, bob = await env.pair()
    oracle, told = Oracle(bob), Events(alice, "e2e_plaintext_refused")
    offer = hostile.Hold(env.server, jingle("session-initiate"))
    env.server.hooks.append(offer)
    iq_id, answer = ask(alice)
    await until(offer.caught())
    env.server.inject(ALICE, forgery(iq_id, BOB, kind))
    await told.take()
    assert not answer.done()
    offer.release()
    reply(await oracle.asked())
    assert answer_text(await until(answer)) == "the genuine one"


async def test_after_the_session_ended_no_answer_counts(env: Env) -> None:
    """The session ends with the question open: the caller gets an error at once, and what comes later is nobody's."""
    alice, bob = await env.pair()
    oracle = Oracle(bob)
    ours, _ = await env.session(alice, bob)
    iq_id, answer = ask(alice)
    question = await oracle.asked()
    await ours.close()
    with pytest.raises(IqError) as caught:
        await until(answer)
    assert caught.value.iq["error"]["condition"] == "recipient-unavailable"
    received: list[Iq] = []
    alice.register_handler(Callback("late", StanzaPath("iq@type=result"), received.append))
    failed = Events(bob, "e2e_send_failed")
    reply(question)  # Bob's answer is late: it is not sent another way
    await failed.take()
    await env.settle(alice, bob)
    assert [iq for iq in received if iq["id"] == iq_id] == []
    assert env.in_clear("the genuine one") == []


async def test_an_answer_from_another_session_is_dropped(env: Env) -> None:
    """Another peer inside a session of their own, who knows the id, cannot answer either."""
    alice, bob = await env.pair()
    carol = await env.client("carol@localhost/c")
    await env.settle(alice, bob, carol)
    oracle = Oracle(bob)
    await env.session(alice, bob)
    carols, _ = await env.session(carol, alice)
    iq_id, answer = ask(alice)
    question = await oracle.asked()
    carols._driver.send(forgery(iq_id, BOB))
    await env.settle(carol, alice)
    assert not answer.done()
    reply(question)
    assert answer_text(await until(answer)) == "the genuine one"


@pytest.mark.parametrize("sender", FORGERS)
async def test_control_without_the_guard(env: Env, sender: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: with the guard off slixmpp takes each of these for Bob's answer."""
    monkeypatch.setattr(IqTracker, "is_spoofed_reply", lambda self, iq: False)
    alice, bob = await env.pair()
    oracle = Oracle(bob)
    await env.session(alice, bob)
    iq_id, answer = ask(alice)
    await oracle.asked()
    env.server.inject(ALICE, forgery(iq_id, sender))
    if sender == ALICE:  # the one that slixmpp would not take
        await env.settle(alice)
        assert not answer.done()
    else:
        assert answer_text(await until(answer)) == "the forged one"
