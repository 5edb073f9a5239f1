"""Who may open a session now, and when again."""

from __future__ import annotations

from typing import Any

import pytest

from slixmpp_e2e.sessions.pacing import FAILING, FIRST_BACKOFF, LAST_BACKOFF, Pacing
from tests.slixmpp_e2e.env import ALICE, BOB
from tests.slixmpp_e2e.messages.fake_sessions import FakeDriver, FakeLoop
from xmpp_e2e.errors import BytestreamFailed, E2EError, LocalError, PeerBusy, PeerRefused, SessionCancelled, Timeout
from xmpp_e2e.states import State

HOLD = 300.0
TARGET = (ALICE, BOB)
BUSY, AWAY = PeerBusy("try again"), BytestreamFailed("remote-server-timeout")
AWAY.may_pass = True


class Offers:
    """A pacing on a clock that the test turns, and the offers that were made."""

    def __init__(self) -> None:
        self.loop: Any = FakeLoop()
        self.pacing = Pacing(lambda: self.loop, seconds=HOLD)
        self.made: list[FakeDriver] = []

    def open(self, peer: str = BOB) -> FakeDriver:
        driver = FakeDriver(peer, state=State.IDLE)
        self.pacing.open(driver, lambda: self.made.append(driver))
        return driver

    def wait_for(self, driver: FakeDriver) -> float:
        """Return how long it takes until a session makes its offer."""
        began = self.loop.time()
        while driver not in self.made:
            self.loop.advance(0.1)
        waited: float = self.loop.time() - began
        return waited


@pytest.fixture
async def offers() -> Offers:
    return Offers()


async def test_who_was_never_refused_is_offered_a_session_at_once(offers: Offers) -> None:
    driver = offers.open()
    assert offers.made == [driver]
    assert not offers.pacing.is_in_line(driver)


@pytest.mark.parametrize("error", [BUSY, AWAY])
async def test_what_may_pass_is_tried_again_for_as_long_as_stanzas_wait(offers: Offers, error: E2EError) -> None:
    """After a second or so, then after twice as long, and so on, up to half a minute; each time at another moment."""
    began, waits = offers.loop.time(), []
    while offers.pacing.may_retry(TARGET, error):
        offers.pacing.note_failure(TARGET, error, again=True)
        waits.append(offers.wait_for(offers.open()))
    assert HOLD - 2 * LAST_BACKOFF < offers.loop.time() - began < HOLD + LAST_BACKOFF
    assert 10 <= len(waits) <= 25
    for number, waited in enumerate(waits):
        usual = min(FIRST_BACKOFF * 2**number, LAST_BACKOFF)
        assert usual / 2 - 0.1 <= waited <= usual * 1.5 + 0.1
    offers.pacing.note_failure(TARGET, error)
    offers.wait_for(offers.open())
    assert offers.pacing.may_retry(TARGET, error), "what is sent now may wait as long again"


@pytest.mark.parametrize(
    "error", [PeerRefused("no"), Timeout("late"), SessionCancelled("closed"), LocalError("full"), BytestreamFailed("refused")]
)
async def test_what_does_not_pass_is_told(offers: Offers, error: E2EError) -> None:
    assert not offers.pacing.may_retry(TARGET, error)


async def test_one_message_after_another_to_who_refuses_makes_no_flood(offers: Offers) -> None:
    """A server restarts, and the program goes on writing, five times a second."""
    for _ in range(5 * 60):
        driver = offers.open()
        if driver in offers.made:
            offers.pacing.note_failure(TARGET, PeerRefused("service-unavailable"))
        else:
            offers.wait_for(driver)
            offers.pacing.note_failure(TARGET, PeerRefused("service-unavailable"))
        offers.loop.advance(0.2)
        if offers.loop.time() > 60:
            break
    assert 5 <= len(offers.made) <= 10


async def test_the_first_message_after_one_failure_is_tried_at_once(offers: Offers) -> None:
    offers.pacing.note_failure(TARGET, PeerRefused("service-unavailable"))
    assert offers.open() in offers.made


@pytest.mark.parametrize("cure", ["success", "news", "stream"])
async def test_what_puts_an_end_to_the_waiting(offers: Offers, cure: str) -> None:
    for _ in range(9):
        offers.pacing.note_failure(TARGET, PeerRefused("service-unavailable"))
    waiting, other = offers.open(), offers.open("carol@localhost/c")
    assert offers.made == [other]
    assert not offers.pacing.is_in_line(waiting), "it waits for the peer"
    if cure == "news":
        offers.pacing.forget("carol@localhost")
        assert offers.made == [other]
        offers.pacing.forget("bob@localhost")
        assert offers.made == [other, waiting]
        return
    offers.pacing.remove(waiting)
    offers.loop.advance(LAST_BACKOFF * 2)
    assert offers.made == [other], "it is over"
    if cure == "success":
        offers.pacing.note_success(TARGET)
    else:
        offers.pacing.clear()
    assert offers.open() in offers.made


async def test_one_offer_after_another_and_contacts_first() -> None:
    """The next one follows when the last has left us, or is over."""
    offers = Offers()
    offers.pacing = Pacing(lambda: offers.loop, lambda account: account.startswith("contact"), seconds=HOLD, takes_turns=True)
    first, second, third = (offers.open(f"user{number}@b.test/x") for number in range(3))
    contact = offers.open("contact@b.test/x")
    assert offers.made == [first]
    assert all(offers.pacing.is_in_line(driver) for driver in (first, second, third, contact))
    offers.pacing.has_left(second)
    assert offers.made == [first], "that was not its offer"
    offers.pacing.has_left(first)
    assert offers.made == [first, contact]
    assert not offers.pacing.is_in_line(first)
    second.core.state = State.CLOSED
    offers.pacing.remove(contact)
    assert offers.made == [first, contact, third]
    offers.pacing.remove(third)
    assert offers.open() in offers.made


async def test_our_own_doing_puts_nothing_off(offers: Offers) -> None:
    for _ in range(9):
        offers.pacing.note_failure(TARGET, SessionCancelled("the program has closed it"))
    assert offers.open() in offers.made


async def test_not_everybody_who_refused_is_remembered(offers: Offers) -> None:
    for number in range(FAILING + 10):
        offers.pacing.note_failure((ALICE, f"u{number}@b.test/x"), PeerRefused("no"))
    assert len(offers.pacing._failing) == FAILING
