"""How much of everything is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """How often each measurement repeats in a round."""

    openings: int = 3
    echoes: int = 100
    late_echoes: int = 30
    messages: int = 4000
    limited_messages: int = 100
    """Under rate limits."""
    omemo_messages: int = 300
    large: tuple[tuple[str, int, int], ...] = (("16k", 16_000, 400), ("180k", 180_000, 40))
    """Name, bytes of a body, messages."""
    bulk_bytes: int = 20_000_000
    bulk_body: int = 16_000
    far_seconds: tuple[tuple[str, float], ...] = (("50", 0.05), ("150", 0.15))
    """Name, and delay in each direction for each of the two links."""
    far_openings: int = 2
    far_echoes: int = 3
    messages_by_proxy: int = 1000
    alone: int = 10
    sessions: tuple[int, ...] = (100, 1_000, 10_000)
    """Where memory and costs are looked at; the first is what the others are compared with."""
    spoken_to: int = 100
    """Sessions that are spoken to, however many there are."""
    idle_seconds: float = 10.0


FULL = Sizes()
QUICK = Sizes(
    openings=1,
    echoes=5,
    late_echoes=2,
    messages=100,
    limited_messages=5,
    omemo_messages=5,
    large=(("16k", 16_000, 5), ("180k", 180_000, 2)),
    bulk_bytes=160_000,
    far_openings=1,
    far_echoes=1,
    messages_by_proxy=50,
    alone=1,
    sessions=(2, 3, 4),
    spoken_to=2,
    idle_seconds=0.1,
)
"""Everything once, to check that it works."""
