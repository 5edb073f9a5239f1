"""Our own server reads little of us, as Debian's servers do: everything arrives, in the time that its bytes take."""

from __future__ import annotations

import time
from typing import Any

import pytest

from slixmpp_e2e.sessions.admission import check
from slixmpp_e2e.sessions.wire import SessionWire
from slixmpp_e2e.xmpp.send_window import SendWindow
from tests.slixmpp_e2e.env import ALICE, BOB, BOTS, Env, Events, until
from xmpp_e2e.errors import PeerBusy, Timeout
from xmpp_loopback import RateLimit

LIMIT = RateLimit(50_000, 20_000)
COUNT = 50
OPENING = 5_000
"""Bytes that the initiator sends to open a session and say a word."""
HASTY: dict[str, Any] = {"step_seconds": 2.0}
"""Deadlines in proportion to this limit, as those by default are to Debian's."""


async def crowd(env: Env, **config: Any) -> tuple[Any, Events, Events]:
    """Alice writes a first message to each of many in one turn."""
    users = await env.component(accept_from=["localhost"])
    alice = await env.client(ALICE, accept_from=[BOTS], **config)
    env.server.limit = LIMIT
    heard, failed = Events(users, "message"), Events(alice, "e2e_send_failed")
    for number in range(COUNT):
        alice.send_message(mto=f"user{number}@{BOTS}/x", mbody=f"to {number}", mtype="chat")
    return alice, heard, failed


async def test_fifty_first_messages_at_once(env: Env) -> None:
    began = time.monotonic()
    alice, heard, failed = await crowd(env, **HASTY)
    disconnected = Events(alice, "disconnected")
    assert sorted(await heard.bodies(COUNT)) == sorted(f"to {number}" for number in range(COUNT))
    assert (len(failed), len(disconnected)) == (0, 0)
    assert time.monotonic() - began > (COUNT * OPENING - LIMIT.burst) / LIMIT.per_second / 2, "the limit holds"
    assert env.in_clear("to 7") == []


async def test_control_without_turns_deadlines_pass_while_offers_wait(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: all that is said leaves at once, and the clock runs."""
    monkeypatch.setattr(SendWindow, "has_room", True)
    monkeypatch.setattr(SessionWire, "_waits_for_own_server", False)
    _, _, failed = await crowd(env, **HASTY, queue_seconds=5.0)
    assert isinstance((await failed.take()).error, Timeout | PeerBusy)


async def test_who_is_talking_already_does_not_wait_for_the_crowd(env: Env) -> None:
    bob, users = await env.client(BOB), await env.component(accept_from=["localhost"])
    alice = await env.client(ALICE, accept_from=[BOTS, "bob@localhost"], **HASTY)
    await env.session(alice, bob)
    env.server.limit = LIMIT
    heard, crowded = Events(bob, "message"), Events(users, "message")
    for number in range(COUNT):
        alice.send_message(mto=f"user{number}@{BOTS}/x", mbody=f"to {number}", mtype="chat")
    await crowded.take()
    alice.send_message(mto=BOB, mbody="quickly", mtype="chat")
    assert await heard.bodies(1) == ["quickly"]
    assert len(crowded) < COUNT / 2


async def test_a_long_text_and_a_close(env: Env) -> None:
    """The farewell's clock begins when the text has arrived, however long that takes."""
    alice, bob = await env.pair(step_seconds=6.0)
    heard = Events(bob, "message")
    ours, theirs = await env.session(alice, bob)
    env.server.limit = RateLimit(25_000, 10_000)
    text = "My dear Bob, " * 5000
    began = time.monotonic()
    alice.send_message(mto=BOB, mbody=text, mtype="chat")
    await until(ours.close())
    assert await heard.bodies(1) == [text]
    assert time.monotonic() - began > 1.5, "longer than a farewell may take"
    assert await until(theirs.wait_closed()) is None


async def test_a_responder_whose_server_reads_little_of_it(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crowd writes to a bot. Who would wait too long for its accept is asked to try again, and does."""
    monkeypatch.setattr(check, "LONGEST_DELAY", 1.0)
    alice = await env.client(ALICE, accept_from=[BOTS])
    users = await env.component(accept_from=["localhost"], step_seconds=6.0)
    env.server.limit = LIMIT
    heard, failed = Events(alice, "message"), Events(users, "e2e_send_failed")
    for number in range(COUNT):
        users.send_message(mfrom=f"user{number}@{BOTS}/x", mto=ALICE, mbody=f"from {number}", mtype="chat")
    assert sorted(await heard.bodies(COUNT)) == sorted(f"from {number}" for number in range(COUNT))
    assert len(failed) == 0
