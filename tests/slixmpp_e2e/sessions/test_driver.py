"""A driver runs a session on a clock that the test turns: stalls, deadlines, and ends that leave nothing behind."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Any, cast
from xml.etree.ElementTree import Element

import pytest
from slixmpp import Iq

from slixmpp_e2e.errors import OwnServerSilent
from slixmpp_e2e.sessions.driver import DriverEvent, SessionDriver, SessionReleased
from slixmpp_e2e.sessions.stall import STALL_SECONDS
from slixmpp_e2e.sessions.wire import CROSSING_SECONDS, LOOK_SECONDS
from slixmpp_e2e.xmpp.iq_channel import OnReply, Refusal
from slixmpp_e2e.xmpp.turn_writer import TurnWriter
from tests.pair import ALICE, BOB, Side, config, message
from xmpp_e2e import events
from xmpp_e2e.errors import BytestreamFailed, E2EError, JingleError, PeerBusy, PeerRefused, Timeout, UncleanClose
from xmpp_e2e.negotiate.jingle import NS_JINGLE
from xmpp_e2e.session import Session
from xmpp_e2e.states import STATE_TIMEOUTS, State
from xmpp_e2e.transport.ibb import DATA, IBB
from xmpp_e2e.types import KnownKeys, Role

BLOCK_ON_THE_WIRE = 5700
"""Bytes of the iq around a block of 4 KiB."""


class Clock:
    """As much of an event loop as a driver uses, in virtual time."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._timers: list[tuple[float, int, Any, Callable[..., None], Any]] = []
        self._order = itertools.count()

    def time(self) -> float:
        return self.now

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.get_running_loop().create_future()

    def call_at(self, when: float, act: Callable[..., None], *args: Any) -> Any:
        timer = Timer()
        heapq.heappush(self._timers, (when, next(self._order), timer, act, args))
        return timer

    def call_soon(self, act: Callable[..., None]) -> Any:
        return self.call_at(self.now, act)

    def pass_time(self, seconds: float) -> None:
        until = self.now + seconds
        while self._timers and self._timers[0][0] <= until:
            when, _, timer, act, args = heapq.heappop(self._timers)
            self.now = max(self.now, when)
            if not timer.cancelled:
                act(*args)
        self.now = until

    @property
    def pending(self) -> int:
        return sum(not timer.cancelled for _, _, timer, _, _ in self._timers)


class Timer:
    """A timer of that clock."""

    cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Line:
    """The stream that all iqs of a client share."""

    def __init__(self) -> None:
        self.unanswered: list[Callable[[], None]] = []
        """Answers the blocks that nobody has answered; the oldest first."""
        self.sent = self.replies = self.newest_answered = 0


class Harness:
    """A driver of Alice's; and Bob's end of everything, which may keep silent about blocks."""

    def __init__(self, loop: Clock | None = None, line: Line | None = None) -> None:
        self.loop: Any = loop or Clock()
        self.line = line or Line()
        self.heard: list[DriverEvent] = []
        self.expected: dict[object, int] = {}
        """By owner: requests whose replies are expected."""
        self.silent = self.unread = False
        self.silence = 0.0
        self.numbers: dict[object, list[int]] = {}
        """By owner, those of the requests that are not answered."""
        self.bob = Side(Session(Role.RESPONDER, config("bob"), KnownKeys()))
        self._ibb: IBB | None = None
        self.writer = TurnWriter(cast(Any, None))
        iqs: Any = self
        core = Session(Role.INITIATOR, config("alice"), KnownKeys())
        self.driver = SessionDriver(
            core, iqs, self.loop, lambda driver, event: None, lambda driver, event: self.heard.append(event)
        )

    def request(self, own: str, peer: str, payload: Element, on_reply: OnReply, owner: object) -> None:
        self.expected[owner] = self.expected.get(owner, 0) + 1
        self.line.sent += 1
        number = self.line.sent
        self.numbers.setdefault(owner, []).append(number)
        if self.silent and payload.tag == DATA:
            self.line.unanswered.append(lambda: self._replied(number, on_reply, owner))
            return
        session = self.bob.session
        if payload.tag == f"{{{NS_JINGLE}}}jingle":
            session.receive_jingle(payload, self.loop.now)
        elif self._ibb is not None:
            opens = session.state is State.CONNECTING
            self._ibb.receive(payload)
            if opens:
                session.bytestream_ready(self.loop.now)
            if data := self._ibb.read():
                session.receive_data(data, self.loop.now)
            self._ibb.acknowledgements_due()
        self.expected[owner] -= 1
        self.loop.call_soon(lambda: self._replied(number, on_reply, owner))
        self.loop.call_soon(lambda: self.answer())  # the method of that moment

    def oldest_of(self, owner: object) -> int | None:
        return next(iter(self.numbers.get(owner, ())), None)

    def is_unread(self, owner: object) -> bool:
        return self.unread

    def _replied(self, number: int, on_reply: OnReply, owner: object) -> None:
        self.numbers[owner].remove(number)
        self.line.replies, self.line.newest_answered = self.replies + 1, max(number, self.newest_answered)
        on_reply(None)

    @property
    def replies(self) -> int:
        return self.line.replies

    @property
    def newest_answered(self) -> int:
        return self.line.newest_answered

    def result(self, request: Iq, *, late: bool = False) -> None:
        """Bob needs no answers."""

    def error(self, request: Iq, error: JingleError) -> None:
        """Nor errors."""

    def forget_requests(self, owner: object) -> None:
        """No reply is expected any more."""
        self.expected.pop(owner, None)

    drop_requests = forget_requests

    def answer(self) -> None:
        session = self.bob.session
        while (event := session.next_event()) is not None:
            self.bob.events.append(event)
            if isinstance(event, events.SessionOffered):
                session.accept_offer(self.loop.now)
            elif isinstance(event, events.TransportAgreed):
                self._ibb = IBB(Role.RESPONDER, event.sid, event.block_size)
        for element in session.jingle_to_send():
            if self.driver.state is not State.CLOSED:
                self.driver.receive_jingle(element)
                self.driver.process()
        if self._ibb is None:
            return
        while data := session.data_to_send():
            self._ibb.send(data)
        for tag, payload in self._ibb.stanzas_to_send():
            self.driver.receive_ibb(Iq(), payload)
            self._ibb.acknowledged(tag)

    def open(self) -> SessionDriver:
        self.driver.offer()
        self.loop.pass_time(0)
        assert self.driver.is_open
        return self.driver

    @property
    def failure(self) -> E2EError | None:
        [event] = [event for event in self.heard if isinstance(event, events.SessionClosed | events.SessionFailed)]
        return event.error

    def assert_nothing_is_left(self) -> None:
        assert self.driver.state is State.CLOSED
        assert [event for event in self.heard if isinstance(event, SessionReleased)] == [SessionReleased()]
        assert self.loop.pending == 0
        assert self.expected == {}
        assert self.driver.core._tls is None


def capture_replies(harness: Harness, take: Callable[[OnReply], None]) -> None:
    """Let the test decide how each request is answered."""

    def request(own: str, peer: str, payload: Element, on_reply: OnReply, owner: object) -> None:
        take(on_reply)

    harness.request = request  # type: ignore[method-assign]


@pytest.fixture
async def harness() -> Harness:
    return Harness()


async def test_it_opens_and_says_farewell(harness: Harness) -> None:
    driver = harness.open()
    assert (driver.target, driver.role) == ((ALICE, BOB), Role.INITIATOR)
    assert driver.tls is not None
    await driver.authenticating
    await driver.opened
    for body in ("hello", "again"):
        assert driver.send(message(body))
    harness.loop.pass_time(0)
    assert harness.bob.stanzas == ["hello", "again"]
    driver.close()
    harness.loop.pass_time(0)
    assert await driver.closed is None
    harness.assert_nothing_is_left()


async def test_no_event_is_emitted_inside_a_call(harness: Harness) -> None:
    """What a program does takes effect in the next turn, so that no handler runs inside another."""
    driver = harness.open()
    harness.heard.clear()
    driver.close()
    driver.abort(BytestreamFailed("the end"))
    assert harness.heard == []
    harness.loop.pass_time(0)
    assert harness.heard != []


async def test_a_path_that_answers_no_block_is_dead_after_its_time(harness: Harness) -> None:
    driver = harness.open()
    harness.silent = True
    driver.send(message("into the void"))
    harness.loop.pass_time(STALL_SECONDS - 0.1)
    assert driver.is_open
    harness.loop.pass_time(0.2)
    assert isinstance(harness.failure, BytestreamFailed)
    assert f"{STALL_SECONDS:g} seconds" in str(harness.failure)
    harness.assert_nothing_is_left()


async def test_a_slow_path_is_not_a_dead_one(harness: Harness) -> None:
    """One part in sixteen of what waits within the stall time is enough: here two blocks, until all have left."""
    driver = harness.open()
    harness.silent = True
    driver.send(message("x" * 100_000))
    for _ in range(10):
        harness.loop.pass_time(STALL_SECONDS - 1)
        for _ in range(2):
            harness.line.unanswered.pop(0)()
    assert driver.is_open
    harness.loop.pass_time(2 * STALL_SECONDS)
    assert driver.state is State.CLOSED


@pytest.mark.parametrize("rate", [1000, 3000, 10_000])
async def test_sessions_that_share_a_slow_stream_are_not_stalled(rate: int) -> None:
    """Our server reads so many bytes a second of all our sessions together (ejabberd's shaper reads 1000, Prosody 10,000). Most
    of them wait for minutes behind the blocks of others; all of them live, until everything has left."""
    clock, line = Clock(), Line()
    harnesses = [Harness(clock, line) for _ in range(11)]
    for harness in harnesses:
        harness.open()
    for harness in harnesses:
        harness.silent = True
        harness.driver.send(message("x" * 100_000))
    clock.pass_time(0)
    while line.unanswered:
        clock.pass_time(BLOCK_ON_THE_WIRE / rate)
        line.unanswered.pop(0)()
        clock.pass_time(0)
        assert all(harness.driver.is_open for harness in harnesses)
    for harness in harnesses:
        harness.driver.send(message("x" * 10_000))
    clock.pass_time(2 * STALL_SECONDS)
    assert not any(harness.driver.is_open for harness in harnesses)


@pytest.mark.parametrize("rate", [1000, 3000, 10_000])
async def test_a_farewell_waits_for_what_was_said_before(harness: Harness, rate: int) -> None:
    """A long text, then close, where our server reads little: the five seconds begin when the peer has all of it."""
    driver = harness.open()
    harness.silent = True
    for _ in range(2):
        driver.send(message("x" * 50_000))
    driver.close()
    harness.loop.pass_time(0)
    while harness.line.unanswered:
        harness.loop.pass_time(BLOCK_ON_THE_WIRE / rate)
        assert driver.state is State.CLOSING
        harness.line.unanswered.pop(0)()
        harness.loop.pass_time(0)
    harness.loop.pass_time(STATE_TIMEOUTS[State.CLOSING] - 0.1)
    assert driver.state is State.CLOSING
    harness.loop.pass_time(0.2)
    assert isinstance(harness.failure, UncleanClose)
    for answer in harness.line.unanswered:  # the close_notify
        answer()
    harness.loop.pass_time(0)
    harness.assert_nothing_is_left()


async def test_a_farewell_that_nobody_takes_ends_with_its_path(harness: Harness) -> None:
    driver = harness.open()
    harness.silent = True
    driver.send(message("into the void"))
    driver.close()
    harness.loop.pass_time(STALL_SECONDS - 0.1)
    assert driver.state is State.CLOSING
    harness.loop.pass_time(0.2)
    assert isinstance(harness.failure, BytestreamFailed)
    harness.assert_nothing_is_left()


async def test_a_quiet_session_is_not_stalled(harness: Harness) -> None:
    """Where nothing was sent no reply is expected; only the deadline of the session is left."""
    driver = harness.open()
    driver.send(message("hello"))
    harness.loop.pass_time(3600)
    assert driver.is_open
    assert harness.loop.pending == 1


async def test_the_deadline_of_an_offer_is_kept(harness: Harness) -> None:
    harness.answer = lambda: None  # type: ignore[method-assign]
    harness.driver.offer()
    harness.loop.pass_time(STATE_TIMEOUTS[State.OFFER_SENT] - 0.1)
    assert harness.driver.state is State.OFFER_SENT
    harness.loop.pass_time(0.2)
    assert isinstance(harness.failure, Timeout)
    for future in (harness.driver.authenticating, harness.driver.opened):
        with pytest.raises(Timeout):
            await future
    harness.assert_nothing_is_left()


@pytest.mark.parametrize("comes", [False, True])
async def test_a_tie_break_is_waited_for_a_moment(harness: Harness, comes: bool) -> None:
    """It may be answered before the peer's own offer comes. Where that does not come, ours is to be made again."""
    harness.answer = lambda: None  # type: ignore[method-assign]
    capture_replies(harness, lambda on_reply: on_reply(Refusal("conflict")))
    harness.driver.offer()
    harness.loop.pass_time(CROSSING_SECONDS - 0.1)
    assert harness.driver.state is State.OFFER_SENT
    if comes:
        harness.driver.note_crossing()
    harness.loop.pass_time(0.2)
    assert (harness.driver.state is State.OFFER_SENT) is comes
    assert comes or isinstance(harness.failure, PeerBusy)


async def test_no_deadline_runs_while_our_own_server_has_not_read_our_offer(harness: Harness) -> None:
    """150 offers at 3 kB/s: the last one leaves after minutes, and the peer has its full minute then."""
    harness.answer = lambda: None  # type: ignore[method-assign]
    harness.unread = True
    harness.driver.offer()
    harness.loop.pass_time(10 * STATE_TIMEOUTS[State.OFFER_SENT])
    assert harness.driver.state is State.OFFER_SENT
    harness.unread = False
    harness.loop.pass_time(LOOK_SECONDS + STATE_TIMEOUTS[State.OFFER_SENT] - 0.1)
    assert harness.driver.state is State.OFFER_SENT
    harness.loop.pass_time(0.2 + LOOK_SECONDS)
    assert isinstance(harness.failure, Timeout)
    harness.assert_nothing_is_left()


async def test_a_server_of_ours_that_reads_nothing_is_named(harness: Harness) -> None:
    """It is not the peer who did not answer."""
    harness.answer = lambda: None  # type: ignore[method-assign]
    harness.unread = True
    harness.driver.offer()
    harness.loop.pass_time(10)
    harness.silence = STALL_SECONDS
    harness.loop.pass_time(2 * LOOK_SECONDS)
    assert isinstance(harness.failure, OwnServerSilent)
    harness.assert_nothing_is_left()


async def test_an_offer_that_our_server_does_not_read_fails_with_a_word(harness: Harness) -> None:
    """The server has long been silent when the offer is made."""
    harness.answer = lambda: None  # type: ignore[method-assign]
    harness.unread, harness.silence = True, STALL_SECONDS
    harness.driver.offer()
    harness.loop.pass_time(0)
    assert isinstance(harness.failure, OwnServerSilent)
    assert harness.driver.closed.done()
    harness.assert_nothing_is_left()


@pytest.mark.parametrize("silent", [False, True])
async def test_a_stall_names_whose_it_is(harness: Harness, silent: bool) -> None:
    driver = harness.open()
    harness.silent = True
    driver.send(message("into the void"))
    harness.silence = STALL_SECONDS if silent else 0.0
    harness.loop.pass_time(STALL_SECONDS + 0.1)
    assert type(harness.failure) is (OwnServerSilent if silent else BytestreamFailed)


@pytest.mark.parametrize("case", ["their offer has come", "accepted", "no conflict"])
async def test_any_other_refusal_of_an_offer_ends_the_session_at_once(harness: Harness, case: str) -> None:
    """A conflict ends it too if the peer's own offer has been dealt with, or if ours was accepted."""
    replies: list[OnReply] = []
    capture_replies(harness, replies.append)
    harness.driver.offer()
    harness.loop.pass_time(0)
    if case == "their offer has come":
        harness.driver.note_crossing()
    if case == "accepted":
        harness.driver.core._machine.state = State.CONNECTING
    replies[0](Refusal("conflict" if case != "no conflict" else "service-unavailable"))
    assert isinstance(harness.failure, PeerRefused)


@pytest.mark.parametrize("end", ["abort_unreachable", "abort", "discard"])
@pytest.mark.parametrize("state", [State.OFFER_SENT, State.OPEN])
async def test_nothing_is_left_however_it_ends(harness: Harness, end: str, state: State) -> None:
    driver = harness.driver
    if state is State.OPEN:
        harness.open()
        harness.silent = True
        driver.send(message("on its way"))
    else:
        harness.answer = lambda: None  # type: ignore[method-assign]
        driver.offer()
    harness.loop.pass_time(0)
    changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    driver.notify_writable(changed)
    if end == "discard":
        driver.discard()
    else:
        getattr(driver, end)(BytestreamFailed("the end"))
        driver.abort_unreachable(BytestreamFailed("again"))
    harness.loop.pass_time(0)
    assert changed.done()
    if state is State.OFFER_SENT:
        with pytest.raises(E2EError):
            await driver.opened
    driver.process()
    harness.loop.pass_time(0)
    harness.assert_nothing_is_left()
