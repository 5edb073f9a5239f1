"""What another process decides about keys, with the command ``xmpp-e2e trust`` perhaps, comes to the sessions of this one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from slixmpp_e2e.store.errors import StoreError
from xmpp_e2e.trust.store import TrustStore

WATCH_SECONDS = 1.0
"""Between two looks at the store. Whoever pins a key waits for the message that was held; a look costs some microseconds."""

log = logging.getLogger("slixmpp_e2e")


class Watch:
    """Looks at the store while there are sessions (``wanted``), and tells whose keys were decided about (``changed``)."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        store: TrustStore,
        changed: Callable[[str], None],
        wanted: Callable[[], bool],
    ) -> None:
        self._loop, self._store, self._changed, self._wanted = loop, store, changed, wanted
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: frozenset[str] = frozenset()
        self._failing = False

    def start(self) -> None:
        """There is going to be a session. What was decided before is its own to read. StoreError."""
        if self._timer is None:
            self._store.news()
            self._timer = self._loop.call_later(WATCH_SECONDS, self._look)

    def stop(self) -> None:
        """The store is about to be closed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if not self._wanted():
            return
        self._timer = self._loop.call_later(WATCH_SECONDS, self._look)
        try:
            self._waiting |= self._store.news()
            while self._waiting:
                bare = min(self._waiting)
                self._changed(bare)
                self._waiting -= {bare}
        except StoreError as error:
            if not self._failing:  # once, not every second
                log.error("decisions of other processes are not noticed: %s", error.explain())
            self._failing = True
        else:
            self._failing = False
