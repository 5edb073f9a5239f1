"""The schedule that a seed makes."""

from __future__ import annotations

from itertools import pairwise

import pytest

from interop.chaos.faults import FULL, QUIET, SHORT, Fault, Kind, Profile, schedule
from interop.chaos.run import seeds

CLIENTS = ("alice", "bob")
PATHS = {Kind.CUT, Kind.DELAY, Kind.DROP}


def faults(seed: int, profile: Profile, servers: tuple[str, ...] = ("prosody", "ejabberd")) -> list[Fault]:
    """Return the schedule for two federated servers, or as many as there are."""
    return schedule(seed, profile, clients=CLIENTS, servers=servers, links=(*CLIENTS, *servers))


def test_a_seed_reproduces_its_schedule() -> None:
    """And another seed gives another one."""
    assert faults(7, FULL) == faults(7, FULL)
    assert faults(7, FULL) != faults(8, FULL)


@pytest.mark.parametrize("profile", [FULL, SHORT], ids=["full", "short"])
@pytest.mark.parametrize("servers", [(), ("prosody",), ("prosody", "ejabberd")])
def test_every_kind_happens_within_the_time(profile: Profile, servers: tuple[str, ...]) -> None:
    """Each server is suspended, programs fail one at a time, and so do links."""
    for seed in range(200):
        planned = faults(seed, profile, servers)
        of_servers = {Kind.KILL_SERVER, Kind.RESTART_SERVER, Kind.SUSPEND_SERVER}
        assert {fault.kind for fault in planned} == (set(Kind) if servers else set(Kind) - of_servers)
        assert {fault.target for fault in planned if fault.kind is Kind.SUSPEND_SERVER} == set(servers)
        for lane in (PATHS, set(Kind) - PATHS):
            turns = [fault for fault in planned if fault.kind in lane]
            assert all(one.at + one.seconds <= next_one.at for one, next_one in pairwise(turns))
            assert turns[0].at >= 0
            assert turns[-1].at + turns[-1].seconds <= profile.seconds


def test_a_server_stands_still_for_longer_than_a_minute() -> None:
    """In the full profile: that is longer than the deadline of a step."""
    assert all(fault.seconds > 60 for fault in faults(1, FULL) if fault.kind is Kind.SUSPEND_SERVER)


def test_the_quiet_profile_has_no_faults() -> None:
    """It shows what the harness itself breaks."""
    assert faults(1, QUIET) == []


def test_a_fault_says_what_happens() -> None:
    """A line of the output."""
    assert str(Fault(12.34, Kind.CUT, "alice", 2.0, (7, 9))) == "  12.3 s: cut alice after 7, 9 bytes, 2.0 s"
    assert str(Fault(1, Kind.DELAY, "bob", 2.0, delay=0.5)) == "   1.0 s: delay bob by 0.50 s, 2.0 s"
    assert str(Fault(1, Kind.KILL_SERVER, "prosody", 2.0)) == "   1.0 s: kill server prosody, 2.0 s"


def test_faults_that_take_too_long_are_a_mistake() -> None:
    """They would overlap."""
    with pytest.raises(ValueError, match="more than there are"):
        faults(1, Profile(1, 1.0, (9, 9), (9, 9), (9, 9), (9, 9), 1, 1, 1))


def test_seeds_are_one_or_a_range() -> None:
    """As the command takes them."""
    assert seeds("7") == [7]
    assert seeds("1-3") == [1, 2, 3]
