"""A real queue, route cache and registry, with sessions, routes and time that are what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any
from xml.etree.ElementTree import Element, fromstring

from slixmpp import Message
from slixmpp.xmlstream.stanzabase import StanzaBase

from slixmpp_e2e.errors import NotSent, NotSentReason
from slixmpp_e2e.messages.iq_tracking import IqTracker
from slixmpp_e2e.messages.queue import SendQueue
from slixmpp_e2e.messages.queued import QueuedStanza, Senders
from slixmpp_e2e.messages.routing import Route, RouteCache
from slixmpp_e2e.sessions.driver import SessionDiscarded, SessionDriver, SessionReleased
from slixmpp_e2e.sessions.registry import SessionRegistry
from tests.slixmpp_e2e.env import ALICE, turns
from xmpp_e2e import events
from xmpp_e2e.errors import E2EError, InvalidStanza
from xmpp_e2e.states import HELLOS_CHECKED_OR_OPEN, NOT_YET_OPEN, State
from xmpp_e2e.stream import writer
from xmpp_e2e.stream.acks import SentStanza
from xmpp_e2e.types import Assurance, Fingerprint, Role

BARE, ONE, TWO = "bob@localhost", "bob@localhost/1", "bob@localhost/2"
CAROL = "carol@localhost"
PLAINTEXT = Route(plaintext=True)
LARGE = "too large for this peer"
"""Only their session knows that."""


def through(*peers: str, own_jid: str = ALICE) -> Route:
    return Route(plaintext=False, targets=tuple((own_jid, peer) for peer in peers))


def message(body: str, to: str = "") -> Message:
    stanza = Message()
    stanza["to"], stanza["body"] = to, body
    return stanza


def body_of(stanza: Element) -> str:
    return stanza.findtext("{jabber:client}body", "")


class FakeDriver(SessionDriver):
    """A session that takes as many stanzas as there is room for. Once it is open, its peer acknowledges each at once."""

    acknowledges = True
    """False: they acknowledge nothing until ``acknowledge()``."""
    world: FakeSessions

    def __init__(
        self,
        peer: str,
        *,
        own_jid: str = ALICE,
        state: State = State.OPEN,
        room: int = 100,
        assurance: Assurance = Assurance.VOUCHED,
        needed: Assurance = Assurance.VOUCHED,
        key: bytes = bytes(32),
    ) -> None:
        config = SimpleNamespace(needed_assurance=needed)
        core = SimpleNamespace(state=state, sid=f"sid{id(self)}", assurance=assurance, config=config, unacknowledged=())
        self.core: Any = core
        self.tls: Any = SimpleNamespace(fingerprint=Fingerprint(key))
        self.own_jid, self.peer, self.role = own_jid, peer, Role.INITIATOR
        self.target = (own_jid, peer)
        self.closed: Any = SimpleNamespace(done=lambda: self.core.state is State.CLOSED)
        self.opened: Any = SimpleNamespace(done=lambda: self.core.state not in NOT_YET_OPEN, exception=lambda: self.failure)
        self.failure: E2EError | None = None
        self._has_checked_hellos = state in HELLOS_CHECKED_OR_OPEN
        self.room = room
        self.sent: list[str] = []
        self._waiting = []

    def offer(self) -> None:
        """Nothing leaves."""

    def close(self, *ignored: Any) -> None:
        self.core.state = State.CLOSING

    def send(self, stanza: Element, tag: object = None) -> SentStanza | None:
        body = body_of(stanza)
        if body == LARGE:
            raise InvalidStanza("too large")
        if not self.room:
            return None
        self.room -= 1
        self.sent.append(body)
        sent = SentStanza(writer.element(stanza), tag, len(body))
        self.core.unacknowledged += (sent,)
        if self.is_open and self.acknowledges:
            asyncio.get_running_loop().call_soon(self.acknowledge)
        return sent

    def request_acknowledgement(self) -> None:
        """They say nothing by themselves."""

    def acknowledge(self, count: int | None = None) -> None:
        """The peer acknowledges the first stanzas, or all."""
        acknowledged = self.core.unacknowledged[:count]
        self.core.unacknowledged = self.core.unacknowledged[len(acknowledged) :]
        self.world.happen(self, events.StanzasAcknowledged(acknowledged, by_peer=True))

    @property
    def has_checked_hellos(self) -> bool:
        self._has_checked_hellos |= self.core.state in HELLOS_CHECKED_OR_OPEN
        return self._has_checked_hellos

    def give_room(self, room: int = 100) -> None:
        self.room = room
        self._wake()


class Timer:
    """What is to be done later, unless it is cancelled."""

    def __init__(self, when: float, call: Callable[[], None], words: tuple[Any, ...]) -> None:
        self.when, self.call, self.words, self.is_cancelled = when, call, words, False

    def cancel(self) -> None:
        self.is_cancelled = True


class FakeLoop:
    """The running loop, but for the time."""

    def __init__(self) -> None:
        self._now = 0.0
        self._timers: list[Timer] = []

    def time(self) -> float:
        return self._now

    def call_later(self, seconds: float, call: Callable[..., None], *words: Any) -> Timer:
        self._timers.append(Timer(self._now + seconds, lambda: call(*words), words))
        return self._timers[-1]

    def call_soon(self, call: Callable[..., None], *words: Any) -> asyncio.Handle:
        return asyncio.get_running_loop().call_soon(call, *words)

    def create_task(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(coroutine)

    def create_future(self) -> asyncio.Future[None]:
        return asyncio.get_running_loop().create_future()

    def advance(self, seconds: float) -> None:
        self._now += seconds
        due = [timer for timer in self._timers if timer.when <= self._now]
        self._timers = [timer for timer in self._timers if timer.when > self._now]
        for timer in due:
            if not timer.is_cancelled:
                timer.call()


class Recorder:
    """What left the queue other than through a session."""

    def __init__(self) -> None:
        self.plaintext: list[str] = []
        self.copies: list[str] = []
        """For which full JIDs a copy left in plaintext."""
        self.failed: list[tuple[str, E2EError]] = []
        self.sent: list[tuple[str, str]] = []
        """Each with the peer's full JID."""
        self.delivered: list[tuple[str, list[str]]] = []
        """Each with the full JIDs that have it."""
        self.on_failure: Callable[[], object] = lambda: None
        self.on_delivery: Callable[[], object] = lambda: None
        self.is_broken = False

    def write(self, stanza: StanzaBase) -> None:
        if self.is_broken:
            raise ZeroDivisionError
        self.plaintext.append(body_of(stanza.xml))

    def fail(self, stanza: StanzaBase, error: E2EError) -> None:
        self.failed.append((body_of(stanza.xml), error))
        self.on_failure()

    def note_sent(self, stanza: StanzaBase, driver: SessionDriver) -> None:
        self.sent.append((body_of(stanza.xml), driver.peer))

    def deliver(self, item: QueuedStanza) -> None:
        self.delivered.append((body_of(item.stanza.xml), [driver.peer for driver in item.acknowledged_by]))
        self.on_delivery()

    @property
    def kinds(self) -> list[tuple[str, type[E2EError] | NotSentReason]]:
        return [(body, error.reason if isinstance(error, NotSent) else type(error)) for body, error in self.failed]


class FakeSessions:
    """The queue under test, with the drivers' peers behind Bob's bare JID."""

    def __init__(self, *drivers: FakeDriver, max_bytes: int = 10_000) -> None:
        self.loop: Any = FakeLoop()
        self.recorder = Recorder()
        self.found: dict[str, Route | Exception] = {BARE: through(*(driver.peer for driver in drivers))}
        """Where a search for an address leads: to plaintext, if nothing is said."""
        self.sought: list[str] = []
        """For which addresses a route was sought."""
        self.may_find = asyncio.Event()
        self.may_find.set()
        self.away: set[str] = set()
        """Devices of which it is known that they are offline."""
        self.offered: list[FakeDriver] = []
        self.refusal: E2EError | None = None
        """Why no session can be offered."""
        self.registry = SessionRegistry(self._create)
        self.iqs = IqTracker(lambda stamped: ALICE)
        router: Any = self
        self.routes = RouteCache(router, self.loop.time)
        self.queue = SendQueue(
            lambda: self.loop,
            self.routes,
            self.registry,
            self.iqs,
            Senders(
                self.recorder.write,
                self.recorder.fail,
                self.recorder.note_sent,
                self.recorder.deliver,
                copy_in_plaintext=lambda stanza, device: self.recorder.copies.append(device),
            ),
            lambda account: not account.startswith("stranger"),
            seconds=300.0,
            max_bytes=max_bytes,
            patience=0.0,
            may_open=lambda account: True,
        )
        for driver in drivers:
            self.add(driver)

    async def find(self, own_jid: str, to: str) -> Route:
        self.sought.append(to)
        route = self.found.get(to, PLAINTEXT)
        await self.may_find.wait()
        if isinstance(route, Exception):
            raise route
        return route

    def is_away(self, own_jid: str, peer: str) -> bool:
        return peer in self.away

    def _create(self, role: Role, own_jid: str, peer: str, min_assurance: Assurance) -> FakeDriver:
        if self.refusal is not None:
            raise self.refusal
        self.offered.append(FakeDriver(peer, own_jid=own_jid, state=State.OFFER_SENT))
        self.offered[-1].world = self
        return self.offered[-1]

    def happen(self, driver: FakeDriver, event: Any) -> None:
        self.registry.on_session_event(driver, event)
        self.queue.on_session_event(driver, event)

    def add(self, driver: FakeDriver) -> None:
        driver.world = self
        self.registry.add(driver)
        if driver.is_open:
            self.open(driver)

    def open(self, driver: FakeDriver) -> None:
        driver.core.state = State.OPEN
        self.happen(driver, events.SessionOpened(Assurance.VOUCHED, Fingerprint(bytes(32))))
        if driver.acknowledges:
            driver.acknowledge()

    def go_on(self, old: FakeDriver, new: FakeDriver) -> None:
        """A session opens, and sends again what an earlier one has left, as the core does."""
        left = tuple(stanza for stanza in old.core.unacknowledged if stanza.data)
        new.core.unacknowledged += left
        new.sent += [fromstring(stanza.data).findtext("body", "") for stanza in left]
        new.acknowledges = False
        self.open(new)

    def end(self, driver: FakeDriver, error: E2EError | None = None) -> None:
        event = events.SessionClosed(error is None, error) if driver.is_open or error is None else events.SessionFailed(error)
        if not driver.is_open:
            driver.failure = error
        self._over(driver, event)

    def discard(self, driver: FakeDriver) -> None:
        self._over(driver, SessionDiscarded())

    def _over(self, driver: FakeDriver, event: Any) -> None:
        driver.core.state = State.CLOSED
        driver.core.unacknowledged = tuple(stanza for stanza in driver.core.unacknowledged if stanza.data)
        self.happen(driver, event)
        self.happen(driver, SessionReleased())
        driver._wake()

    def send(self, body: str, to: str = BARE, own_jid: str = ALICE) -> None:
        self.queue.send(message(body, to), own_jid, to, self.routes.known.get((own_jid, to)))

    async def say(self, *bodies: str, to: str = BARE, own_jid: str = ALICE) -> None:
        for body in bodies:
            self.send(body, to, own_jid)
            await turns(6)

    def is_empty(self) -> bool:
        queue = self.queue
        tasks = (queue._search._tasks, queue._queues._tasks)
        return not any((*tasks, queue._search.waiting, queue._queues.waiting, queue._left, queue._limits, queue.outstanding))
