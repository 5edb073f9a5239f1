"""Sends what waits for sessions, in order: a coroutine for each target.

It also sees to it that there is a next session where one has ended before the peer had acknowledged what was sent in it.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections import deque
from collections.abc import Callable

from slixmpp_e2e.errors import NotSent, NotSentReason
from slixmpp_e2e.messages.queued import Delivery, QueuedStanza
from slixmpp_e2e.messages.tasks import current_task, wake
from slixmpp_e2e.messages.unacknowledged import Unacknowledged
from slixmpp_e2e.sessions.driver import SessionDriver
from slixmpp_e2e.sessions.pacing import FIRST_BACKOFF, LAST_BACKOFF
from slixmpp_e2e.sessions.registry import SessionRegistry, Target
from xmpp_e2e.errors import E2EError


class TargetQueues:
    """What waits for a session, by target."""

    def __init__(
        self,
        loop: Callable[[], asyncio.AbstractEventLoop],
        ensure: Callable[[Target], SessionDriver],
        registry: SessionRegistry,
        left: Unacknowledged,
        send: Callable[[QueuedStanza, SessionDriver], bool],
        fail: Callable[[Target, E2EError], None],
    ) -> None:
        """``ensure`` returns the next session with a target, if the policy still allows one. E2EError.
        ``left``: what earlier sessions have left, for the next one.

        ``send`` returns False if a session has no room now; ``fail`` takes all that waits for a target.
        """
        self._loop, self._ensure, self._registry, self._left = loop, ensure, registry, left
        self._send, self._fail = send, fail
        self.waiting: dict[Target, deque[QueuedStanza]] = {}
        self._tasks: dict[Target, asyncio.Task[None]] = {}
        self._changed: dict[Target, asyncio.Future[None]] = {}
        self._failures: dict[Target, int] = {}
        """Sessions in a row that have brought nothing to an end that waits."""
        self._is_stopped = False

    def __contains__(self, target: Target) -> bool:
        """Return whether a session with this target is sought already."""
        return target in self._tasks

    def put(self, item: QueuedStanza, target: Target) -> None:
        """Let a stanza wait for a session with this target."""
        item.delivery[target] = Delivery.QUEUED
        insort(self.waiting.setdefault(target, deque()), item, key=lambda each: each.number)
        self.start(target)

    def start(self, target: Target) -> None:
        """Something waits for a session with this target."""
        if target not in self._tasks and not self._is_stopped:
            self._tasks[target] = self._loop().create_task(self._deliver(target))

    def tell_change(self, target: Target) -> None:
        """Go on where a session has come, or gone, or is worth a try."""
        wake(self._changed.pop(target, None))

    def note_progress(self, target: Target) -> None:
        """The peer has acknowledged something in a session with this target."""
        self._failures.pop(target, None)

    def stop(self) -> None:
        """There is no stream: send nothing, and forget what waits."""
        self._is_stopped = True
        for task in self._tasks.values():
            task.cancel()
        for kept in (self._tasks, self._changed, self._failures, self.waiting):
            kept.clear()

    def resume(self) -> None:
        """There is a stream again."""
        self._is_stopped = False
        for target in self.waiting:
            self.start(target)

    async def _deliver(self, target: Target) -> None:
        """Send what waits for a target, as its sessions let it. Nothing waits for it afterwards."""
        driver: SessionDriver | None = None
        try:
            while self._is_needed(target):
                # While a session is closing, none is offered in its place.
                if driver is None or driver.closed.done() or self._registry.best_with(target) not in (driver, None):
                    if driver is not None and driver.closed.done():
                        driver = None
                        await self._pause(target)
                    try:
                        # what waits for its first session was judged by the policy just now
                        again = target in self._failures or target in self._left
                        driver = (self._ensure if again else self._registry.ensure)(target)
                    except E2EError as error:
                        self._fail(target, error)
                        await self._pause(target)
                        continue
                queue = self.waiting.get(target)
                if queue and driver.is_writable:
                    item = queue.popleft()
                    if self._send(item, driver):
                        continue
                    queue.appendleft(item)
                driver.notify_writable(changed := self._await_change(target))
                await changed
        finally:
            if self._tasks.get(target) is current_task():
                del self._tasks[target]
                self._failures.pop(target, None)
                if self.waiting.get(target):
                    self._fail(target, NotSent(f"sending to {target[1]} failed", NotSentReason.ROUTE_UNKNOWN))
                else:  # what a handler of a failure sends anew stays
                    self.waiting.pop(target, None)

    def _is_needed(self, target: Target) -> bool:
        return bool(self.waiting.get(target)) or target in self._left

    def _await_change(self, target: Target) -> asyncio.Future[None]:
        changed = self._changed[target] = asyncio.get_running_loop().create_future()
        return changed

    async def _pause(self, target: Target) -> None:
        """After a failure wait before the next session is tried; not for long if something changes."""
        failures = self._failures[target] = self._failures.get(target, -1) + 1
        if not failures or not self._is_needed(target) or self._registry.best_with(target) is not None:
            return
        changed = self._await_change(target)
        timer = self._loop().call_later(min(FIRST_BACKOFF * 2.0 ** (failures - 1), LAST_BACKOFF), wake, changed)
        try:
            await changed
        finally:
            timer.cancel()
