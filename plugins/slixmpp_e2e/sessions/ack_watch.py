"""Finds out that a peer takes what we send and does not acknowledge it: their program hangs, or a server answers for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from slixmpp_e2e.errors import PeerSilent
from slixmpp_e2e.sessions.stall import STALL_PARTS
from slixmpp_e2e.sessions.wire import SessionWire
from xmpp_e2e.errors import E2EError
from xmpp_e2e.session import Session
from xmpp_e2e.states import State
from xmpp_e2e.stream.acks import SentStanza

HEARD_BYTES = 16 * 1024
"""Who says so much in the same time has a line that moves, as the stall detector sees it, and may have yet to answer: their
acknowledgements stand behind what they have said before, megabytes maybe."""


class AckWatch:
    """Asks a peer who has all that we sent and has acknowledged too little for a while, and ends the session if that does not
    help either.

    Whether the bytes get through at all is for the stall detector: no time counts here before the peer has answered for them.
    Who goes on talking is asked STALL_PARTS times.
    """

    def __init__(
        self,
        core: Session,
        loop: asyncio.AbstractEventLoop,
        wire: SessionWire,
        is_busy: Callable[[], bool],
        ask: Callable[[], None],
        abort: Callable[[E2EError], None],
        seconds: float,
    ) -> None:
        """``is_busy``: we have more to say, or to look at, as soon as we get to it. ``ask`` requests an acknowledgement."""
        self._core, self._loop, self._wire, self._is_busy = core, loop, wire, is_busy
        self._ask, self._abort, self._seconds = ask, abort, seconds
        self._acknowledged = 0
        """Bytes of our stanzas so far."""
        self._since: float | None = None
        """When what waits was looked at; None while nothing waits."""
        self._waiting = self._before = 0
        """How much was not acknowledged then, and how much had been."""
        self._given: int | None = None
        """Bytes of the bytestream with which all that waited then has come to the peer; None as long as that is not known."""
        self._asked = 0
        """How often in a row."""
        self._heard = 0
        """Bytes of theirs when what waits was looked at."""
        self._timer: asyncio.TimerHandle | None = None

    def note(self, stanzas: Iterable[SentStanza]) -> None:
        """The peer has acknowledged these."""
        self._acknowledged += sum(stanza.size for stanza in stanzas)

    def update(self) -> None:
        """A turn of an open session is over: what there was to say is in the bytestream, if that has room."""
        if not self._core.awaited:
            self._since, self._asked = None, 0
            return
        moved = self._acknowledged - self._before
        if self._since is None or (moved and moved * STALL_PARTS >= self._waiting):
            self._asked = 0
            self._begin()
        if self._given is None and self._wire.has_room and not self._is_busy():
            self._given = self._wire.answered + self._wire.backlog
        if self._timer is None:
            self._set_timer(self._since or 0.0)

    def stop(self) -> None:
        """The session is over."""
        if self._timer is not None:
            self._timer.cancel()

    def _begin(self) -> None:
        self._since, self._waiting, self._before, self._given = self._loop.time(), self._core.awaited, self._acknowledged, None
        self._heard = self._wire.heard

    def _set_timer(self, since: float) -> None:
        self._timer = self._loop.call_at(since + self._seconds, self._check)

    def _check(self) -> None:
        self._timer = None
        if (since := self._since) is None or self._core.state is not State.OPEN:
            return
        if self._loop.time() < since + self._seconds:
            self._set_timer(since)
            return
        has_all = self._given is not None and self._wire.answered >= self._given
        is_talking = self._wire.heard - self._heard >= HEARD_BYTES and self._asked < STALL_PARTS
        if has_all and not self._is_busy() and self._asked and not is_talking:
            acknowledged = f"of {self._waiting} bytes {self._acknowledged - self._before} in {self._seconds:g} seconds"
            self._abort(PeerSilent(self._core.config.peer_jid, acknowledged))
            return
        self._begin()
        self._set_timer(self._loop.time())
        if has_all:
            self._asked += 1
            self._ask()
