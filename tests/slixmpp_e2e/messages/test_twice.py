"""A program sends one object twice before the first time has met its end: each time has its own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from slixmpp import ClientXMPP, Message

from slixmpp_e2e.errors import NotSent, NotSentReason
from slixmpp_e2e.messages.queued import QueuedStanza
from slixmpp_e2e.xmpp import outcomes
from slixmpp_e2e.xmpp.outcomes import SendState
from tests.slixmpp_e2e.env import ALICE, Env, block, e2e, turns, until
from tests.slixmpp_e2e.messages.fake_sessions import BARE, ONE, FakeDriver, FakeSessions, message, through
from xmpp_e2e.errors import E2EError
from xmpp_e2e.stream import acks

WITHDRAWN = NotSent("it was withdrawn", NotSentReason.CANCELLED)


async def unanswered(env: Env) -> tuple[ClientXMPP, Message]:
    """Alice knows the way to Bob, with whom a session is open; nothing that she says leaves any more."""
    alice, bob = await env.pair()
    await env.session(alice, bob)
    alice.send_message(mto=bob.boundjid.full, mbody="hello", mtype="chat")
    await until(e2e(alice).flush())
    await env.settle(alice, bob)
    env.hold(block)
    return alice, alice.make_message(mto=bob.boundjid.full, mbody="again", mtype="chat")


def acknowledge_all_but_one(alice: ClientXMPP) -> None:
    (driver,) = e2e(alice)._client.registry
    management: Any = driver.core._conversation.management  # type: ignore[union-attr]
    management.receive(acks.build_answer(management._state.sent - 1), 0.0)
    driver.process()


def fail(alice: ClientXMPP, item: QueuedStanza, error: E2EError) -> None:
    queue = e2e(alice)._client.queue
    for target in item.sent:
        queue._left.give_up(item, target)
    queue._settle(item, error)


def items(alice: ClientXMPP) -> list[QueuedStanza]:
    (driver,) = e2e(alice)._client.registry
    tags: list[Any] = [stanza.tag for stanza in driver.core.unacknowledged]
    return [tag.item for tag in tags]


@pytest.mark.parametrize("at_once", [True, False])
async def test_who_waits_for_the_second_hears_nothing_of_the_first(env: Env, at_once: bool) -> None:
    alice, stanza = await unanswered(env)
    stanza.send()
    await turns(0 if at_once else 50)
    second = asyncio.ensure_future(e2e(alice).send(stanza))
    await turns(50)
    acknowledge_all_but_one(alice)
    await turns(50)
    assert not second.done()
    assert at_once or stanza["e2e"]["delivery"] is SendState.SENT
    fail(alice, items(alice)[0], WITHDRAWN)
    with pytest.raises(NotSent):
        await until(second)
    assert at_once or stanza["e2e"]["delivery"] is SendState.FAILED


@pytest.mark.parametrize("way", ["fails", "is refused", "leaves in plaintext"])
async def test_who_waits_for_the_first_hears_nothing_of_the_second(env: Env, way: str) -> None:
    alice, stanza = await unanswered(env)
    first = asyncio.ensure_future(e2e(alice).send(stanza))
    await turns(50)
    if way == "fails":
        stanza.send()
        await turns(50)
        fail(alice, items(alice)[1], WITHDRAWN)
    elif way == "is refused":
        e2e(alice)._client._failures.report(stanza, WITHDRAWN)
    else:
        outcomes.note_plaintext(stanza)
    await turns(50)
    assert not first.done()
    fail(alice, items(alice)[0], gone := NotSent("it is gone", NotSentReason.UNACKNOWLEDGED))
    with pytest.raises(NotSent) as failure:
        await until(first)
    assert failure.value is gone


async def test_the_second_has_its_own_time() -> None:
    """The first waits since long ago."""
    fake = FakeSessions()
    fake.found[BARE] = through(ONE)
    stanza = message("0", BARE)
    fake.loop.advance(1)
    fake.queue.send(stanza, ALICE, BARE, None)
    await turns(6)
    fake.loop.advance(200)
    fake.queue.send(stanza, ALICE, BARE, None)
    await turns(6)
    fake.loop.advance(200)
    assert len(fake.recorder.failed) == 1
    (kept,) = fake.queue.pause()
    assert outcomes.begin(kept).since == 201


async def test_one_that_finds_no_room_is_told_of_once_it_does() -> None:
    fake = FakeSessions(one := FakeDriver(ONE))
    await fake.say("0")
    one.room = 0
    stanza = message("1", BARE)
    done = outcomes.watch(stanza, copied := message("1", BARE), asyncio.get_running_loop())
    fake.queue.send(copied, ALICE, BARE, fake.routes.known[ALICE, BARE])
    await turns(6)
    (item,) = fake.queue._waiting()
    assert item.outcome.done is done
