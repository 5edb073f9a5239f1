"""Whatever happens to sessions, paths and streams: what waits has something that wakes it, and each stanza meets one end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from slixmpp_e2e.errors import NotSent, NotSentReason, PeerOffline
from slixmpp_e2e.sessions.pacing import LAST_BACKOFF, Pacing
from tests.slixmpp_e2e.env import ALICE, turns
from tests.slixmpp_e2e.messages.fake_sessions import BARE, ONE, TWO, FakeDriver, FakeSessions, through
from xmpp_e2e import events
from xmpp_e2e.errors import BytestreamFailed, E2EError, PeerBusy, PeerRefused, Timeout, UntrustedKey
from xmpp_e2e.states import State
from xmpp_e2e.types import Assurance, Fingerprint, Role

AWAY = NotSent("they went offline", NotSentReason.SESSION_CLOSED)
CUT = BytestreamFailed("cut")
ERRORS: list[E2EError] = [CUT, Timeout("late"), PeerRefused("no"), PeerBusy("full"), AWAY, UntrustedKey("no")]
OFFLINE = PeerOffline("they cannot be reached")
TURNS, HOLD, PATIENCE = 30, 300.0, 30.0


class Paced(FakeDriver):
    """A session that makes its offer when it is told to."""

    def offer(self) -> None:
        self.core.state = State.OFFER_SENT


class PacedSessions(FakeSessions):
    """Sessions whose offers are put off after failures, on the clock of the test."""

    def __init__(self) -> None:
        super().__init__()
        self.registry.pacing = Pacing(lambda: self.loop, seconds=HOLD)
        self.queue._search._patience = PATIENCE

    def _create(self, role: Role, own_jid: str, peer: str, min_assurance: Assurance) -> FakeDriver:
        self.offered.append(Paced(peer, own_jid=own_jid, state=State.IDLE))
        self.offered[-1].world = self
        return self.offered[-1]


class QueueMachine(RuleBasedStateMachine):
    """A queue with two devices of one account, whose sessions come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.fake: FakeSessions
        self.run(self._begin())
        self.sent = 0
        self.taken: list[Any] | None = None

    async def _begin(self) -> None:
        self.fake = fake = PacedSessions()
        fake.found = {BARE: through(ONE, TWO), ONE: through(ONE), TWO: through(TWO)}
        fake.loop.advance(1)

    def run(self, work: Coroutine[Any, Any, Any]) -> None:
        async def settled() -> None:
            await work
            await turns(TURNS)

        self.loop.run_until_complete(settled())

    async def _do(self, act: Any, *words: Any) -> None:
        act(*words)

    @property
    def drivers(self) -> list[FakeDriver]:
        return [driver for driver in self.fake.offered if driver.core.state is not State.CLOSED]

    # --- what happens ------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.taken is None)
    @rule(to=st.sampled_from([BARE, ONE, TWO]))
    def send(self, to: str) -> None:
        self.run(self._do(self.fake.send, str(self.sent), to))
        self.sent += 1

    @rule(which=st.integers(0, 9), acknowledges=st.booleans())
    def open(self, which: int, acknowledges: bool) -> None:
        opening = [driver for driver in self.drivers if driver.core.state is State.OFFER_SENT]
        if opening:
            self.run(self._do(self._open, opening[which % len(opening)], acknowledges))

    def _open(self, driver: FakeDriver, acknowledges: bool) -> None:
        """It resends what ended sessions have left, as the core does."""
        for ended in self.fake.offered:
            if ended.core.state is State.CLOSED:
                driver.core.unacknowledged += tuple(stanza for stanza in ended.core.unacknowledged if stanza.data)
                ended.core.unacknowledged = ()
        driver.acknowledges = acknowledges
        driver.core.state = State.OPEN
        self.fake.happen(driver, events.SessionOpened(Assurance.VOUCHED, Fingerprint(bytes(32))))
        if acknowledges:
            driver.acknowledge()

    @rule(which=st.integers(0, 9), error=st.sampled_from([None, *ERRORS]))
    def end(self, which: int, error: E2EError | None) -> None:
        if self.drivers:
            driver = self.drivers[which % len(self.drivers)]
            if error is None:  # a clean end acknowledges all
                if not driver.is_open:
                    return
                self.run(self._do(driver.acknowledge))
            self.run(self._do(self.fake.end, driver, error))

    @rule(which=st.integers(0, 9))
    def discard(self, which: int) -> None:
        """The peer's own offer takes the place of ours."""
        opening = [driver for driver in self.drivers if driver.core.state is State.OFFER_SENT]
        if opening:
            driver = opening[which % len(opening)]
            other = FakeDriver(driver.peer, state=State.OFFER_SENT)
            self.run(self._do(self.fake.add, other))
            self.fake.offered.append(other)
            self.run(self._do(self.fake.discard, driver))

    @rule(which=st.integers(0, 9), room=st.integers(0, 2))
    def fill(self, which: int, room: int) -> None:
        if self.drivers:
            self.drivers[which % len(self.drivers)].room = room

    @rule(which=st.integers(0, 9), count=st.integers(1, 3))
    def acknowledge(self, which: int, count: int) -> None:
        is_open = [driver for driver in self.drivers if driver.is_open]
        if is_open:
            self.run(self._do(is_open[which % len(is_open)].acknowledge, count))

    @rule(seconds=st.sampled_from([0.5, 2.0, 31.0, 100.0]))
    def pass_time(self, seconds: float) -> None:
        self.run(self._do(self.fake.loop.advance, seconds))

    @rule(found=st.sampled_from([through(ONE), through(TWO), through(ONE, TWO), OFFLINE]))
    def presence(self, found: Any) -> None:
        def come() -> None:
            self.fake.found[BARE] = found
            there = [peer for _, peer in found.targets] if found is not OFFLINE else []
            self.fake.away = {peer for peer in (ONE, TWO) if peer not in there}
            self.fake.routes.forget(BARE)
            self.fake.registry.pacing.forget(BARE)
            self.fake.queue.on_presence(BARE)

        self.run(self._do(come))

    @rule()
    def lose_stream(self) -> None:
        if self.taken is None:
            self.run(self._do(self._lose))

    def _lose(self) -> None:
        self.taken = self.fake.queue.pause()
        for driver in self.drivers:
            self.fake.end(driver, BytestreamFailed("our own connection is gone"))
        self.fake.registry.pacing.clear()

    @rule()
    def resume_stream(self) -> None:
        if self.taken is not None:
            self.run(self._do(self._resume))

    def _resume(self) -> None:
        taken, self.taken = self.taken or [], None
        self.fake.queue.resume(ALICE)
        for stanza in taken:
            to = stanza["to"].full
            self.fake.queue.send(stanza, ALICE, to, self.fake.routes.known.get((ALICE, to)))

    # --- what always holds -------------------------------------------------------------------------------------------

    @invariant()
    def nobody_is_told_twice(self) -> None:
        recorder = self.fake.recorder
        told = Counter([body for body, _ in recorder.failed] + [body for body, _ in recorder.delivered] + recorder.plaintext)
        assert set(told.values()) <= {1}

    @invariant()
    def what_waits_is_woken(self) -> None:
        """Each queue has a task, which waits for a session that is there, or for a timer."""
        if self.taken is not None:
            return
        queues, registry = self.fake.queue._queues, self.fake.registry
        places = {target for target, queue in queues.waiting.items() if queue} | set(self.fake.queue._left._by_place)
        for target in places:
            task = queues._tasks.get(target)
            assert task is not None, target
            assert not task.done()
            has_session = any(driver.target == target for driver in self.drivers) or registry.best_with(target) is not None
            assert has_session or self._has_timer(queues._changed.get(target)), target
        for driver in self.drivers:
            assert driver.core.state is not State.IDLE or self._has_timer(driver)
        search = self.fake.queue._search
        for address in [address for address, queue in search.waiting.items() if queue]:
            assert not search._tasks[address].done()
            assert self._has_timer(search._changed[address])

    def _has_timer(self, waiting: object) -> bool:
        return any(waiting in timer.words for timer in self.fake.loop._timers if not timer.is_cancelled)

    def teardown(self) -> None:
        try:
            self._recover()
        finally:
            self.run(self._do(self.fake.queue.pause))
            self.loop.close()

    def _recover(self) -> None:
        """All is well from now on: within a minute each stanza has met its end."""
        self.resume_stream()
        for driver in self.drivers:
            driver.room = 100
            driver._wake()
        self.presence(through(ONE, TWO))
        for _ in range(4):
            for driver in self.drivers:
                if driver.core.state is State.OFFER_SENT:
                    self.run(self._do(self._open, driver, True))
                else:
                    driver.acknowledges = True
                    self.run(self._do(driver.acknowledge))
            self.pass_time(LAST_BACKOFF / 2)
        recorder = self.fake.recorder
        told = [body for body, _ in recorder.failed] + [body for body, _ in recorder.delivered]
        assert sorted(told, key=int) == [str(number) for number in range(self.sent)]
        assert self.fake.is_empty()


QueueMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
test_queue_machine = QueueMachine.TestCase
