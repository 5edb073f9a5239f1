"""When devices are asked whether they have encryption, and for how long a stanza waits for that."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from slixmpp import JID

from slixmpp_e2e.routing_events import Waiting
from slixmpp_e2e.xmpp import discovery, support
from slixmpp_e2e.xmpp.emitter import Emitter
from slixmpp_e2e.xmpp.support import SupportQuestions
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, turns, until
from tests.slixmpp_e2e.messages.stanzas import offline_client, stanza
from xmpp_loopback import to_text

BARE = "bob@localhost"
CAPS = "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='x' ver='y'/>"
OURS = "alice@localhost"


class Asked:
    """Alice's questions, which are answered when a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float = 0.05, *, component: bool = False) -> None:
        self.xmpp = offline_client(component=component)
        self.xmpp.loop = asyncio.get_running_loop()
        self.asked: list[tuple[str, str]] = []
        self.answers: list[asyncio.Future[bool | None]] = []
        self.late: list[str] = []
        self.waiting = Events(self.xmpp, Waiting.name)
        monkeypatch.setattr(discovery, "supports", self._supports)
        self.questions = SupportQuestions(self.xmpp, Emitter(self.xmpp), seconds, self.late.append)

    async def _supports(self, xmpp: Any, own_jid: JID, peer: JID) -> bool | None:
        self.asked.append((own_jid.full, peer.full))
        self.answers.append(asyncio.get_running_loop().create_future())
        return await self.answers[-1]

    def ask(self, *jids: str) -> asyncio.Task[dict[str, bool | None]]:
        return asyncio.ensure_future(self.questions.query(ALICE, list(jids), BARE))

    async def presence(self, *children: str, kind: str = "", sender: str = BOB, is_contact: bool = True) -> None:
        self.questions.on_presence(OURS, stanza("presence", kind, *children, sender=sender), is_contact=is_contact)
        await turns()


@pytest.fixture
async def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(monkeypatch)


async def test_an_answer_is_kept_for_a_while_and_until_presence_comes(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    for answer in (True, False):
        asking = asked.ask(BOB)
        await turns()
        asked.answers[-1].set_result(answer)
        assert await until(asking) == {BOB: answer}
        assert await until(asked.ask(BOB)) == {BOB: answer}
        await asked.presence(CAPS)
    assert len(asked.asked) == 2
    asking = asked.ask(BOB)
    await turns()
    asked.answers[-1].set_result(True)
    await until(asking)
    monkeypatch.setattr(support, "FRESH_SECONDS", -1.0)
    asking = asked.ask(BOB)
    await turns()
    assert len(asked.asked) == 4
    asking.cancel()


async def test_what_could_not_be_asked_is_asked_again(asked: Asked) -> None:
    for number in (1, 2):
        asking = asked.ask(BOB)
        await turns()
        asked.answers[-1].set_result(None)
        assert await until(asking) == {BOB: None}
        assert len(asked.asked) == number


async def test_a_device_is_asked_when_its_presence_comes(asked: Asked) -> None:
    """If it is one of a contact, and slixmpp does not ask it by itself; the answer is there when a stanza is for it."""
    await asked.presence(is_contact=False)
    await asked.presence(CAPS)
    await asked.presence(kind="unavailable")
    await asked.presence(sender=ALICE)
    assert asked.asked == []
    await asked.presence()
    assert asked.asked == [(ALICE, BOB)]
    asked.answers[-1].set_result(True)
    await turns()
    assert await until(asked.ask(BOB)) == {BOB: True}
    assert len(asked.asked) == 1


async def test_few_are_asked_ahead(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "AHEAD", 2)
    for number in range(3):
        await asked.presence(sender=f"{BARE}/{number}")
    assert len(asked.asked) == 2


async def test_a_silent_device_is_waited_for_once(asked: Asked) -> None:
    """Then stanzas wait for it no more, whatever presence it sends, until it has answered or was offline."""
    assert await until(asked.ask(BOB)) == {BOB: None}
    for _ in range(2):
        assert await asyncio.wait_for(asked.ask(BOB), asked.questions.seconds / 2) == {BOB: None}
        await asked.presence(CAPS)
    assert len(asked.asked) == 3
    asked.answers[-1].set_result(True)
    await turns()
    assert asked.late == [BARE]
    assert await until(asked.ask(BOB)) == {BOB: True}
    asked.questions.seconds = 1000.0
    await asked.presence(kind="unavailable")
    asking = asked.ask(BOB)
    await turns()
    assert not asking.done()
    asking.cancel()


async def test_the_time_does_not_run_while_earlier_questions_are_answered(asked: Asked) -> None:
    """A server that limits us lets them out one after the other."""
    asked.questions.seconds = 0.3
    others = [f"{BARE}/{number}" for number in range(3)]
    asking = asked.ask(*others, BOB)
    began = asyncio.get_running_loop().time()
    await turns()
    for answer in asked.answers[:3]:
        await asyncio.sleep(0.2)
        answer.set_result(True)
    assert await until(asking) == {**dict.fromkeys(others, True), BOB: None}
    assert asyncio.get_running_loop().time() - began > 0.85
    asked.questions.on_presence(OURS, stanza("presence", "unavailable", sender=BOB), is_contact=True)


async def test_the_user_is_told_what_is_waited_for_once(asked: Asked) -> None:
    asked.questions.seconds = 0.1
    await until(asked.ask(BOB))
    told = await asked.waiting.take()
    assert (told.to, BOB in told.what, BOB in str(told)) == (BARE, True, True)
    await asked.presence(kind="unavailable")
    await until(asked.ask(BOB))
    assert len(asked.waiting) == 0


async def test_nothing_is_kept_of_a_stream_that_is_over(asked: Asked) -> None:
    asking = asked.ask(BOB)
    await turns()
    asked.questions.clear()
    assert await until(asking) == {BOB: None}
    assert await until(asked.ask()) == {}


async def test_a_component_asks_from_the_address_that_has_asked_before(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch, component=True)
    await asked.presence()
    assert asked.asked == []
    await until(asked.ask(BOB))
    await asked.presence()
    assert asked.asked == [(ALICE, BOB)] * 2


@pytest.mark.parametrize("policy", ["prefer", "opportunistic"])
async def test_a_client_that_answers_no_disco_gets_its_message_soon(env: Env, policy: str) -> None:
    """After the time that is set, and at once from then on, whatever presence it sends; and the sender is told of the wait."""
    env.hold(lambda element, sender: element.get("to") == BOB and "disco#info" in to_text(element))
    alice, bob = await env.client(ALICE, policy=policy, disco_seconds=0.5), await env.client(BOB, load=False)
    await env.settle(alice, bob)
    heard, waiting = Events(bob, "message"), Events(alice, Waiting.name)
    alice.send_message(mto=BARE, mbody="first")
    assert await heard.bodies(1) == ["first"]
    assert (await waiting.take()).to == BARE
    for number in range(3):
        bob.send_presence(pstatus=str(number))
        await env.settle(bob, alice)
        alice.send_message(mto=BARE, mbody=str(number))
        assert await asyncio.wait_for(heard.bodies(1), 0.4) == [str(number)]
    assert len(waiting) == 0
