"""Tells the peers of open sessions that our own key was rotated: inside, under the key that they know."""

from __future__ import annotations

from slixmpp_e2e.events import OwnKeyRotated
from slixmpp_e2e.sessions.driver import DriverEvent, SessionDriver
from slixmpp_e2e.sessions.registry import SessionRegistry
from slixmpp_e2e.trust.own_key import OwnKeyLoader
from slixmpp_e2e.xmpp.emitter import Emitter
from xmpp_e2e.tls.certificate import OwnKey


class RotationAnnouncer:
    """Ends the sessions under our old key, by an announcement and a farewell; the next ones open under the new key."""

    def __init__(self, own_key: OwnKeyLoader, registry: SessionRegistry, emitter: Emitter) -> None:
        self._own_key, self._registry, self._emitter = own_key, registry, emitter
        self._has_rotated = False
        own_key.on_rotated = self._on_rotated

    def _on_rotated(self, old: OwnKey, new: OwnKey) -> None:
        self._has_rotated = True
        self._emitter.emit(OwnKeyRotated(old.fingerprint, new.fingerprint))
        for driver in self._registry:
            self._announce(driver)

    def on_session_event(self, driver: SessionDriver, event: DriverEvent) -> None:
        """Announce it in a session that was opening meanwhile."""
        if self._has_rotated:
            self._announce(driver)

    def _announce(self, driver: SessionDriver) -> None:
        own_key, rotations = self._own_key.identity
        if driver.is_open and driver.core.config.own_key.fingerprint != own_key.fingerprint:
            driver.announce_rotation(rotations)
