"""The server of a peer is not there for a while, and the program goes on writing: few offers, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from xml.etree.ElementTree import Element, SubElement

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e.sessions import pacing
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, jingle
from xmpp_loopback.stanzas import IQ
from xmpp_loopback.wire import CLIENT, STANZA_ERRORS

COUNT = 189
AWAY_SECONDS = 4.0


def away(env: Env, condition: str, kind: str) -> tuple[list[Element], Callable[[], None]]:
    """Answer offers as a server does that cannot reach another one. Return them, and what brings that one back."""
    offers: list[Element] = []

    def refuse(stanza: Element, sender: str) -> Any:
        if not jingle("session-initiate")(stanza, sender):
            return stanza
        offers.append(stanza)
        answer = Element(IQ, {"type": "error", "id": stanza.get("id", ""), "from": BOB, "to": ALICE})
        told = SubElement(answer, f"{{{CLIENT}}}error", type=kind)
        SubElement(told, f"{{{STANZA_ERRORS}}}{condition}")
        env.server.route(answer, BOB)
        return None

    env.server.hooks.append(refuse)
    return offers, lambda: env.server.hooks.remove(refuse)


async def written(env: Env, alice: ClientXMPP) -> None:
    for number in range(COUNT):
        alice.send_message(mto=BOB, mbody=str(number), mtype="chat")
        await asyncio.sleep(AWAY_SECONDS / COUNT)


@pytest.mark.parametrize(
    ("condition", "kind"),
    [("remote-server-not-found", "cancel"), ("remote-server-timeout", "wait"), ("policy-violation", "wait")],
)
async def test_a_program_that_goes_on_writing(env: Env, condition: str, kind: str) -> None:
    alice, bob = await env.pair()
    heard, failed, told = Events(bob, "message"), Events(alice, "e2e_send_failed"), Events(alice, "e2e_session_failed")
    offers, come_back = away(env, condition, kind)
    await written(env, alice)
    assert 1 < len(offers) <= 6
    come_back()
    assert await heard.bodies(COUNT) == [str(number) for number in range(COUNT)]
    assert (len(failed), len(told)) == (0, 0)


async def test_who_refuses_for_good_gets_few_offers_too(env: Env) -> None:
    """The senders are told, and may write again; the next offer comes later each time."""
    alice, _ = await env.pair()
    offers, _ = away(env, "service-unavailable", "cancel")
    failed = Events(alice, "e2e_send_failed")
    await written(env, alice)
    assert 1 < len(offers) <= 6
    assert len(failed) > 0


async def test_control_without_back_off_offers_flow(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "FIRST_BACKOFF", 0.0)
    alice, _ = await env.pair()
    offers, _ = away(env, "remote-server-timeout", "wait")
    await written(env, alice)
    assert len(offers) > COUNT / 2
