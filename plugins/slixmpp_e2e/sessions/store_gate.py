"""Holds a session back while what it says is being stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any
from xml.etree.ElementTree import Element

from xmpp_e2e import events
from xmpp_e2e.errors import BytestreamFailed, E2EError, LocalError

STORED = (events.KeyVerified, events.KeyDoubted, events.KeyRotated, events.SasInterrupted, events.SessionOpened)
"""Nobody hears of these before they are stored."""

HELD_BLOCKS = 64
"""Blocks that wait, unanswered, while an event is stored: 4 KiB each, and the window of honest peers ends long before."""


class StoreGate:
    """Closed while an event is being stored. Then nobody hears of it or of what is behind it, and no block is read or sent."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_stored: Callable[[events.Event, E2EError | None], None],
        read: Callable[[Element, Element], None],
        on_late: Callable[[events.Event], None] = lambda event: None,
    ) -> None:
        """``on_stored`` hears that an event is stored, or why it is not; then ``read`` takes the blocks that came meanwhile."""
        self._loop, self._on_stored, self._read, self._on_late = loop, on_stored, read, on_late
        self.is_closed = False
        """True while an event is being stored."""
        self.is_dropped = False
        """True once nobody waits for what is stored."""
        self._storing: asyncio.Future[Any] | None = None
        self._blocks: list[tuple[Element, Element]] = []
        self.held_bytes = 0
        """Bytes of the blocks that wait, as they came."""

    def close(self, event: events.Event, storing: asyncio.Future[Any]) -> None:
        """Hold all back until ``storing`` is done."""
        self._storing, self.is_closed = storing, True
        storing.add_done_callback(partial(self._open, event))

    def drop(self) -> None:
        """Stay open: the session is over. What is being stored will be, but nobody waits for it."""
        self._storing, self.is_closed, self.is_dropped = None, False, True
        self._blocks, self.held_bytes = [], 0

    def hold(self, request: Element, payload: Element) -> bool:
        """Keep a block that cannot be read now; return False if it can. BytestreamFailed if too many wait."""
        if not self.is_closed and not self._blocks:
            return False
        self._blocks.append((request, payload))
        self.held_bytes += len(payload.text or "")
        if len(self._blocks) > HELD_BLOCKS:
            self._blocks, self.held_bytes = [], 0
            raise BytestreamFailed(f"the peer sent more than {HELD_BLOCKS} blocks that nobody had answered")
        return True

    def _open(self, event: events.Event, storing: asyncio.Future[Any]) -> None:
        failure = storing.exception()
        if self._storing is not storing:
            if failure is None and isinstance(event, events.KeyRotated):
                self._on_late(event)
            return
        self._storing, self.is_closed = None, False
        if failure is None or isinstance(failure, E2EError):
            self._on_stored(event, failure)
        else:
            self._on_stored(event, LocalError(f"storing raised {type(failure).__name__}"))
        self._loop.call_soon(self._read_held)  # in a turn of its own: so a session that opens does not end in the same one

    def _read_held(self) -> None:
        if not self.is_closed:
            blocks, self._blocks, self.held_bytes = self._blocks, [], 0
            for request, payload in blocks:
                self._read(request, payload)
