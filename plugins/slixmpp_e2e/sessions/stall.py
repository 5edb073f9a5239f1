"""Finds out that a path is dead: blocks wait for an answer, and none comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

STALL_SECONDS = 60.0
"""A path that has not answered a block for this long is dead: slow links answer within seconds."""


class StallDetector:
    """Calls ``on_stall`` once no block has been answered for STALL_SECONDS while some wait for an answer."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_stall: Callable[[], None]) -> None:
        self._loop, self._on_stall = loop, on_stall
        self._silent_since: float | None = None
        self._replies = 0
        self._timer: asyncio.TimerHandle | None = None

    def update(self, *, drained: bool, replies: int) -> None:
        """Take in the state of the transport: whether all blocks are answered, and how many replies came so far."""
        if drained:
            self._silent_since = None
            return
        if self._silent_since is None or replies != self._replies:
            self._silent_since, self._replies = self._loop.time(), replies
        if self._timer is None:
            self._timer = self._loop.call_at(self._silent_since + STALL_SECONDS, self._check)

    def stop(self) -> None:
        """The session is over."""
        if self._timer is not None:
            self._timer.cancel()

    def _check(self) -> None:
        self._timer = None
        if self._silent_since is None:
            return
        if self._loop.time() >= self._silent_since + STALL_SECONDS:
            self._on_stall()
        else:
            self._timer = self._loop.call_at(self._silent_since + STALL_SECONDS, self._check)
