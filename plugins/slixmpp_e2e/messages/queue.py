"""What we send to people: by which way each stanza goes, and what waits until a session is open.

A stanza is addressed to a full JID or to a bare one. The first stanza to an address has its route found out (discovery,
policy); until then, and until the sessions of the route are open, stanzas are held: in order, bounded, with a deadline. What
cannot be sent is reported, never sent in clear.
"""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from slixmpp.xmlstream.stanzabase import StanzaBase

from slixmpp_e2e.errors import HeldTooLong, HoldQueueFull, RouteUnknown, SessionGone
from slixmpp_e2e.sessions.driver import Link
from xmpp_e2e.errors import E2EError, LocalError, NoRoom
from xmpp_e2e.stream import writer

HOLD_STANZAS = 4096
"""Stanzas that may wait for one address: a burst of a busy bot."""
HOLD_BYTES = 8 * 1024 * 1024
"""Bytes that may wait for one address: pictures in messages, until a person has compared a key."""
FULL_ADDRESSES = 8
"""As much as so many addresses may hold may wait in all: whoever answers strangers must not be made to wait for all of them."""
FAN_OUT = 8
"""Resources of one bare JID that a stanza goes to: people have a few devices, and each costs a session."""

ROUTES = 4096
"""Addresses to which the way is kept, some 300 bytes each; the one found longest ago goes first: a bot answers strangers."""

RETRY_SECONDS = 60.0
"""So long a resource with which no session came to be is left out where others of the same account can be reached: a device
whose key waits for a person would else cost a handshake, and an event, with every message."""

Target = tuple[str, str]
"""(own full JID, peer's full JID)"""


@dataclass(eq=False)
class Held:
    """A stanza that waits."""

    stanza: StanzaBase
    ours: str
    to: str
    size: int
    deadline: asyncio.TimerHandle | None = None
    pending: set[Target] = field(default_factory=set)
    """Where it has still to go."""
    early: set[Link] = field(default_factory=set)
    """Where it went before the peer had accepted our key: it counts as sent when he has."""
    through: Link | None = None
    """The only session that it may go through, for an answer."""
    sent: bool = False
    """Has it gone anywhere?"""
    tried: set[Target] = field(default_factory=set)
    """Where it was to go."""
    given: bool = False
    """Has it left us, so that somebody may have got it?"""
    failure: E2EError | None = None
    """Why it did not go to those that were tried."""


@dataclass(frozen=True)
class Route:
    """The way to an address: in clear, or through sessions with these."""

    clear: bool
    targets: tuple[Target, ...] = ()


class Host(Protocol):
    """What the outbox needs of the plugin."""

    loop: asyncio.AbstractEventLoop
    hold_seconds: float
    hold_bytes: int

    async def find_route(self, ours: str, to: str) -> Route:
        """Discovery and policy; raises E2EError if there is no way."""

    def link_to(self, target: Target) -> Link:
        """The session with a target, offered now if there is none; E2EError if none can be."""

    def went(self, stanza: StanzaBase, link: Link) -> None:
        """A stanza goes through a session."""

    def send_clear(self, stanza: StanzaBase) -> None:
        """Put a stanza on the wire."""

    def send_failed(self, stanza: StanzaBase, error: E2EError) -> None:
        """A stanza was not sent."""


class Outbox:
    """Routes and queues of one client."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._routes: dict[Target, Route] = {}
        self._finding: dict[Target, asyncio.Task[None]] = {}
        self._stale: set[Target] = set()
        self._unrouted: dict[Target, deque[Held]] = {}
        self._queues: dict[Target, deque[Held]] = {}
        self._early: dict[Link, list[Held]] = {}
        self._avoided: dict[Target, float] = {}
        self._held: dict[str, tuple[int, int]] = {}
        self._held_in_all = (0, 0)

    def route(self, ours: str, to: str) -> Route | None:
        """The way to an address, if it is known."""
        return self._routes.get((ours, to))

    def accounts(self) -> set[str]:
        """The bare JIDs to which a way is known or sought."""
        return {_bare(to) for _, to in (*self._routes, *self._finding)}

    def forget_routes(self, bare: str) -> None:
        """Something has changed about this peer: find the way anew for the next stanza, and for those that wait for it."""
        for key in [key for key in self._routes if _bare(key[1]) == bare]:
            del self._routes[key]
        for target in [target for target in self._avoided if _bare(target[1]) == bare]:
            del self._avoided[target]
        self._stale.update(key for key in self._finding if _bare(key[1]) == bare)

    def send(self, stanza: StanzaBase, ours: str, to: str) -> None:
        """Take a stanza that must not go in clear before its route says so. E2EError if no session can be offered."""
        route = self._routes.get((ours, to))
        if route is not None and len(route.targets) == 1 and self._straight(stanza, self._host.link_to(route.targets[0])):
            return
        item = self._hold(stanza, ours, to)
        if item is None:
            return
        if route is not None:
            self._dispatch(item, route)
            return
        self._seek(item)

    def reply(self, stanza: StanzaBase, link: Link) -> None:
        """Take an answer to what came through ``link``: behind all that waits for its peer, and by no other way."""
        if not link.is_open:
            self._host.send_failed(stanza, SessionGone("the session in which the request came has ended"))
        elif not self._straight(stanza, link) and (item := self._hold(stanza, link.ours, link.peer)) is not None:
            item.through = link
            self._enqueue(item, (link.ours, link.peer))

    def flush(self, link: Link) -> None:
        """The link takes stanzas: give it what waits, in order."""
        if link.is_open:
            for item in self._early.pop(link, ()):
                item.sent = True
                item.early.discard(link)
                self._settle(item, None)
        target = (link.ours, link.peer)
        queue = self._queues.get(target)
        while queue:
            item = queue.popleft()
            if not self._give(item, link):
                queue.appendleft(item)
                return
        self._queues.pop(target, None)

    def lost(self, link: Link, error: E2EError) -> None:
        """A session is over: what went through it early may never have been delivered."""
        for item in self._early.pop(link, ()):
            item.early.discard(link)
            self._settle(item, error)

    def avoid(self, target: Target) -> None:
        """No session came to be with this target: for a while others of the same account will do."""
        self._avoided.pop(target, None)
        self._avoided[target] = self._host.loop.time() + RETRY_SECONDS
        if len(self._avoided) > ROUTES:
            del self._avoided[next(iter(self._avoided))]

    def fail(self, target: Target, error: E2EError) -> None:
        """There is no session with this target any more: what waits for it goes to another resource of the account to which it
        is addressed, if there is one by now, or has nowhere to go."""
        ours, peer = target
        for key in (target, (ours, _bare(peer))):  # no other address leads there
            if (route := self._routes.get(key)) is not None and target in route.targets:
                del self._routes[key]
        for item in self._queues.pop(target, ()):
            item.pending.discard(target)
            if item.pending or item.given or item.to != _bare(item.to):
                self._settle(item, error)
            else:
                item.failure = error
                self._seek(item)

    def take_all(self) -> list[StanzaBase]:
        """Everything that has gone nowhere yet, in order; nothing waits here any more."""
        for task in self._finding.values():
            task.cancel()
        queues = (*self._queues.values(), *self._unrouted.values())
        waiting = list(dict.fromkeys(item for queue in queues for item in queue))
        for store in (self._routes, self._finding, self._stale, self._unrouted, self._queues):
            store.clear()
        for item in waiting:
            item.pending.clear()
            self._release(item)
        return [item.stanza for item in waiting if not (item.sent or item.early)]

    # --- the way ---------------------------------------------------------------------------------------------------

    def _seek(self, item: Held) -> None:
        key = (item.ours, item.to)
        self._unrouted.setdefault(key, deque()).append(item)
        if key not in self._finding:
            self._finding[key] = self._host.loop.create_task(self._find(*key))

    async def _find(self, ours: str, to: str) -> None:
        """Find the route, again if something has changed meanwhile. Whatever happens, nobody waits for it afterwards."""
        key = (ours, to)
        failure: E2EError = RouteUnknown(f"it could not be found out how to reach {to}")
        try:
            route = await self._host.find_route(ours, to)
            while key in self._stale:
                self._stale.discard(key)
                route = await self._host.find_route(ours, to)
        except E2EError as error:
            failure = error
        else:
            self._routes[key] = route
            if len(self._routes) > ROUTES:
                del self._routes[next(iter(self._routes))]
            waiting = self._unrouted.get(key, deque())
            for _ in range(len(waiting)):
                self._dispatch(waiting.popleft(), route)
        finally:
            if self._finding.get(key) is asyncio.current_task():
                del self._finding[key]
                self._stale.discard(key)
                for item in self._unrouted.pop(key, ()):
                    self._settle(item, item.failure or failure)

    def _dispatch(self, item: Held, route: Route) -> None:
        now, untried = self._host.loop.time(), [target for target in route.targets if target not in item.tried]
        if untried:
            self._enqueue(item, *([target for target in untried if self._avoided.get(target, now) <= now] or untried))
        elif item.failure is not None:  # a session that fails never falls back
            self._settle(item, item.failure)
        else:
            self._release(item)
            self._host.send_clear(item.stanza)

    def _enqueue(self, item: Held, *targets: Target) -> None:
        item.pending.update(targets)
        item.tried.update(targets)
        for target in targets:
            self._queues.setdefault(target, deque()).append(item)
        for target in targets:
            try:
                link = self._host.link_to(target)
            except E2EError as error:
                self.fail(target, error)
                continue
            if link.is_writable:
                self.flush(link)

    def _straight(self, stanza: StanzaBase, link: Link) -> bool:
        """The common case: an open session with nothing waiting. True if the stanza is dealt with."""
        if not link.is_open or self._queues.get((link.ours, link.peer)):
            return False
        try:
            link.send(stanza.xml)
        except NoRoom:
            return False
        except LocalError as error:
            self._host.send_failed(stanza, error)
        else:
            self._host.went(stanza, link)
        return True

    def _give(self, item: Held, link: Link) -> bool:
        """Send one held stanza through a link; False if it has no room now."""
        target = (link.ours, link.peer)
        if target not in item.pending:
            return True  # who was told of a failure has taken all back
        failure: E2EError | None = None
        try:
            if item.through not in (None, link):
                raise SessionGone("the session in which the request came has ended")
            link.send(item.stanza.xml)
        except NoRoom:
            return False
        except (LocalError, SessionGone) as error:
            failure = error
        else:
            self._host.went(item.stanza, link)
            item.given = True
            if link.is_open:
                item.sent = True
            else:
                item.early.add(link)
                self._early.setdefault(link, []).append(item)
        item.pending.discard(target)
        self._settle(item, failure)
        return True

    # --- holding ---------------------------------------------------------------------------------------------------

    def _hold(self, stanza: StanzaBase, ours: str, to: str) -> Held | None:
        """A copy of the stanza as it is now, with a deadline; None, and it is reported, if it cannot be held or sent at all."""
        most = self._host.hold_bytes
        try:
            item = Held(copy.copy(stanza), ours, to, len(writer.element(stanza.xml)))
            while True:
                count, size = self._held.get(to, (0, 0))
                is_full = count >= HOLD_STANZAS or size + item.size > most
                if not (is_full and self._forgo(ours, to)):
                    break
            in_all, bytes_in_all = self._held_in_all
            if is_full:
                waiting = f"{count} stanzas with {size} bytes wait for {to} already"
                raise HoldQueueFull(f"{waiting}; one address may hold {HOLD_STANZAS} or {most}")
            if in_all >= FULL_ADDRESSES * HOLD_STANZAS or bytes_in_all + item.size > FULL_ADDRESSES * most:
                raise HoldQueueFull(f"{in_all} stanzas with {bytes_in_all} bytes wait for {len(self._held)} addresses already")
        except (LocalError, HoldQueueFull) as error:
            self._host.send_failed(stanza, error)
            return None
        self._held[to] = (count + 1, size + item.size)
        self._held_in_all = (in_all + 1, bytes_in_all + item.size)
        item.deadline = self._host.loop.call_later(self._host.hold_seconds, self._expire, item)
        return item

    def _forgo(self, ours: str, to: str) -> bool:
        """The oldest stanza to this account that has gone to one of its resources waits no longer for the others: one whose
        session does not open must not keep what follows from those that are there. False if there is none."""
        for target, queue in self._queues.items():
            if target[0] == ours and _bare(target[1]) == to and (item := next((each for each in queue if each.sent), None)):
                self._withdraw(item)
                self._settle(item, None)
                return True
        return False

    def _expire(self, item: Held) -> None:
        """The deadline has come. What went out early is with its session, which has a deadline of its own."""
        self._withdraw(item)
        waited = f"the stanza waited {self._host.hold_seconds:g} seconds for a session with {item.to}"
        self._settle(item, item.failure or HeldTooLong(waited))

    def _withdraw(self, item: Held) -> None:
        places = [self._queues.get(target) for target in item.pending] or [self._unrouted.get((item.ours, item.to))]
        for queue in places:
            if queue is not None and item in queue:
                queue.remove(item)
        item.pending.clear()

    def _settle(self, item: Held, error: E2EError | None) -> None:
        """Is it done with? Reported as failed only if it went nowhere at all."""
        if item.pending or item.early:
            return
        self._release(item)
        # no test fails without the first part, which is for mypy: without an error the stanza has gone somewhere
        if error is not None and not item.sent:
            self._host.send_failed(item.stanza, error)

    def _release(self, item: Held) -> None:
        if item.deadline is None:
            return
        item.deadline.cancel()
        item.deadline = None
        count, size = self._held[item.to]
        self._held[item.to] = (count - 1, size - item.size)
        in_all, bytes_in_all = self._held_in_all
        self._held_in_all = (in_all - 1, bytes_in_all - item.size)
        if count == 1:
            del self._held[item.to]


def _bare(jid: str) -> str:
    return jid.partition("/")[0]
