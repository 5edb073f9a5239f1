"""Remembers whom we have met, the keys under which sessions opened, how they were proved, and what was said against them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from slixmpp_e2e.events import KeyDoubted, StoreFailed, VerificationInterrupted
from slixmpp_e2e.jids import bare
from slixmpp_e2e.sessions.driver import SessionDriver, SessionReleased
from slixmpp_e2e.store import SQLStore, StoreError
from slixmpp_e2e.trust.peer_settings import PeerSettingsLookup
from slixmpp_e2e.xmpp.emitter import Emitter
from xmpp_e2e import events
from xmpp_e2e.errors import LocalError
from xmpp_e2e.types import Assurance, Fingerprint


class KeyRecorder:
    """Writes to the store what sessions show, before anybody hears of it.

    If that fails, the session must end, or its key would be met as new again.
    """

    def __init__(
        self, store: SQLStore, peers: PeerSettingsLookup, emitter: Emitter, on_change: Callable[[str, str], None]
    ) -> None:
        """``on_change`` hears of each account of which a key is verified now, or is not any more, and by which of ours."""
        self._store, self._peers, self._emitter, self._on_change = store, peers, emitter, on_change
        self._proved: dict[SessionDriver, events.KeyVerified] = {}
        """Proofs of keys whose sessions are not open yet."""

    def store(self, driver: SessionDriver, event: events.Event) -> asyncio.Future[Any] | None:
        """Store a proof at once in an open session, else when it opens; all else at once. Return what is to be waited for."""
        account, own = bare(driver.peer), bare(driver.own_jid)
        if (write := self._what_to_write(driver, account, own, event)) is None:
            return None
        writing = self._store.run(write)
        writing.add_done_callback(partial(self._on_written, driver.peer, own, event))
        return writing

    def on_session_event(self, driver: SessionDriver, event: events.TransportAgreed | SessionReleased) -> None:
        """Note that an offer was accepted: from now on the peer is one that we have met. Forget a session that is over."""
        if isinstance(event, SessionReleased):
            self._proved.pop(driver, None)
        elif not self._store.has_used_e2e(account := bare(driver.peer)):  # once: on a full disk known peers can still talk
            # The session does not wait for it: it makes no use of it, and stores more itself before it opens.
            self._store.run(self._store.record_e2e_use, account, time.time()).add_done_callback(self._on_met)

    def _what_to_write(self, driver: SessionDriver, account: str, own: str, event: events.Event) -> Callable[[], object] | None:
        store, now = self._store, time.time()
        match event:
            case events.KeyVerified():
                if driver.is_open:
                    return partial(self._write_proof, account, own, event, now)
                self._proved[driver] = event
            case events.KeyDoubted(fingerprint):
                return partial(store.doubt, account, fingerprint, now, own)
            case events.KeyRotated(old, new):
                return partial(self._write_rotation, account, own, old, new, now, self._peers.is_pinned(account, old))
            case events.SasInterrupted(method):
                return partial(store.count_failed_attempt, account, method, own)
            case events.SessionOpened(_, fingerprint):
                proved = self._proved.pop(driver, None)
                is_known = store.known_keys(account, own).find(fingerprint) is not None
                if proved is not None or not is_known or not store.has_used_e2e(account):
                    return partial(self._write_opened, account, own, fingerprint, proved, now)
        return None

    # --- in the store's thread -------------------------------------------------------------------------------------

    def _write_opened(self, account: str, own: str, key: Fingerprint, proved: events.KeyVerified | None, now: float) -> bool:
        changed = False
        if proved is not None:
            changed = self._write_proof(account, own, proved, now)
        elif self._store.known_keys(account, own).find(key) is None:
            self._store.remember_key(account, key, Assurance.VOUCHED, "route", now, own)
        if not self._store.has_used_e2e(account):
            self._store.record_e2e_use(account, now)
        return changed

    def _write_rotation(self, account: str, own: str, old: Fingerprint, new: Fingerprint, now: float, pinned: bool) -> bool:
        changed = self._store.rotate_key(account, old, new, now, own, pinned)
        if not changed and not self._store.known_keys(account, own).is_verified(new):
            raise LocalError(f"another decision about the keys of {account} was stored before its rotation")
        return changed

    def _write_proof(self, account: str, own: str, proved: events.KeyVerified, now: float) -> bool:
        if proved.method == "sas":
            self._store.clear_failed_attempts(account, "sas", own)
        return self._store.remember_key(account, proved.fingerprint, proved.assurance, proved.method, now, own)

    # --- in the event loop -----------------------------------------------------------------------------------------

    def _on_met(self, writing: asyncio.Future[Any]) -> None:
        if isinstance(error := writing.exception(), StoreError) and not self._store.is_ending:
            self._emitter.emit(StoreFailed(error))

    def _on_written(self, peer: str, own: str, event: events.Event, writing: asyncio.Future[Any]) -> None:
        """``writing`` returns whether the keys have changed, or the count of what was interrupted."""
        account = bare(peer)
        error = writing.exception()
        if self._store.is_ending:
            return
        if isinstance(event, events.SasInterrupted):
            if isinstance(error, StoreError):  # the session is over anyhow
                self._emitter.emit(StoreFailed(error))
            elif error is None:
                self._emitter.emit(VerificationInterrupted(peer, writing.result()))
        elif error is None:
            changed = writing.result()
            if isinstance(event, events.KeyDoubted):
                key = self._peers.known_keys(account, own).find(event.fingerprint)
                pinned = key is not None and key.assurance is Assurance.VERIFIED
                changed |= pinned
                if changed:
                    self._emitter.emit(KeyDoubted(account, event.fingerprint, pinned, own))
            # a rotation always: it is news for the account's other sessions, though another session or process was faster
            if changed or isinstance(event, events.KeyRotated):
                self._on_change(account, own)
