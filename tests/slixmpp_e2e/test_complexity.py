"""What one session more costs does not depend on how many there are: operations are counted, not seconds."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from types import FrameType, SimpleNamespace
from typing import Any
from xml.etree.ElementTree import Element

import pytest
from slixmpp import Iq, Presence

from slixmpp_e2e.messages.iq_tracking import IqTracker
from slixmpp_e2e.messages.routing import Route, RouteCache
from slixmpp_e2e.sessions.admission.limits import AdmissionLimits, SessionLimits, Standing
from slixmpp_e2e.sessions.driver import SessionDriver, SessionReleased
from slixmpp_e2e.sessions.registry import SessionRegistry
from slixmpp_e2e.xmpp.iq_channel import IqChannel
from slixmpp_e2e.xmpp.presence import PresenceCache
from tests.slixmpp_e2e.env import ALICE, turns
from tests.slixmpp_e2e.messages.fake_sessions import FakeDriver, FakeSessions, through
from tests.slixmpp_e2e.messages.stanzas import offline_client
from xmpp_e2e import events
from xmpp_e2e.errors import PeerRefused
from xmpp_e2e.states import State
from xmpp_e2e.types import Assurance, Fingerprint

FEW, MANY = 30, 240
Act = Callable[[], object]
START = events.SessionOpened(Assurance.VOUCHED, Fingerprint(bytes(32)))
END = events.SessionClosed(clean=True, error=None)


def operations(act: Act) -> int:
    """How many instructions of Python the plugin executes in ``act``."""
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        if "slixmpp_e2e" not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(before)
    return count


def peer(number: int) -> str:
    return f"user{number}@host{number % 7}.test/x"


def drivers(number: int, state: State = State.OFFER_SENT) -> list[FakeDriver]:
    return [FakeDriver(peer(i), state=state) for i in range(number)]


def registry(sessions: list[FakeDriver]) -> tuple[SessionRegistry, SessionLimits[SessionDriver]]:
    """All of them, each with a bytestream and a slot."""
    limits: SessionLimits[SessionDriver] = SessionLimits(AdmissionLimits())
    kept = SessionRegistry(lambda *words: FakeDriver("nobody"))
    for driver in sessions:
        kept.add(driver)
        kept.on_session_event(driver, events.TransportAgreed(driver.sid, 4096))
        limits.enter(driver, driver.peer, Standing.KNOWN)
    return kept, limits


async def looking_up(number: int) -> Act:
    sessions = drivers(number)
    kept, _ = registry(sessions)
    return lambda: [kept.ensure(driver.target) for driver in sessions]


async def opening_and_ending(number: int) -> Act:
    sessions = drivers(number)
    kept, limits = registry(sessions)

    def act() -> None:
        for event in (START, END, SessionReleased()):
            for driver in sessions:
                kept.on_session_event(driver, event)
        for driver in sessions:
            limits.leave(driver)
        assert not list(kept)
        left = (kept._by_target, kept._streams, kept._by_stream, kept._by_account, limits)
        assert [len(each) for each in left] == [0] * 5

    return act


async def admitting(number: int) -> Act:
    sessions = drivers(number)
    _, limits = registry(sessions)
    for driver in sessions:
        limits.settle(driver)

    def act() -> None:
        for driver in sessions:
            limits.within_rate(driver.peer, 0.0, contact=False)
            limits.make_room(driver.peer, Standing.STRANGER)

    return act


async def unanswered_iqs(number: int) -> Act:
    channel = IqChannel(offline_client())
    owners = [object() for _ in range(number)]
    for owner in owners * 2:
        channel.request(ALICE, "bob@b.test/x", Element("{urn:x}x"), lambda condition: None, owner)

    def act() -> None:
        for owner in owners:
            channel.forget_requests(owner)
        assert (channel._pending, channel._by_owner) == ({}, {})

    return act


async def answers_inside(number: int) -> Act:
    tracker, sessions, answers = IqTracker(lambda stamped: ALICE), drivers(number), []
    for driver in sessions:
        request, answer = Iq(), Iq()
        request["type"], request["id"], answer["type"], answer["id"], answer["to"] = "get", "i", "result", "i", driver.peer
        tracker.on_encrypted(request, driver)
        answers.append(answer)

    def act() -> None:
        for answer, driver in zip(answers, sessions, strict=True):
            assert tracker.session_for_reply(answer) is driver
            tracker.on_session_closed(driver)
        assert not tracker._owed

    return act


async def failing_sessions(number: int) -> Act:
    sessions = drivers(number, State.DONE_SENT)
    fake = FakeSessions(*sessions)
    for driver in sessions:
        driver.room = 0
        fake.found[driver.peer] = through(driver.peer)
        await fake.say("x", to=driver.peer)

    def act() -> None:
        for driver in sessions:
            fake.end(driver, PeerRefused("x"))
        assert len(fake.recorder.failed) == number
        assert not fake.routes.known
        assert not fake.queue._limits

    return act


async def expiring(number: int) -> Act:
    fake = FakeSessions()
    for i in range(number):
        fake.found[peer(i)] = through(peer(i), peer(i) + "y")
        fake.send("x", peer(i))
    await turns(6)

    def act() -> None:
        fake.loop.advance(300)
        assert len(fake.recorder.failed) == number
        assert not any(fake.queue._queues.waiting.values())
        assert not fake.queue._limits

    return act


async def presences(number: int) -> Act:
    """Presence makes the routes to its account be found anew."""
    clock: Any = asyncio.get_running_loop().time
    router: Any = SimpleNamespace(find=None)
    routes, known = RouteCache(router, clock), PresenceCache(clock, lambda account: True)
    stanzas = []
    for i in range(number):
        routes.mark_unreachable((ALICE, peer(i)))
        routes._keep(routes.known, (ALICE, peer(i)), Route(plaintext=False))
        presence = Presence()
        presence["from"] = peer(i)
        stanzas.append(presence)

    def act() -> None:
        for stanza in stanzas:
            routes.forget(stanza["from"].bare)
            known.update(ALICE, stanza)
        assert not routes.accounts()
        assert not routes._by_account

    return act


@pytest.mark.parametrize(
    "prepare",
    [
        presences,
        looking_up,
        opening_and_ending,
        admitting,
        unanswered_iqs,
        answers_inside,
        failing_sessions,
        expiring,
    ],
)
async def test_so_many_times_as_many_cost_so_many_times_as_much(prepare: Any) -> None:
    """Eight times as many cost about eight times as much, not sixty-four."""
    operations(await prepare(FEW))  # Python 3.12 and 3.13 count from the second time on that a function is traced
    few, many = operations(await prepare(FEW)), operations(await prepare(MANY))
    assert few > 0
    assert many < few * MANY / FEW * 1.25
