"""One session of a client, on a clock that the test turns: stalls, deadlines, and ends that leave nothing behind."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Any
from xml.etree.ElementTree import Element

import pytest
from slixmpp import Iq

from slixmpp_e2e.sessions.driver import STALL_SECONDS, Link
from tests.pair import ALICE, BOB, Side, config, message
from xmpp_e2e import events
from xmpp_e2e.errors import E2EError, JingleError, PeerRefused, TimedOut, TransportFailed
from xmpp_e2e.identity import Remembered, Role
from xmpp_e2e.negotiate.jingle import NS_JINGLE
from xmpp_e2e.session import Session
from xmpp_e2e.stages import DEADLINES, Stage
from xmpp_e2e.transport.ibb import DATA, IBB


class Clock:
    """As much of an event loop as a link uses, in virtual time."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._timers: list[tuple[float, int, Any, Callable[..., None], Any]] = []
        self._order = itertools.count()

    def time(self) -> float:
        """Virtual seconds."""
        return self.now

    def create_future(self) -> asyncio.Future[Any]:
        """A real one."""
        return asyncio.get_running_loop().create_future()

    def call_at(self, when: float, act: Callable[..., None], *args: Any) -> Any:
        """Later, unless it is cancelled."""
        timer = Timer()
        heapq.heappush(self._timers, (when, next(self._order), timer, act, args))
        return timer

    def call_later(self, seconds: float, act: Callable[..., None], *args: Any) -> Any:
        """The same."""
        return self.call_at(self.now + seconds, act, *args)

    def call_soon(self, act: Callable[..., None]) -> Any:
        """The same, at once."""
        return self.call_at(self.now, act)

    def pass_time(self, seconds: float) -> None:
        """Let the clock run, and do what is due."""
        until = self.now + seconds
        while self._timers and self._timers[0][0] <= until:
            when, _, timer, act, args = heapq.heappop(self._timers)
            self.now = max(self.now, when)
            if not timer.cancelled:
                act(*args)
        self.now = until

    @property
    def pending(self) -> int:
        """Timers that will still do something."""
        return sum(not timer.cancelled for _, _, timer, _, _ in self._timers)


class Timer:
    """Of that clock."""

    cancelled = False

    def cancel(self) -> None:
        """Nothing happens."""
        self.cancelled = True


class Host:
    """The plugin and the network: Bob's end of everything, which may keep silent about blocks."""

    def __init__(self) -> None:
        self.loop: Any = Clock()
        self.iqs: Any = self
        self.heard: list[events.Event] = []
        self.over: list[Link] = []
        self.waiting: dict[object, int] = {}
        self.silent = False
        self.unanswered: list[Callable[[str | None], None]] = []
        self.bob = Side(Session(Role.RESPONDER, config("bob"), Remembered()))
        self._ibb: IBB | None = None
        self.link = Link(self, Session(Role.INITIATOR, config("alice"), Remembered()))

    # as the plugin

    def happened(self, link: Link, event: events.Event) -> None:
        """Note it."""
        self.heard.append(event)

    def writable(self, link: Link) -> None:
        """Nothing waits."""

    def finished(self, link: Link) -> None:
        """Note it."""
        self.over.append(link)

    # as the network

    def request(self, ours: str, peer: str, payload: Element, replied: Callable[[str | None], None], owner: object) -> None:
        """Bob takes it, and answers unless he is silent."""
        self.waiting[owner] = self.waiting.get(owner, 0) + 1
        if self.silent and payload.tag == DATA:
            self.unanswered.append(replied)
            return
        session = self.bob.session
        if payload.tag == f"{{{NS_JINGLE}}}jingle":
            session.receive_jingle(payload, self.loop.now)
        elif self._ibb is not None:
            opens = session.stage is Stage.CONNECTING
            self._ibb.receive(payload)
            if opens:
                session.transport_ready(self.loop.now)
            if data := self._ibb.read():
                session.receive_data(data, self.loop.now)
            self._ibb.acknowledgements_due()
        self.waiting[owner] -= 1
        self.loop.call_soon(lambda: replied(None))
        self.loop.call_soon(lambda: self.answer())  # the method of that moment

    def result(self, request: Iq) -> None:
        """Bob needs none."""

    def error(self, request: Iq, error: JingleError) -> None:
        """Nor this."""

    def gone(self, owner: object) -> None:
        """Nobody waits any more."""
        self.waiting.pop(owner, None)

    def answer(self) -> None:
        """What Bob has to say."""
        session = self.bob.session
        while (event := session.next_event()) is not None:
            self.bob.events.append(event)
            if isinstance(event, events.SessionOffered):
                session.accept(self.loop.now)
            elif isinstance(event, events.TransportAgreed):
                self._ibb = IBB(Role.RESPONDER, event.sid, event.block_size)
        for element in session.jingle_to_send():
            if self.link.stage is not Stage.CLOSED:
                self.link.receive_jingle(element)
                self.link.pump()
        if self._ibb is None:
            return
        while data := session.data_to_send():
            self._ibb.send(data)
        for tag, payload in self._ibb.stanzas_to_send():
            self.link.receive_block(Iq(), payload)
            self._ibb.acknowledged(tag)

    def open(self) -> Link:
        """An open session."""
        self.link.offer()
        self.loop.pass_time(0)
        assert self.link.is_open, self.failure
        return self.link

    @property
    def failure(self) -> E2EError | None:
        """Why it is over."""
        [event] = [event for event in self.heard if isinstance(event, events.SessionEnd | events.SessionFailed)]
        return event.error


@pytest.fixture
async def host() -> Host:
    return Host()


def nothing_is_left(host: Host) -> bool:
    """No timer, nobody who waits for an answer, no TLS."""
    return host.loop.pending == 0 and host.waiting == {} and host.link._core._channel is None


async def test_it_opens_and_says_farewell(host: Host) -> None:
    """From the offer to the farewell, without real time; nothing is left of it."""
    link = host.open()
    assert (link.ours, link.peer, link.role, link.group) == (ALICE, BOB, Role.INITIATOR, "X25519MLKEM768")
    await link.greeted()
    await link.opened()
    link.send(message("hello"))
    link.send(message("again"))
    host.loop.pass_time(0)
    assert host.bob.stanzas == ["hello", "again"]
    link.end()
    host.loop.pass_time(0)
    assert await link.ended() is None
    assert host.over == [link]
    assert nothing_is_left(host)


async def test_a_path_that_answers_no_block_is_dead_after_a_minute(host: Host) -> None:
    """Silence about blocks ends the session after STALL_SECONDS, and not before, and nothing is left of it."""
    link = host.open()
    host.silent = True
    link.send(message("into the void"))
    host.loop.pass_time(STALL_SECONDS - 0.1)
    assert link.is_open
    host.loop.pass_time(0.2)
    assert link.stage is Stage.CLOSED
    assert isinstance(host.failure, TransportFailed)
    assert "60 seconds" in str(host.failure)
    assert host.over == [link]
    assert nothing_is_left(host)


async def test_a_slow_path_is_not_a_dead_one(host: Host) -> None:
    """An answer within each minute is enough, however many blocks wait."""
    link = host.open()
    host.silent = True
    link.send(message("x" * 100_000))
    for _ in range(10):
        host.loop.pass_time(STALL_SECONDS - 1)
        host.unanswered.pop(0)(None)
    assert link.is_open
    host.loop.pass_time(2 * STALL_SECONDS)
    assert link.stage is Stage.CLOSED


async def test_a_quiet_session_is_not_stalled(host: Host) -> None:
    """Where nothing was sent, nothing is waited for."""
    link = host.open()
    link.send(message("hello"))
    host.loop.pass_time(3600)
    assert link.is_open
    assert host.loop.pending == 1, "the day's deadline"


async def test_the_deadline_of_the_core_is_kept(host: Host) -> None:
    """An offer that nobody answers fails in time; nothing is left of it."""
    host.answer = lambda: None  # type: ignore[method-assign]
    host.link.offer()
    host.loop.pass_time(DEADLINES[Stage.OFFERED] - 0.1)
    assert host.link.stage is Stage.OFFERED
    host.loop.pass_time(0.2)
    assert isinstance(host.failure, TimedOut)
    for future in (host.link.greeted(), host.link.opened()):
        with pytest.raises(TimedOut):
            await future
    assert nothing_is_left(host)


async def test_an_offer_that_lost_waits_for_the_one_that_won(host: Host) -> None:
    """A tie-break may be answered before the peer's own offer comes: until the deadline of ours it may come yet."""
    host.request = lambda ours, peer, payload, replied, owner: replied("conflict")  # type: ignore[method-assign]
    host.link.offer()
    host.loop.pass_time(DEADLINES[Stage.OFFERED] - 0.1)
    assert host.link.stage is Stage.OFFERED
    host.loop.pass_time(0.2)
    assert isinstance(host.failure, TimedOut)
    assert nothing_is_left(host)


@pytest.mark.parametrize("case", ["his offer has come", "accepted", "no conflict"])
async def test_nothing_is_waited_for_in_vain(host: Host, case: str) -> None:
    """What is not the answer to the loser of a tie-break, or comes when his offer has been dealt with, ends the session now."""
    answers: list[Callable[[str | None], None]] = []
    host.request = lambda ours, peer, payload, replied, owner: answers.append(replied)  # type: ignore[method-assign]
    host.link.offer()
    host.link.crossed = case == "his offer has come"
    if case == "accepted":
        host.link._core._progress.stage = Stage.CONNECTING
    answers[0]("conflict" if case != "no conflict" else "service-unavailable")
    assert isinstance(host.failure, PeerRefused)


@pytest.mark.parametrize("what", ["cut", "fail", "abandon"])
@pytest.mark.parametrize("stage", [Stage.OFFERED, Stage.OPEN])
async def test_nothing_is_left_however_it_ends(host: Host, what: str, stage: Stage) -> None:
    """Timers, answers that are awaited, TLS: all of it goes, once, and whoever waits for the session is told."""
    if stage is Stage.OPEN:
        host.open()
        host.silent = True
        host.link.send(message("on its way"))
        host.link.pump()
    else:
        host.answer = lambda: None  # type: ignore[method-assign]
        host.link.offer()
    if what == "abandon":
        host.link.abandon()
    else:
        getattr(host.link, what)(TransportFailed("the end"))
        host.link.cut(TransportFailed("again"))
    host.loop.pass_time(0)
    assert host.link.stage is Stage.CLOSED
    assert host.over == [host.link]
    assert nothing_is_left(host)
    if stage is Stage.OFFERED:
        with pytest.raises(E2EError):
            await host.link.opened()
    host.link.pump()
    assert host.over == [host.link]
