"""Which way leads to an address: plaintext, or sessions with these devices. Found once, and kept until something changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from slixmpp import JID
from slixmpp.basexmpp import BaseXMPP

from slixmpp_e2e.bounded import keep_newest
from slixmpp_e2e.errors import PeerOffline, PeerWithoutE2E, RefusedByPolicy
from slixmpp_e2e.events import PresenceMissing
from slixmpp_e2e.jids import bare
from slixmpp_e2e.messages.rooms import MucRooms
from slixmpp_e2e.policy import Outgoing, Policy, outgoing
from slixmpp_e2e.routing_events import DevicesLeftOut
from slixmpp_e2e.sessions.registry import SessionRegistry, Target
from slixmpp_e2e.trust.own_key import OwnKeyLoader
from slixmpp_e2e.trust.peer_settings import PeerSettingsLookup
from slixmpp_e2e.xmpp import discovery
from slixmpp_e2e.xmpp.emitter import Emitter
from slixmpp_e2e.xmpp.presence import PresenceCache
from slixmpp_e2e.xmpp.support import SupportQuestions
from xmpp_e2e.errors import E2EError

MAX_DEVICES = 8
"""Resources of one bare JID that a stanza goes to: people have a few devices, and each costs a session."""
ROUTES = 4096
"""Addresses whose route is kept, some 300 bytes each; the one found longest ago goes first: a bot answers strangers."""
UNREACHABLE_BACKOFF = 60.0
"""Seconds for which a device with which no session came to be is left out, if others of the account can be reached. Else a
device whose key waits for a person would cost a handshake, and an event, with every message."""

_T = TypeVar("_T")
Address = tuple[str, str]
"""(own full JID, the peer's full or bare JID)"""


@dataclass(frozen=True)
class Route:
    """The way to an address: in plaintext, or through sessions with these targets."""

    plaintext: bool
    targets: tuple[Target, ...] = ()
    in_plaintext: tuple[str, ...] = ()
    """Under ``opportunistic``, the peer's devices (full JIDs) without encryption, each of which gets a copy in plaintext."""
    why: E2EError | None = None
    """Why it is in plaintext, if the user is told of that."""
    opportunistic: bool = False
    """Whether the policy lets it end in plaintext, if no session comes to be."""

    @property
    def only(self) -> Target | None:
        """The target, if nothing goes anywhere else."""
        return self.targets[0] if len(self.targets) == 1 and not self.in_plaintext else None


class Router:
    """Finds routes, by presence, discovery and policy."""

    def __init__(
        self,
        xmpp: BaseXMPP,
        own_key: OwnKeyLoader,
        peers: PeerSettingsLookup,
        presence: PresenceCache,
        registry: SessionRegistry,
        emitter: Emitter,
        rooms: MucRooms,
        support: SupportQuestions,
    ) -> None:
        self._rooms = rooms
        self._left_out: dict[Address, frozenset[str]] = {}
        """By our full JID and the account: the devices of which it was told last that they get nothing."""
        self._xmpp, self._own_key, self._peers = xmpp, own_key, peers
        self._presence, self._registry, self._emitter, self._support = presence, registry, emitter, support

    async def find(self, own_jid: str, to: str) -> Route:
        """Return the route to an address; PeerOffline or PeerWithoutE2E if there is none."""
        account = bare(to)
        if self._xmpp.is_component and await self._rooms.own.is_room(own_jid, to):
            return Route(plaintext=True)
        devices, plain, advertised = await self._devices(own_jid, to, for_account=True)
        settings = self._peers.of(account)
        # In a room, its occupants answer for their devices. Who advertises nothing is asked only where encryption is required:
        # else what is for a room goes in plaintext as it is.
        if (advertised or settings.policy is Policy.REQUIRE) and await self._rooms.ask(own_jid, account):
            return Route(plaintext=True)
        opportunistic = settings.policy is Policy.OPPORTUNISTIC
        match outgoing(
            settings.policy,
            advertised=advertised,
            seen_before=settings.has_used_e2e,
            plaintext_allowed=settings.plaintext_allowed,
        ):
            case Outgoing.PLAINTEXT:
                is_told = opportunistic and settings.has_used_e2e
                return Route(plaintext=True, why=_unreachable(to, advertised) if is_told else None)
            case Outgoing.ENCRYPT:
                targets = tuple((own_jid, device) for device in devices[:MAX_DEVICES])
                in_plaintext = tuple(plain[:MAX_DEVICES]) if opportunistic else ()
                reached = {device for _, device in targets}.union(in_plaintext)
                self._tell_left_out((own_jid, account), [each for each in (*devices, *plain) if each not in reached])
                return Route(False, targets, in_plaintext, opportunistic=opportunistic)
        raise _unreachable(to, advertised)

    def _tell_left_out(self, address: Address, devices: list[str]) -> None:
        """Tell which devices get nothing of what is for an account, if one of them is new."""
        told = self._left_out.pop(address, frozenset())
        if devices:
            keep_newest(self._left_out, address, frozenset(devices), ROUTES)
        if not told.issuperset(devices):
            self._emitter.emit(DevicesLeftOut(address[1], tuple(devices)))

    def way_back(self, own_jid: str, peer: str) -> Route | None:
        """Return the route for the answer to what came in plaintext from a full JID; None: as for any stanza. While a session
        is open, that is inside, or whoever writes in the peer's name could keep us from it."""
        settings = self._peers.of(bare(peer))
        if settings.policy is not Policy.OPPORTUNISTIC or self._registry.open_with((own_jid, peer)) is not None:
            return None
        wrote = PeerWithoutE2E(f"{peer} has written in plaintext, and the answer goes as that came")
        return Route(plaintext=True, why=wrote if settings.has_used_e2e else None)

    async def best_device(self, own_jid: str, to: str) -> Target:
        """Return whom to open a session with, for an address; RefusedByPolicy, PeerOffline or PeerWithoutE2E if nobody."""
        account = bare(to)
        if not self._peers.of(account).policy.accepts_sessions:
            raise RefusedByPolicy(f"our policy for {account} is `off`: no session is opened with them")
        if await self._rooms.ask(own_jid, account):
            raise PeerWithoutE2E(f"{account} is a room: no session goes through it. Connect to the address of the person")
        devices, _, advertised = await self._devices(own_jid, to, for_account=False)
        if not devices:
            raise _unreachable(to, advertised)
        return own_jid, devices[0]

    def is_away(self, own_jid: str, peer: str) -> bool:
        """Return whether a device is one of somebody in the roster, and not online as far as we know."""
        return self._presence.is_away(bare(own_jid), peer)

    async def _devices(self, own_jid: str, to: str, *, for_account: bool) -> tuple[list[str], list[str], bool | None]:
        """Return the full JIDs behind an address that advertise encryption, best first, the others, and whether any does.

        The last is None if none could be asked. ``for_account``: a bare JID means those that take what is for the account, of
        which a negative priority takes nothing (RFC 6121 §8.5). StoreError if we have no key to show.
        """
        await self._own_key.wait_loaded()
        self._presence.note_written_to(bare(own_jid), bare(to))
        candidates = [to] if JID(to).resource else await self._online(own_jid, to, for_account=for_account)
        candidates = [each for each in candidates if each != own_jid]  # nobody has a session with themselves
        open_ones = {peer: True for peer in candidates if self._registry.open_with((own_jid, peer)) is not None}
        unknown = [peer for peer in candidates if peer not in open_ones]
        answers: dict[str, bool | None] = {
            **open_ones,
            **await self._support.query(own_jid, unknown, to),
        }
        devices = [peer for peer in candidates if answers[peer]]
        plain = [peer for peer in candidates if not answers[peer]]
        return devices, plain, True if devices else (False if False in answers.values() else None)

    async def _online(self, own_jid: str, account: str, *, for_account: bool) -> list[str]:
        online = await self._presence.online(bare(own_jid), account)
        if not online and not self._xmpp.is_component and not discovery.has_sent_presence(self._xmpp):
            self._emitter.emit(PresenceMissing(account))
        connected = [driver.peer for driver in self._registry.of(account) if driver.is_open and driver.own_jid == own_jid]
        every = {**online, **{peer: 0 for peer in connected if peer not in online}}
        return [peer for peer, priority in every.items() if priority >= 0 or not for_account]


class RouteCache:
    """The routes that were found, and the devices with which no session came to be."""

    def __init__(self, router: Router, clock: Callable[[], float]) -> None:
        self._router, self._find, self._clock = router, router.find, clock
        self.known: dict[Address, Route] = {}
        """Read by whoever sends; written here."""
        self._valid: dict[Address, bool] = {}
        """Routes that are being found, and whether nothing has changed meanwhile."""
        self._unreachable: dict[Target, float] = {}
        self._by_account: dict[str, set[Address]] = {}
        """The keys of all three, which are alike."""

    async def find(self, address: Address) -> Route:
        """Find a route, again if something has changed meanwhile, and keep it. E2EError if there is none."""
        try:
            route = None
            while route is None or not self._valid[address]:
                self._valid[address] = True
                self._by_account.setdefault(bare(address[1]), set()).add(address)
                route = await self._find(*address)
            self._keep(self.known, address, route)
            return route
        finally:
            self._drop(self._valid, address)

    def accounts(self) -> set[str]:
        """Return the bare JIDs to which a route is known or sought."""
        return {bare(to) for _, to in (*self.known, *self._valid)}

    def forget(self, account: str) -> None:
        """Find the routes to an account anew: something about it has changed."""
        for address in tuple(self._by_account.get(account, ())):
            if address in self._valid:
                self._valid[address] = False
            self._drop(self.known, address)
            self._drop(self._unreachable, address)

    def forget_others(self, target: Target) -> None:
        """Find the routes anew that do not lead to a target with which there is a session now."""
        known = {address: route for address, route in self.known.items() if target in route.targets}
        self.forget(bare(target[1]))
        for address, route in known.items():
            self._keep(self.known, address, route)

    def forget_target(self, target: Target) -> None:
        """Find the routes anew that lead to a target with which there is no session any more."""
        own_jid, peer = target
        for address in (target, (own_jid, bare(peer))):  # no other address leads there
            if (route := self.known.get(address)) is not None and target in route.targets:
                self._drop(self.known, address)

    def note_plaintext(self, address: Address, why: E2EError | None) -> None:
        """Take plaintext as the way to an address, until something changes."""
        self._keep(self.known, address, Route(plaintext=True, why=why))

    def note_plaintext_from(self, address: Address) -> None:
        """Something came in plaintext from a full JID: its answer may go the same way."""
        if (route := self._router.way_back(*address)) is not None:
            self._keep(self.known, address, route)

    def clear(self) -> None:
        """Forget all routes: the stream is over."""
        for table in (self.known, self._valid):
            for address in tuple(table):
                self._drop(table, address)

    def is_away(self, target: Target) -> bool:
        """Return whether a device is one of somebody in the roster, and not online as far as we know."""
        return self._router.is_away(*target)

    def mark_unreachable(self, target: Target) -> None:
        """Leave a target out for a while, if the account has others: no session with it came to be."""
        self._unreachable.pop(target, None)
        self._keep(self._unreachable, target, self._clock() + UNREACHABLE_BACKOFF)

    def reachable(self, targets: list[Target]) -> list[Target]:
        """Return the targets that are not left out; all of them if each is."""
        if not self._unreachable:
            return targets
        now = self._clock()
        return [target for target in targets if self._unreachable.get(target, now) <= now] or targets

    def _keep(self, table: dict[Address, _T], address: Address, value: _T) -> None:
        table[address] = value
        self._by_account.setdefault(bare(address[1]), set()).add(address)
        if len(table) > ROUTES:
            self._drop(table, next(iter(table)))

    def _drop(self, table: dict[Address, Any], address: Address) -> None:
        table.pop(address, None)
        if not any(address in each for each in (self.known, self._valid, self._unreachable)):
            account = bare(address[1])
            addresses = self._by_account.get(account, set())
            addresses.discard(address)
            if not addresses:
                self._by_account.pop(account, None)


def _unreachable(to: str, advertised: bool | None) -> E2EError:
    if advertised is None:
        return PeerOffline(f"{to} cannot be reached")
    return PeerWithoutE2E(f"{to} is online but does not advertise end-to-end encryption")
