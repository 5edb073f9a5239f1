"""Every session of a client, and which one to send through."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TypeVar

from slixmpp_e2e.bounded import keep_newest
from slixmpp_e2e.errors import NotSent, NotSentReason
from slixmpp_e2e.jids import account_and_domain, bare
from slixmpp_e2e.sessions.admission.limits import AdmissionLimits
from slixmpp_e2e.sessions.driver import DriverEvent, SessionDriver, SessionReleased
from slixmpp_e2e.sessions.pacing import Pacing
from slixmpp_e2e.sessions.pacing import Target as Target
from xmpp_e2e import events
from xmpp_e2e.errors import E2EError, SessionCancelled
from xmpp_e2e.states import NOT_YET_OPEN, State
from xmpp_e2e.types import Assurance, Role

ENDED = 256
"""Sessions, and as many bytestreams, that ended just now and are remembered: what the peer says of them is on its way."""

SessionKey = tuple[str, str, str]
"""(own JID, peer's full JID, sid)"""
_Place = tuple[str, str]
"""(an account, or words for several; our own full JID, if it counts apart)"""
_DEFAULT_LIMITS = AdmissionLimits()
_K = TypeVar("_K")
_ALIVE = NOT_YET_OPEN | {State.OPEN}

CreateDriver = Callable[[Role, str, str, Assurance], SessionDriver]
"""Makes a driver from the role, the own JID, the peer's full JID and a minimum assurance beyond the settings."""


class SessionRegistry:
    """Finds sessions by their ids, their accounts and their targets; offers one where there is none."""

    def __init__(
        self,
        create: CreateDriver,
        limits: AdmissionLimits = _DEFAULT_LIMITS,
        is_contact: Callable[[str], bool] = lambda account: True,
        pacing: Pacing | None = None,
    ) -> None:
        """``limits`` hold for the sessions that we open as for those that peers do, and these are counted apart.

        ``is_contact`` says whether an account has a place before strangers: not by what it can bring about itself.
        ``pacing``: lets those that we open make their offers.
        """
        self.pacing = pacing or Pacing(asyncio.get_running_loop)
        self._create, self._limits, self._is_contact = create, limits, is_contact
        self._offered: Counter[_Place] = Counter()
        self._places: dict[SessionDriver, tuple[_Place, ...]] = {}
        """Where a session that we opened counts, whoever may be a contact later."""
        self._all: dict[SessionDriver, None] = {}
        self._sessions: dict[SessionKey, SessionDriver] = {}
        """Those that have begun."""
        self._by_account: dict[str, dict[SessionDriver, None]] = {}
        self._by_target: dict[Target, dict[SessionDriver, None]] = {}
        """Those that have opened stand in the order in which they did."""
        self._by_stream: dict[SessionKey, SessionDriver] = {}
        self._streams: dict[SessionDriver, SessionKey] = {}
        self._ended: dict[SessionKey, None] = {}
        self._ended_streams: dict[SessionKey, None] = {}

    def __iter__(self) -> Iterator[SessionDriver]:
        return iter(tuple(self._all))

    # --- to send through -------------------------------------------------------------------------------------------

    def of(self, account: str) -> tuple[SessionDriver, ...]:
        """Return the sessions with one account."""
        return tuple(self._by_account.get(account, ()))

    def open_with(self, target: Target) -> SessionDriver | None:
        """Return the open session to send through; None if there is none, or none that does.

        There may be several under different keys. The one of the highest assurance counts, of several the one that opened
        first; and none below the minimum of any session with this target, open or not: whoever asked for that relies on it.
        """
        sessions = self._by_target.get(target, {})
        if len(sessions) > 1:
            needed = max((each.min_assurance for each in sessions if each.core.state in _ALIVE), default=Assurance.NONE)
            fit = [each for each in sessions if each.is_open and each.assurance >= needed]
            return max(fit, key=lambda each: each.assurance, default=None)
        driver = next(iter(sessions), None)
        if driver is None or driver.core.state is not State.OPEN or not driver.opened.done():
            return None  # as is_open says: written out, as it is asked for each stanza
        return driver

    def best_with(self, target: Target) -> SessionDriver | None:
        """Return the open session to send through, or else the one that opens and demands most."""
        if (driver := self.open_with(target)) is not None:
            return driver
        opening = self._opening(target)
        return max(opening, key=lambda driver: driver.min_assurance) if len(opening) > 1 else next(iter(opening), None)

    def ensure(self, target: Target, min_assurance: Assurance = Assurance.NONE) -> SessionDriver:
        """Return the session with ``target``; offer one if there is none, or if the open one falls short of ``min_assurance``.

        What is sent from then on waits for the new one. NotSent.
        """
        driver = self.best_with(target)
        if driver is not None and driver.is_open and driver.assurance < min_assurance:
            driver.close()
            driver = None
        if driver is None:
            places = self._check_places(target)
            driver = self._create(Role.INITIATOR, *target, min_assurance)
            self._places[driver] = places
            self._offered.update(places)
            self._open(driver)
        return driver

    def retry(self, driver: SessionDriver, error: E2EError) -> bool:
        """Open another session in place of one of ours that has failed, if that may pass. Return whether it was done."""
        if driver not in self._places or not self.pacing.may_retry(driver.target, error) or self.best_with(driver.target):
            return False
        try:
            other = self._create(Role.INITIATOR, *driver.target, driver.required)
        except E2EError:
            return False
        self.pacing.note_failure(driver.target, error, again=True)
        self._places[other] = self._places.pop(driver, ())
        self._open(other)
        return True

    def _open(self, driver: SessionDriver) -> None:
        def offer() -> None:
            driver.offer()
            self._sessions[driver.own_jid, driver.peer, driver.sid] = driver

        self._take_in(driver)
        self.pacing.open(driver, offer)

    def _check_places(self, target: Target) -> tuple[_Place, ...]:
        """Return where one more session of ours counts. NotSent if there is no place: whoever answers a person writes to
        whatever resource they write from, and a bot to whoever writes to it."""
        (own_jid, peer), limits = target, self._limits
        account, domain = account_and_domain(peer)
        limit_by_place: dict[_Place, int] = {(account, own_jid): limits.sessions_per_peer, ("all peers", ""): limits.sessions}
        if not self._is_contact(account):
            limit_by_place[f"strangers of {domain}", ""] = limits.sessions_per_domain
            limit_by_place["all strangers", ""] = (limits.sessions + 1) // 2
        for place, limit in limit_by_place.items():
            if self._offered[place] >= limit:
                there = f"{limit} sessions that we have opened with {place[0]} are there already"
                raise NotSent(there, NotSentReason.TOO_MANY_SESSIONS)
        return tuple(limit_by_place)

    async def connect(self, target: Target, min_assurance: Assurance) -> SessionDriver:
        """Return the session with ``target`` once both hellos are checked. Raises what made it fail."""
        while True:
            driver = self.ensure(target, min_assurance)
            try:
                await asyncio.shield(driver.authenticating)
                if driver.min_assurance >= min_assurance or driver.assurance >= min_assurance:
                    return driver
                # it began on other terms: once open it will do, or make room for one that does
                await asyncio.shield(driver.opened)
            except E2EError:
                if not driver.discarded:
                    raise
                # the peer's own offer took its place, or another one of ours

    # --- to receive ------------------------------------------------------------------------------------------------

    def find(self, key: SessionKey) -> SessionDriver | None:
        """Return the session with this Jingle session id."""
        return self._sessions.get(key)

    def by_stream(self, key: SessionKey) -> SessionDriver | None:
        """Return the session whose bytestream has this sid (XEP-0047)."""
        return self._by_stream.get(key)

    def has_ended(self, key: SessionKey) -> bool:
        """Return whether this session ended just now."""
        return key in self._ended

    def has_ended_stream(self, key: SessionKey) -> bool:
        """Return whether this bytestream ended just now."""
        return key in self._ended_streams

    def forget_ended(self, key: SessionKey) -> None:
        """Forget that this session ended: the peer has said its last word about it, and no flood of them counts."""
        self._ended.pop(key, None)

    def offered(self, target: Target) -> SessionDriver | None:
        """Return our own pending offer to this full JID."""
        return next((driver for driver in self._opening(target) if driver.state is State.OFFER_SENT), None)

    def waiting(self, target: Target) -> SessionDriver | None:
        """Return a session of ours that has not made its offer yet to this full JID."""
        return next((driver for driver in self._opening(target) if driver.state is State.IDLE), None)

    def waits_for_our_server(self, target: Target) -> bool:
        """Return whether the offer of a session of ours with this full JID still waits for its turn in our own stream."""
        return any(self.pacing.is_in_line(driver) for driver in self._opening(target))

    def is_outranked(self, driver: SessionDriver) -> bool:
        """Return whether an open session with the same full JID carries what leaves, under another key."""
        best = self.open_with(driver.target)
        return best is not None and best is not driver and best.key != driver.key

    def successor(self, driver: SessionDriver) -> SessionDriver | None:
        """Return an open session with the same two keys that takes the place of one that has ended, or None. One with the same
        full JID comes first."""
        for each in sorted(self.of(bare(driver.peer)), key=lambda each: each.target != driver.target):
            if each is not driver and each.is_open and each.key == driver.key and bare(each.own_jid) == bare(driver.own_jid):
                return each
        return None

    def goes_on(self, driver: SessionDriver) -> bool:
        """Return whether a session that has ended goes on in another one, with the same full JIDs."""
        successor = self.successor(driver)
        return successor is not None and successor.target == driver.target

    def add(self, driver: SessionDriver) -> None:
        """Take a session in that a peer has offered."""
        self._sessions[driver.own_jid, driver.peer, driver.sid] = driver
        self._take_in(driver)

    def _take_in(self, driver: SessionDriver) -> None:
        self._all[driver] = None
        self._by_account.setdefault(bare(driver.peer), {})[driver] = None
        self._by_target.setdefault(driver.target, {})[driver] = None

    def on_session_event(self, driver: SessionDriver, event: DriverEvent) -> None:
        """Keep track of what is open, and of bytestreams."""
        match event:
            case events.TransportAgreed(sid, _):
                self._streams[driver] = key = (driver.own_jid, driver.peer, sid)
                self._by_stream[key] = driver
            case events.SessionOpened():
                self.pacing.note_success(driver.target)
                sessions = self._by_target[driver.target]
                del sessions[driver]
                sessions[driver] = None
                # the same key again: the peer's program was started anew, or offers have crossed; an older one ends
                for older in [each for each in sessions if each is not driver and each.is_open and each.key == driver.key]:
                    older.close()
            case events.SessionSuperseded(sid):
                for each in self.of(bare(driver.peer)):
                    if each.sid == sid and bare(each.own_jid) == bare(driver.own_jid):
                        each.abort_unreachable(SessionCancelled("another session with the same keys has taken its place"))
            case events.SessionFailed(error) if driver in self._places:
                self.pacing.note_failure(driver.target, error)
            case SessionReleased():
                self._remove(driver)

    def _remove(self, driver: SessionDriver) -> None:
        stream = self._streams.pop(driver, None)
        if stream is not None and self._by_stream.get(stream) is driver:
            del self._by_stream[stream]
            keep_newest(self._ended_streams, stream, None, ENDED)
        for place in self._places.pop(driver, ()):
            self._offered[place] -= 1
            if not self._offered[place]:
                del self._offered[place]
        self.pacing.remove(driver)
        if driver not in self._all:
            return
        del self._all[driver]
        key = (driver.own_jid, driver.peer, driver.sid)
        if self._sessions.pop(key, None) is not None:
            keep_newest(self._ended, key, None, ENDED)
        _drop(self._by_account, bare(driver.peer), driver)
        _drop(self._by_target, driver.target, driver)

    def _opening(self, target: Target) -> list[SessionDriver]:
        sessions = self._by_target.get(target, ())
        return [driver for driver in sessions if driver.core.state in _ALIVE and not driver.opened.done()]


def _drop(sessions: dict[_K, dict[SessionDriver, None]], key: _K, driver: SessionDriver) -> None:
    del sessions[key][driver]
    if not sessions[key]:
        del sessions[key]
