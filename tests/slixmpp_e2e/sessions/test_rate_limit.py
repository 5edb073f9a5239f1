"""Token buckets: so many at once, so many a second, and not more names than are remembered."""

from __future__ import annotations

from slixmpp_e2e.sessions.admission.rate_limit import NAMES, Buckets, Rate, take_all


def taken(buckets: Buckets, name: str, now: float, tries: int = 100) -> int:
    """How many of so many tries succeed at one instant."""
    return sum(take_all(now, (buckets, name)) for _ in range(tries))


def test_a_burst_and_then_so_many_a_second() -> None:
    """A full bucket, then what flows in, and never more than a full one."""
    buckets = Buckets(Rate(2, 10))
    assert taken(buckets, "a", 0.0) == 10
    assert taken(buckets, "a", 1.0) == 2
    assert taken(buckets, "a", 1.4) == 0
    assert taken(buckets, "a", 1.5) == 1
    assert taken(buckets, "a", 1000.0) == 10


def test_each_name_has_its_own() -> None:
    """What one takes is not missing to another."""
    buckets = Buckets(Rate(2, 10))
    taken(buckets, "a", 0.0)
    assert taken(buckets, "b", 0.0) == 10


def test_all_or_nothing() -> None:
    """Who is refused by one bucket has taken from none."""
    small, large = Buckets(Rate(1, 1)), Buckets(Rate(1, 10))
    assert [take_all(0.0, (large, "x"), (small, "a")) for _ in range(5)] == [True, False, False, False, False]
    assert large.level("x", 0.0) == 9


def test_names_are_bounded() -> None:
    """The one that was heard of longest ago is forgotten first."""
    buckets = Buckets(Rate(1, 2), names=3)
    for name in ("a", "b", "c", "a", "d"):
        buckets.take(name, 0.0)
    assert len(buckets) == 3
    assert [buckets.level(name, 0.0) for name in "abcd"] == [0, 2, 1, 1]
    everybody = Buckets(Rate(1, 2))
    for number in range(NAMES + 10):
        everybody.take(str(number), 0.0)
    assert len(everybody) == NAMES
