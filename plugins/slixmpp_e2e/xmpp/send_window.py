"""How much of ours may be on its way to our own server: as much as it reads within a few seconds.

Servers limit what they read of a client (Debian's Prosody 10 kB/s, ejabberd 3 kB/s). What they have not read waits in sockets,
where all else that we send waits behind it, pings and acknowledgements (XEP-0198) too, until the server takes us for dead.
"""

from __future__ import annotations

from collections import deque

TARGET_SECONDS = 3.0
"""What we send should be read within this time: people do not wait longer, and pings time out after ten seconds and more."""
FIRST_WINDOW = 16 * 1024
"""Bytes at the beginning: what the limits of Debian's servers let through at once is 20 kB."""
LEAST_WINDOW = 4 * 1024
"""Bytes at least: a block."""
LAST_WINDOW = 4 * 1024 * 1024
"""Bytes at most: no faster line needs more within a second or so."""


class SendWindow:
    """Counts what is on its way, and adapts the window, in bytes, to the delay that is measured: it doubles with each full one
    that is read in less than half of TARGET_SECONDS, and shrinks in proportion where that takes longer."""

    def __init__(self) -> None:
        self.size = FIRST_WINDOW
        """Bytes that may be on their way."""
        self.in_flight = 0
        """Bytes that are."""
        self.delay = 0.0
        """Seconds that what was read last had been on its way."""
        self._unread: deque[tuple[int, int, float]] = deque()
        """Number, bytes, and when it left; the oldest first."""
        self._last_read = 0.0
        self._cut_at = 0
        """The newest number that had left when the window shrank: what left before says nothing about its new size."""

    @property
    def has_room(self) -> bool:
        """True if more may leave. The last one may be larger than the rest of the window."""
        return self.in_flight < self.size

    def sent(self, number: int, size: int, now: float) -> None:
        """Something has left; its ``number`` is higher than all before."""
        self._unread.append((number, size, now))
        self.in_flight += size

    def read(self, number: int, now: float) -> None:
        """The server has read this, and so all that left before."""
        read, left_at, newest = 0, now, 0
        was_full = not self.has_room
        while self._unread and self._unread[0][0] <= number:
            newest, size, left_at = self._unread.popleft()
            read += size
        if not read:
            return
        self.in_flight -= read
        self.delay, self._last_read = now - left_at, now
        if self.delay > TARGET_SECONDS and newest > self._cut_at:
            self.size = max(LEAST_WINDOW, int(self.size * TARGET_SECONDS / self.delay))
            self._cut_at = self._unread[-1][0] if self._unread else newest
        elif self.delay < TARGET_SECONDS / 2 and was_full:
            self.size = min(LAST_WINDOW, self.size + read)

    def oldest_age(self, now: float) -> float:
        """Return for how many seconds the oldest has been on its way; 0 if there is none."""
        return now - self._unread[0][2] if self._unread else 0.0

    def silence(self, now: float) -> float:
        """Return for how many seconds the server has read nothing, though something is on its way."""
        return now - max(self._unread[0][2], self._last_read) if self._unread else 0.0

    def begin_again(self, now: float) -> None:
        """The stream was resumed: what is on its way leaves now."""
        self._unread = deque((number, size, now) for number, size, _ in self._unread)

    def seconds_for(self, waiting: int) -> float:
        """Return how long it takes until so many bytes more, and what is on its way, are read."""
        return (self.in_flight + waiting) * self.delay / self.size
