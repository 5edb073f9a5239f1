"""What would become of a message, as far as is known: without asking anybody, and without changing anything."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable
from dataclasses import dataclass

from slixmpp import JID
from slixmpp.basexmpp import BaseXMPP

from slixmpp_e2e.errors import PeerOffline, PeerWithoutE2E
from slixmpp_e2e.jids import bare
from slixmpp_e2e.messages.own_addresses import no_end
from slixmpp_e2e.messages.rooms import MucRooms
from slixmpp_e2e.messages.routing import MAX_DEVICES, RouteCache
from slixmpp_e2e.policy import Outgoing, Policy, outgoing
from slixmpp_e2e.sessions.registry import SessionRegistry
from slixmpp_e2e.trust.peer_settings import PeerSettings, PeerSettingsLookup
from slixmpp_e2e.xmpp import discovery
from slixmpp_e2e.xmpp.presence import PresenceCache
from xmpp_e2e.errors import E2EError


class OutlookWay(enum.StrEnum):
    """The way that a message would take now."""

    PLAINTEXT = "plaintext"
    """In clear."""
    INSIDE = "inside"
    """Through a session that is open."""
    OPENS = "opens"
    """Through a session that will be opened for it."""
    HELD = "held"
    """It would wait: for what waits already, or for a peer who is away and may be back soon."""
    FAILS = "fails"
    """It would fail."""


@dataclass(frozen=True)
class Outlook:
    """What would become of a message to one address."""

    way: OutlookWay
    error: E2EError | None = None
    """Why it would wait, fail or go in plaintext; None if that needs no reason."""
    waiting: int = 0
    """Stanzas that wait for the account already."""
    since: float | None = None
    """When the oldest of these began to wait, seconds since the epoch; None if none waits."""
    reaches: tuple[str, ...] = ()
    """The full JIDs of the devices that would get it."""
    left_out: tuple[str, ...] = ()
    """Those that are online and would not."""


class Outlooks:
    """Looks at what is known of a peer."""

    def __init__(
        self,
        xmpp: BaseXMPP,
        peers: PeerSettingsLookup,
        presence: PresenceCache,
        registry: SessionRegistry,
        routes: RouteCache,
        waiting_for: Callable[[str], list[float]],
        rooms: MucRooms,
        clock: Callable[[], float],
    ) -> None:
        """``waiting_for`` returns since when each stanza waits that does for an account, on the ``clock``."""
        self._xmpp, self._peers, self._presence, self._registry = xmpp, peers, presence, registry
        self._routes, self._waiting_for, self._rooms, self._clock = routes, waiting_for, rooms, clock

    def of(self, own_jid: str, to: str) -> Outlook:
        """Return the outlook for a message from one of our JIDs to a full or bare JID."""
        account = bare(to)
        settings = self._peers.of(account)
        is_end = self._rooms.own.can_end(own_jid)
        if not is_end and settings.policy is Policy.REQUIRE and account not in self._rooms:
            return Outlook(OutlookWay.FAILS, no_end(own_jid, account))
        if settings.policy is Policy.OFF or account in self._rooms or not is_end:
            return Outlook(OutlookWay.PLAINTEXT, reaches=tuple(self._online(own_jid, to)))
        waiting = self._waiting_for(account)
        count, since = len(waiting), time.time() - (self._clock() - min(waiting)) if waiting else None
        able, unable = self._devices(own_jid, to)
        if not able:
            return self._without(to, settings, unable, count, since)
        reaches, left_out = able[:MAX_DEVICES], able[MAX_DEVICES:] + unable
        if settings.policy is Policy.OPPORTUNISTIC:
            reaches, left_out = reaches + unable[:MAX_DEVICES], able[MAX_DEVICES:] + unable[MAX_DEVICES:]
        closed = [each for each in able[:MAX_DEVICES] if self._registry.open_with((own_jid, each)) is None]
        way = OutlookWay.HELD if count else OutlookWay.OPENS if closed else OutlookWay.INSIDE
        return Outlook(way, None, count, since, tuple(reaches), tuple(left_out))

    def _without(self, to: str, settings: PeerSettings, unable: list[str], count: int, since: float | None) -> Outlook:
        """Return the outlook where no device is known to have encryption."""
        error: E2EError = PeerOffline(f"{to} cannot be reached")
        if unable:
            error = PeerWithoutE2E(f"{to} is not known to have end-to-end encryption")
        decision = outgoing(
            settings.policy,
            advertised=False if unable else None,
            seen_before=settings.has_used_e2e,
            plaintext_allowed=settings.plaintext_allowed,
        )
        if decision is Outgoing.PLAINTEXT:
            return Outlook(OutlookWay.PLAINTEXT, error if settings.has_used_e2e else None, count, since, tuple(unable))
        way = OutlookWay.FAILS if unable and not count else OutlookWay.HELD
        return Outlook(way, error, count, since, (), tuple(unable))

    def _devices(self, own_jid: str, to: str) -> tuple[list[str], list[str]]:
        """Return the devices behind an address that are known to have encryption, best first, and the others."""
        route = self._routes.known.get((own_jid, to))
        known = {peer for _, peer in route.targets} if route is not None else set[str]()
        able: list[str] = []
        unable: list[str] = []
        for peer in self._online(own_jid, to):
            is_open = self._registry.open_with((own_jid, peer)) is not None
            can = peer in known or is_open or discovery.is_known_to_support(self._xmpp, JID(peer))
            (able if can else unable).append(peer)
        return able, unable

    def _online(self, own_jid: str, to: str) -> list[str]:
        online = self._presence.known_online(bare(own_jid), bare(to))
        if JID(to).resource:
            is_open = self._registry.open_with((own_jid, to)) is not None
            return [to] if is_open or to in online else []
        connected = [driver.peer for driver in self._registry.of(to) if driver.is_open and driver.own_jid == own_jid]
        every = {**online, **{peer: 0 for peer in connected if peer not in online}}
        return [peer for peer, priority in every.items() if priority >= 0 and peer != own_jid]
