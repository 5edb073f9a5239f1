"""The rules of the outbox, each by itself: sessions, routes and time are what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any
from xml.etree.ElementTree import Element

import pytest
from slixmpp import Message
from slixmpp.xmlstream.stanzabase import StanzaBase

from slixmpp_e2e import outbox
from slixmpp_e2e.errors import HeldTooLong, HoldQueueFull, PeerOffline, SessionGone
from slixmpp_e2e.link import Link
from slixmpp_e2e.outbox import Outbox, Route, Target
from tests.slixmpp_e2e.world import ALICE, turns
from xmpp_e2e.errors import E2EError, NoRoom, PeerRefused, UnsendableStanza
from xmpp_e2e.stream import writer

BARE, ONE, TWO = "bob@localhost", "bob@localhost/1", "bob@localhost/2"
CAROL = "carol@localhost"
CLEAR = Route(clear=True)
LARGE = "too large for this peer"
"""Only his session knows that."""


def to(*peers: str, ours: str = ALICE) -> Route:
    """The way to these."""
    return Route(clear=False, targets=tuple((ours, peer) for peer in peers))


class Peer(Link):
    """A session of which the outbox sees no more than this."""

    def __init__(self, peer: str, *, is_open: bool = True, room: int = 100, ours: str = ALICE) -> None:
        self._ends = ours, peer
        self.now_open, self.room, self.writable = is_open, room, True
        self.took: list[str] = []

    @property
    def ours(self) -> str:
        return self._ends[0]

    @property
    def peer(self) -> str:
        return self._ends[1]

    @property
    def is_open(self) -> bool:
        return self.now_open

    @property
    def is_writable(self) -> bool:
        return self.writable

    def send(self, stanza: Element) -> None:
        body = stanza.findtext("{jabber:client}body", "")
        if "\0" in body or body == LARGE:
            raise UnsendableStanza("U+0000")
        if not self.room:
            raise NoRoom("full")
        self.room -= 1
        self.took.append(body)


class Timer:
    """What is to be done later, unless it is cancelled."""

    def __init__(self, call: Callable[..., None], words: tuple[Any, ...]) -> None:
        self._call: Callable[[], None] | None = lambda: call(*words)

    def cancel(self) -> None:
        self._call = None

    def fire(self) -> None:
        """Its time has come."""
        if self._call is not None:
            self._call()


class Desk:
    """The plugin, as the outbox knows it, and the loop with a time of its own."""

    hold_seconds, hold_bytes = 300.0, 10_000

    def __init__(self, *links: Peer) -> None:
        self.loop: Any = self
        self.now = 0.0
        self.timers: list[Timer] = []
        self.links: dict[Target, Peer | E2EError] = {(link.ours, link.peer): link for link in links}
        self.routes: dict[str, Route | E2EError] = {BARE: to(*(link.peer for link in links)), CAROL: CLEAR}
        self.asked: list[str] = []
        self.clear: list[str] = []
        self.through: list[tuple[str, str]] = []
        self.failed: list[tuple[str, E2EError]] = []
        self.on_failure: Callable[[], object] = lambda: None
        self.answers = asyncio.Event()
        self.answers.set()
        self.box = Outbox(self)

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, call: Callable[..., None], *words: Any) -> Timer:
        assert seconds == self.hold_seconds
        self.timers.append(Timer(call, words))
        return self.timers[-1]

    def create_task(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(coroutine)

    async def find_route(self, ours: str, to: str) -> Route:
        self.asked.append(to)
        await self.answers.wait()
        route = self.routes[to]
        if isinstance(route, E2EError):
            raise route
        return route

    def link_to(self, target: Target) -> Link:
        link = self.links[target]
        if isinstance(link, E2EError):
            raise link
        return link

    def went(self, stanza: StanzaBase, link: Link) -> None:
        self.through.append((stanza["body"], link.peer))

    def send_clear(self, stanza: StanzaBase) -> None:
        self.clear.append(stanza["body"])

    def send_failed(self, stanza: StanzaBase, error: E2EError) -> None:
        self.failed.append((stanza["body"], error))
        self.on_failure()

    async def say(self, body: str, to: str = BARE, ours: str = ALICE) -> None:
        """Send a message, and let its way be found out."""
        self.box.send(say(body), ours, to)
        await turns(3)

    def fire(self) -> None:
        """All deadlines have come."""
        for timer in self.timers:
            timer.fire()

    def is_empty(self) -> bool:
        """Does nothing wait?"""
        box = self.box
        return not (box._held or any(box._queues.values()) or box._unrouted or box._finding or box._stale or box._early) and (
            box._held_in_all == (0, 0)
        )


def say(body: str) -> Message:
    message = Message()
    message["body"] = body
    return message


SIZE = len(writer.element(say("0").xml))
"""Of a message with one letter."""


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


# --- holding ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stanzas", "size"), [(2, 10_000), (4096, 2 * SIZE)], ids=["number", "size"])
async def test_one_address_may_hold_so_much(monkeypatch: pytest.MonkeyPatch, stanzas: int, size: int) -> None:
    """And then again, when it has gone."""
    monkeypatch.setattr(outbox, "HOLD_STANZAS", stanzas)
    desk = Desk(one := Peer(ONE, room=0))
    desk.hold_bytes = size
    for number in range(3):
        await desk.say(str(number))
    assert [(body, type(error)) for body, error in desk.failed] == [("2", HoldQueueFull)]
    one.room = 10
    desk.box.flush(one)
    one.room = 0
    for number in range(2):
        await desk.say(str(number))
    assert len(desk.failed) == 1


@pytest.mark.parametrize(("stanzas", "size"), [(1, 10_000), (4096, SIZE)], ids=["number", "size"])
async def test_all_addresses_may_hold_so_much(monkeypatch: pytest.MonkeyPatch, stanzas: int, size: int) -> None:
    """Eight times as much as one."""
    monkeypatch.setattr(outbox, "HOLD_STANZAS", stanzas)
    desk = Desk()
    desk.hold_bytes = size
    desk.answers.clear()
    for number in range(10):
        await desk.say(str(number), f"{number}@localhost")
    assert [(body, type(error)) for body, error in desk.failed] == [(body, HoldQueueFull) for body in "89"]
    desk.box.take_all()
    assert desk.is_empty()


async def test_what_one_device_has_may_be_forgone_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """When there is no room for what follows, and not before: the oldest that one device of the account has."""
    monkeypatch.setattr(outbox, "HOLD_STANZAS", 3)
    desk = Desk(one := Peer(ONE), two := Peer(TWO, room=0))
    for number in range(5):
        await desk.say(str(number))
    assert (one.took, desk.failed) == (["0", "1", "2", "3", "4"], [])
    two.room = 10
    desk.box.flush(two)
    assert two.took == ["2", "3", "4"]
    assert desk.is_empty()


async def test_what_nobody_has_is_not_forgone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor what is another account's, or from another address of ours."""
    monkeypatch.setattr(outbox, "HOLD_STANZAS", 1)
    other, third = "other@localhost/o", "dave@localhost/1"
    links = [Peer(ONE), Peer(TWO, room=0), Peer(third), Peer("dave@localhost/2", room=0)]
    desk = Desk(*links, here := Peer(ONE, room=0, ours=other))
    desk.routes |= {BARE: to(ONE, TWO), "dave@localhost": to(third, "dave@localhost/2")}
    await desk.say("bob")
    await desk.say("dave", "dave@localhost")
    desk.routes[BARE] = to(ONE, ours=other)
    desk.box.forget_routes(BARE)
    await desk.say("first", ours=other)
    await desk.say("second", ours=other)
    assert [(body, type(error)) for body, error in desk.failed] == [("first", HoldQueueFull), ("second", HoldQueueFull)]
    assert here.took == []
    for link in links:
        link.room = 10
        desk.box.flush(link)
    assert [link.took for link in links] == [["bob"], ["bob"], ["dave"], ["dave"]]


async def test_nothing_is_forgone_for_another_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit there is reported."""
    monkeypatch.setattr(outbox, "HOLD_STANZAS", 1)
    desk = Desk(Peer(ONE), two := Peer(TWO, room=0), Peer("dave@localhost/1", room=0))
    desk.routes |= {BARE: to(ONE, TWO), "dave@localhost": to("dave@localhost/1")}
    await desk.say("bob")
    for body in ("first", "second"):
        await desk.say(body, "dave@localhost")
    assert [(body, type(error)) for body, error in desk.failed] == [("second", HoldQueueFull)]
    two.room = 10
    desk.box.flush(two)
    assert two.took == ["bob"]


async def test_deadlines() -> None:
    """Whatever it waits for: the way, a session, or, after one has failed, another one."""
    desk = Desk(one := Peer(ONE, room=0))
    await desk.say("session")
    desk.answers.clear()
    desk.box.forget_routes(BARE)
    await desk.say("way")
    desk.fire()
    assert [(body, type(error)) for body, error in desk.failed] == [("session", HeldTooLong), ("way", HeldTooLong)]
    desk.answers.set()
    await turns(5)
    one.room = 10
    desk.box.flush(one)
    assert one.took == []
    assert desk.is_empty()


async def test_the_deadline_of_what_has_failed_tells_why() -> None:
    """Rather than that it has waited."""
    desk = Desk(Peer(ONE, room=0))
    await desk.say("hello")
    desk.answers.clear()
    desk.box.fail((ALICE, ONE), error := PeerRefused("no"))
    desk.fire()
    assert desk.failed == [("hello", error)]
    desk.answers.set()
    await turns(5)
    assert desk.is_empty()


async def test_a_deadline_takes_nothing_with_it() -> None:
    """What went early does not wait here any more; what does stays."""
    desk = Desk(one := Peer(ONE, is_open=False))
    await desk.say("early")
    desk.answers.clear()
    desk.box.forget_routes(BARE)
    await desk.say("late")
    desk.timers[0].fire()
    desk.answers.set()
    await turns(5)
    assert (one.took, desk.failed) == (["early", "late"], [])


async def test_sent_to_one_is_no_failure() -> None:
    """When the other's session fails, or never opens."""
    for late in (True, False):
        desk = Desk(Peer(ONE), Peer(TWO, room=0))
        await desk.say("hello")
        if late:
            desk.fire()
        else:
            desk.box.fail((ALICE, TWO), PeerRefused("no"))
        assert desk.failed == []
        assert desk.is_empty()


# --- the end of a stream ---------------------------------------------------------------------------------------------


async def test_what_has_gone_nowhere_can_be_taken_back() -> None:
    """In order; what one device has, or may have, has gone."""
    desk = Desk(one := Peer(ONE), Peer(TWO, room=0))
    await desk.say("sent")
    one.room = 0
    await desk.say("waits")
    desk.answers.clear()
    desk.box.forget_routes(BARE)
    await desk.say("sought")
    assert [stanza["body"] for stanza in desk.box.take_all()] == ["waits", "sought"]
    assert desk.box.route(ALICE, BARE) is None
    assert desk.is_empty()
    desk.answers.set()
    await turns(5)
    desk.fire()
    one.room = 10
    desk.box.flush(one)
    assert (one.took, desk.failed) == (["sent"], [])
    assert desk.box.route(ALICE, BARE) is None


async def test_a_search_that_was_ended_takes_nothing_from_the_next() -> None:
    """On the new stream."""
    desk = Desk(one := Peer(ONE))
    desk.answers.clear()
    await desk.say("old")
    assert [stanza["body"] for stanza in desk.box.take_all()] == ["old"]
    await desk.say("new")
    desk.answers.set()
    await turns(5)
    assert (one.took, desk.failed) == (["new"], [])
    assert desk.is_empty()


async def test_what_went_early_is_with_its_session() -> None:
    """It is not taken back, and reported once if that fails."""
    desk = Desk(one := Peer(ONE, is_open=False), Peer(TWO, room=0))
    await desk.say("early")
    assert desk.box.take_all() == []
    assert desk.failed == []
    desk.box.lost(one, error := PeerRefused("no"))
    desk.fire()
    assert desk.failed == [("early", error)]
    assert desk.is_empty()
