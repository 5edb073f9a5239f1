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

from slixmpp_e2e.errors import HeldTooLong, HoldQueueFull
from slixmpp_e2e.link import Link
from xmpp_e2e.errors import E2EError, LocalError, NoRoom

HOLD_STANZAS = 4096
"""Stanzas that may wait for one address: a burst of a busy bot."""
HOLD_BYTES = 8 * 1024 * 1024
"""Bytes that may wait for one address."""
FAN_OUT = 8
"""Resources of one bare JID that a stanza goes to: people have a few devices, and each costs a session."""

Target = tuple[str, str]
"""(own full JID, peer's full JID)"""


@dataclass(eq=False)
class Held:
    """A stanza that waits."""

    stanza: StanzaBase
    size: int
    deadline: asyncio.TimerHandle | None = None
    pending: set[Target] = field(default_factory=set)
    """Where it has still to go."""
    sent: bool = False
    """Has it gone anywhere?"""


@dataclass(frozen=True)
class Route:
    """The way to an address: in clear, or through sessions with these."""

    clear: bool
    targets: tuple[Target, ...] = ()


class Host(Protocol):
    """What the outbox needs of the plugin."""

    loop: asyncio.AbstractEventLoop
    hold_seconds: float

    async def find_route(self, ours: str, to: str) -> Route:
        """Discovery and policy; raises E2EError if there is no way."""

    def link_to(self, target: Target) -> Link:
        """The session with a target, offered now if there is none."""

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
        self._unrouted: dict[Target, deque[Held]] = {}
        self._queues: dict[Target, deque[Held]] = {}
        self._held: dict[str, tuple[int, int]] = {}
        self._unsure: dict[Link, list[StanzaBase]] = {}

    def route(self, ours: str, to: str) -> Route | None:
        """The way to an address, if it is known."""
        return self._routes.get((ours, to))

    def forget_routes(self, bare: str) -> None:
        """Something has changed about this peer: find the way anew for the next stanza."""
        for key in [key for key in self._routes if key[1].partition("/")[0] == bare]:
            del self._routes[key]

    def send(self, stanza: StanzaBase, ours: str, to: str) -> None:
        """Take a stanza that must not go in clear before its route says so."""
        route = self._routes.get((ours, to))
        if route is not None and len(route.targets) == 1 and self._straight(stanza, route.targets[0]):
            return
        item = self._hold(stanza, ours, to)
        if item is None:
            return
        if route is not None:
            self._dispatch(item, route)
            return
        self._unrouted.setdefault((ours, to), deque()).append(item)
        if (ours, to) not in self._finding:
            self._finding[ours, to] = self._host.loop.create_task(self._find(ours, to))

    def flush(self, link: Link) -> None:
        """The link takes stanzas: give it what waits, in order."""
        queue = self._queues.get((link.ours, link.peer))
        while queue:
            item = queue[0]
            if not self._give(item, link):
                return
            queue.popleft()
        if link.is_open:
            self._unsure.pop(link, None)

    def fail(self, link: Link, error: E2EError) -> None:
        """A session failed or ended: what waits for it has nowhere to go."""
        target = (link.ours, link.peer)
        self._routes = {key: route for key, route in self._routes.items() if target not in route.targets}
        for stanza in self._unsure.pop(link, ()):
            self._host.send_failed(stanza, error)
        for item in self._queues.pop(target, ()):
            item.pending.discard(target)
            self._settle(item, error)

    def take_all(self) -> list[StanzaBase]:
        """Everything that has gone nowhere yet, in order; nothing waits here any more."""
        for task in self._finding.values():
            task.cancel()
        queues = (*self._queues.values(), *self._unrouted.values())
        waiting = list(dict.fromkeys(item for queue in queues for item in queue))
        for store in (self._routes, self._finding, self._unrouted, self._queues, self._unsure):
            store.clear()
        for item in waiting:
            self._release(item)
        return [item.stanza for item in waiting if not item.sent]

    # --- the way ---------------------------------------------------------------------------------------------------

    async def _find(self, ours: str, to: str) -> None:
        try:
            route = await self._host.find_route(ours, to)
        except E2EError as error:
            for item in self._unrouted.pop((ours, to), ()):
                self._settle(item, error)
            return
        finally:
            self._finding.pop((ours, to), None)
        self._routes[ours, to] = route
        for item in self._unrouted.pop((ours, to), ()):
            self._dispatch(item, route)

    def _dispatch(self, item: Held, route: Route) -> None:
        if route.clear:
            self._release(item)
            self._host.send_clear(item.stanza)
            return
        item.pending.update(route.targets)
        for target in route.targets:
            self._queues.setdefault(target, deque()).append(item)
        for target in route.targets:
            link = self._host.link_to(target)
            if link.is_writable:
                self.flush(link)

    def _straight(self, stanza: StanzaBase, target: Target) -> bool:
        """The common case: an open session with nothing waiting. True if the stanza is dealt with."""
        if self._queues.get(target):
            return False
        link = self._host.link_to(target)
        if not link.is_open:
            return False
        try:
            link.send(stanza.xml)
        except NoRoom:
            return False
        except LocalError as error:
            self._host.send_failed(stanza, error)
        return True

    def _give(self, item: Held, link: Link) -> bool:
        """Send one held stanza through a link; False if it has no room now."""
        target = (link.ours, link.peer)
        if target in item.pending:
            try:
                link.send(item.stanza.xml)
            except NoRoom:
                return False
            except LocalError as error:
                item.pending.discard(target)
                self._settle(item, error)
                return True
            item.sent = True
            item.pending.discard(target)
            if not link.is_open:
                self._unsure.setdefault(link, []).append(item.stanza)
            self._settle(item, None)
        return True

    # --- holding ---------------------------------------------------------------------------------------------------

    def _hold(self, stanza: StanzaBase, ours: str, to: str) -> Held | None:
        count, size = self._held.get(to, (0, 0))
        item = Held(copy.copy(stanza), len(str(stanza)))
        if count >= HOLD_STANZAS or size + item.size > HOLD_BYTES:
            waiting = f"{count} stanzas with {size} bytes wait for {to} already"
            self._host.send_failed(stanza, HoldQueueFull(f"{waiting}; one address may hold {HOLD_STANZAS} or {HOLD_BYTES}"))
            return None
        self._held[to] = (count + 1, size + item.size)
        item.deadline = self._host.loop.call_later(self._host.hold_seconds, self._expire, item)
        return item

    def _expire(self, item: Held) -> None:
        for queues in (self._unrouted, self._queues):
            for queue in queues.values():
                if item in queue:
                    queue.remove(item)
        item.pending.clear()
        error = HeldTooLong(f"the stanza waited {self._host.hold_seconds:.0f} seconds for a session with {item.stanza['to']}")
        self._settle(item, error)

    def _settle(self, item: Held, error: E2EError | None) -> None:
        """Is it done with? Reported as failed only if it went nowhere at all."""
        if item.pending:
            return
        self._release(item)
        if error is not None and not item.sent:
            self._host.send_failed(item.stanza, error)

    def _release(self, item: Held) -> None:
        if item.deadline is None:
            return
        item.deadline.cancel()
        item.deadline = None
        to = str(item.stanza["to"])
        count, size = self._held[to]
        self._held[to] = (count - 1, size - item.size)
        if count == 1:
            del self._held[to]


