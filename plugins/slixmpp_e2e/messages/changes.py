"""Applies what changes about peers to the routes and sessions that are there: presence, keys, settings."""

from __future__ import annotations

from collections.abc import Callable

from slixmpp import Presence
from slixmpp.basexmpp import BaseXMPP

from slixmpp_e2e.errors import NotSent, NotSentReason
from slixmpp_e2e.events import OtherKeyHeld
from slixmpp_e2e.jids import bare
from slixmpp_e2e.messages.rooms import MucRooms
from slixmpp_e2e.messages.routing import RouteCache
from slixmpp_e2e.sessions.admission.allow_list import AllowList
from slixmpp_e2e.sessions.driver import SessionDriver
from slixmpp_e2e.sessions.registry import SessionRegistry
from slixmpp_e2e.trust.peer_settings import PeerSettingsLookup
from slixmpp_e2e.trust.trust_file.parse import TrustFileRules
from slixmpp_e2e.xmpp import discovery
from slixmpp_e2e.xmpp.emitter import Emitter
from slixmpp_e2e.xmpp.presence import PresenceCache
from slixmpp_e2e.xmpp.support import SupportQuestions
from xmpp_e2e.types import Role


class PeerChanges:
    """Hears of changes, and lets nothing go on under what held before."""

    def __init__(
        self,
        xmpp: BaseXMPP,
        presence: PresenceCache,
        support: SupportQuestions,
        rooms: MucRooms,
        peers: PeerSettingsLookup,
        routes: RouteCache,
        registry: SessionRegistry,
        allow_list: AllowList,
        emitter: Emitter,
        on_online: Callable[[str], None],
    ) -> None:
        """``on_online``: is told of an account a device of which may be online again."""
        self._xmpp, self._presence, self._support, self._rooms = xmpp, presence, support, rooms
        self._peers, self._routes, self._registry = peers, routes, registry
        self._allow_list, self._emitter, self._on_online = allow_list, emitter, on_online

    def on_presence(self, stanza: Presence) -> bool:
        """A presence stanza came: the peer's routes may have changed, and a resource that went offline has lost its path.

        Return whether the program gets it.
        """
        xmpp, peer = self._xmpp, stanza["from"]
        own_jid = stanza["to"].bare if xmpp.is_component else xmpp.boundjid.bare
        self._rooms.note_presence(stanza)
        if not self._rooms.may_be(peer.bare) and self._presence.update(own_jid, stanza):
            return False
        discovery.forget(xmpp, peer)
        if not self._rooms.may_be(peer.bare):
            self._support.on_presence(own_jid, stanza, is_contact=self._presence.is_contact(own_jid, peer.bare))
        self._routes.forget(peer.bare)
        self._registry.pacing.forget(peer.bare)
        if stanza.xml.get("type") == "unavailable":
            for driver in self._registry.of(peer.bare):
                # the JIDs of a component are strangers to each other: to leave one is not to leave another
                if driver.peer == peer.full and bare(driver.own_jid) == own_jid:
                    driver.abort_unreachable(NotSent(f"{peer} went offline", NotSentReason.SESSION_CLOSED))
        else:
            self._on_online(peer.bare)
        return True

    def on_keys(self, account: str, own: str | None = None) -> None:
        """A key was decided about: sessions that wait for that go on, those under a key that is refused or held now end.

        ``own``: the account of ours that has decided, or None if that is not known.
        """
        self._registry.pacing.forget(account)
        self._routes.forget(account)  # a device that was left out may be as good as the others now
        if not self._xmpp.is_component:
            own = None  # there is but one
        by_own: dict[str, list[SessionDriver]] = {own or self._xmpp.boundjid.bare: []}
        for driver in self._registry.of(account):
            if own in (None, bare(driver.own_jid)):
                by_own.setdefault(bare(driver.own_jid), []).append(driver)
        for own_account, drivers in by_own.items():
            known = self._peers.known_keys(account, own_account)
            for fingerprint in known.held:
                self._emitter.emit(OtherKeyHeld(account, fingerprint, own_account))
            for driver in drivers:
                driver.update_known_keys(known)

    def on_settings(self, account: str) -> None:
        """The settings for an account may have changed: its sessions meet them from now on, wait until they do, or end."""
        settings = self._peers.of(account)
        self._routes.forget(account)
        self._registry.pacing.forget(account)
        for driver in self._registry.of(account):
            driver.update_settings(settings)

    def on_defaults(self) -> None:
        """The settings may have changed for everybody about whom nothing else is said, and who may open sessions."""
        for account in {bare(driver.peer) for driver in self._registry} | self._routes.accounts():
            self.on_settings(account)
        self.on_accept_from()

    def on_accept_from(self) -> None:
        """Others may open sessions with us now: those end that peers have opened who may not any more."""
        for driver in self._registry:
            if driver.role is Role.RESPONDER and not self._allow_list.is_allowed(driver.peer, driver.own_jid):
                driver.close()

    def on_trust_file(self, old: TrustFileRules, new: TrustFileRules) -> None:
        """The trust file says something else: sessions that began on other terms end, and all hear of its keys."""
        for account in {bare(driver.peer) for driver in self._registry} | self._routes.accounts():
            if [rule.without_pins for rule in old.of(account)] != [rule.without_pins for rule in new.of(account)]:
                for driver in self._registry.of(account):
                    driver.close()
            self.on_keys(account)
