"""Our own key. It is encrypted in the store; if its protection is slow to open, a thread loads it while we wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from datetime import UTC, datetime

from slixmpp_e2e.errors import StoreLocked
from slixmpp_e2e.store import SQLStore, StoredOwnKey
from xmpp_e2e.tls.certificate import OwnKey


class OwnKeyLoader:
    """The identity in a store. It is made if the store has none.

    It is loaded at once, or StoreError is raised. With ``in_thread`` it is loaded later: then ``on_loaded`` is called, with the
    error if there was one.
    """

    def __init__(
        self,
        loop: Callable[[], asyncio.AbstractEventLoop],
        store: SQLStore,
        *,
        in_thread: bool,
        on_loaded: Callable[[BaseException | None], None],
    ) -> None:
        """``loop`` returns the event loop of the moment: it may be another one when the key is loaded, and belongs to no future
        until then."""
        self._loop, self._store = loop, store
        self._on_loaded: Callable[[BaseException | None], None] | None = on_loaded
        self._loading: Future[OwnKey] = Future()
        self._loading.add_done_callback(self._report_soon)
        if in_thread:
            threading.Thread(target=self._load_in_thread, name="e2e-own-key").start()
        else:
            self._loading.set_result(load_own_key(store))

    @property
    def is_loaded(self) -> bool:
        """Return whether the key can be used."""
        return self._loading.done() and not self._loading.cancelled() and self._loading.exception() is None

    @property
    def own_key(self) -> OwnKey:
        """Our key and certificate. StoreLocked before they are loaded; StoreError if loading them failed."""
        if not self._loading.done():
            raise StoreLocked(f"the key in {self._store.path} has not been opened yet")
        return self._loading.result()

    async def wait_loaded(self) -> OwnKey:
        """Wait until the key is loaded. StoreError if loading it fails."""
        try:
            if not self._loading.done():
                await asyncio.shield(asyncio.wrap_future(self._loading))
            return self._loading.result()
        finally:
            self._report()

    def cancel(self) -> None:
        """Do not report the key any more, as the plugin ends."""
        self._on_loaded = None
        self._loading.cancel()

    def _load_in_thread(self) -> None:
        with suppress(InvalidStateError):  # it was cancelled meanwhile
            try:
                own_key = load_own_key(self._store)
            except BaseException as error:  # whoever waits gets it
                self._loading.set_exception(error)
            else:
                self._loading.set_result(own_key)

    def _report_soon(self, loading: Future[OwnKey]) -> None:
        """Report by the loop that the client has now. If it never runs, whoever waits for the key reports."""
        if not (loop := self._loop()).is_closed():
            loop.call_soon_threadsafe(self._report)

    def _report(self) -> None:
        """Report once."""
        if self._loading.done() and (on_loaded := self._on_loaded) is not None:
            self._on_loaded = None
            on_loaded(self._loading.exception())


def load_own_key(store: SQLStore) -> OwnKey:
    """Return our key and certificate, which are made if the store has none. StoreError."""
    store.load_key()  # may be slow; other threads can use the store meanwhile
    stored = store.own_key(_create)
    return OwnKey(stored.certificate, stored.private_key)


def _create() -> StoredOwnKey:
    created = OwnKey.create(datetime.now(UTC))
    return StoredOwnKey(created.certificate, created.private_key)
