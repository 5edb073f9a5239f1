"""Notes in the store, behind the stanzas, how many have come in each session: the next run tells the peer what it has."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from slixmpp_e2e.sessions.driver import SessionDriver
from slixmpp_e2e.store import SQLStore, StoreError, StoreReason
from xmpp_e2e import events
from xmpp_e2e.inner.resumption import LINKS, Handled, Resumptions

NOTE_SECONDS = 1.0
"""Seconds within which it is noted that a stanza has come: what a killed program may get twice, for one change per second."""


class HandledCounts:
    """What this program has handled, in memory and in the store."""

    def __init__(
        self, loop: Callable[[], asyncio.AbstractEventLoop], store: SQLStore, on_error: Callable[[StoreError], None]
    ) -> None:
        """``on_error`` hears of it when nothing can be noted; once, until it can again."""
        self.resumptions = Resumptions(store.handled)
        self._loop, self._store, self._on_error = loop, store, on_error
        self._timer: asyncio.TimerHandle | None = None
        self._unnoted: list[Handled] = []
        """What could not be noted: tried again with what comes next, and at the end."""
        self._is_failing = False

    def on_session_event(self, driver: SessionDriver, event: events.StanzaReceived) -> None:
        """Note it soon. This is called for each stanza."""
        if self._timer is None:
            self._timer = self._loop().call_later(NOTE_SECONDS, self._note_soon)

    def note_now(self) -> None:
        """Note all: the program may end after this. If somebody else writes now, the store's thread does it, for which the
        interpreter waits at its end."""
        if changes := self._take():
            try:
                with self._store.at_once():
                    self._store.note_handled(changes, time.time())
            except StoreError as error:
                if error.reason is StoreReason.BUSY:
                    self._unnoted = changes
                    self._note_soon()
                else:
                    self._on_failed(changes, error)
            else:
                self._is_failing = False

    def _note_soon(self) -> None:
        if changes := self._take():
            try:
                noting = self._store.run(self._store.note_handled, changes, time.time())
            except StoreError as error:
                self._on_failed(changes, error)
            else:
                noting.add_done_callback(lambda noting: self._on_noted(changes, noting))

    def _take(self) -> list[Handled]:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        changes, self._unnoted = self._unnoted + self.resumptions.take_changes(), []
        return changes

    def _on_noted(self, changes: list[Handled], noting: asyncio.Future[None]) -> None:
        if isinstance(error := noting.exception(), StoreError):
            self._on_failed(changes, error)
        else:
            self._is_failing = False

    def _on_failed(self, changes: list[Handled], error: StoreError) -> None:
        self._unnoted = [*self._unnoted, *changes][-LINKS:]
        if not self._is_failing and not self._store.is_ending:
            self._is_failing = True
            self._on_error(error)
