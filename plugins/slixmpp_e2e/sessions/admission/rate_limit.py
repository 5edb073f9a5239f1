"""Token buckets by name, on a clock that is handed in."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

NAMES = 4096
"""Names whose buckets are kept, some 200 bytes each. The least recently used goes first; its name would find a full bucket
again. Whoever comes under more names than these is stopped by the bucket of their domain, or of all."""


@dataclass(frozen=True)
class Rate:
    """A rate limit: tokens a second in the long run, and tokens at once."""

    per_second: float
    burst: int


class TokenBuckets:
    """One bucket for each name. It holds ``rate.burst`` tokens when it is full, and starts full."""

    def __init__(self, rate: Rate, names: int = NAMES) -> None:
        self._rate, self._names = rate, names
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._levels)

    def level(self, name: str, now: float) -> float:
        """Return how many tokens the bucket of ``name`` holds at ``now`` (seconds of any steady clock)."""
        tokens, since = self._levels.get(name, (float(self._rate.burst), now))
        return min(self._rate.burst, tokens + (now - since) * self._rate.per_second)

    def take(self, name: str, now: float) -> None:
        """Take one token out."""
        self._add(name, -1, now)

    def put_back(self, name: str, now: float) -> None:
        """Put back a token that was taken in vain."""
        self._add(name, 1, now)

    def _add(self, name: str, tokens: int, now: float) -> None:
        self._levels[name] = (min(self._rate.burst, self.level(name, now) + tokens), now)
        self._levels.move_to_end(name)
        if len(self._levels) > self._names:
            self._levels.popitem(last=False)


def take_all(now: float, *takings: tuple[TokenBuckets, str]) -> bool:
    """Take a token out of each of these buckets, or out of none if one is empty. Return whether they were taken."""
    if any(buckets.level(name, now) < 1 for buckets, name in takings):
        return False
    for buckets, name in takings:
        buckets.take(name, now)
    return True
