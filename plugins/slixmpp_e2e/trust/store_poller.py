"""What another process decides about keys, with the command ``xmpp-e2e trust`` perhaps, comes to the sessions of this one."""

from __future__ import annotations

import asyncio
from typing import Protocol

from slixmpp_e2e.store.errors import StoreError
from xmpp_e2e.trust.store import TrustStore

WATCH_SECONDS = 1.0
"""Between two looks at the store. Whoever pins a key waits for the message that was held; a look costs some microseconds."""


class Host(Protocol):
    """What the watch needs of the plugin."""

    loop: asyncio.AbstractEventLoop

    def has_sessions(self) -> bool:
        """Is anybody there whom a decision could concern?"""

    def trust_changed(self, bare: str) -> None:
        """The keys of this peer were decided about."""

    def store_failed(self, error: StoreError) -> None:
        """Tell that the store failed."""


class Watch:
    """Looks at the store while there are sessions, and tells whose keys were decided about."""

    def __init__(self, host: Host, store: TrustStore) -> None:
        self._host, self._store = host, store
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: frozenset[str] = frozenset()
        self._failing = False

    def start(self) -> None:
        """There is going to be a session. What was decided before is its own to read. StoreError."""
        if self._timer is None:
            self._store.news()
            self._timer = self._host.loop.call_later(WATCH_SECONDS, self._look)

    def stop(self) -> None:
        """The store is about to be closed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if not self._host.has_sessions():
            return
        self._timer = self._host.loop.call_later(WATCH_SECONDS, self._look)
        try:
            self._waiting |= self._store.news()
            while self._waiting:
                bare = min(self._waiting)
                self._host.trust_changed(bare)
                self._waiting -= {bare}
        except StoreError as error:
            if not self._failing:  # once, not every second
                self._host.store_failed(error)
            self._failing = True
        else:
            self._failing = False
