"""Reads no more than so many bytes a second of a client, as the limits of Prosody and the shapers of ejabberd do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

_STEP = 0.02
"""Seconds after which it is read again."""


class RateLimit(NamedTuple):
    """What is read of one client."""

    per_second: float
    """Bytes a second."""
    burst: int
    """Bytes at once."""


class Shaper:
    """Holds what a client has sent until it may be read."""

    def __init__(self, limit: RateLimit, read: Callable[[bytes], None]) -> None:
        self._limit, self._read = limit, read
        self._loop = asyncio.get_running_loop()
        self._held = bytearray()
        self._allowed, self._since = float(limit.burst), self._loop.time()
        self._timer: asyncio.TimerHandle | None = None

    def take(self, data: bytes) -> None:
        """Hand on what may be read now, and the rest later."""
        self._held += data
        if self._timer is None:
            self._hand_on()

    def stop(self) -> None:
        """The connection is gone; so is what was not read."""
        self._held.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _hand_on(self) -> None:
        now = self._loop.time()
        self._allowed = min(self._limit.burst, self._allowed + (now - self._since) * self._limit.per_second)
        self._since, size = now, min(int(self._allowed), len(self._held))
        self._allowed -= size
        data = bytes(self._held[:size])
        del self._held[:size]
        self._timer = self._loop.call_later(_STEP, self._hand_on) if self._held else None
        if data:
            self._read(data)
