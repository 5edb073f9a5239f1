"""The clock of a session: it stands still while what is waited for cannot come, since our own bytes have not left yet."""

from __future__ import annotations

import asyncio


class SessionClock:
    """Seconds of an event loop's clock, without the time for which it stood still."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._stood = 0.0
        self._since: float | None = None
        """When it was stopped; None while it runs."""

    @property
    def now(self) -> float:
        """The time of this clock."""
        return (self._loop.time() if self._since is None else self._since) - self._stood

    def stand_still(self, still: bool) -> None:
        """Stop, or go on."""
        if still == (self._since is not None):
            return
        if self._since is not None:
            self._stood, self._since = self._stood + self._loop.time() - self._since, None
        else:
            self._since = self._loop.time()

    def on_loop(self, when: float) -> float | None:
        """Return when it will be ``when`` on this clock, on that of the loop; None while it stands still."""
        return when + self._stood if self._since is None else None
