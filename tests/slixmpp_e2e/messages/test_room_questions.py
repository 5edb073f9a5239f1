"""What comes from a room that we did not see ourselves enter waits for its own word, and strangers cannot make us ask without
end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from slixmpp import JID

from slixmpp_e2e.messages import room_questions
from slixmpp_e2e.messages.room_questions import RoomQuestions
from slixmpp_e2e.store.errors import StoreError
from slixmpp_e2e.xmpp import adapter
from tests.slixmpp_e2e.env import ALICE, turns
from tests.slixmpp_e2e.messages.stanzas import BODY, stanza

ROOM = "room@rooms.test"


class Asking:
    """Questions to accounts, and what becomes of what they sent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.asked: list[tuple[str, str]] = []
        self.answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.may_ask = True
        self.judged: list[Any] = []
        loop = asyncio.get_running_loop()
        clock: Any = SimpleNamespace(time=lambda: self.now, create_task=loop.create_task)
        rooms: Any = SimpleNamespace(may_ask=lambda account: self.may_ask, may_be=lambda account: False, ask=self._ask)
        client: Any = None
        monkeypatch.setattr(adapter, "inject", lambda xmpp, came: self.judged.append(came))
        self.questions = RoomQuestions(client, rooms, lambda stamped: stamped or ALICE, lambda: clock)

    async def _ask(self, own_jid: str, account: str) -> bool:
        self.asked.append((own_jid, account))
        return await asyncio.shield(self.answer)

    def hold(self, account: str = ROOM, kind: str = "groupchat", body: str = BODY, to: str = ALICE) -> Any:
        """Return the message, if it waits."""
        sender = f"{account}/nick"
        came = stanza("message", kind, body, sender=sender, to=to)
        return came if self.questions.hold(came, JID(sender)) else None

    async def settle(self, is_room: bool) -> None:
        """Let the questions have this answer, and those that follow none yet."""
        await turns()
        self.answer.set_result(is_room)
        self.answer = asyncio.get_running_loop().create_future()
        await turns()
        assert (self.questions._questions, self.questions._sizes, self.questions._size) == ({}, {}, 0)


@pytest.fixture
async def asking(monkeypatch: pytest.MonkeyPatch) -> Asking:
    return Asking(monkeypatch)


@pytest.mark.parametrize("is_room", [True, False])
async def test_it_is_asked_once_and_all_that_waits_is_judged_in_order(asking: Asking, is_room: bool) -> None:
    held = [asking.hold() for _ in range(3)]
    await turns()
    held.append(asking.hold())
    assert asking.asked == [(ALICE, ROOM)]
    assert asking.judged == []
    await asking.settle(is_room)
    assert asking.judged == held


async def test_only_what_rooms_send_waits_and_only_of_whom_it_could_become_one(asking: Asking) -> None:
    assert asking.hold(kind="chat") is None
    assert asking.hold(account="rooms.test") is None
    asking.may_ask = False
    assert asking.hold() is None
    await turns()
    assert asking.asked == []


async def test_a_question_that_fails_is_a_no(asking: Asking) -> None:
    offered: list[bool] = []
    held = asking.hold()
    asking.questions.resolve(ALICE, ROOM, offered.append)
    await turns()
    asking.answer.set_exception(StoreError(Path("store"), "disk I/O error"))
    await turns()
    assert (asking.judged, offered) == ([held], [False])
    assert asking.hold() is None


@pytest.mark.parametrize("is_room", [True, False])
async def test_an_offer_waits_for_the_answer_if_that_could_change_anything(asking: Asking, is_room: bool) -> None:
    offered: list[bool] = []
    asking.questions.resolve(ALICE, ROOM, offered.append)
    await turns()
    assert (offered, asking.asked) == ([], [(ALICE, ROOM)])
    await asking.settle(is_room)
    assert (offered, asking.questions._tasks) == ([is_room], set())
    asking.may_ask = False
    asking.questions.resolve(ALICE, ROOM, offered.append)
    assert (offered, len(asking.asked)) == ([is_room, False], 1)


async def test_an_offer_is_not_answered_any_more_when_the_plugin_has_gone(asking: Asking) -> None:
    offered: list[bool] = []
    asking.questions.resolve(ALICE, ROOM, offered.append)
    asking.questions.end()
    await turns()
    assert (offered, asking.questions._tasks) == ([], set())


async def test_who_is_no_room_is_not_asked_again_at_once(asking: Asking) -> None:
    asking.hold()
    await asking.settle(False)
    asking.now = room_questions.NO_SECONDS - 1
    assert asking.hold() is None
    asking.now += 1
    assert asking.hold() is not None


async def test_how_often_strangers_can_make_us_ask_is_bounded(asking: Asking) -> None:
    """By domain, for a server makes up as many accounts as it likes, and in all."""
    evil = [asking.hold(f"{number}@evil.test") for number in range(1000)]
    burst, total = room_questions.QUESTIONS_PER_DOMAIN.burst, room_questions.QUESTIONS.burst
    assert [each is not None for each in evil] == [True] * burst + [False] * (1000 - burst)
    assert asking.hold() is not None
    others = [asking.hold(f"room@{number}.test") for number in range(1000)]
    assert sum(each is not None for each in others) == total - burst - 1
    await turns()
    assert len(asking.asked) == total


async def test_how_much_waits_is_bounded(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    """By room, by domain and in all."""
    monkeypatch.setattr(room_questions, "HELD_PER_ROOM", 3)
    assert [asking.hold() is not None for _ in range(4)] == [True, True, True, False]
    body = f"<body>{'x' * 1000}</body>"
    monkeypatch.setattr(room_questions, "HELD_BYTES_PER_DOMAIN", 3000)
    monkeypatch.setattr(room_questions, "HELD_BYTES", 6000)
    assert [asking.hold("a@evil.test", body=body) is not None for _ in range(3)] == [True, True, False]
    assert asking.hold("b@evil.test", body=body) is None
    assert [asking.hold(f"a@{number}.test", body=body) is not None for number in range(4)] == [True, True, False, False]
    await turns()
    assert len(asking.asked) == 4
    await asking.settle(True)
    assert len(asking.judged) == 3 + 2 + 2


async def test_when_the_plugin_goes_what_waits_is_judged(asking: Asking) -> None:
    held = [asking.hold(), asking.hold("another@rooms.test")]
    await turns()
    asking.questions.end()
    assert asking.judged == held
    assert asking.hold() is None
    await turns()
    assert len(asking.judged) == 2
