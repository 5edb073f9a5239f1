"""Our own key: in the store, and sealed. A passphrase or a keyring takes long to open it; then a thread does, and we wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from slixmpp_e2e.errors import StoreLocked
from slixmpp_e2e.store import SQLStore
from xmpp_e2e.tls.certificate import Identity
from xmpp_e2e.trust.store import StoredIdentity


class Own:
    """The identity in a store, which is made if there is none: at once, or StoreError is raised.

    If the seal is ``slow``: later. ``done`` is called then, with what has gone wrong if it is not there.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, store: SQLStore, *, slow: bool, done: Callable[[BaseException | None], None]
    ) -> None:
        self._store = store
        self._found: asyncio.Future[Identity]
        if slow:
            self._found = loop.run_in_executor(None, _identity_in, store)
        else:
            self._found = loop.create_future()
            self._found.set_result(_identity_in(store))

        def tell(found: asyncio.Future[Identity]) -> None:
            if not found.cancelled():
                done(found.exception())

        self._found.add_done_callback(tell)

    @property
    def is_open(self) -> bool:
        """Is it there?"""
        return self._found.done() and not self._found.cancelled() and self._found.exception() is None

    @property
    def identity(self) -> Identity:
        """Key and certificate. StoreLocked as long as they are not there, and what keeps them from it."""
        if not self._found.done():
            raise StoreLocked(f"the key in {self._store.path} has not been opened yet")
        return self._found.result()

    async def opened(self) -> Identity:
        """Until it is there. StoreError."""
        return await asyncio.shield(self._found)

    def forget(self) -> None:
        """The plugin ends: nobody hears of it any more."""
        self._found.cancel()


def _identity_in(store: SQLStore) -> Identity:
    store.unlock()  # others may use the store meanwhile
    stored = store.identity(_create)
    return Identity(stored.certificate, stored.private_key)


def _create() -> StoredIdentity:
    created = Identity.create(datetime.now(UTC))
    return StoredIdentity(created.certificate, created.private_key)
