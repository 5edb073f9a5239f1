"""Finds the way for what waits for one: a coroutine for each address."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from slixmpp_e2e.errors import NotSent, NotSentReason
from slixmpp_e2e.messages.queued import QueuedStanza
from slixmpp_e2e.messages.routing import Address, Route, RouteCache
from slixmpp_e2e.messages.tasks import current_task
from xmpp_e2e.errors import E2EError


class RouteSearch:
    """What waits for a route, by address."""

    def __init__(
        self,
        loop: Callable[[], asyncio.AbstractEventLoop],
        routes: RouteCache,
        dispatch: Callable[[QueuedStanza, Route], None],
        fail: Callable[[QueuedStanza, E2EError], None],
        on_sought: Callable[[Route], None],
    ) -> None:
        """``on_sought`` is told of a route that was found for ``seek()``."""
        self._loop, self._routes = loop, routes
        self._dispatch, self._fail, self._on_sought = dispatch, fail, on_sought
        self.waiting: dict[Address, deque[QueuedStanza]] = {}
        self._sought: set[Address] = set()
        self._tasks: dict[Address, asyncio.Task[None]] = {}

    def find(self, item: QueuedStanza) -> None:
        """Dispatch a stanza when the route to its address is found, or fail it."""
        address = (item.own_jid, item.to)
        self.waiting.setdefault(address, deque()).append(item)
        self._start(address)

    def seek(self, address: Address) -> None:
        """Find the route to an address for what waits elsewhere."""
        self._sought.add(address)
        self._start(address)

    def stop(self) -> None:
        """End all searches; what waits for them is forgotten here."""
        for task in self._tasks.values():
            task.cancel()
        for kept in (self._tasks, self.waiting, self._sought):
            kept.clear()

    def _start(self, address: Address) -> None:
        if address not in self._tasks:
            self._tasks[address] = self._loop().create_task(self._search(address))

    async def _search(self, address: Address) -> None:
        """Find the route to an address for all that waits for it. Whatever happens, nothing waits for it afterwards."""
        failure: E2EError | None = None
        try:
            route = await self._routes.find(address)
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
