"""Who may open a session now, and when again: one offer after another, contacts first; after a failure not at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from slixmpp_e2e.bounded import keep_newest
from slixmpp_e2e.jids import bare
from slixmpp_e2e.sessions.driver import SessionDriver
from xmpp_e2e.errors import BytestreamFailed, E2EError, PeerBusy, PeerRefused, Timeout, UntrustedKey
from xmpp_e2e.states import State

FIRST_BACKOFF = 1.0
"""Seconds until a target is tried again after a failure, twice as many after each further one."""
LAST_BACKOFF = 30.0
"""The most: a server that restarts is back within a minute or so, and nobody should wait much longer than that."""
FAILING = 4096
"""Targets that failed and are remembered, some 300 bytes each; beyond that the oldest may be tried again at once."""

_FAILURES = (PeerRefused, BytestreamFailed, Timeout, UntrustedKey)
"""What is not cured by trying again at once. Other errors are our own, or people have to act."""
Target = tuple[str, str]
"""(own full JID, peer's full JID)"""


def may_pass(error: E2EError) -> bool:
    """Return whether it may be cured by trying again later: somebody said so."""
    return isinstance(error, PeerBusy) or (isinstance(error, BytestreamFailed) and error.may_pass)


@dataclass
class _Failing:
    """A target with which no session came to be when it was tried last."""

    since: float
    """When what is waiting now was tried first."""
    failures: int = 0
    until: float = 0.0
    """It is not tried before."""


class Pacing:
    """Lets sessions make their offers. One that has to wait for that is idle, and costs no TLS yet.

    One offer at a time waits in our own stream; the next one follows when it has left. So offers take turns with the blocks of
    open sessions, however little our server reads, and no deadline of theirs runs before.
    """

    def __init__(
        self,
        loop: Callable[[], asyncio.AbstractEventLoop],
        is_contact: Callable[[str], bool] = lambda account: True,
        *,
        seconds: float = 0.0,
        takes_turns: bool = False,
    ) -> None:
        """``is_contact`` says whose sessions come first. ``seconds``: for how long it is tried while a failure may pass.
        ``takes_turns``: somebody calls ``has_left()``, and the next offer waits for that."""
        self._loop, self._is_contact, self._seconds, self._takes_turns = loop, is_contact, seconds, takes_turns
        self._failing: dict[Target, _Failing] = {}
        self._timers: dict[SessionDriver, asyncio.TimerHandle] = {}
        self._offers: dict[SessionDriver, Callable[[], None]] = {}
        """Those that wait, and how each begins."""
        self._ready: dict[bool, dict[SessionDriver, None]] = {True: {}, False: {}}
        """Those whose turn comes next, in order: of contacts, and of others."""
        self._leaving: SessionDriver | None = None
        """Whose offer waits in our own stream."""
        self._jitter = Random()

    def open(self, driver: SessionDriver, offer: Callable[[], None]) -> None:
        """Let an idle session make its ``offer``: now, or when it is its turn."""
        self._offers[driver] = offer
        failing = self._failing.get(driver.target)
        delay = failing.until - self._loop().time() if failing is not None else 0.0
        if delay > 0:
            self._timers[driver] = self._loop().call_later(delay, self._make_ready, driver)
        else:
            self._make_ready(driver)

    def is_in_line(self, driver: SessionDriver) -> bool:
        """Return whether nothing but our own stream keeps the offer of a session from leaving."""
        return driver is self._leaving or any(driver in ready for ready in self._ready.values())

    def may_retry(self, target: Target, error: E2EError) -> bool:
        """Return whether another session should be tried in place of one that has failed."""
        if not may_pass(error):
            return False
        failing = self._failing.get(target)
        return failing is None or self._loop().time() + self._delay(failing.failures + 1) < failing.since + self._seconds

    def note_failure(self, target: Target, error: E2EError, *, again: bool = False) -> None:
        """A session did not come to be. ``again``: the next one is tried for what waits for this one."""
        if not isinstance(error, _FAILURES):
            return
        now = self._loop().time()
        failing = self._failing.pop(target, None) or _Failing(now)
        failing.failures += 1
        # the first message after a failure that was told is tried at once: people try again
        delay = self._delay(failing.failures if again else failing.failures - 1)
        failing.until = now + delay * self._jitter.uniform(0.5, 1.5)
        if not again:
            failing.since = failing.until
        keep_newest(self._failing, target, failing, FAILING)

    def note_success(self, target: Target) -> None:
        """A session with this target is open."""
        self._failing.pop(target, None)

    def forget(self, account: str) -> None:
        """Something about an account has changed: it may be tried at once."""
        for target in [target for target in self._failing if bare(target[1]) == account]:
            del self._failing[target]
        for driver in [driver for driver in self._timers if bare(driver.peer) == account]:
            self._timers[driver].cancel()
            self._make_ready(driver)

    def clear(self) -> None:
        """The stream is over: on the next one everybody may be tried at once."""
        self._failing.clear()

    def remove(self, driver: SessionDriver) -> None:
        """A session is over."""
        self._offers.pop(driver, None)
        if (timer := self._timers.pop(driver, None)) is not None:
            timer.cancel()
        for ready in self._ready.values():
            ready.pop(driver, None)
        self.has_left(driver)

    def has_left(self, owner: object) -> None:
        """Stanzas of a session have left us, or it is over: the next offer may follow."""
        if owner is self._leaving:
            self._leaving = None
            self._offer_next()

    def _delay(self, failures: int) -> float:
        return min(FIRST_BACKOFF * 2.0 ** (failures - 1), LAST_BACKOFF) if failures > 0 else 0.0

    def _make_ready(self, driver: SessionDriver) -> None:
        self._timers.pop(driver, None)
        self._ready[self._is_contact(bare(driver.peer))][driver] = None
        self._offer_next()

    def _offer_next(self) -> None:
        while self._leaving is None:
            ready = self._ready[True] or self._ready[False]
            driver = next(iter(ready), None)
            if driver is None:
                return
            del ready[driver]
            offer = self._offers.pop(driver)
            if driver.core.state is State.IDLE:
                self._leaving = driver if self._takes_turns else None
                offer()
