"""Who gets a place when many want one: honest peers do, whatever one domain does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from slixmpp_e2e.sessions.admission import limits as capacity
from slixmpp_e2e.sessions.admission.limits import Capacity, Limits, Refused
from slixmpp_e2e.sessions.admission.rate_limit import Rate

LIMITS = Limits(
    sessions=40, sessions_per_domain=30, sessions_per_peer=6, half_open=8, half_open_per_domain=6, half_open_per_peer=2
)


class Registry:
    """A capacity, and what whoever uses it does."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.capacity: Capacity[str] = Capacity(limits)
        self.given_up: list[str] = []

    def comes(self, peer: str, *, acquainted: bool = False) -> None:
        """A session of this peer, whose full JID is its name."""
        given_up = self.capacity.make_room(peer, acquainted=acquainted)
        if given_up is not None:
            self.given_up.append(given_up)
            self.capacity.leave(given_up)
        self.capacity.enter(peer, peer, acquainted=acquainted)

    def opens(self, peer: str, *, acquainted: bool = False) -> None:
        """The same, and it opens."""
        self.comes(peer, acquainted=acquainted)
        self.capacity.arrive(peer)

    def many(self, act: Callable[..., None], *names: str, acquainted: bool = False) -> int:
        """How many of these get a place."""
        count = 0
        for name in names:
            try:
                act(name, acquainted=acquainted)
            except Refused:
                continue
            count += 1
        return count


def people(number: int, domain: str = "evil.test") -> list[str]:
    """Full JIDs of as many accounts of a domain."""
    return [f"user{i}@{domain}/x" for i in range(number)]


def devices(number: int) -> list[str]:
    """Full JIDs of one account."""
    return [f"user@evil.test/{i}" for i in range(number)]


@pytest.mark.parametrize("acquainted", [False, True])
def test_on_the_way(acquainted: bool) -> None:
    """So many of an account, so many of a domain, so many in all; what has arrived is not on its way."""
    registry = Registry()
    assert registry.many(registry.comes, *devices(5), acquainted=acquainted) == 2
    assert registry.many(registry.comes, *people(20), acquainted=acquainted) == 4
    assert registry.many(registry.comes, *(f"a@{name}.test/x" for name in "bcdefghijklmn"), acquainted=acquainted) > 1
    assert registry.capacity.half_open == 8
    for name in list(registry.capacity._places):
        registry.capacity.arrive(name)
    assert registry.capacity.half_open == 0
    assert registry.many(registry.comes, "user@evil.test/new", acquainted=acquainted) == 1


def test_in_all() -> None:
    """Open ones count too: per account, per domain, in all; and room is there again when they have left."""
    registry = Registry()
    assert registry.many(registry.opens, *devices(20), acquainted=True) == 6
    assert registry.many(registry.opens, *people(50), acquainted=True) == 24
    assert registry.many(registry.opens, *people(50, "b.test"), acquainted=True) == 10
    assert len(registry.capacity) == 40
    registry.capacity.leave("user@evil.test/0")
    assert registry.many(registry.opens, "user@evil.test/0", "c@d.test/x", acquainted=True) == 1


def test_strangers_get_half() -> None:
    """However many domains they come from, acquaintances have the other half; and those may have all of it."""
    registry = Registry()
    assert registry.many(registry.opens, *(f"a@{i}.test/x" for i in range(100))) == 20
    assert registry.many(registry.opens, *people(10, "good.test"), acquainted=True) == 10
    registry = Registry(replace(LIMITS, sessions_per_domain=40))
    assert registry.many(registry.opens, *people(100, "good.test"), acquainted=True) == 40


def test_who_floods_makes_way() -> None:
    """The domain that has most on the way gives up its oldest, as long as it has no less than the newcomer's afterwards."""
    registry = Registry()
    registry.many(registry.comes, *people(6), "a@b.test/x", "a@c.test/x")
    assert registry.capacity.half_open == 8
    registry.comes("a@d.test/x")
    assert registry.given_up == ["user0@evil.test/x"]
    registry.many(registry.comes, *(f"a@{i}.test/x" for i in range(10)))
    assert set(registry.given_up) == set(people(5))
    assert registry.capacity.half_open == 8


def test_a_flood_from_many_domains_leaves_acquaintances_alone() -> None:
    """Strangers from everywhere take each other's places; an acquaintance gets in, and nobody makes way for it."""
    registry = Registry()
    registry.many(registry.comes, *(f"a@{i}.test/x" for i in range(100)))
    registry.comes("bob@good.test/x", acquainted=True)
    assert registry.given_up == []


def test_who_was_given_up_has_left_once() -> None:
    """However often and in which order it is told, a session counts once, and afterwards nothing is left."""
    registry = Registry()
    registry.comes("a@b.test/x")
    for _ in range(2):
        registry.capacity.arrive("a@b.test/x")
    for _ in range(2):
        registry.capacity.leave("a@b.test/x")
    registry.comes("a@b.test/x", acquainted=True)
    registry.capacity.leave("a@b.test/x")
    registry.capacity.arrive("never came")
    left = registry.capacity
    assert (len(left), left.half_open, left._accounts, left._domains, left._strangers) == (0, 0, {}, {}, 0)
    assert left._half_domains == {True: {}, False: {}}


# --- how often -------------------------------------------------------------------------------------------------------


def heard(registry: Capacity[str], peers: list[str], now: float = 0.0, *, contact: bool = False) -> int:
    """How many of these are listened to."""
    return sum(registry.listens(peer, now, contact=contact) for peer in peers)


def test_the_rates() -> None:
    """An account, a domain, and everybody who is no contact, each has its own; contacts are not counted with the rest."""
    everybody: Capacity[str] = Capacity(Limits())
    account, domain, first = capacity.UNASKED_PER_PEER, capacity.UNASKED_PER_DOMAIN, capacity.FIRST_OF_DOMAIN
    assert heard(everybody, ["user@evil.test/x"] * 1000) == account.burst
    assert heard(everybody, people(1000)) == domain.burst - account.burst
    assert heard(everybody, people(1000, "worse.test")) == domain.burst
    left = capacity.UNASKED.burst - 2 * (domain.burst - first.burst)
    assert heard(everybody, people(1000, "worst.test")) == left + first.burst
    assert heard(everybody, people(1000, "quiet.test")) == first.burst
    assert heard(everybody, people(2000, "good.test"), contact=True) == capacity.UNASKED_BY_CONTACTS.burst
    assert heard(everybody, ["bob@better.test/x"] * 1000, contact=True) == account.burst
    assert heard(everybody, people(1000), 5.0) == 5 * domain.per_second


@pytest.mark.parametrize(
    ("limit", "contact", "peers", "left"),
    [
        ("unasked_per_peer", False, ["user@evil.test/x"] * 20, 5),
        ("unasked_per_peer", True, ["user@evil.test/x"] * 20, 5),
        ("unasked_per_domain", False, people(20), 5),
        ("unasked", False, people(20), 5 + capacity.FIRST_OF_DOMAIN.burst),
        ("unasked_by_contacts", True, people(20), 5),
    ],
)
def test_each_rate_can_be_changed(limit: str, contact: bool, peers: list[str], left: int) -> None:
    """So many at once, and so many a second later, where everybody else has room."""
    registry: Capacity[str] = Capacity(replace(Limits(), **{limit: Rate(2, 5)}))
    assert heard(registry, peers, contact=contact) == left
    assert heard(registry, peers, 1.0, contact=contact) == 2
