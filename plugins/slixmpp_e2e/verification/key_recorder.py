"""Remembers the keys under which sessions opened, how they were proved, and what was said against them."""

from __future__ import annotations

import time
from collections.abc import Callable

from slixmpp_e2e.events import KeyDoubted
from slixmpp_e2e.jids import bare
from slixmpp_e2e.sessions.driver import DriverEvent, SessionDriver, SessionReleased
from slixmpp_e2e.store import SQLStore
from slixmpp_e2e.trust.peer_settings import PeerSettingsLookup
from slixmpp_e2e.xmpp.emitter import Emitter
from xmpp_e2e import events
from xmpp_e2e.types import Assurance, Fingerprint


class KeyRecorder:
    """Writes to the store what sessions show. StoreError: then the session must end, or its key would be met as new again."""

    def __init__(
        self, store: SQLStore, peers: PeerSettingsLookup, emitter: Emitter, on_change: Callable[[str, str], None]
    ) -> None:
        """``on_change`` hears of each account of which a key is verified now, or is not any more, and by which of ours."""
        self._store, self._peers, self._emitter, self._on_change = store, peers, emitter, on_change
        self._proved: dict[SessionDriver, events.KeyVerified] = {}
        """Proofs of keys whose sessions are not open yet."""

    def on_session_event(self, driver: SessionDriver, event: DriverEvent) -> None:
        """Store a proof at once in an open session, else when it opens; a doubt at once."""
        match event:
            case events.KeyVerified() if driver.is_open:
                self._store_proof(driver, event)
            case events.KeyVerified():
                self._proved[driver] = event
            case events.KeyDoubted(fingerprint):
                self._store_doubt(bare(driver.peer), bare(driver.own_jid), fingerprint)
            case events.KeyRotated(old, new):
                account, own = bare(driver.peer), bare(driver.own_jid)
                self._store.rotate_key(account, old, new, time.time(), own)
                self._on_change(account, own)  # though another session or process was faster
            case events.SessionOpened(_, fingerprint):
                account, own = bare(driver.peer), bare(driver.own_jid)
                if (proved := self._proved.pop(driver, None)) is not None:
                    self._store_proof(driver, proved)
                elif self._store.known_keys(account, own).find(fingerprint) is None:
                    self._store.remember_key(account, fingerprint, Assurance.VOUCHED, "route", time.time(), own)
                if not self._store.has_used_e2e(account):
                    self._store.record_e2e_use(account, time.time())
            case SessionReleased():
                self._proved.pop(driver, None)

    def _store_proof(self, driver: SessionDriver, proved: events.KeyVerified) -> None:
        account, own = bare(driver.peer), bare(driver.own_jid)
        if self._store.remember_key(account, proved.fingerprint, proved.assurance, proved.method, time.time(), own):
            self._on_change(account, own)

    def _store_doubt(self, account: str, own: str, fingerprint: Fingerprint) -> None:
        doubted = self._store.doubt(account, fingerprint, time.time(), own)
        key = self._peers.known_keys(account, own).find(fingerprint)
        pinned = key is not None and key.assurance is Assurance.VERIFIED
        if doubted or pinned:
            self._emitter.emit(KeyDoubted(account, fingerprint, pinned, own))
            self._on_change(account, own)
