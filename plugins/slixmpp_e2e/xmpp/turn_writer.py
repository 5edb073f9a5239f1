"""Writes our own iqs: all of a turn of the event loop in one write, past whatever could alter, delay or lose them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from xml.etree.ElementTree import Element

from slixmpp.basexmpp import BaseXMPP

LATE_SECONDS = 0.005
"""How long an answer to which nobody looks forward waits for something to go with: most answers of a program come sooner."""
LATE_IQS = 6
"""So many are not kept waiting: the windows of our bytestreams begin with twelve blocks, which must not run out."""


class TurnWriter:
    """What leaves waits here, and nowhere else.

    What slixmpp takes from its queue without a connection is lost, and after a resumption (XEP-0198) slixmpp resends what was
    not acknowledged *after* what it was given meanwhile. A block that is lost, or overtakes another, ends a bytestream.
    """

    def __init__(self, xmpp: BaseXMPP) -> None:
        self._xmpp = xmpp
        self._iqs: list[Element] = []
        self._late: list[Element] = []
        self._due: asyncio.Handle | None = None
        """At the end of this turn."""
        self._timer: asyncio.TimerHandle | None = None
        """When what is late has waited long enough."""
        self._is_reading = False
        self.write: Callable[[list[Element]], None] = lambda iqs: None
        """Writes them now."""
        self.paused = False
        """True while there is no connection."""

    def put(self, iq: Element) -> None:
        """Write it at the end of this turn, or of what is being read."""
        self._iqs.append(iq)
        self._schedule()

    def put_late(self, iq: Element) -> None:
        """Write it with what is written next, which may take a moment."""
        self._late.append(iq)
        if len(self._late) >= LATE_IQS:
            self._schedule()
        elif self._timer is None and not self.paused:
            self._timer = self._xmpp.loop.call_later(LATE_SECONDS, self.flush)

    def begin_read(self) -> None:
        """What the socket has brought is handled now."""
        self._is_reading = True

    def end_read(self) -> None:
        """It is handled: what came of it leaves."""
        self._is_reading = False
        if self._iqs or len(self._late) >= LATE_IQS:
            self.flush()

    def flush(self) -> None:
        """Write all that waits. What was late comes first: the peer waits for it."""
        if self.paused:
            return
        self._cancel()
        iqs = [*self._late, *self._iqs]
        self._late.clear()
        self._iqs.clear()
        if iqs:
            self.write(iqs)

    def pause(self) -> None:
        """Stop: the connection is gone. The stream may be resumed."""
        self.paused = True
        self._cancel()

    def resume(self) -> None:
        """Go on: the stream is up, and slixmpp has resent what was not acknowledged."""
        self.paused = False
        if self._iqs or self._late:
            self._schedule()

    def clear(self) -> None:
        """Forget everything."""
        self._iqs.clear()
        self._late.clear()
        self._cancel()

    def _schedule(self) -> None:
        if self._due is None and not (self.paused or self._is_reading):
            self._due = self._xmpp.loop.call_soon(self.flush)

    def _cancel(self) -> None:
        for handle in (self._due, self._timer):
            if handle is not None:
                handle.cancel()
        self._due = self._timer = None
