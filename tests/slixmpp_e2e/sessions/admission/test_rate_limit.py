"""Token buckets limit a rate and a burst for each name, and keep a bounded number of names."""

from __future__ import annotations

from slixmpp_e2e.sessions.admission.rate_limit import NAMES, Rate, TokenBuckets, take_all


def taken(buckets: TokenBuckets, name: str, now: float, tries: int = 100) -> int:
    return sum(take_all(now, (buckets, name)) for _ in range(tries))


def test_a_burst_is_followed_by_the_rate() -> None:
    buckets = TokenBuckets(Rate(2, 10))
    assert taken(buckets, "a", 0.0) == 10
    assert taken(buckets, "a", 1.0) == 2
    assert taken(buckets, "a", 1.4) == 0
    assert taken(buckets, "a", 1.5) == 1
    assert taken(buckets, "a", 1000.0) == 10


def test_each_name_has_a_bucket_of_its_own() -> None:
    buckets = TokenBuckets(Rate(2, 10))
    taken(buckets, "a", 0.0)
    assert taken(buckets, "b", 0.0) == 10


def test_all_or_nothing() -> None:
    small, large = TokenBuckets(Rate(1, 1)), TokenBuckets(Rate(1, 10))
    assert [take_all(0.0, (large, "x"), (small, "a")) for _ in range(5)] == [True, False, False, False, False]
    assert large.level("x", 0.0) == 9


def test_names_are_bounded() -> None:
    buckets = TokenBuckets(Rate(1, 2), names=3)
    for name in ("a", "b", "c", "a", "d"):
        buckets.take(name, 0.0)
    assert len(buckets) == 3
    assert [buckets.level(name, 0.0) for name in "abcd"] == [0, 2, 1, 1]
    everybody = TokenBuckets(Rate(1, 2))
    for number in range(NAMES + 10):
        everybody.take(str(number), 0.0)
    assert len(everybody) == NAMES


def test_what_was_taken_in_vain_is_put_back() -> None:
    """And fills no bucket beyond its burst."""
    buckets = TokenBuckets(Rate(1, 2))
    assert taken(buckets, "a", 0.0) == 2
    buckets.put_back("a", 0.0)
    assert taken(buckets, "a", 0.0) == 1
    for _ in range(5):
        buckets.put_back("a", 9.0)
    assert taken(buckets, "a", 9.0) == 2
