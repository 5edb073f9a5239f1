"""Finds out that a path is dead: blocks wait for their answers, and too few are answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

STALL_SECONDS = 120.0
"""A path that does not move for this long is dead, unless ``stall_seconds`` says otherwise. Slow links answer within seconds;
but a server that stands still for a minute, or a line that is gone for one, comes back: TCP tries after 51 and 102 seconds."""
STALL_PARTS = 16
"""Of what a bytestream had waiting, one part in so many must be answered meanwhile: of a full one 20 KiB, for which
170 bytes a second are enough. Else a peer who answers a block now and then would keep what waits for them in our memory."""


@dataclass(frozen=True)
class Path:
    """How far a bytestream has come; and all iqs of the client, which share one stream with its blocks."""

    waiting: int
    """Bytes that are queued or not answered."""
    answered: int
    """Bytes that were answered so far."""
    replies: int
    """Iqs of this bytestream that were answered so far."""
    oldest: int | None
    """The number, among all iqs of the client, of the oldest of this bytestream that is not answered."""
    newest_answered: int
    """The highest number of any iq of the client that was answered."""
    all_replies: int
    """Iqs of the client that were answered so far."""

    def has_moved_since(self, before: Path) -> bool:
        """Return whether enough was answered since then."""
        return self.replies > before.replies and (self.answered - before.answered) * STALL_PARTS >= before.waiting

    def is_behind_others(self, before: Path) -> bool:
        """Return whether our own stream, which others take turns on, may be what is slow.

        They were answered since then, and nothing that left after our oldest block was answered before that.
        """
        others = self.all_replies - before.all_replies > self.replies - before.replies
        return others and self.oldest is not None and self.oldest > before.newest_answered


class StallDetector:
    """Calls ``on_stall`` with what has happened once a path has not moved enough for ``seconds`` while something waits."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        path: Callable[[], Path | None],
        on_stall: Callable[[str], None],
        seconds: float = STALL_SECONDS,
    ) -> None:
        """``path`` returns the state of the moment; None while nothing waits."""
        self._loop, self._path, self._on_stall, self._seconds = loop, path, on_stall, seconds
        self._before: Path | None = None
        self._since = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def update(self) -> None:
        """Look at the path again."""
        path = self._path()
        if path is None or self._before is None or path.has_moved_since(self._before):
            self._begin(path)
        if path is not None and self._timer is None:
            self._set_timer()

    def stop(self) -> None:
        """The session is over."""
        if self._timer is not None:
            self._timer.cancel()

    def _begin(self, path: Path | None) -> None:
        self._before, self._since = path, self._loop.time()

    def _set_timer(self) -> None:
        self._timer = self._loop.call_at(self._since + self._seconds, self._check)

    def _check(self) -> None:
        self._timer = None
        path, before = self._path(), self._before
        if path is None or before is None:
            return
        if self._loop.time() >= self._since + self._seconds:
            if not path.is_behind_others(before):
                moved = path.answered - before.answered
                self._on_stall(f"of {before.waiting} bytes that waited, {moved} were answered in {self._seconds:g} seconds")
                return
            self._begin(path)
        self._set_timer()
