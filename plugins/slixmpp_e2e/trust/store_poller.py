"""Notice what another process decides: about keys and policies, by ``xmpp-e2e trust``, and about our own key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from slixmpp_e2e.store import SQLStore, StoreError

POLL_SECONDS = 1.0
"""Between two looks at the store. A user who pins a key waits for the queued message; a look takes some microseconds."""


@dataclass
class _Look:
    changed: Callable[[], frozenset[str]]
    """Returns the peers about whom something has changed since the last call."""
    report: Callable[[str], None]
    pending: frozenset[str] = frozenset()
    """Not reported yet, as the store could not be read."""

    def skip(self, bare: str) -> None:
        """What has changed about this account so far is read now: it need not be reported any more. StoreError."""
        self.pending = (self.pending | self.changed()) - {bare}


class StorePoller:
    """Looks at the store while there are sessions, and reports each peer whose keys or policy were decided about."""

    def __init__(
        self,
        loop: Callable[[], asyncio.AbstractEventLoop],
        store: SQLStore,
        *,
        has_sessions: Callable[[], bool],
        on_keys_changed: Callable[[str], None],
        on_policy_changed: Callable[[str], None],
        check_own_key: Callable[[], object],
        on_error: Callable[[StoreError], None],
    ) -> None:
        """``loop`` returns the event loop of the moment. ``check_own_key`` looks whether our own key was rotated."""
        self._loop, self._store = loop, store
        self._has_sessions, self._check_own_key, self._on_error = has_sessions, check_own_key, on_error
        self.keys = _Look(store.changed_peers, on_keys_changed)
        self.policies = _Look(store.changed_policies, on_policy_changed)
        self._looks = (self.keys, self.policies)
        self._timer: asyncio.TimerHandle | None = None
        self._is_failing = False

    def start(self) -> None:
        """Begin to look, before a session reads the keys of its peer. StoreError."""
        if self._timer is None:
            for look in self._looks:
                look.changed()
            self._timer = self._loop().call_later(POLL_SECONDS, self._poll)

    def stop(self) -> None:
        """Stop, before the store is closed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _poll(self) -> None:
        self._timer = None
        if not self._has_sessions():
            return
        self._timer = self._loop().call_later(POLL_SECONDS, self._poll)
        try:
            for look in self._looks:
                look.pending |= look.changed()
                while look.pending:
                    bare = min(look.pending)
                    look.report(bare)
                    look.pending -= {bare}
            self._check_own_key()
        except StoreError as error:
            if not self._is_failing:  # report it once, not every second
                self._on_error(error)
            self._is_failing = True
        else:
            self._is_failing = False
