"""Waits until all that was given to us has met its end, and ends the sessions: above all before a program disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from slixmpp.basexmpp import BaseXMPP

from slixmpp_e2e.errors import NotSent, NotSentReason
from slixmpp_e2e.messages.queue import SendQueue
from slixmpp_e2e.sessions.registry import SessionRegistry
from slixmpp_e2e.xmpp import adapter


class Flusher:
    """Lets nothing be lost that a program has sent before it goes."""

    def __init__(self, xmpp: BaseXMPP, queue: SendQueue, registry: SessionRegistry, seconds: float) -> None:
        """``seconds``: how long a program that disconnects is kept at most."""
        self._xmpp, self._queue, self._registry, self.seconds = xmpp, queue, registry, seconds
        self._flushing = 0
        self.is_finishing = False
        """True while a program that disconnects is kept."""
        self._work: asyncio.Future[None] | None = None
        """What it is kept for."""

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
        """Return whether there is anything to wait for, on a stream that is up, before the client may disconnect."""
        waits = adapter.has_queued(self._xmpp) or bool(self._queue.outstanding) or any(True for _ in self._registry)
        return waits and self._xmpp.session_bind_event.is_set()

    async def finish(self) -> None:
        """Wait until all is acknowledged, for a while, and end all sessions. What waits longer has failed."""
        self.is_finishing = True
        try:
            await self._finish()
        finally:
            self.is_finishing = False

    async def _finish(self) -> None:
        await self._until_lost(self.flush())
        late = f"the program disconnects, and has waited {self.seconds:g} seconds"
        self._queue.fail_all(NotSent(late, NotSentReason.DISCONNECTED))
        await self._until_lost(self.close())

    async def _until_lost(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it for a while, and not without a connection."""
        self._work = asyncio.ensure_future(work)
        try:
            await asyncio.wait({self._work}, timeout=self.seconds)
        finally:
            self._work.cancel()

    def on_lost(self) -> None:
        """The connection is lost meanwhile. (That ``xmpp.disconnected`` is done does not say so: whoever waits for it, and is
        cancelled, cancels it.)"""
        if self._work is not None:
            self._work.cancel()
