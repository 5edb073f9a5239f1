"""A thousand messages and a thousand iqs each way, twenty of 200 KiB among them, arrive once, in order, byte by byte."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any
from xml.etree.ElementTree import Element

from slixmpp import ClientXMPP
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import StanzaPath

from interop.harness import Harness
from interop.helpers import Events, say, session

NOT_LIMITED = "8 MB take half an hour: debian_limits plays a smaller one"

COUNT = 1000
LARGE = 200 * 1024
"""Characters of a large body. With its surroundings it stays below the limit of 256 KiB."""
EVERY = COUNT // 20
"""One body in this many is large."""
QUERY = "{urn:example:sums}query"
ANSWERS_SECONDS = 200
"""Timeout of an iq, whose answer waits behind everything else."""


def bodies(name: str, large: int = LARGE) -> list[str]:
    """Return different bodies with letters, emoji, white space and characters to escape; some have ``large`` characters."""
    texts = [f"{name} {number}: <&>\"' ]]> \t\n\r\n 🎉 e\u0301 " for number in range(COUNT)]
    for number in range(0, COUNT, EVERY):
        texts[number] = texts[number].ljust(large, f"{number % 10}")
    return texts


def answer_sums(client: ClientXMPP) -> list[str]:
    """Answer every query with its digest; return the growing list of questions."""
    asked: list[str] = []

    def answer(iq: Any) -> None:
        question = iq.xml.findtext(QUERY) or ""
        asked.append(question)
        reply = iq.reply()
        reply.xml.append(query(hashlib.sha256(question.encode()).hexdigest()))
        reply.send()

    client.register_handler(Callback("sums", StanzaPath("iq@type=get"), answer))
    return asked


def query(text: str) -> Element:
    """Return the payload of an iq."""
    element = Element(QUERY)
    element.text = text
    return element


def send_all(client: ClientXMPP, to: str, texts: list[str]) -> list[asyncio.Future[Any]]:
    """Send a message and an iq in turn, as fast as possible; return the futures of the answers."""
    answers = []
    for number, text in enumerate(texts):
        say(client, to, text)
        iq = client.make_iq_get(ito=to)
        iq.xml.append(query(f"{client.boundjid.user} asks {number}"))
        answers.append(iq.send(timeout=ANSWERS_SECONDS))
    return answers


async def run(harness: Harness) -> None:
    """Alice and Bob send everything at once."""
    alice, bob = await harness.e2e_client("alice"), await harness.e2e_client("bob")
    await session(alice, bob)
    await converse(alice, bob, {client: bodies(client.boundjid.user) for client in (alice, bob)})
    assert harness.find_text("urn:example:sums", "alice 999", "<body") == []


async def converse(alice: ClientXMPP, bob: ClientXMPP, said: dict[ClientXMPP, list[str]]) -> None:
    """Each of them says all this at once, with as many iqs between, and hears all of the other's."""
    failures = [Events(client, event) for client in (alice, bob) for event in ("e2e_send_failed", "e2e_session_closed")]
    heard = {client: Events(client, "message") for client in (alice, bob)}
    asked = {client: answer_sums(client) for client in (alice, bob)}
    answers = {
        client: send_all(client, peer.boundjid.full, said[client]) for client, peer in ((alice, bob), (bob, alice))
    }

    for client, peer in ((alice, bob), (bob, alice)):
        for text in said[peer]:
            assert await heard[client].body() == text
        questions = [f"{client.boundjid.user} asks {number}" for number in range(len(said[client]))]
        for question, answer in zip(questions, await asyncio.gather(*answers[client]), strict=True):
            assert answer.xml.findtext(QUERY) == hashlib.sha256(question.encode()).hexdigest()
        assert asked[peer] == questions
    assert [len(each) for each in (*heard.values(), *failures)] == [0] * 6
