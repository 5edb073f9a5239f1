"""Our own key. It is encrypted in the store; if its protection is slow to open, a thread loads it while we wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple

from slixmpp_e2e.errors import StoreLocked
from slixmpp_e2e.store import SQLStore, StoredOwnKey, StoreError, StoreReason
from xmpp_e2e.tls.certificate import OwnKey
from xmpp_e2e.tls.rotation import Rotation, pack, unpack


class Identity(NamedTuple):
    """Our key, and how it took the place of earlier ones, the oldest first."""

    own_key: OwnKey
    rotations: tuple[Rotation, ...]


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
        self.on_rotated: Callable[[OwnKey, OwnKey], None] = lambda old, new: None
        """Called with the old key and the new one when ``refresh`` has found that the key was rotated."""
        self._on_loaded: Callable[[BaseException | None], None] | None = on_loaded
        self._loading: Future[Identity] = Future()
        self._loading.add_done_callback(self._report_soon)
        if in_thread:
            threading.Thread(target=self._load_in_thread, name="e2e-own-key").start()
        else:
            self._loading.set_result(_load(store))

    @property
    def is_loaded(self) -> bool:
        """Return whether the key can be used."""
        return self._loading.done() and not self._loading.cancelled() and self._loading.exception() is None

    @property
    def own_key(self) -> OwnKey:
        """Our key and certificate. StoreLocked before they are loaded; StoreError if loading them failed."""
        return self.identity.own_key

    @property
    def identity(self) -> Identity:
        """The same, with how our key took the place of earlier ones. Raises what ``own_key`` does."""
        if not self._loading.done():
            raise StoreLocked(f"the key in {self._store.path} has not been opened yet")
        return self._loading.result()

    def refresh(self) -> None:
        """Load the key again if it was rotated since, here or by another process. StoreError."""
        if not self.is_loaded:
            return
        before = self.own_key
        if self._store.own_certificate() == before.certificate:
            return
        identity = _read(self._store)
        self._loading = Future()
        self._loading.set_result(identity)
        self.on_rotated(before, self.own_key)

    def current(self) -> Identity:
        """Return our key, loaded again if another process has rotated it. Asked for each session. Raises what they do."""
        self.refresh()
        return self.identity

    async def wait_loaded(self) -> OwnKey:
        """Wait until the key is loaded. StoreError if loading it fails."""
        try:
            if not self._loading.done():
                await asyncio.shield(asyncio.wrap_future(self._loading))
            return self.own_key
        finally:
            self._report()

    def cancel(self) -> None:
        """Do not report the key any more, as the plugin ends."""
        self._on_loaded = None
        self._loading.cancel()

    def _load_in_thread(self) -> None:
        with suppress(InvalidStateError):  # it was cancelled meanwhile
            try:
                identity = _load(self._store)
            except BaseException as error:  # whoever waits gets it
                self._loading.set_exception(error)
            else:
                self._loading.set_result(identity)

    def _report_soon(self, loading: Future[Identity]) -> None:
        """Report by the loop that the client has now. If it never runs, whoever waits for the key reports."""
        if not (loop := self._loop()).is_closed():
            loop.call_soon_threadsafe(self._report)

    def _report(self) -> None:
        """Report once."""
        if self._loading.done() and (on_loaded := self._on_loaded) is not None:
            self._on_loaded = None
            on_loaded(self._loading.exception())


def load_own_key(store: SQLStore, *, anew: bool = False) -> OwnKey:
    """Return our key and certificate, which are made if the store has none; ``anew``: also if they were deleted. StoreError."""
    store.load_key()  # may be slow; other threads can use the store meanwhile
    return _read(store, anew=anew).own_key


def rotate_own_key(store: SQLStore, account: str) -> OwnKey:
    """Replace our key by a new one, sign that it takes the place of the old one, and return it. StoreError.

    ``account`` is our bare JID, or the domain of a component. Peers who have verified the old key, and understand rotations,
    take the new one for verified; programs that run with this store tell them.
    """

    def rotate(stored: StoredOwnKey) -> StoredOwnKey:
        old, new = OwnKey(stored.certificate, stored.private_key), OwnKey.create(datetime.now(UTC))
        rotations = (*unpack(stored.rotations), Rotation.sign(account, old, new))
        return StoredOwnKey(new.certificate, new.private_key, pack(rotations))

    store.load_key()
    rotated = store.rotate_own_key(rotate)
    return OwnKey(rotated.certificate, rotated.private_key)


def _load(store: SQLStore) -> Identity:
    store.load_key()
    return _read(store)


def _read(store: SQLStore, *, anew: bool = False) -> Identity:
    stored = store.own_key(_create, anew=anew)
    try:
        return Identity(OwnKey(stored.certificate, stored.private_key), unpack(stored.rotations))
    except ValueError as error:
        raise StoreError(store.path, f"our own key makes no sense: {error}", StoreReason.DAMAGED) from error


def _create() -> StoredOwnKey:
    created = OwnKey.create(datetime.now(UTC))
    return StoredOwnKey(created.certificate, created.private_key)
