"""Carries what a session says: bytes over its bytestream, signalling in iqs. Knows what is late, and whose silence it is."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from xml.etree.ElementTree import Element

from slixmpp_e2e.errors import OwnServerSilent
from slixmpp_e2e.sessions.clock import SessionClock
from slixmpp_e2e.sessions.stall import Path, StallDetector
from slixmpp_e2e.xmpp.ibb import IBBTransport
from slixmpp_e2e.xmpp.iq_channel import IqChannel, Refusal
from xmpp_e2e.errors import BytestreamFailed, E2EError
from xmpp_e2e.session import Session
from xmpp_e2e.states import FAREWELL, NOT_YET_OPEN, State
from xmpp_e2e.types import Role

CROSSING_SECONDS = 10.0
"""After a tie-break, how long the peer's own offer, which left before they had ours, may be on its way. Longer than a slow line
takes; a peer who has dropped theirs says nothing."""
LOOK_SECONDS = 1.0
"""How often a session whose clock stands still looks whether our own server has read what it said."""


class SessionWire:
    """The way of one session through the servers. Signalling follows the bytes that were there before it."""

    def __init__(
        self,
        core: Session,
        iqs: IqChannel,
        loop: asyncio.AbstractEventLoop,
        clock: SessionClock,
        owner: object,
        on_change: Callable[[], None],
        abort: Callable[[E2EError], None],
        stall_seconds: float,
    ) -> None:
        """``clock``: that of the session, which stands still while what we say waits for our own server.

        ``owner`` is whose turn it is when our iqs leave. ``on_change`` is called when the core has been told something;
        ``abort`` ends the session. ``stall_seconds``: after how long a path that does not move is dead."""
        self._core, self._iqs, self._loop, self._clock, self._owner = core, iqs, loop, clock, owner
        self._own_jid, self._peer = core.config.own_jid, core.config.peer_jid
        self._on_change, self._abort, self._stall_seconds = on_change, abort, stall_seconds
        self._transport: IBBTransport | None = None
        self._jingle: deque[Element] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._crossing: asyncio.TimerHandle | None = None
        self._stall = StallDetector(loop, self._path, self._on_stall, stall_seconds)
        self.heard = 0
        """Bytes that have come from the peer."""
        self.offers_crossed = False
        """True once an offer of the peer's has come while ours was pending."""

    @property
    def backlog(self) -> int:
        """Bytes that are queued or not answered."""
        return self._transport.backlog if self._transport is not None else 0

    @property
    def answered(self) -> int:
        """Bytes that the peer has answered for."""
        return self._transport.answered if self._transport is not None else 0

    @property
    def has_room(self) -> bool:
        """True if the bytestream takes more bytes now."""
        return self._transport is not None and self._transport.has_room

    @property
    def all_said(self) -> bool:
        """True if all that was to be said is answered for, or lost for good."""
        return not self._jingle and (self._transport is None or self._transport.drained)

    def connect(self, sid: str, block_size: int) -> None:
        """Begin the bytestream that both sides agreed on."""
        role = self._core.role
        self._transport = IBBTransport(self._iqs, role, self._own_jid, self._peer, sid, block_size, self._on_change)
        if role is Role.INITIATOR:
            self._core.bytestream_ready(self._clock.now)

    def receive(self, request: Element, payload: Element) -> None:
        """Hand the core what an IBB stanza brings. BytestreamFailed."""
        assert self._transport is not None
        opens = self._core.state is State.CONNECTING
        data = self._transport.receive(request, payload)
        if opens:
            self._core.bytestream_ready(self._clock.now)
        if data:
            self.heard += len(data)
            self._core.receive_data(data, self._clock.now)
        if self._transport.ended:
            self._core.receive_data(b"", self._clock.now)

    def move(self) -> bool:
        """Send bytes, then the signalling that follows them. Return whether bytes left, so that there may be room."""
        moved = False
        transport = self._transport
        if transport is not None:
            if transport.broken is not None:
                self._core.bytestream_failed(transport.broken, self._clock.now)
            while transport.has_room and (data := self._core.data_to_send()):
                transport.send(data)
                moved = True
            transport.flush(may_be_late=self._core.state is State.OPEN)
        self._jingle.extend(self._core.jingle_to_send())
        while self._jingle and (transport is None or transport.drained):
            self._iqs.request(self._own_jid, self._peer, self._jingle.popleft(), self._on_jingle_reply, self._owner)
        return moved

    def watch(self) -> None:
        """Set the timers: the core's deadline, and whether the path still answers."""
        self._stop_timer()
        waits = self._waits_for_own_server
        if waits and self._iqs.silence >= self._stall_seconds:
            self._abort(OwnServerSilent(self._iqs.silence))
        # a farewell is late when the peer has everything and does not answer; until then it is for the stall detector
        unfinished = self._core.state in FAREWELL and self._transport is not None and not self._transport.drained
        self._clock.stand_still(unfinished or waits)
        due = self._core.timer()
        when = self._clock.on_loop(due) if due is not None else None
        if when is not None:
            self._timer = self._loop.call_at(when, self._on_deadline)
        elif due is not None and not unfinished:
            self._timer = self._loop.call_at(self._loop.time() + LOOK_SECONDS, self.watch)
        if self._transport is not None:
            self._stall.update()

    def stop(self) -> None:
        """The session is over."""
        self._stop_timer()
        if self._crossing is not None:
            self._crossing.cancel()
        self._stall.stop()
        self._iqs.forget_requests(self._owner)
        if self._transport is not None:
            self._transport.abandon()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def _waits_for_own_server(self) -> bool:
        """True if the peer cannot answer yet: what we say to open the session waits here, or our server has not read it."""
        iqs, transport = self._iqs, self._transport
        if self._core.state not in NOT_YET_OPEN:
            return False
        return iqs.is_unread(self._owner) or (transport is not None and iqs.is_unread(transport))

    def _on_jingle_reply(self, condition: Refusal | None) -> None:
        if condition == "conflict" and self._core.state is State.OFFER_SENT and not self.offers_crossed:
            # tie-break: the peer's own offer is on its way, and ours gives way to it
            until = self._loop.time() + CROSSING_SECONDS
            self._crossing = self._loop.call_at(until, self._on_uncrossed, condition)
        elif condition is not None:
            self._core.receive_jingle_error(condition, self._clock.now, try_again=condition.may_pass)
            self._on_change()

    def _on_uncrossed(self, condition: Refusal) -> None:
        if self._core.state is State.OFFER_SENT and not self.offers_crossed:
            self._core.receive_jingle_error(condition, self._clock.now, try_again=True)
            self._on_change()

    def _on_deadline(self) -> None:
        self._core.handle_timer(self._clock.now)
        self._on_change()

    def _path(self) -> Path | None:
        if (transport := self._transport) is None or transport.drained:
            return None
        iqs = self._iqs
        return Path(
            transport.backlog, transport.answered, transport.replies, transport.oldest, iqs.newest_answered, iqs.replies
        )

    def _on_stall(self, what: str) -> None:
        assert self._transport is not None
        silence = self._iqs.silence
        self._transport.broken = OwnServerSilent(silence) if silence >= self._stall_seconds else BytestreamFailed(what)
        self._on_change()
