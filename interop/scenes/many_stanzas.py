"""A thousand messages and a thousand iqs each way, twenty of 200 KiB among them: once each, in order, byte-equal."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any
from xml.etree.ElementTree import Element

from slixmpp import ClientXMPP
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import StanzaPath

from interop.props import Heard, say, session
from interop.stage import Stage

NOT_LIMITED = "8 MB take half an hour: debian_limits plays a smaller one"

COUNT = 1000
LARGE = 200 * 1024
"""Characters; with what is around it a stanza of this size is below the limit of 256 KiB."""
EVERY = COUNT // 20
"""One in so many is large."""
QUERY = "{urn:example:sums}query"
ANSWERS_SECONDS = 200
"""How long an iq waits for its answer behind all the rest."""


def bodies(name: str, large: int = LARGE) -> list[str]:
    """All different; letters, emoji, white space and what XML has to escape. Some have at least so many characters."""
    texts = [f"{name} {number}: <&>\"' ]]> \t\n\r\n 🎉 e\u0301 " for number in range(COUNT)]
    for number in range(0, COUNT, EVERY):
        texts[number] = texts[number].ljust(large, f"{number % 10}")
    return texts


def answer_sums(client: ClientXMPP) -> list[str]:
    """Answer every query by the digest of what was asked; the list fills with the questions."""
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
    """The payload of an iq."""
    element = Element(QUERY)
    element.text = text
    return element


def send_all(client: ClientXMPP, to: str, texts: list[str]) -> list[asyncio.Future[Any]]:
    """A message and an iq in turn, as fast as the program goes; the futures are those of the answers."""
    answers = []
    for number, text in enumerate(texts):
        say(client, to, text)
        iq = client.make_iq_get(ito=to)
        iq.xml.append(query(f"{client.boundjid.user} asks {number}"))
        answers.append(iq.send(timeout=ANSWERS_SECONDS))
    return answers


async def play(stage: Stage) -> None:
    """Alice and Bob say everything that they have to say at once."""
    alice, bob = await stage.encrypted("alice"), await stage.encrypted("bob")
    await session(alice, bob)
    await converse(alice, bob, {client: bodies(client.boundjid.user) for client in (alice, bob)})
    assert stage.readable("urn:example:sums", "alice 999", "<body") == []


async def converse(alice: ClientXMPP, bob: ClientXMPP, said: dict[ClientXMPP, list[str]]) -> None:
    """Each of them says all this at once, with as many iqs between, and hears all of the other's."""
    failures = [Heard(client, event) for client in (alice, bob) for event in ("e2e_send_failed", "e2e_session_end")]
    heard = {client: Heard(client, "message") for client in (alice, bob)}
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
