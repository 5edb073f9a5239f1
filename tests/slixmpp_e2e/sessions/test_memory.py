"""What the sessions of a client hold in all: who has which share, and who gives up when it is used up."""

from __future__ import annotations

from slixmpp_e2e.errors import MemoryExceeded
from slixmpp_e2e.sessions.driver import SessionReleased
from slixmpp_e2e.sessions.memory import EVERYBODY, STRANGERS, STRANGERS_PER_DOMAIN, WOKEN, MemoryBudget
from tests.pair import message, talk
from tests.slixmpp_e2e.sessions.test_driver import Clock, Harness
from xmpp_e2e.errors import BytestreamFailed
from xmpp_e2e.states import State
from xmpp_e2e.stream import acks

LIMIT = 1000
FRIEND = "friend@home.test/x"


class Session:
    """As much of a session as counts."""

    def __init__(self, peer: str, memory: int = 0) -> None:
        self.peer, self.memory = peer, memory
        self.ended: list[MemoryExceeded] = []
        self.rooms = 0

    def give_up_memory(self, error: MemoryExceeded) -> None:
        self.ended.append(error)
        self.memory = 0

    def on_room(self) -> None:
        self.rooms += 1


def budget() -> MemoryBudget:
    return MemoryBudget(lambda account: account == "friend@home.test", LIMIT)


def hold(limits: MemoryBudget, peer: str, memory: int) -> Session:
    session = Session(peer, memory)
    limits.enforce(session)
    return session


def test_the_largest_session_of_an_account_gives_up() -> None:
    limits = budget()
    small, large = hold(limits, "bob@a.test/1", 300), hold(limits, "bob@a.test/2", 600)
    other = hold(limits, "carol@a.test/1", 900)
    assert not large.ended
    last = hold(limits, "bob@a.test/3", 200)
    assert [len(each.ended) for each in (small, large, last, other)] == [0, 1, 0, 0]
    assert "1100 bytes were held for bob@a.test; the limit is 1000" in str(large.ended[0])
    assert limits.used == 1400


def test_as_many_as_it_takes() -> None:
    limits = budget()
    sessions = [hold(limits, f"bob@a.test/{number}", 100) for number in range(10)]
    last = hold(limits, "bob@a.test/last", 950)
    assert last.ended
    assert not any(session.ended for session in sessions)
    sessions[0].memory = 250
    limits.enforce(sessions[0])
    assert sessions[0].ended
    assert limits.used == 900


def test_one_domain_does_not_take_what_other_strangers_have() -> None:
    limits = budget()
    others = [hold(limits, f"x@{number}.test/x", 900) for number in range(STRANGERS - STRANGERS_PER_DOMAIN)]
    flood = [hold(limits, f"user{number}@evil.test/x", 500) for number in range(4 * STRANGERS_PER_DOMAIN)]
    assert sum(not session.ended for session in flood) == 2 * STRANGERS_PER_DOMAIN
    assert not any(session.ended for session in others)


def test_strangers_do_not_take_what_contacts_have() -> None:
    """However many domains they have; and the account that holds most gives up, not the newest."""
    limits = budget()
    largest = hold(limits, "greedy@evil0.test/x", 990)
    flood = [hold(limits, f"user@evil{number}.test/x", 500) for number in range(1, 4 * STRANGERS)]
    assert largest.ended
    assert limits.used <= STRANGERS * LIMIT <= EVERYBODY * LIMIT // 2
    friend = hold(limits, FRIEND, LIMIT)
    assert not friend.ended
    assert sum(not session.ended for session in flood) == 2 * STRANGERS


def test_nothing_stays_of_what_is_over() -> None:
    limits = budget()
    session, other = hold(limits, "bob@a.test/1", 900), Session("bob@a.test/2")
    assert not limits.has_room(other)
    for each in (session, other):
        each.memory = 0
        limits.remove(each)
    assert limits.used == 0
    assert not any((limits._held, limits._shares, limits._used, limits._waiting))


def test_what_we_send_leaves_half_to_what_comes() -> None:
    limits = budget()
    session = hold(limits, FRIEND, LIMIT // 2)
    assert limits.has_room(session)
    session.memory += 1
    limits.update(session)
    assert not limits.has_room(session)
    assert not limits.has_room(Session("friend@home.test/y"))
    assert limits.has_room(Session("bob@a.test/x"))


def test_it_is_told_when_there_is_room_again() -> None:
    """To some at a time; those that found none before them come first."""
    limits = budget()
    full = hold(limits, "bob@a.test/full", 900)
    waiting = [Session(f"bob@a.test/{number}") for number in range(WOKEN + 1)]
    assert not any(map(limits.has_room, waiting))
    for left, told in ((800, 0), (400, WOKEN), (300, WOKEN + 1), (200, WOKEN + 1)):
        full.memory = left
        limits.update(full)
        assert sum(session.rooms for session in waiting) == told
    assert all(session.rooms == 1 for session in waiting)


def two(limits: MemoryBudget) -> tuple[Harness, Harness]:
    clock = Clock()
    first, second = Harness(clock), Harness(clock)
    for harness in (first, second):
        harness.driver._budget = limits
        harness.open()
        harness.silent = True
    return first, second


async def test_a_session_waits_until_the_others_of_its_account_have_moved() -> None:
    """What we send to a peer who does not read waits, or fails, where it came from; it does not grow here."""
    first, second = two(MemoryBudget(lambda account: True, 100_000))
    sent = 0
    while first.driver.send(message("x" * 5000)):
        sent += 1
    assert sent == 10
    assert not second.driver.send(message("hello"))
    room = first.loop.create_future()
    second.driver.notify_writable(room)
    first.loop.pass_time(0)
    assert not room.done()
    while first.line.unanswered:
        first.line.unanswered.pop(0)()
        first.loop.pass_time(0)
    assert not room.done()  # it has left, and counts until the peer has acknowledged it
    talk(first.driver.core).management.receive(acks.build_answer(sent), 0.0)
    first.driver.process()
    first.loop.pass_time(0)
    assert room.done()
    assert second.driver.send(message("hello"))
    assert first.driver.memory == 0


async def test_a_session_that_gives_up_says_why() -> None:
    """It ends as others do, and its peer is told that it ends."""
    limits = MemoryBudget(lambda account: True, 100_000)
    first, second = two(limits)
    first.driver.send(message("x" * 40_000))
    second.driver.owed_memory = 70_000
    second.driver.process()
    first.loop.pass_time(0)
    assert isinstance(second.failure, MemoryExceeded)
    assert "for bob@b.test" in str(second.failure)
    assert first.driver.is_open
    assert 40_000 < limits.used < 41_000
    assert second.driver.memory > 0
    assert not second.driver._released


async def test_what_still_waits_of_a_session_that_has_ended_is_given_up() -> None:
    """A peer who answers nothing is not told either, if there is no memory for it."""
    limits = MemoryBudget(lambda account: True, 100_000)
    first, second = two(limits)
    first.driver.send(message("x" * 45_000))
    first.loop.pass_time(0)
    first.driver.abort(BytestreamFailed("the end"))
    first.loop.pass_time(0)
    assert first.driver.state is State.CLOSED
    assert limits.used == first.driver.memory > 90_000  # not acknowledged, and in TLS records
    second.driver.owed_memory = 40_000
    second.driver.process()
    first.loop.pass_time(0)
    assert second.driver.is_open
    assert limits.used == second.driver.memory
    assert first.driver._released
    assert sum(isinstance(event, SessionReleased) for event in first.heard) == 1
    assert list(limits._shares) == [second.driver]


async def test_a_session_that_holds_too_much_even_when_it_ends_is_over_at_once() -> None:
    """Its user hears why all the same."""
    limits = MemoryBudget(lambda account: True, 100_000)
    first, second = two(limits)
    first.driver.send(message("x" * 90_000))
    first.loop.pass_time(0)
    second.driver.owed_memory = 40_000
    second.driver.process()
    first.loop.pass_time(0)
    assert isinstance(first.failure, MemoryExceeded)
    assert first.driver._released
    assert limits.used == second.driver.memory == 40_000
