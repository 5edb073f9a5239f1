"""Honest peers get a slot when many want one, whatever one domain does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from slixmpp_e2e.sessions.admission import limits as bounds
from slixmpp_e2e.sessions.admission.limits import AdmissionLimits, AdmissionRefused, SessionLimits, Standing
from slixmpp_e2e.sessions.admission.rate_limit import Rate

LIMITS = AdmissionLimits(
    sessions=40, sessions_per_domain=30, sessions_per_peer=6, half_open=8, half_open_per_domain=6, half_open_per_peer=2
)


def _standing(known: bool) -> Standing:
    return Standing.KNOWN if known else Standing.STRANGER


class Sessions:
    """The limits, and what a registry does with them."""

    def __init__(self, limits: AdmissionLimits = LIMITS) -> None:
        self.limits: SessionLimits[str] = SessionLimits(limits)
        self.given_up: list[str] = []

    def comes(self, peer: str, *, known: bool = False) -> None:
        given_up = self.limits.make_room(peer, _standing(known))
        if given_up is not None:
            self.given_up.append(given_up)
            self.limits.leave(given_up)
        self.limits.enter(peer, peer, _standing(known))

    def opens(self, peer: str, *, known: bool = False) -> None:
        self.comes(peer, known=known)
        self.limits.settle(peer)

    def many(self, act: Callable[..., None], *names: str, known: bool = False) -> int:
        count = 0
        for name in names:
            try:
                act(name, known=known)
            except AdmissionRefused:
                continue
            count += 1
        return count


def people(number: int, domain: str = "evil.test") -> list[str]:
    return [f"user{i}@{domain}/x" for i in range(number)]


def devices(number: int) -> list[str]:
    return [f"user@evil.test/{i}" for i in range(number)]


@pytest.mark.parametrize("known", [False, True])
def test_half_open_sessions_are_limited(known: bool) -> None:
    sessions = Sessions()
    assert sessions.many(sessions.comes, *devices(5), known=known) == 2
    assert sessions.many(sessions.comes, *people(20), known=known) == 4
    assert sessions.many(sessions.comes, *(f"a@{name}.test/x" for name in "bcdefghijklmn"), known=known) > 1
    assert sessions.limits.half_open == 8
    for name in list(sessions.limits._slots):
        sessions.limits.settle(name)
    assert sessions.limits.half_open == 0
    assert sessions.many(sessions.comes, "user@evil.test/new", known=known) == 1


def test_contacts_have_room_whatever_their_domain() -> None:
    """To a bot that starts again all its contacts write at once, and most are of one domain. A stranger's domain has no such
    room, and takes none of it."""
    sessions = Sessions(replace(LIMITS, half_open_of_contacts=20))
    sessions.many(sessions.comes, *people(100, "evil.test"))
    assert sessions.limits.half_open == 6
    for name in people(20, "good.test"):
        assert sessions.limits.make_room(name, Standing.CONTACT) is None
        sessions.limits.enter(name, name, Standing.CONTACT)
    with pytest.raises(AdmissionRefused):
        sessions.limits.make_room("user20@good.test/x", Standing.CONTACT)
    assert sessions.limits.make_room("a@other.test/x", Standing.CONTACT) == "user0@good.test/x"
    assert sessions.limits.half_open == 26


def test_all_sessions_are_limited() -> None:
    sessions = Sessions()
    assert sessions.many(sessions.opens, *devices(20), known=True) == 6
    assert sessions.many(sessions.opens, *people(50), known=True) == 24
    assert sessions.many(sessions.opens, *people(50, "b.test"), known=True) == 10
    assert len(sessions.limits) == 40
    sessions.limits.leave("user@evil.test/0")
    assert sessions.many(sessions.opens, "user@evil.test/0", "c@d.test/x", known=True) == 1


def test_strangers_get_half() -> None:
    """However many domains they come from, the other half is for known peers, who may have all of it."""
    sessions = Sessions()
    assert sessions.many(sessions.opens, *(f"a@{i}.test/x" for i in range(100))) == 20
    assert sessions.many(sessions.opens, *people(10, "good.test"), known=True) == 10
    sessions = Sessions(replace(LIMITS, sessions_per_domain=40))
    assert sessions.many(sessions.opens, *people(100, "good.test"), known=True) == 40


def test_the_greediest_domain_gives_up_its_oldest_session() -> None:
    """The domain with most half-open sessions gives one up, if it still has as many as the newcomer's domain afterwards."""
    sessions = Sessions()
    sessions.many(sessions.comes, *people(6), "a@b.test/x", "a@c.test/x")
    assert sessions.limits.half_open == 8
    sessions.comes("a@d.test/x")
    assert sessions.given_up == ["user0@evil.test/x"]
    sessions.many(sessions.comes, *(f"a@{i}.test/x" for i in range(10)))
    assert set(sessions.given_up) == set(people(5))
    assert sessions.limits.half_open == 8


def test_a_flood_from_many_domains_leaves_acquaintances_alone() -> None:
    """Strangers from everywhere take each other's places; an acquaintance gets in, and nobody makes way for it."""
    sessions = Sessions()
    sessions.many(sessions.comes, *(f"a@{i}.test/x" for i in range(100)))
    sessions.comes("bob@good.test/x", known=True)
    assert sessions.given_up == []


def test_a_session_is_counted_once() -> None:
    sessions = Sessions()
    sessions.comes("a@b.test/x")
    for _ in range(2):
        sessions.limits.settle("a@b.test/x")
    for _ in range(2):
        sessions.limits.leave("a@b.test/x")
    sessions.comes("a@b.test/x", known=True)
    sessions.limits.leave("a@b.test/x")
    sessions.limits.settle("never came")
    left = sessions.limits
    assert (len(left), left.half_open, left._accounts, left._domains, left._strangers) == (0, 0, {}, {}, 0)
    assert left._half_domains == {standing: {} for standing in Standing}


def heard(sessions: SessionLimits[str], peers: list[str], now: float = 0.0, *, contact: bool = False) -> int:
    return sum(sessions.within_rate(peer, now, contact=contact) for peer in peers)


def test_the_rates() -> None:
    everybody: SessionLimits[str] = SessionLimits(AdmissionLimits())
    account, domain, first = bounds.REQUEST_RATE_PER_PEER, bounds.REQUEST_RATE_PER_DOMAIN, bounds.FIRST_OF_DOMAIN
    assert heard(everybody, ["user@evil.test/x"] * 1000) == account.burst
    assert heard(everybody, people(1000)) == domain.burst - account.burst
    assert heard(everybody, people(1000, "worse.test")) == domain.burst
    left = bounds.REQUEST_RATE.burst - 2 * (domain.burst - first.burst)
    assert heard(everybody, people(1000, "worst.test")) == left + first.burst
    assert heard(everybody, people(1000, "quiet.test")) == first.burst
    assert heard(everybody, people(2000, "good.test"), contact=True) == bounds.REQUEST_RATE_OF_CONTACTS.burst
    assert heard(everybody, ["bob@better.test/x"] * 1000, contact=True) == account.burst
    assert heard(everybody, people(1000), 5.0) == 5 * domain.per_second


@pytest.mark.parametrize(
    ("limit", "contact", "peers", "left"),
    [
        ("request_rate_per_peer", False, ["user@evil.test/x"] * 20, 5),
        ("request_rate_per_peer", True, ["user@evil.test/x"] * 20, 5),
        ("request_rate_per_domain", False, people(20), 5),
        ("request_rate", False, people(20), 5 + bounds.FIRST_OF_DOMAIN.burst),
        ("request_rate_of_contacts", True, people(20), 5),
    ],
)
def test_each_rate_can_be_changed(limit: str, contact: bool, peers: list[str], left: int) -> None:
    sessions: SessionLimits[str] = SessionLimits(replace(AdmissionLimits(), **{limit: Rate(2, 5)}))
    assert heard(sessions, peers, contact=contact) == left
    assert heard(sessions, peers, 1.0, contact=contact) == 2
