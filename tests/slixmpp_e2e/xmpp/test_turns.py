"""Our iqs take turns, and no more of them is on its way than our own server reads."""

from __future__ import annotations

from typing import Any, cast
from xml.etree.ElementTree import Element

import pytest
from slixmpp import Iq

from slixmpp_e2e.xmpp.iq_channel import PROBE_SECONDS, IqChannel
from slixmpp_e2e.xmpp.send_window import FIRST_WINDOW
from tests.slixmpp_e2e.env import ALICE, BOB
from tests.slixmpp_e2e.messages.fake_sessions import FakeLoop
from tests.slixmpp_e2e.xmpp.test_iq_channel import Queue

PING = "{urn:xmpp:ping}ping"


class Line:
    """A channel on a clock that the test turns, and what has left."""

    def __init__(self, *, component: bool = False) -> None:
        self.xmpp = cast(Any, Queue())
        self.xmpp.loop, self.xmpp.is_component = FakeLoop(), component
        self.xmpp.boundjid.full = ALICE
        self.iqs: IqChannel = self.xmpp.channel()
        self.owners: list[object] = []
        self.iqs.on_left = self.owners.append
        self.replies: list[object] = []

    def say(self, owner: object, size: int = 4000) -> None:
        payload = Element("{urn:x}x")
        payload.text = "x" * size
        self.iqs.request(ALICE, BOB, payload, self.replies.append, owner)

    @property
    def left(self) -> list[Iq]:
        return list(self.xmpp.sent)

    def answer(self, index: int, kind: str = "result") -> bool:
        asked = self.left[index]
        reply = Iq(self.xmpp)
        reply["type"], reply["id"] = kind, asked["id"]
        reply["from"], reply["to"] = asked["to"], ALICE
        return self.iqs.take_reply(reply.xml)

    def advance(self, seconds: float) -> None:
        self.xmpp.loop.advance(seconds)


@pytest.fixture
async def line() -> Line:
    return Line()


async def test_owners_take_turns(line: Line) -> None:
    """A long text of one session does not keep the others waiting."""
    for _ in range(20):
        line.say("talkative")
    full = len(line.left)
    assert FIRST_WINDOW / 4500 <= full <= FIRST_WINDOW / 4000 + 1
    for owner in ("one", "another"):
        line.say(owner)
        line.say(owner)
    for index in range(10):
        assert line.answer(index)
    assert line.owners[full : full + 6] == ["talkative", "one", "another", "talkative", "one", "another"]
    assert set(line.owners[full + 6 :]) == {"talkative"}


async def test_a_reply_to_one_shows_that_all_before_were_read(line: Line) -> None:
    """A peer who never answers keeps nobody from sending."""
    line.say("silent")
    line.say("other")
    assert line.iqs.is_unread("silent")
    line.answer(1)
    assert not line.iqs.is_unread("silent")
    assert line.iqs.oldest_of("silent") == 1
    assert line.iqs.oldest_of("other") is None


async def test_what_has_not_left_is_behind_all_others(line: Line) -> None:
    for _ in range(10):
        line.say("talkative")
    line.say("late")
    assert line.iqs.is_unread("late")
    late = line.iqs.oldest_of("late")
    assert late is not None
    assert late > len(line.left)


async def test_silent_peers_keep_nobody_from_sending(line: Line) -> None:
    """All that is on its way is theirs; our own server's answer shows that it has read it, and others have their turn."""
    for number in range(50):
        line.say(f"silent {number}")
    line.say("other")
    for _ in range(20):
        line.advance(PROBE_SECONDS)
        line.answer(len(line.left) - 1)
    assert "other" in line.owners


@pytest.mark.parametrize("kind", ["result", "error"])
async def test_our_own_server_is_asked_where_peers_say_nothing(line: Line, kind: str) -> None:
    """Once, and not before a second has passed; its answer, whatever it is, shows that all was read."""
    line.say("silent")
    line.advance(PROBE_SECONDS / 2)
    assert len(line.left) == 1
    line.advance(PROBE_SECONDS / 2)
    line.advance(60)
    line.advance(60)
    [_, probe] = line.left
    assert (probe["type"], probe["to"].full, probe.xml[0].tag) == ("get", "localhost", PING)
    assert line.iqs.silence > 100
    assert line.answer(1, kind)
    assert line.iqs.silence == 0
    assert not line.iqs.is_unread("silent")
    line.advance(60)
    line.say("silent")
    line.advance(PROBE_SECONDS)
    assert len(line.left) == 4


async def test_a_fast_line_costs_no_question(line: Line) -> None:
    for index in range(100):
        line.say("one")
        line.advance(0.1)
        assert line.answer(index)
    line.advance(60)
    assert len(line.left) == 100


async def test_answers_do_not_wait(line: Line) -> None:
    for _ in range(10):
        line.say("talkative")
    before = len(line.left)
    request = line.xmpp.make_iq_set()
    request["from"], request["to"] = BOB, ALICE
    line.iqs.result(request.xml)
    assert [iq["type"] for iq in line.left[before:]] == ["result"]


async def test_what_is_dropped_does_not_leave(line: Line) -> None:
    """The blocks of a bytestream that is dead would only keep others waiting; a farewell that is still to be said leaves."""
    for _ in range(10):
        line.say("talkative")
    line.say("dead")
    line.say("gone")
    line.iqs.drop_requests("dead")
    line.iqs.forget_requests("gone")
    for index in range(len(line.left)):
        line.answer(index)
    assert "gone" in line.owners
    assert "dead" not in line.owners
    assert len(line.left) == 11


async def test_nothing_leaves_without_a_connection_and_all_of_it_afterwards(line: Line) -> None:
    line.say("one")
    assert len(line.left) == 1
    line.say("two")
    line.iqs.pause()
    line.say("three")
    line.advance(PROBE_SECONDS)
    assert len(line.left) == 1
    line.advance(100)
    line.iqs.resume()
    assert line.iqs.silence == 0
    assert len(line.left) == 3


async def test_a_new_stream_begins_anew(line: Line) -> None:
    for _ in range(10):
        line.say("talkative")
    line.iqs.clear()
    line.advance(100)
    before = len(line.left)
    line.say("one")
    assert len(line.left) == before + 1
    assert line.iqs.silence == 0


async def test_a_component_asks_nobody() -> None:
    """Its server does not answer for itself: what has left counts as read, and silent peers keep nobody from sending."""
    line = Line(component=True)
    for _ in range(50):
        line.say("silent")
    line.advance(100)
    assert len(line.left) == 50
    assert line.iqs.silence == 0
    assert not line.iqs.is_unread("silent")


async def test_the_delay_is_that_of_our_turn(line: Line) -> None:
    """Not of all that waits: a bot that sends long texts goes on accepting sessions."""
    for _ in range(50):
        line.say("talkative")
    assert line.iqs.delay == 0
    line.advance(3.0)
    line.answer(0)
    busy = line.iqs.delay
    assert 2 <= busy <= 6
    for number in range(30):
        line.say(f"accept {number}")
    assert line.iqs.delay > busy + 15
