"""What was sent is kept until the peer has acknowledged it; each stanza meets its end once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from slixmpp_e2e.errors import NotSent, NotSentReason, PeerOffline
from slixmpp_e2e.messages import queue_limits
from slixmpp_e2e.sessions.pacing import FIRST_BACKOFF, LAST_BACKOFF
from tests.slixmpp_e2e.env import ALICE, turns
from tests.slixmpp_e2e.messages.fake_sessions import BARE, ONE, TWO, FakeDriver, FakeSessions, message, through
from xmpp_e2e.errors import BytestreamFailed, E2EError, PeerRefused, Timeout, UncleanClose, UntrustedKey
from xmpp_e2e.states import State

CUT, DOUBTED, REFUSED = BytestreamFailed("cut"), UntrustedKey("no"), PeerRefused("no")
AWAY = NotSent("they went offline", NotSentReason.SESSION_CLOSED)
THREE = "bob@localhost/3"


def silent(*peers: str, state: State = State.OPEN) -> tuple[FakeSessions, list[FakeDriver]]:
    """Sessions with these, of whom none acknowledges anything by itself."""
    drivers = [FakeDriver(peer, state=state) for peer in peers]
    for driver in drivers:
        driver.acknowledges = False
    return FakeSessions(*drivers), drivers


async def cut(*bodies: str, error: E2EError = CUT) -> tuple[FakeSessions, FakeDriver]:
    """A session that has ended after these were sent, none of which is acknowledged."""
    fake, [one] = silent(ONE)
    await fake.say(*bodies)
    fake.end(one, error)
    await turns(6)
    return fake, one


async def test_it_is_delivered_when_the_peer_says_so() -> None:
    fake, [one] = silent(ONE)
    await fake.say("0", "1")
    fake.send("2")
    assert fake.recorder.sent == [("0", ONE), ("1", ONE), ("2", ONE)]
    assert fake.recorder.delivered == []
    assert BARE in fake.queue.outstanding
    one.acknowledge(2)
    assert fake.recorder.delivered == [("0", [ONE]), ("1", [ONE])]
    one.acknowledge()
    assert fake.recorder.delivered[2:] == [("2", [ONE])]
    assert fake.is_empty()


@pytest.mark.parametrize("second_has_it", [True, False])
async def test_it_is_delivered_when_it_is_decided_at_all_devices(second_has_it: bool) -> None:
    fake, [one, two] = silent(ONE, TWO)
    await fake.say("0")
    one.acknowledge()
    assert fake.recorder.delivered == []
    if second_has_it:
        two.acknowledge()
    else:
        fake.end(two, DOUBTED)
    assert (fake.recorder.delivered, fake.recorder.failed) == ([("0", [ONE, TWO] if second_has_it else [ONE])], [])
    assert fake.is_empty()


async def test_it_has_failed_when_no_device_has_it() -> None:
    fake, drivers = silent(ONE, TWO)
    await fake.say("0")
    for driver in drivers:
        assert fake.recorder.failed == []
        fake.end(driver, DOUBTED)
    assert (fake.recorder.delivered, fake.recorder.failed) == ([], [("0", DOUBTED)])
    assert fake.is_empty()


@pytest.mark.parametrize("error", [CUT, AWAY, UncleanClose("x"), REFUSED, Timeout("x")])
async def test_the_next_session_sends_again_what_a_broken_path_has_left(error: E2EError) -> None:
    fake, one = await cut("0", "1", error=error)
    [next_one] = fake.offered
    assert next_one.target == one.target
    fake.go_on(one, next_one)
    await turns(6)
    assert next_one.sent == ["0", "1"]
    next_one.acknowledge()
    await turns(6)
    assert (fake.recorder.delivered, fake.recorder.failed) == ([("0", [ONE]), ("1", [ONE])], [])
    assert len(fake.offered) == 1
    assert fake.is_empty()


async def test_an_open_session_under_the_same_key_takes_it_over() -> None:
    fake, [one, three] = silent(ONE, THREE)
    fake.found[BARE] = through(ONE)
    await fake.say("0")
    fake.end(one, CUT)
    await turns(6)
    assert fake.offered == []
    fake.go_on(one, three)
    three.acknowledge()
    await turns(6)
    assert fake.recorder.delivered == [("0", [THREE])]
    assert fake.is_empty()


async def test_two_devices_may_leave_it_to_one_session() -> None:
    fake, [three, one, two] = silent(THREE, ONE, TWO)
    fake.found[BARE] = through(ONE, TWO)
    await fake.say("0")
    for driver in (one, two):
        fake.end(driver, CUT)
        fake.go_on(driver, three)
    three.acknowledge(1)
    await turns(6)
    assert fake.recorder.delivered == []
    three.acknowledge(1)
    await turns(6)
    assert fake.recorder.delivered == [("0", [THREE, THREE])]
    assert fake.is_empty()


@pytest.mark.parametrize("opened", [True, False])
async def test_what_ends_over_trust_is_not_sent_again(opened: bool) -> None:
    fake, [one] = silent(ONE, state=State.OPEN if opened else State.SENT_DONE_EARLY)
    await fake.say("0")
    fake.end(one, DOUBTED)
    await turns(6)
    assert fake.recorder.failed == [("0", DOUBTED)]
    assert not any(stanza.data for stanza in one.core.unacknowledged)
    assert (fake.offered, fake.is_empty()) == ([], True)


@pytest.mark.parametrize(
    ("error", "state", "is_left"),
    [
        (CUT, State.SENT_DONE_EARLY, True),
        (REFUSED, State.SENT_DONE_EARLY, False),
        (Timeout("x"), State.SENT_DONE_EARLY, True),
        (Timeout("x"), State.DONE_SENT, False),
    ],
)
async def test_what_was_sent_early_waits_for_the_path_alone(error: E2EError, state: State, is_left: bool) -> None:
    """A peer who refuses a session that is not open has decided, or leaves it open when asked about a key; the sender hears of
    it at once. One who says nothing at all is suspended."""
    fake, [one] = silent(ONE, state=state)
    await fake.say("0")
    fake.end(one, error)
    await turns(6)
    assert fake.recorder.failed == ([] if is_left else [("0", error)])
    assert len(fake.offered) == is_left


async def test_a_peer_who_gives_up_twice_has_decided() -> None:
    fake, one = await cut("0", error=REFUSED)
    fake.go_on(one, second := fake.offered[0])
    fake.end(second, CUT)  # a path may break again and again
    await turns(6)
    assert fake.recorder.failed == []
    fake.go_on(second, third := fake.offered[1])
    fake.end(third, REFUSED)
    await turns(6)
    assert fake.recorder.failed == [("0", REFUSED)]
    assert (len(fake.offered), fake.is_empty()) == (2, True)


async def test_what_waited_for_an_open_session_waits_for_the_next_one() -> None:
    fake, [one] = silent(ONE)
    one.room = 1
    await fake.say("sent", "waits")
    fake.end(one, CUT)
    await turns(6)
    fake.go_on(one, fake.offered[0])
    await turns(6)
    assert (fake.offered[0].sent, fake.recorder.failed) == (["sent", "waits"], [])


async def test_what_is_not_acknowledged_has_a_deadline() -> None:
    """From the end of its session on; what comes later counts no more."""
    fake, [one] = silent(ONE)
    await fake.say("0")
    fake.loop.advance(250)
    fake.end(one, CUT)
    await turns(6)
    fake.loop.advance(299)
    assert fake.recorder.failed == []
    [offer, *_] = fake.offered
    offer.core.unacknowledged = one.core.unacknowledged  # it was sent again just now
    fake.loop.advance(1)
    assert fake.recorder.kinds == [("0", NotSentReason.UNACKNOWLEDGED)]
    assert "may have arrived" in str(fake.recorder.failed[0][1])
    assert not any(stanza.data for stanza in one.core.unacknowledged)
    offer.acknowledge()
    await turns(6)
    assert (fake.recorder.delivered, len(fake.recorder.failed), fake.is_empty()) == ([], 1, True)


async def test_without_room_it_fails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_limits, "QUEUE_STANZAS", 1)
    fake, one = await cut("0", "1")
    assert fake.recorder.kinds == [("1", NotSentReason.QUEUE_FULL)]
    assert [bool(stanza.data) for stanza in one.core.unacknowledged] == [True, False]


async def test_sessions_that_bring_nothing_are_tried_less_and_less() -> None:
    fake, _ = await cut("0")
    fake.end(fake.offered[-1], REFUSED)
    await turns(6)
    assert len(fake.offered) == 2
    wait = FIRST_BACKOFF
    for _ in range(8):
        before = len(fake.offered)
        fake.end(fake.offered[-1], REFUSED)
        await turns(6)
        fake.loop.advance(wait - 0.5)
        await turns(6)
        assert len(fake.offered) == before
        fake.loop.advance(0.5)
        await turns(6)
        assert len(fake.offered) == before + 1
        wait = min(2 * wait, LAST_BACKOFF)
    assert wait == LAST_BACKOFF


async def test_a_session_that_brings_something_is_followed_at_once() -> None:
    fake, one = await cut("0", "1", "2", "3")
    for _ in range(3):
        fake.go_on(one, fake.offered[-1])
        one = fake.offered[-1]
        one.acknowledge(1)
        await turns(6)
        fake.end(one, CUT)
        await turns(6)
    assert len(fake.offered) == 4
    assert len(fake.recorder.delivered) == 3


async def pausing() -> FakeSessions:
    """It waits before the third session is tried."""
    fake, _ = await cut("0")
    for _ in range(2):
        fake.end(fake.offered[-1], REFUSED)
        await turns(6)
    assert len(fake.offered) == 2
    return fake


async def test_presence_ends_the_wait_and_other_devices_are_tried() -> None:
    """One of them may be the peer's program, started anew."""
    fake = await pausing()
    fake.found[BARE] = through(ONE, TWO)
    fake.queue.on_presence("carol@localhost")
    await turns(6)
    assert len(fake.offered) == 2
    fake.queue.on_presence(BARE)
    await turns(6)
    assert sorted(driver.peer for driver in fake.offered[2:]) == [ONE, TWO]


@pytest.mark.parametrize("why", ["route", "places"])
async def test_presence_that_leads_nowhere_loses_nothing(why: str) -> None:
    fake = await pausing()
    fake.found[BARE] = PeerOffline("away") if why == "route" else through(TWO)
    if why == "places":
        fake.refusal = NotSent("too many", NotSentReason.TOO_MANY_SESSIONS)
    fake.queue.on_presence(BARE)
    await turns(6)
    fake.refusal = None
    fake.loop.advance(LAST_BACKOFF)
    await turns(6)
    assert fake.recorder.failed == []
    assert fake.offered[-1].peer == ONE
    fake.loop.advance(300)
    await turns(6)
    assert fake.recorder.kinds == [("0", NotSentReason.UNACKNOWLEDGED)]
    assert fake.is_empty()


async def test_a_device_for_which_there_is_no_place_keeps_nothing_from_the_others() -> None:
    fake, _ = await cut("0")
    three = FakeDriver(THREE, key=bytes([1]) * 32)
    fake.add(three)
    fake.routes.clear()
    fake.found[BARE] = through(TWO, THREE)
    fake.may_find.clear()
    fake.queue.on_presence(BARE)
    await fake.say("1")
    fake.refusal = NotSent("too many", NotSentReason.TOO_MANY_SESSIONS)
    fake.may_find.set()
    await turns(6)
    assert (three.sent, fake.recorder.delivered, fake.recorder.failed) == (["1"], [("1", [THREE])], [])


@pytest.mark.parametrize("new_jid", ["alice@localhost/new", ALICE, None])
async def test_the_next_stream_goes_on_with_it(new_jid: str | None) -> None:
    """With the full JID that we have by then."""
    fake, [one] = silent(ONE)
    await fake.say("0")
    assert fake.queue.pause() == []
    fake.end(one, CUT)
    await turns(6)
    assert (fake.offered, fake.recorder.failed) == ([], [])
    fake.queue.resume(new_jid)
    await turns(6)
    [offer] = fake.offered
    assert offer.target == (new_jid or ALICE, ONE)
    fake.go_on(one, offer)
    offer.acknowledge()
    await turns(6)
    assert fake.recorder.delivered == [("0", [ONE])]
    assert fake.is_empty()


async def test_what_one_device_has_is_delivered_when_the_stream_is_lost() -> None:
    fake, [one, two] = silent(ONE, TWO)
    two.room = 0
    await fake.say("0")
    one.acknowledge()
    assert fake.recorder.delivered == []
    assert fake.queue.pause() == []
    assert fake.recorder.delivered == [("0", [ONE])]
    assert fake.is_empty()


async def test_what_may_have_arrived_somewhere_is_not_taken_back() -> None:
    """Else the next stream would send it twice."""
    fake, [one, two] = silent(ONE, TWO)
    two.room = 0
    await fake.say("0")
    fake.end(one, DOUBTED)
    assert fake.queue.pause() == []
    assert fake.recorder.failed == [("0", DOUBTED)]
    assert fake.is_empty()


async def test_all_that_is_left_can_be_given_up() -> None:
    fake, one = await cut("0", "1")
    fake.queue.fail_left(AWAY)
    await turns(6)
    assert fake.recorder.failed == [("0", AWAY), ("1", AWAY)]
    assert not any(stanza.data for stanza in one.core.unacknowledged)
    fake.end(fake.offered[0], CUT)
    await turns(6)
    assert fake.is_empty()


def over(fake: FakeSessions) -> Callable[[], None]:
    def unload() -> None:
        fake.queue.pause()
        fake.queue.fail_all(AWAY)

    return unload


@pytest.mark.parametrize("happens", ["trust", "full", "acknowledged", "deadline", "given up"])
async def test_a_handler_may_end_everything(monkeypatch: pytest.MonkeyPatch, happens: str) -> None:
    """Each is told once, and nothing goes on."""
    fake, [one] = silent(ONE)
    if happens == "full":
        monkeypatch.setattr(queue_limits, "QUEUE_STANZAS", 1)
    await fake.say("0", "1", "2")
    fake.recorder.on_failure = fake.recorder.on_delivery = over(fake)
    match happens:
        case "acknowledged":
            one.acknowledge()
        case "trust":
            fake.end(one, DOUBTED)
        case _:
            fake.end(one, CUT)
            if happens == "deadline":
                fake.loop.advance(300)
            elif happens == "given up":
                fake.queue.fail_left(AWAY)
    await turns(6)
    told = [body for body, _ in (*fake.recorder.failed, *fake.recorder.delivered)]
    assert sorted(told) == ["0", "1", "2"]
    assert fake.is_empty()


async def test_a_handler_of_a_delivery_may_send() -> None:
    fake, [one] = silent(ONE)
    await fake.say("0")
    again = ["1"]

    def send_again() -> None:
        if again:
            fake.send(again.pop())

    fake.recorder.on_delivery = send_again
    one.acknowledge()
    await turns(6)
    one.acknowledge()
    assert fake.recorder.delivered == [("0", [ONE]), ("1", [ONE])]
    assert fake.is_empty()


async def test_what_is_put_in_while_there_is_no_stream_leaves_on_the_next() -> None:
    fake, [one] = silent(ONE)
    fake.queue.pause()
    fake.queue.send(message("0"), ALICE, BARE, through(ONE, TWO))
    await turns(6)
    assert one.sent == []
    fake.queue.resume(ALICE)
    await turns(6)
    assert one.sent == ["0"]


async def test_what_waits_follows_a_device_to_its_new_resource() -> None:
    """A program is started anew, and its resource is another one: what waited comes before what is sent since."""
    fake, [one] = silent(ONE)
    one.room = 1
    await fake.say("sent", "waits", "too")
    await fake.say("for that one", to=ONE)
    fake.end(one, AWAY)
    fake.away, fake.found[BARE] = {ONE}, PeerOffline("nobody")
    fake.queue._search._patience = 30.0
    fake.routes.forget(BARE)
    await turns(20)
    await fake.say("later")
    fake.found[BARE] = through(TWO)
    fake.routes.forget(BARE)
    fake.queue.on_presence(BARE)
    await turns(20)
    await fake.say("last")
    two = next(driver for driver in fake.offered if driver.peer == TWO)
    fake.go_on(one, two)
    await turns(20)
    assert two.sent == ["sent", "waits", "too", "later", "last"]
    assert fake.recorder.failed == []
