"""The rules of the outbox about ways, devices, answers and sessions, each by itself."""

from __future__ import annotations

import pytest
from slixmpp.xmlstream.stanzabase import StanzaBase

from slixmpp_e2e.errors import HoldQueueFull, PeerOffline, SessionGone
from slixmpp_e2e.messages import queue as outbox
from slixmpp_e2e.messages.queue import Route
from tests.slixmpp_e2e.desk import BARE, CAROL, CLEAR, LARGE, ONE, TWO, Desk, Peer, say, to
from tests.slixmpp_e2e.world import ALICE, turns
from xmpp_e2e.errors import E2EError, PeerRefused, UnsendableStanza

# --- the way ---------------------------------------------------------------------------------------------------------


async def test_a_way_is_found_out_once() -> None:
    """What follows waits for it, or goes at once, and nothing is held; what went through a session is told."""
    desk = Desk(one := Peer(ONE))
    for number in range(2):
        desk.box.send(say(str(number)), ALICE, BARE)
    await turns(3)
    await desk.say("2")
    assert (one.took, desk.asked) == (["0", "1", "2"], [BARE])
    assert len(desk.timers) == 2
    assert desk.through == [(str(number), ONE) for number in range(3)]
    assert desk.is_empty()


async def test_every_device_gets_it() -> None:
    """The first time and when the way is known."""
    desk = Desk(one := Peer(ONE), two := Peer(TWO))
    await desk.say("0")
    await desk.say("1")
    assert one.took == two.took == ["0", "1"]
    assert desk.asked == [BARE]
    assert desk.is_empty()


async def test_in_clear() -> None:
    """It is no failure when its deadline would have come."""
    desk = Desk()
    await desk.say("hello", CAROL)
    desk.fire()
    assert (desk.clear, desk.failed) == (["hello"], [])
    assert desk.box.route(ALICE, CAROL) is CLEAR
    assert desk.is_empty()


async def test_a_way_is_forgotten_for_one_account() -> None:
    """With all its addresses; nobody else's."""
    desk = Desk(Peer(ONE))
    desk.routes[ONE] = to(ONE)
    for address in (BARE, ONE, CAROL):
        await desk.say("x", address)
    desk.box.forget_routes(BARE)
    assert [desk.box.route(ALICE, address) is not None for address in (BARE, ONE, CAROL)] == [False, False, True]


async def test_what_changes_while_a_way_is_sought_is_asked_about_again() -> None:
    """Once; for the one account that it is about, and not for the next search."""
    desk = Desk(one := Peer(ONE))
    desk.answers.clear()
    await desk.say("x")
    await desk.say("y", CAROL)
    desk.box.forget_routes(BARE)
    desk.answers.set()
    await turns(5)
    assert sorted(desk.asked) == [BARE, BARE, CAROL]
    assert (one.took, desk.clear) == (["x"], ["y"])
    assert desk.is_empty()


async def test_a_search_that_fails_leaves_nothing_behind() -> None:
    """Its reason is told, and the next one begins anew."""
    desk = Desk(one := Peer(ONE))
    desk.routes[BARE], found = PeerOffline("away"), desk.routes[BARE]
    desk.answers.clear()
    await desk.say("x")
    desk.box.forget_routes(BARE)
    desk.answers.set()
    await turns(5)
    assert [(body, type(error)) for body, error in desk.failed] == [("x", PeerOffline)]
    assert desk.is_empty()
    desk.routes[BARE] = found
    asked = len(desk.asked)
    await desk.say("y")
    assert (one.took, len(desk.asked)) == (["y"], asked + 1)


async def test_ways_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one found longest ago goes first."""
    monkeypatch.setattr(outbox, "ROUTES", 2)
    desk = Desk()
    names = [f"{number}@localhost" for number in range(3)]
    for name in names:
        desk.routes[name] = CLEAR
        await desk.say("x", name)
    assert [desk.box.route(ALICE, name) is not None for name in names] == [False, True, True]


# --- devices with which it does not work -----------------------------------------------------------------------------


async def test_who_cannot_be_reached_is_left_out_for_a_while() -> None:
    """Where there is another one; then he is tried again, or when something has changed about his account."""
    desk = Desk(one := Peer(ONE), two := Peer(TWO))
    desk.box.avoid((ALICE, ONE))
    await desk.say("0")
    desk.box.forget_routes(CAROL)
    await desk.say("1")
    assert (one.took, two.took) == ([], ["0", "1"])
    desk.now = outbox.RETRY_SECONDS
    await desk.say("2")
    desk.box.avoid((ALICE, ONE))
    desk.box.forget_routes(BARE)
    await desk.say("3")
    assert (one.took, two.took) == (["2", "3"], ["0", "1", "2", "3"])


async def test_if_nobody_else_is_there_they_are_all_tried() -> None:
    """Rather than nobody."""
    desk = Desk(one := Peer(ONE), two := Peer(TWO))
    for peer in (ONE, TWO):
        desk.box.avoid((ALICE, peer))
    await desk.say("hello")
    assert one.took == two.took == ["hello"]


async def test_who_is_left_out_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was left out longest ago, and not again since, is forgotten."""
    monkeypatch.setattr(outbox, "ROUTES", 2)
    desk = Desk()
    three = "bob@localhost/3"
    for peer in (ONE, TWO, ONE, three):
        desk.box.avoid((ALICE, peer))
    assert list(desk.box._avoided) == [(ALICE, ONE), (ALICE, three)]


async def test_a_way_with_a_device_that_is_gone_is_forgotten() -> None:
    """Of its own address and of its account's; not one that does not lead there."""
    desk = Desk(Peer(ONE), Peer(TWO))
    desk.routes |= {ONE: to(ONE), BARE: to(ONE)}
    for address in (ONE, BARE):
        await desk.say("x", address)
    desk.box.fail((ALICE, TWO), PeerRefused("no"))
    assert [desk.box.route(ALICE, address) is not None for address in (ONE, BARE)] == [True, True]
    desk.box.fail((ALICE, ONE), PeerRefused("no"))
    assert [desk.box.route(ALICE, address) is not None for address in (ONE, BARE)] == [False, False]


async def test_what_waits_for_a_device_that_fails_goes_to_another() -> None:
    """That has come since, and to none twice; the reason of the first failure is told if there is none."""
    desk = Desk(Peer(ONE, room=0))
    await desk.say("hello")
    desk.links[ALICE, TWO] = two = Peer(TWO)
    desk.routes[BARE] = to(ONE, TWO)
    desk.box.fail((ALICE, ONE), PeerRefused("no"))
    await turns(5)
    assert (two.took, desk.asked, desk.failed) == (["hello"], [BARE, BARE], [])
    assert desk.is_empty()


@pytest.mark.parametrize("then", [PeerOffline("away"), CLEAR, to(ONE)], ids=["nobody", "clear", "the same"])
async def test_a_session_that_fails_never_falls_back(then: Route | E2EError) -> None:
    """Its own failure is told, whatever there is by now."""
    desk = Desk(Peer(ONE, room=0))
    await desk.say("hello")
    desk.routes[BARE] = then
    desk.box.fail((ALICE, ONE), error := PeerRefused("no"))
    await turns(5)
    assert (desk.failed, desk.clear) == ([("hello", error)], [])
    assert desk.is_empty()


async def test_while_another_device_may_take_it_nobody_is_asked_again() -> None:
    """It waits for that, or was given to it."""
    for room, waits in ((0, True), (1, False)):
        desk = Desk(Peer(ONE, room=room), Peer(TWO, room=0))
        await desk.say("hello")
        desk.box.fail((ALICE, TWO), PeerRefused("no"))
        await turns(5)
        assert (desk.asked, desk.failed, desk.is_empty()) == ([BARE], [], not waits)


async def test_no_session_can_be_offered() -> None:
    """That is a failure like another."""
    desk = Desk(Peer(ONE))
    desk.links[ALICE, ONE] = error = PeerRefused("no")
    desk.routes[ONE] = to(ONE)
    await desk.say("hello", ONE)
    assert desk.failed == [("hello", error)]
    assert desk.is_empty()


# --- answers ---------------------------------------------------------------------------------------------------------


async def test_an_answer_goes_through_its_session() -> None:
    """At once, behind what waits there, or not at all if it has ended."""
    desk = Desk(one := Peer(ONE, room=1))
    desk.routes[ONE] = to(ONE)
    desk.box.reply(say("0"), one)
    desk.box.reply(say("1"), one)
    await desk.say("2", ONE)
    assert one.took == ["0"]
    one.room = 10
    desk.box.reply(say("3"), one)
    assert one.took == ["0", "1", "2", "3"]
    one.now_open = False
    desk.box.reply(say("4"), one)
    assert [(body, type(error)) for body, error in desk.failed] == [("4", SessionGone)]
    assert desk.is_empty()


async def test_an_answer_that_cannot_be_held_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no room for it, neither there nor here."""
    monkeypatch.setattr(outbox, "HOLD_STANZAS", 1)
    desk = Desk(one := Peer(ONE, room=0))
    for body in ("0", "1"):
        desk.box.reply(say(body), one)
    assert [(body, type(error)) for body, error in desk.failed] == [("1", HoldQueueFull)]


async def test_an_answer_that_waited_does_not_move() -> None:
    """To a newer session with the same peer: it is reported, and what was behind it goes."""
    desk = Desk(one := Peer(ONE, room=0))
    desk.routes[ONE] = to(ONE)
    desk.box.reply(say("answer"), one)
    await desk.say("message", ONE)
    desk.box.flush(newer := Peer(ONE))
    assert newer.took == ["message"]
    assert [(body, type(error)) for body, error in desk.failed] == [("answer", SessionGone)]
    assert desk.is_empty()


# --- sessions --------------------------------------------------------------------------------------------------------


async def test_without_room_it_waits() -> None:
    """In order, until there is some."""
    desk = Desk(one := Peer(ONE, room=1))
    for number in range(4):
        await desk.say(str(number))
    assert one.took == ["0"]
    one.room = 2
    desk.box.flush(one)
    assert one.took == ["0", "1", "2"]
    one.room = 10
    await desk.say("4")
    desk.box.flush(one)
    assert one.took == [str(number) for number in range(5)]
    assert desk.is_empty()


async def test_what_is_not_writable_is_given_nothing() -> None:
    """Until it says so."""
    desk = Desk(one := Peer(ONE, is_open=False))
    one.writable = False
    await desk.say("0")
    assert one.took == []
    one.now_open = True
    desk.box.flush(one)
    assert one.took == ["0"]
    assert desk.is_empty()


async def test_what_went_early_counts_when_the_session_opens() -> None:
    """Before that its deadline means nothing, and it is reported if the session fails."""
    for opens in (True, False):
        desk = Desk(one := Peer(ONE, is_open=False))
        await desk.say("0")
        await desk.say("1")
        assert one.took == ["0", "1"]
        desk.fire()
        desk.box.flush(one)
        one.now_open = opens
        if opens:
            desk.box.flush(one)
        desk.box.lost(one, error := PeerRefused("no"))
        assert desk.failed == ([] if opens else [("0", error), ("1", error)])
        assert desk.is_empty()


async def test_what_cannot_be_sent_is_reported_at_once() -> None:
    """When it is held, and when a session is open."""
    desk = Desk(one := Peer(ONE))
    for _ in range(2):
        await desk.say("a\0b")
        await desk.say("good")
    assert [type(error) for _, error in desk.failed] == [UnsendableStanza] * 2
    assert (one.took, desk.through) == (["good"] * 2, [("good", ONE)] * 2)
    assert desk.is_empty()


@pytest.mark.parametrize("end", [False, True])
async def test_what_the_session_refuses_is_reported(end: bool) -> None:
    """When it has opened; what is behind it goes, unless whoever hears of that ends everything."""
    desk = Desk(one := Peer(ONE, room=0))
    for body in ("0", LARGE, "1"):
        await desk.say(body)
    taken: list[StanzaBase] = []
    if end:
        desk.on_failure = lambda: taken.extend(desk.box.take_all())
    one.room = 10
    desk.box.flush(one)
    assert [(body, type(error)) for body, error in desk.failed] == [(LARGE, UnsendableStanza)]
    assert one.took == (["0"] if end else ["0", "1"])
    assert [stanza["body"] for stanza in taken] == (["1"] if end else [])
    assert desk.is_empty()
    assert not desk.box._queues
