"""Everything that is sent arrives: once, in order, and equal to the last code point."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any
from xml.etree.ElementTree import Element, SubElement

import pytest
from slixmpp import ClientXMPP, Iq
from slixmpp.exceptions import IqError
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import StanzaPath

from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, until
from xmpp_e2e.stream import MAX_STANZA, writer

NS = "urn:example:query"
QUERY = f"{{{NS}}}query"
XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"

AWKWARD = (
    "plain",
    "🎉👩‍👩‍👧‍👦 e\u0301 \U0001f1e9\U0001f1ea \u202eabc\u202c",
    "& < > \" ' ]]> &amp; <![CDATA[ <!-- -->",
    "\r \r\n \n \t tab\tand\rreturn",
    "  leading and trailing  ",
    "\x85\u2028\ufffd\U0010ffff",
)
BIG = "<&>\"'" * 10_000 + "x" * 10_000
"""About 200 KiB once it is escaped."""


UNANSWERED = 100
"""Queries that wait for their answers at a time."""


def bodies(name: str, count: int) -> list[str]:
    texts = itertools.cycle(AWKWARD)
    return [f"{name} {number} {BIG if number % (count // 20) == 7 else next(texts)}" for number in range(count)]


def payload(name: str, number: int) -> Element:
    query = Element(QUERY, {"n": str(number), XML_LANG: "de-CH", "a": AWKWARD[number % len(AWKWARD)]})
    inner = SubElement(query, "{urn:example:inner}x", {"{urn:example:attribute}y": name})
    SubElement(inner, QUERY).text = AWKWARD[(number + 1) % len(AWKWARD)]
    SubElement(inner, "{jabber:client}body").tail = "\ttail\r\n"
    return query


def answering(client: ClientXMPP) -> list[str]:
    asked: list[str] = []

    def answer(iq: Iq) -> None:
        query: Any = iq.xml.find(QUERY)
        asked.append(query.get("n"))
        reply = iq.reply()
        reply.xml.append(query)
        reply.send()

    client.register_handler(Callback("query", StanzaPath("iq@type=get"), answer))
    return asked


async def interleaved(client: ClientXMPP, to: str, texts: list[str]) -> list[asyncio.Future[Any]]:
    """Send a message and a query in turn. (Each stanza is compared with all queries that wait, by slixmpp.)"""
    answers: list[asyncio.Future[Any]] = []
    for number, text in enumerate(texts):
        message = client.make_message(mto=to, mbody=text, mtype="chat")
        message["lang"] = "de-CH"
        message.send()
        iq = client.make_iq_get(ito=to)
        iq.xml.append(payload(client.boundjid.user, number))
        answers.append(iq.send(timeout=600))
        if number >= UNANSWERED:
            await answers[number - UNANSWERED]
    return answers


@pytest.mark.slow
@pytest.mark.parametrize(("warm", "count"), [(True, 1000), (False, 2 * UNANSWERED)], ids=["open", "cold"])
async def test_everything_arrives_once_in_order_and_equal(env: Env, warm: bool, count: int) -> None:
    alice, bob = await env.pair()
    if warm:
        await env.session(alice, bob)
    failures = [Events(client, event) for client in (alice, bob) for event in ("e2e_send_failed", "e2e_session_closed")]
    ends = []
    for client, to in ((alice, BOB), (bob, ALICE)):
        texts = bodies(client.boundjid.user, count)
        heard, asked = Events(client, "message"), answering(client)
        ends.append((client, texts, asyncio.create_task(interleaved(client, to, texts)), heard, asked))
    for (_, _, _, heard, asked), (other, texts, sending, _, _) in zip(ends, reversed(ends), strict=True):
        for text in texts:
            message = await heard.take()
            assert message["body"] == text
            assert message["lang"] == "de-CH"
            assert message["e2e"]["assurance"].name == "VOUCHED"
        for number, answer in enumerate(await until(asyncio.gather(*await until(sending)))):
            assert writer.element(answer.xml.find(QUERY)) == writer.element(payload(other.boundjid.user, number))
        assert asked == [str(number) for number in range(count)]
        assert len(heard) == 0
    assert not any(map(len, failures))
    assert env.in_clear("plain", "urn:example:query") == []


async def test_a_stanza_that_is_too_large_fails_at_its_sender(env: Env) -> None:
    alice, bob = await env.pair()
    await env.session(alice, bob)
    failed, heard = Events(alice, "e2e_send_failed"), Events(bob, "message")
    for size in (MAX_STANZA, MAX_STANZA // 2):
        alice.send_message(mto=BOB, mbody="y" * size)
    assert str(MAX_STANZA) in str(await failed.take())
    assert (await heard.take())["body"] == "y" * (MAX_STANZA // 2)
    iq = alice.make_iq_get(ito=BOB)
    SubElement(iq.xml, QUERY).text = "y" * MAX_STANZA
    with pytest.raises(IqError, match=str(MAX_STANZA)):
        await until(iq.send())
    assert len(heard) == 0
