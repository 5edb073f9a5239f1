"""What waits for a route or a session: in order, bounded, as it was when it was sent, and never in plaintext."""

from __future__ import annotations

import asyncio

import pytest
from slixmpp.xmlstream.stanzabase import StanzaBase

from slixmpp_e2e.alarms import reason_of
from slixmpp_e2e.errors import NotSent, NotSentReason, PeerOffline
from slixmpp_e2e.messages import queue_limits, routing
from slixmpp_e2e.messages.owed import EndedSession
from slixmpp_e2e.messages.routing import Route
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, ask, jingle, refused, turns, until
from tests.slixmpp_e2e.messages.fake_sessions import (
    BARE,
    CAROL,
    LARGE,
    ONE,
    PLAINTEXT,
    TWO,
    FakeDriver,
    FakeSessions,
    message,
    through,
)
from xmpp_e2e.errors import E2EError, InvalidStanza, PeerRefused, UntrustedKey
from xmpp_e2e.states import State
from xmpp_e2e.stream import writer

SIZE = len(writer.element(message("0", BARE).xml))
"""Of a message with one letter."""
REFUSED, DOUBTED = PeerRefused("no"), UntrustedKey("no")


async def test_a_route_is_sought_once_and_then_known() -> None:
    fake = FakeSessions(one := FakeDriver(ONE))
    fake.send("0")
    await fake.say("1")
    assert (one.sent, fake.sought) == (["0", "1"], [BARE])
    fake.send("2")
    assert (one.sent, fake.sought) == (["0", "1", "2"], [BARE])
    await turns()
    assert fake.is_empty()


async def test_every_device_has_each_stanza_and_the_route_stays_known() -> None:
    fake = FakeSessions(one := FakeDriver(ONE), two := FakeDriver(TWO))
    await fake.say("0", "1")
    assert (one.sent, two.sent, fake.sought) == (["0", "1"], ["0", "1"], [BARE])
    assert fake.is_empty()


async def test_plaintext_goes_on_its_way_once_a_route_says_so() -> None:
    fake = FakeSessions()
    await fake.say("hello", to=CAROL)
    fake.loop.advance(300)
    assert (fake.recorder.plaintext, fake.recorder.failed) == (["hello"], [])
    assert fake.routes.known[ALICE, CAROL] is PLAINTEXT
    assert fake.is_empty()


async def test_the_routes_of_one_account_are_forgotten_and_nobody_elses() -> None:
    fake = FakeSessions(FakeDriver(ONE))
    fake.found[ONE] = through(ONE)
    for address in (BARE, ONE, CAROL):
        await fake.say("x", to=address)
    assert fake.routes.accounts() == {BARE, CAROL}
    fake.routes.forget(BARE)
    assert list(fake.routes.known) == [(ALICE, CAROL)]


async def test_a_route_that_is_forgotten_while_it_is_sought_is_sought_again() -> None:
    fake = FakeSessions(one := FakeDriver(ONE))
    fake.may_find.clear()
    fake.found[BARE], found = PLAINTEXT, fake.found[BARE]
    await fake.say("x")
    await fake.say("y", to=CAROL)
    assert fake.routes.accounts() == {BARE, CAROL}
    fake.found[BARE] = found
    fake.routes.forget(BARE)
    fake.may_find.set()
    await turns(6)
    assert sorted(fake.sought) == [BARE, BARE, CAROL]
    assert (one.sent, fake.recorder.plaintext) == (["x"], ["y"])
    assert fake.is_empty()


async def test_what_waits_for_a_session_that_ends_fails_with_it() -> None:
    fake = FakeSessions(one := FakeDriver(ONE, room=0))
    fake.found[ONE] = through(ONE)
    await fake.say("x", to=ONE)
    one.give_room()
    one.close()
    await turns(6)
    assert (fake.offered, fake.recorder.failed) == ([], [])
    fake.end(one, DOUBTED)
    await turns(6)
    assert (fake.offered, fake.recorder.failed, one.sent) == ([], [("x", DOUBTED)], [])
    assert fake.is_empty()


@pytest.mark.parametrize(
    ("breaks", "told"), [(PeerOffline("away"), PeerOffline), (ZeroDivisionError(), NotSentReason.ROUTE_UNKNOWN)]
)
async def test_a_search_that_fails_is_told_and_the_next_one_begins_anew(
    breaks: Exception, told: type[E2EError] | NotSentReason
) -> None:
    fake = FakeSessions(one := FakeDriver(ONE))
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    fake.found[BARE], found = breaks, fake.found[BARE]
    fake.may_find.clear()
    await fake.say("x", "y")
    fake.routes.forget(BARE)
    fake.may_find.set()
    await turns(6)
    assert fake.recorder.kinds == [("x", told), ("y", told)]
    assert fake.is_empty()
    assert not fake.routes.accounts()
    fake.found[BARE] = found
    sought = len(fake.sought)
    await fake.say("z")
    assert (one.sent, len(fake.sought)) == (["z"], sought + 1)


async def test_what_breaks_with_one_stanza_loses_no_other() -> None:
    fake = FakeSessions()
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    fake.recorder.is_broken = True
    for body in ("one", "two", "three"):
        fake.send(body, CAROL)
    await turns(6)
    assert fake.recorder.kinds == [("two", NotSentReason.ROUTE_UNKNOWN), ("three", NotSentReason.ROUTE_UNKNOWN)]
    assert fake.is_empty()


async def test_known_routes_and_unreachable_devices_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "ROUTES", 2)
    fake = FakeSessions()
    names = [f"{number}@localhost" for number in range(3)]
    for name in names:
        await fake.say("x", to=name)
    assert list(fake.routes.known) == [(ALICE, name) for name in names[1:]]
    three = "bob@localhost/3"
    for peer in (ONE, TWO, ONE, three):
        fake.routes.mark_unreachable((ALICE, peer))
    targets = [(ALICE, peer) for peer in (ONE, TWO, three)]
    assert fake.routes.reachable(targets) == [(ALICE, TWO)]


async def test_an_unreachable_device_is_left_out_for_a_while_if_there_are_others() -> None:
    """Then it is tried again, as it is when something has changed about its account, or when nobody else is left."""
    fake = FakeSessions(one := FakeDriver(ONE), two := FakeDriver(TWO))
    fake.routes.mark_unreachable((ALICE, ONE))
    await fake.say("0")
    fake.loop.advance(routing.UNREACHABLE_BACKOFF - 1)
    await fake.say("1")
    assert (one.sent, two.sent) == ([], ["0", "1"])
    fake.loop.advance(1)
    await fake.say("2")
    fake.routes.mark_unreachable((ALICE, ONE))
    fake.routes.forget(BARE)
    await fake.say("3")
    for peer in (ONE, TWO):
        fake.routes.mark_unreachable((ALICE, peer))
    await fake.say("4")
    assert (one.sent, two.sent) == (["2", "3", "4"], ["0", "1", "2", "3", "4"])


async def test_a_device_whose_session_failed_is_left_out_and_one_whose_session_ended_is_not() -> None:
    for fails in (True, False):
        fake = FakeSessions(two := FakeDriver(TWO), one := FakeDriver(ONE, state=State.DONE_SENT if fails else State.OPEN))
        fake.end(one, REFUSED)
        await fake.say("x")
        assert two.sent == ["x"]
        assert len(fake.offered) == (0 if fails else 1)


async def test_the_routes_to_a_device_that_is_gone_are_forgotten() -> None:
    fake = FakeSessions(one := FakeDriver(ONE), two := FakeDriver(TWO))
    fake.found |= {ONE: through(ONE), BARE: through(ONE)}
    for address in (ONE, BARE):
        await fake.say("x", to=address)
    fake.end(two, DOUBTED)
    assert len(fake.routes.known) == 2
    fake.end(one, DOUBTED)
    assert len(fake.routes.known) == 0


async def test_without_room_stanzas_wait_in_order() -> None:
    fake = FakeSessions(one := FakeDriver(ONE, room=1))
    await fake.say("0", "1", "2", "3")
    assert one.sent == ["0"]
    one.give_room(2)
    await turns(6)
    assert one.sent == ["0", "1", "2"]
    one.give_room()
    fake.send("4")
    assert one.sent == ["0", "1", "2"]
    await turns(6)
    assert one.sent == ["0", "1", "2", "3", "4"]
    assert fake.is_empty()


async def test_a_session_is_offered_and_has_what_was_sent_as_it_was() -> None:
    fake = FakeSessions()
    fake.found[BARE] = through(ONE)
    stanza = message("original")
    fake.queue.send(stanza, ALICE, BARE, None)
    await turns(6)
    [driver] = fake.offered
    assert driver.sent == []
    stanza["body"] = "changed"
    fake.open(driver)
    await turns(6)
    assert driver.sent == ["original"]
    assert fake.is_empty()


async def test_what_xml_cannot_carry_is_reported_at_once_and_no_session_is_offered() -> None:
    fake = FakeSessions()
    fake.send("a\0b")
    assert fake.recorder.kinds == [("a\0b", InvalidStanza)]
    assert (fake.sought, fake.offered) == ([], [])
    assert fake.is_empty()


async def test_what_an_open_session_refuses_is_reported_at_once() -> None:
    fake = FakeSessions(one := FakeDriver(ONE))
    await fake.say("0", LARGE, "1")
    assert fake.recorder.kinds == [(LARGE, InvalidStanza)]
    assert (one.sent, fake.sought) == (["0", "1"], [BARE])
    assert fake.is_empty()


async def test_an_offer_that_gives_way_leaves_all_to_the_peers_own() -> None:
    fake = FakeSessions()
    fake.found[BARE] = through(ONE)
    await fake.say("x")
    fake.discard(fake.offered[0])
    fake.add(theirs := FakeDriver(ONE, state=State.DONE_SENT))
    await turns(6)
    assert (theirs.sent, len(fake.offered)) == (["x"], 1)
    fake.open(theirs)
    await turns(1)
    assert fake.recorder.failed == []
    assert fake.is_empty()


async def test_no_session_can_be_offered() -> None:
    fake = FakeSessions()
    fake.found[ONE] = through(ONE)
    fake.refusal = error = NotSent("too many", NotSentReason.TOO_MANY_SESSIONS)
    await fake.say("0", "1", to=ONE)
    assert fake.recorder.failed == [("0", error), ("1", error)]
    assert fake.is_empty()


@pytest.mark.parametrize("opens", [True, False])
async def test_an_early_stanza_counts_as_sent_if_the_session_opens_and_as_lost_if_it_fails(opens: bool) -> None:
    fake = FakeSessions(one := FakeDriver(ONE, state=State.SENT_DONE_EARLY))
    await fake.say("0", "1")
    assert one.sent == ["0", "1"]
    fake.loop.advance(300)
    assert fake.recorder.failed == []
    if opens:
        fake.open(one)
        await turns(1)
    fake.end(one, error := PeerRefused("no"))
    await turns(6)
    assert fake.recorder.failed == ([] if opens else [("0", error), ("1", error)])
    assert (fake.sought, one.sent) == ([BARE], ["0", "1"])
    assert fake.is_empty()


async def test_an_early_stanza_is_lost_if_the_session_opens_and_ends_in_one_turn() -> None:
    """The peer, who ended it at once, may not have delivered it."""
    fake = FakeSessions(one := FakeDriver(ONE, state=State.SENT_DONE_EARLY))
    one.acknowledges = False
    await fake.say("0")
    fake.open(one)
    fake.end(one, error := UntrustedKey("no"))
    await turns(6)
    assert fake.recorder.failed == [("0", error)]
    assert fake.is_empty()


async def test_what_waits_for_a_device_that_fails_goes_to_another_that_has_come_since() -> None:
    fake = FakeSessions(one := FakeDriver(ONE, room=0))
    await fake.say("hello")
    fake.add(two := FakeDriver(TWO))
    fake.found[BARE] = through(ONE, TWO)
    fake.end(one, DOUBTED)
    await turns(6)
    assert (two.sent, fake.sought, fake.recorder.failed) == (["hello"], [BARE, BARE], [])
    assert fake.offered == []
    assert fake.is_empty()


@pytest.mark.parametrize("then", [PeerOffline("away"), PLAINTEXT, through(ONE)], ids=["nobody", "plaintext", "the same"])
@pytest.mark.parametrize("address", [BARE, ONE])
async def test_a_session_that_fails_never_falls_back_to_plaintext(then: Route | E2EError, address: str) -> None:
    fake = FakeSessions(one := FakeDriver(ONE, room=0))
    fake.found[ONE] = through(ONE)
    await fake.say("hello", to=address)
    fake.found[address] = then
    fake.end(one, error := UntrustedKey("no"))
    await turns(6)
    assert (fake.recorder.failed, fake.recorder.plaintext, fake.offered) == ([("hello", error)], [], [])
    assert fake.sought == [address] * (2 if address == BARE else 1)
    assert fake.is_empty()


@pytest.mark.parametrize("state", ["sent", "early", "waits"])
async def test_what_another_device_has_or_may_get_is_not_sought_elsewhere_and_no_failure(state: str) -> None:
    first = FakeDriver(ONE, state=State.SENT_DONE_EARLY if state == "early" else State.OPEN, room=0 if state == "waits" else 1)
    fake = FakeSessions(first, second := FakeDriver(TWO, room=0))
    await fake.say("hello")
    fake.end(second, DOUBTED)
    await turns(6)
    assert (fake.sought, fake.recorder.failed) == ([BARE], [])
    first.give_room()
    fake.open(first)
    await turns(6)
    fake.end(first, DOUBTED)
    assert (first.sent, fake.recorder.failed) == (["hello"], [])
    assert fake.is_empty()


@pytest.mark.parametrize("early_first", [True, False])
async def test_what_went_early_to_one_device_and_to_no_other_is_reported_once(early_first: bool) -> None:
    fake = FakeSessions(one := FakeDriver(ONE, state=State.SENT_DONE_EARLY), two := FakeDriver(TWO, room=0))
    await fake.say("hello")
    for driver in (one, two) if early_first else (two, one):
        assert fake.recorder.failed == []
        fake.end(driver, error := UntrustedKey(driver.peer))
    await turns(6)
    assert (fake.recorder.failed, fake.sought) == ([("hello", error)], [BARE])
    assert fake.is_empty()


async def test_an_answer_goes_through_its_session_behind_what_waits_there() -> None:
    fake = FakeSessions(one := FakeDriver(ONE, room=1))
    fake.found[ONE] = through(ONE)
    fake.queue.reply(message("0"), one)
    assert one.sent == ["0"]
    fake.queue.reply(message("1"), one)
    await fake.say("2", to=ONE)
    one.give_room()
    fake.queue.reply(message("3"), one)
    await turns(6)
    assert one.sent == ["0", "1", "2", "3"]
    one.close()
    fake.queue.reply(message("4"), one)
    assert fake.recorder.kinds == [("4", NotSentReason.SESSION_CLOSED)]
    fake.end(one)
    fake.queue.reply(message("5"), EndedSession(one.target, one.key))
    await turns(6)
    fake.open(fake.offered[0])
    await turns(6)
    assert fake.offered[0].sent == ["5"]
    assert fake.is_empty()


async def test_an_answer_that_waited_does_not_move_to_another_key() -> None:
    fake = FakeSessions(one := FakeDriver(ONE, room=0))
    fake.found[ONE] = through(ONE)
    fake.queue.reply(message("answer"), one)
    await fake.say("message", to=ONE)
    one.close()
    fake.end(one)
    fake.add(newer := FakeDriver(ONE, key=bytes([1]) * 32))
    await turns(6)
    assert newer.sent == ["message"]
    assert fake.recorder.kinds == [("answer", NotSentReason.SESSION_CLOSED)]
    assert fake.is_empty()


async def test_an_answer_dies_with_its_session() -> None:
    fake = FakeSessions(one := FakeDriver(ONE, room=0), FakeDriver(TWO))
    fake.queue.reply(message("answer"), one)
    fake.end(one, DOUBTED)
    await turns(6)
    assert fake.recorder.kinds == [("answer", UntrustedKey)]
    assert (fake.offered, fake.sought) == ([], [])
    assert fake.is_empty()


async def test_an_answer_for_which_there_is_no_room_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_limits, "QUEUE_STANZAS", 1)
    fake = FakeSessions(one := FakeDriver(ONE, room=0))
    for body in ("0", "1"):
        fake.queue.reply(message(body), one)
    assert fake.recorder.kinds == [("1", NotSentReason.QUEUE_FULL)]


@pytest.mark.parametrize(("stanzas", "size"), [(2, 10_000), (4096, 2 * SIZE)], ids=["number", "bytes"])
async def test_so_much_may_wait_for_one_account(monkeypatch: pytest.MonkeyPatch, stanzas: int, size: int) -> None:
    monkeypatch.setattr(queue_limits, "QUEUE_STANZAS", stanzas)
    fake = FakeSessions(one := FakeDriver(ONE, room=0), max_bytes=size)
    await fake.say("0", "1", "2")
    assert fake.recorder.kinds == [("2", NotSentReason.QUEUE_FULL)]
    one.give_room(2)
    await turns(6)
    await fake.say("3", "4")
    assert len(fake.recorder.failed) == 1


@pytest.mark.parametrize(("stanzas", "size"), [(1, 10_000), (4096, SIZE)], ids=["number", "bytes"])
async def test_eight_times_as_much_may_wait_in_all(monkeypatch: pytest.MonkeyPatch, stanzas: int, size: int) -> None:
    monkeypatch.setattr(queue_limits, "QUEUE_STANZAS", stanzas)
    fake = FakeSessions(max_bytes=size)
    fake.may_find.clear()
    for number in range(10):
        await fake.say(str(number), to=f"{number}ob@localhost")
    assert fake.recorder.kinds == [(body, NotSentReason.QUEUE_FULL) for body in "89"]
    fake.queue.pause()
    assert fake.is_empty()


@pytest.mark.parametrize(
    ("addresses", "fit"),
    [
        ([f"stranger@a.example/{number}" for number in range(10)], 1),
        ([f"stranger{number}@a.example/x" for number in range(10)], 2),
        ([f"stranger@{number}.example" for number in range(10)], 4),
    ],
    ids=["resources", "accounts", "domains"],
)
@pytest.mark.parametrize("by_bytes", [False, True], ids=["number", "bytes"])
async def test_strangers_leave_room_for_contacts(
    monkeypatch: pytest.MonkeyPatch, addresses: list[str], fit: int, *, by_bytes: bool
) -> None:
    """Resources count as their account, accounts as their domain; all strangers together have half."""
    size = len(writer.element(message("0", addresses[0]).xml))
    monkeypatch.setattr(queue_limits, "QUEUE_STANZAS", 4096 if by_bytes else 1)
    fake = FakeSessions(max_bytes=size if by_bytes else 10_000)
    fake.may_find.clear()
    for address in addresses:
        await fake.say("0", to=address)
    assert fake.recorder.kinds == [("0", NotSentReason.QUEUE_FULL)] * (10 - fit)
    for number in range(4):
        await fake.say("1", to=f"{number}ob@a.example")
    assert len(fake.recorder.failed) == 10 - fit
    fake.queue.pause()
    assert fake.is_empty()


async def test_a_device_that_does_not_open_keeps_nothing_from_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """When there is no room for what follows, it loses the oldest that another device of the account has."""
    monkeypatch.setattr(queue_limits, "QUEUE_STANZAS", 3)
    fake = FakeSessions(one := FakeDriver(ONE), two := FakeDriver(TWO, room=0))
    await fake.say("0", "1", "2", "3", "4")
    assert (one.sent, fake.recorder.failed) == (["0", "1", "2", "3", "4"], [])
    two.give_room()
    await turns(6)
    assert two.sent == ["2", "3", "4"]
    assert fake.is_empty()


async def test_nothing_is_lost_for_another_account_or_another_own_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_limits, "QUEUE_STANZAS", 1)
    other, dave = "other@localhost/o", "dave@localhost"
    drivers = [FakeDriver(ONE), FakeDriver(TWO, room=0), FakeDriver(f"{dave}/1", room=0)]
    fake = FakeSessions(*drivers, here := FakeDriver(ONE, room=0, own_jid=other))
    fake.found |= {BARE: through(ONE, TWO), dave: through(f"{dave}/1")}
    await fake.say("bob")
    await fake.say("dave", "more", to=dave)
    fake.found[BARE] = through(ONE, own_jid=other)
    await fake.say("elsewhere", own_jid=other)
    assert fake.recorder.kinds == [("more", NotSentReason.QUEUE_FULL), ("elsewhere", NotSentReason.QUEUE_FULL)]
    for driver in drivers:
        driver.give_room()
    await turns(6)
    assert [driver.sent for driver in (*drivers, here)] == [["bob"], ["bob"], ["dave"], []]


async def test_nothing_waits_longer_than_its_deadline() -> None:
    fake = FakeSessions(one := FakeDriver(ONE, room=0))
    await fake.say("session")
    fake.may_find.clear()
    fake.routes.forget(BARE)
    await fake.say("route")
    fake.loop.advance(200)
    await fake.say("younger")
    fake.loop.advance(100)
    assert fake.recorder.kinds == [("session", NotSentReason.QUEUED_TOO_LONG), ("route", NotSentReason.QUEUED_TOO_LONG)]
    fake.may_find.set()
    one.give_room()
    await turns(6)
    assert (one.sent, len(fake.recorder.failed)) == (["younger"], 2)
    assert fake.is_empty()


async def test_the_deadline_of_what_has_failed_already_tells_why_it_failed() -> None:
    fake = FakeSessions(one := FakeDriver(ONE, room=0))
    await fake.say("hello")
    fake.may_find.clear()
    fake.end(one, error := UntrustedKey("no"))
    fake.loop.advance(300)
    assert fake.recorder.failed == [("hello", error)]
    fake.may_find.set()
    await turns(6)
    assert fake.is_empty()


async def test_what_one_device_has_is_no_failure_at_the_deadline() -> None:
    fake = FakeSessions(FakeDriver(ONE), two := FakeDriver(TWO, room=0))
    await fake.say("hello")
    fake.loop.advance(300)
    two.give_room()
    await turns(6)
    assert (two.sent, fake.recorder.failed) == ([], [])
    assert fake.is_empty()


async def test_a_lost_stream_leaves_what_has_gone_nowhere() -> None:
    fake = FakeSessions(one := FakeDriver(ONE), FakeDriver(TWO, room=0))
    await fake.say("sent")
    one.room = 0
    await fake.say("waits")
    fake.may_find.clear()
    fake.routes.forget(BARE)
    await fake.say("sought")
    fake.routes.known[ALICE, CAROL] = PLAINTEXT
    assert [stanza["body"] for stanza in fake.queue.pause()] == ["waits", "sought"]
    assert fake.is_empty()
    fake.may_find.set()
    one.give_room()
    await turns(6)
    fake.loop.advance(300)
    assert (one.sent, fake.recorder.failed) == (["sent"], [])
    assert not fake.routes.accounts()


async def test_a_search_that_was_ended_takes_nothing_from_the_next() -> None:
    fake = FakeSessions(one := FakeDriver(ONE))
    fake.may_find.clear()
    await fake.say("old")
    assert [stanza["body"] for stanza in fake.queue.pause()] == ["old"]
    fake.queue.resume(ALICE)
    await fake.say("new")
    fake.may_find.set()
    await turns(6)
    assert (one.sent, fake.recorder.failed) == (["new"], [])
    assert fake.is_empty()


async def test_an_early_stanza_stays_with_its_session_when_the_stream_is_lost() -> None:
    fake = FakeSessions(one := FakeDriver(ONE, state=State.SENT_DONE_EARLY), FakeDriver(TWO, room=0))
    await fake.say("early")
    assert (fake.queue.pause(), fake.recorder.failed) == ([], [])
    fake.end(one, error := PeerRefused("no"))
    fake.loop.advance(300)
    assert fake.recorder.failed == [("early", error)]
    assert fake.is_empty()


async def test_a_handler_of_a_failure_may_send_again() -> None:
    for breaks in ("session", "route", "deadline", "stanza"):
        fake = FakeSessions(one := FakeDriver(ONE, room=0))
        again = iter(("again", "and again"))
        fake.recorder.on_failure = lambda fake=fake, again=again: [fake.send(body) for body in again]  # type: ignore[misc]
        if breaks == "route":
            fake.found[BARE] = REFUSED
        await fake.say("0", LARGE if breaks == "stanza" else "1")
        match breaks:
            case "session":
                fake.end(one, DOUBTED)
            case "deadline":
                fake.loop.advance(300)
        one.give_room()
        await turns(6)
        for driver in fake.offered:
            fake.open(driver)
        await turns(6)
        gone = [body for driver in (one, *fake.offered) for body in driver.sent]
        gone += [body for body, _ in fake.recorder.failed]
        assert sorted(gone) == sorted(["0", LARGE if breaks == "stanza" else "1", "again", "and again"]), breaks
        assert fake.recorder.plaintext == []
        assert fake.is_empty(), breaks


@pytest.mark.parametrize("breaks", ["session", "route", "stanza", "offer"])
async def test_a_handler_of_a_failure_may_end_everything(breaks: str) -> None:
    fake = FakeSessions(one := FakeDriver(ONE, room=0))
    taken: list[StanzaBase] = []
    bodies = [LARGE if breaks == "stanza" else "0", "1", "2"]
    fake.may_find.clear()
    for body in bodies:
        fake.send(body)
    if breaks == "route":
        fake.found[BARE] = REFUSED
    fake.recorder.on_failure = lambda: taken.extend(fake.queue.pause())
    if breaks == "offer":
        one.core.state = State.CLOSED
        fake.refusal = NotSent("too many", NotSentReason.TOO_MANY_SESSIONS)
    fake.may_find.set()
    await turns(6)
    if breaks == "session":
        fake.found[BARE] = PLAINTEXT
        fake.end(one, DOUBTED)
    one.give_room()
    await turns(12)
    over = [body for body, _ in fake.recorder.failed] + [stanza["body"] for stanza in taken]
    assert sorted(over) == sorted(bodies)
    assert (one.sent, fake.recorder.plaintext, fake.offered) == ([], [], [])
    assert fake.is_empty()


async def test_what_does_not_fit_is_reported_and_the_rest_arrives(env: Env) -> None:
    alice, bob = await env.pair(queue_bytes=3_400)
    hold, heard, failed = env.hold(jingle("session-initiate")), Events(bob, "message"), Events(alice, "e2e_send_failed")
    for number in range(4):
        alice.send_message(mto=BOB, mbody=f"{number} {'x' * 1000}")
    await until(hold.caught())
    report = await failed.take()
    assert reason_of(report.error) is NotSentReason.QUEUE_FULL
    assert report.stanza["body"].startswith("3")
    assert "3400" in await refused(ask(alice, BOB))
    hold.release()
    assert [body[0] for body in await heard.bodies(3)] == ["0", "1", "2"]


async def test_what_waits_longer_than_queue_seconds_is_reported(env: Env) -> None:
    alice, bob = await env.pair(queue_seconds=0.2)
    hold, heard, failed = env.hold(jingle("session-initiate")), Events(bob, "message"), Events(alice, "e2e_send_failed")
    alice.send_message(mto=BOB, mbody="too late")
    assert "0.2 seconds" in await refused(ask(alice, BOB))
    report = await failed.take()
    assert reason_of(report.error) is NotSentReason.QUEUED_TOO_LONG
    assert report.stanza["body"] == "too late"
    hold.release()
    await env.session(alice, bob)
    alice.send_message(mto=BOB, mbody="in time")
    assert await heard.bodies(1) == ["in time"]
    assert env.in_clear("too late", "in time") == []


async def test_order_is_kept_between_what_waited_and_what_follows(env: Env) -> None:
    alice, bob = await env.pair()
    heard, started = Events(bob, "message"), Events(alice, "e2e_session_opened")
    number = 0
    while not len(started) or number < 300:
        alice.send_message(mto=BOB, mbody=str(number))
        number += 1
        await turns(1)
        if number % 50 == 7:
            bob.send_presence()  # the route is forgotten
    assert await heard.bodies(number) == [str(each) for each in range(number)]


async def test_a_stream_that_comes_and_goes_gives_no_more_time() -> None:
    fake = FakeSessions()
    fake.found[BARE] = through(ONE)
    fake.loop.advance(1)
    await fake.say("0")
    for _ in range(2):
        fake.loop.advance(149)
        taken = fake.queue.pause()
        assert len(taken) == 1
        fake.queue.resume(ALICE)
        fake.queue.send(taken[0], ALICE, BARE, None)
        await turns(6)
    assert fake.recorder.failed == []
    fake.loop.advance(3)
    assert fake.recorder.kinds == [("0", NotSentReason.QUEUED_TOO_LONG)]
