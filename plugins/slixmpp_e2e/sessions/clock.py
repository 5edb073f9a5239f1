"""The clock of a session: it stands still while what is waited for cannot come, since our own bytes have not left yet."""

from __future__ import annotations

from collections.abc import Callable


class SessionClock:
    """Seconds of a steady clock, without the time for which it stood still."""

    def __init__(self, time: Callable[[], float]) -> None:
        self._time = time
        self._stood = 0.0
        self._since: float | None = None
        """When it was stopped; None while it runs."""

    @property
    def now(self) -> float:
        """The time of this clock."""
        return (self._time() if self._since is None else self._since) - self._stood

    def stand_still(self, still: bool) -> None:
        """Stop, or go on."""
        if still == (self._since is not None):
            return
        if self._since is not None:
            self._stood, self._since = self._stood + self._time() - self._since, None
        else:
            self._since = self._time()

    def steady(self, when: float) -> float | None:
        """Return when it will be ``when`` on this clock, on the steady one; None while it stands still."""
        return when + self._stood if self._since is None else None
