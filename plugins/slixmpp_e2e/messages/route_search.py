"""Finds the way for what waits for one: a coroutine for each address."""

from __future__ import annotations

import asyncio
from bisect import insort
from collections import deque
from collections.abc import Callable

from slixmpp_e2e.errors import NotSent, NotSentReason, PeerOffline
from slixmpp_e2e.jids import bare
from slixmpp_e2e.messages.queued import QueuedStanza
from slixmpp_e2e.messages.routing import Address, Route, RouteCache
from slixmpp_e2e.messages.tasks import current_task, wake
from xmpp_e2e.errors import E2EError

AGAIN_SECONDS = 10.0
"""How long after one search for a peer who cannot be reached the next one begins, if nothing is heard of them meanwhile: those
whose presence we do not get are found so."""


class RouteSearch:
    """What waits for a route, by address."""

    def __init__(
        self,
        loop: Callable[[], asyncio.AbstractEventLoop],
        routes: RouteCache,
        dispatch: Callable[[QueuedStanza, Route], None],
        fail: Callable[[QueuedStanza, E2EError], None],
        on_sought: Callable[[Route], None],
        patience: float,
        tell: Callable[[str, E2EError], None],
    ) -> None:
        """``on_sought`` is told of a route that was found for ``seek()``. ``patience``: seconds for which a stanza waits for a
        peer who is offline; ``tell`` is told for which address, and why."""
        self._loop, self._routes = loop, routes
        self._dispatch, self._fail, self._on_sought, self._tell = dispatch, fail, on_sought, tell
        self.waiting: dict[Address, deque[QueuedStanza]] = {}
        self._sought: set[Address] = set()
        self._patience = patience
        self._tasks: dict[Address, asyncio.Task[None]] = {}
        self._changed: dict[Address, asyncio.Future[None]] = {}

    def find(self, item: QueuedStanza) -> None:
        """Dispatch a stanza when the route to its address is found, or fail it."""
        address = (item.own_jid, item.to)
        insort(self.waiting.setdefault(address, deque()), item, key=lambda each: each.number)
        self._start(address)
        if address in self._changed:
            wake(self._changed.pop(address))

    def seek(self, address: Address) -> None:
        """Find the route to an address for what waits elsewhere."""
        self._sought.add(address)
        self._start(address)

    def may_wait(self, item: QueuedStanza) -> bool:
        """Return whether a stanza may wait longer for a peer who is offline."""
        return self._loop().time() < item.on_stream_since + self._patience

    def tell_change(self, account: str) -> None:
        """A device of an account may be there again: what waits for it is tried at once."""
        for address in [address for address in self._changed if bare(address[1]) == account]:
            wake(self._changed.pop(address, None))

    def stop(self) -> None:
        """End all searches; what waits for them is forgotten here."""
        for task in self._tasks.values():
            task.cancel()
        for kept in (self._tasks, self.waiting, self._sought, self._changed):
            kept.clear()

    def _start(self, address: Address) -> None:
        if address not in self._tasks:
            self._tasks[address] = self._loop().create_task(self._search(address))

    async def _find(self, address: Address) -> Route:
        """Find the route to an address, as soon as there is one. E2EError: there is none, and whoever waits for it should not
        wait any longer."""
        while True:
            try:
                return await self._routes.find(address)
            except PeerOffline as error:
                until = self._fail_impatient(address, error)
                if until is None:
                    raise
                self._tell(address[1], error)
                changed = self._changed[address] = self._loop().create_future()
                timer = self._loop().call_later(min(until - self._loop().time(), AGAIN_SECONDS), wake, changed)
                try:
                    await changed
                finally:
                    timer.cancel()
                    self._changed.pop(address, None)

    def _fail_impatient(self, address: Address, error: E2EError) -> float | None:
        """Fail what has waited long enough for a peer who cannot be reached. Return when the next will have, or None."""
        now, waiting = self._loop().time(), self.waiting.get(address, deque())
        for item in [item for item in waiting if item.error is not None or item.on_stream_since + self._patience <= now]:
            waiting.remove(item)
            self._fail(item, item.error or error)
        return min((item.on_stream_since + self._patience for item in self.waiting.get(address, ())), default=None)

    async def _search(self, address: Address) -> None:
        """Find the route to an address for all that waits for it. Whatever happens, nothing waits for it afterwards."""
        failure: E2EError | None = None
        try:
            route = await self._find(address)
            if address in self._sought:
                self._on_sought(route)
            waiting = self.waiting.get(address, deque())
            for _ in range(len(waiting)):
                if self.waiting.get(address) is not waiting:
                    break  # a handler of a failure has taken all back
                self._dispatch(waiting.popleft(), route)
        except E2EError as error:
            failure = error
        finally:
            if self._tasks.get(address) is current_task():
                del self._tasks[address]
                self._sought.discard(address)
                for item in self.waiting.pop(address, ()):
                    unknown = f"it could not be found out how to reach {address[1]}"
                    self._fail(item, item.error or failure or NotSent(unknown, NotSentReason.ROUTE_UNKNOWN))
