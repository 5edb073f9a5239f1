"""Many write at once to a bot that has just started again: all of them are served, within seconds."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from slixmpp_e2e.errors import NotSent
from slixmpp_e2e.sessions import pacing
from slixmpp_e2e.sessions.admission.limits import Standing
from tests.slixmpp_e2e.env import ALICE, BOTS, Env, Events, e2e
from xmpp_e2e.errors import PeerBusy

NAMED, ANYONE = [BOTS], "anyone"


async def crowd(env: Env, number: int, accept_from: Any, **config: Any) -> tuple[Events, Events, Any]:
    """So many users of one domain, all of whom are here a component, write a first message to Alice's bot in one turn."""
    alice = await env.client(ALICE, accept_from=accept_from)
    users = await env.component(accept_from=["localhost"], **config)
    heard, failed = Events(alice, "message"), Events(users, "e2e_send_failed")
    for user in range(number):
        users.send_message(mfrom=f"user{user}@{BOTS}/x", mto=ALICE, mbody=f"from {user}", mtype="chat")
    return heard, failed, alice


@pytest.mark.parametrize(("number", "accept_from"), [(80, ANYONE), (300, NAMED)])
async def test_a_crowd_is_served(env: Env, number: int, accept_from: Any) -> None:
    heard, failed, alice = await crowd(env, number, accept_from)
    there = asyncio.Event()
    alice.add_event_handler("message", lambda message: there.set() if len(heard) == number else None)
    async with asyncio.timeout(100):  # a few seconds, on a machine that does nothing else
        await there.wait()
    assert sorted(await heard.bodies(number)) == sorted(f"from {user}" for user in range(number))
    assert len(failed) == 0
    assert len([session for session in e2e(alice).sessions() if session.is_open]) == number
    assert env.in_clear("from 7") == []


async def test_control_without_another_try_most_are_lost(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: half-open places of strangers are few, so that a flood takes no more."""
    monkeypatch.setattr(pacing, "may_pass", lambda error: False)
    heard, failed, alice = await crowd(env, 80, ANYONE)
    assert isinstance((await failed.take()).error, PeerBusy)
    await env.settle(alice)
    assert len(heard) < 80


async def test_who_finds_no_place_hears_of_it_when_stanzas_have_waited_long_enough(env: Env) -> None:
    alice = await env.client(ALICE, accept_from=ANYONE, half_open_per_peer=1, half_open_per_domain=1)
    e2e(alice)._client.limits.enter("somebody", f"x@{BOTS}/x", Standing.STRANGER)
    users = await env.component(accept_from=["localhost"], queue_seconds=3.0)
    failed, told = Events(users, "e2e_send_failed"), Events(users, "e2e_session_failed")
    users.send_message(mfrom=f"user@{BOTS}/x", mto=ALICE, mbody="hello", mtype="chat")
    assert isinstance((await failed.take()).error, PeerBusy | NotSent)
    assert len(told) <= 1, "one event, not one for each try"
