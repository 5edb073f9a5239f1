"""The rules of the outbox about what is held: how much, how long, and until the stream is over."""

from __future__ import annotations

import pytest

from slixmpp_e2e.errors import HeldTooLong, HoldQueueFull
from slixmpp_e2e.messages import queue as outbox
from tests.slixmpp_e2e.desk import BARE, ONE, TWO, Desk, Peer, say, to
from tests.slixmpp_e2e.world import ALICE, turns
from xmpp_e2e.errors import PeerRefused
from xmpp_e2e.stream import writer

SIZE = len(writer.element(say("0").xml))
"""Of a message with one letter."""


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
