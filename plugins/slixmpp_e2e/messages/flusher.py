"""Waits until all that was given to us has met its end, and ends the sessions: above all before a program disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from slixmpp.basexmpp import BaseXMPP

from slixmpp_e2e.errors import NotSent, NotSentReason
from slixmpp_e2e.messages.queue import SendQueue
from slixmpp_e2e.sessions.registry import SessionRegistry
from slixmpp_e2e.xmpp import adapter
from xmpp_e2e.errors import E2EError


class Flusher:
    """Lets nothing be lost that a program has sent before it goes."""

    def __init__(
        self,
        xmpp: BaseXMPP,
        queue: SendQueue,
        registry: SessionRegistry,
        seconds: float,
        give_up: Callable[[E2EError], None],
        is_kept: Callable[[], bool],
    ) -> None:
        """``seconds``: how long a program that disconnects is kept at most.
        ``give_up`` lets fail what is kept for the next stream, ``is_kept`` whether anything is."""
        self._xmpp, self._queue, self._registry, self.seconds = xmpp, queue, registry, seconds
        self._give_up, self._is_kept = give_up, is_kept
        self._flushing = 0

    @property
    def is_flushing(self) -> bool:
        """Return whether somebody waits, so that peers are asked to acknowledge at once."""
        return self._flushing > 0

    async def flush(self, account: str = "") -> None:
        """Wait until what was sent to an account, or to all, is acknowledged or has failed."""
        self._flushing += 1
        try:
            await self._xmpp.waiting_queue.join()  # what slixmpp has yet to show to our filter
            for driver in self._registry if not account else self._registry.of(account):
                driver.request_acknowledgement()
            await self._queue.outstanding.wait(account)
        finally:
            self._flushing -= 1

    async def close(self) -> None:
        """End all sessions by farewells."""
        closing = []
        for driver in self._registry:
            driver.close()
            closing.append(asyncio.shield(driver.closed))
        await asyncio.gather(*closing)

    @property
    def must_finish(self) -> bool:
        """Return whether there is anything to wait for, or to tell, before the client may disconnect."""
        waits = adapter.has_queued(self._xmpp) or bool(self._queue.outstanding) or self._is_kept()
        return waits or any(True for _ in self._registry)

    async def finish(self) -> None:
        """Wait until all is acknowledged, for a while, and end all sessions. What is left then has failed."""
        left = NotSent(f"the program disconnects, and has waited {self.seconds:g} seconds", NotSentReason.DISCONNECTED)
        if self._xmpp.session_bind_event.is_set():
            await self._until_lost(self.flush())
            self._queue.fail_all(left)
            await self._until_lost(self.close())
        else:
            left = NotSent("the program disconnects, and has no connection any more", NotSentReason.DISCONNECTED)
        for driver in self._registry:
            driver.abort_unreachable(left)
        self._give_up(left)
        self._queue.fail_all(left)

    async def _until_lost(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it for a while, and not without a connection."""
        task = asyncio.ensure_future(work)
        await asyncio.wait({task, self._xmpp.disconnected}, timeout=self.seconds, return_when=asyncio.FIRST_COMPLETED)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    def cancel(self, account: str) -> int:
        """Withdraw what waits for an account. Return the number of stanzas."""
        withdrawn: E2EError = NotSent("it was withdrawn here", NotSentReason.CANCELLED)
        return self._queue.cancel(account, withdrawn)

