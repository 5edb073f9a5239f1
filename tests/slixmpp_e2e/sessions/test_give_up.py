"""A session gives up its memory while what it says is being stored; and what else counts as memory, or does not."""

from __future__ import annotations

from typing import Any

import pytest
from slixmpp import JID, ClientXMPP

from slixmpp_e2e.errors import MemoryExceeded
from slixmpp_e2e.sessions.driver import SessionDriver, SessionReleased
from slixmpp_e2e.sessions.memory import STRANGERS, STRANGERS_PER_DOMAIN, MemoryBudget
from tests.attacks.test_held_store import held
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e, turns, until
from tests.slixmpp_e2e.sessions.test_memory import FRIEND, LIMIT, Session, hold
from xmpp_e2e import events
from xmpp_e2e.errors import LocalError
from xmpp_e2e.states import State


async def stored_session(env: Env, alice: ClientXMPP, bob: ClientXMPP) -> SessionDriver:
    """Return Alice's session with Bob whose opening is being stored. A message of hers has left early."""
    alice.send_message(mto=BOB, mbody="early", mtype="chat")
    while not any(driver._gate.is_closed for driver in e2e(alice)._client.registry):
        await env.settle(bob)
    [driver] = e2e(alice)._client.registry
    return driver


async def test_a_session_that_gives_up_while_it_is_stored_ends_for_all(env: Env) -> None:
    """Whoever sent something and whoever waits hears of it, once, and before it is released."""
    alice, bob = await env.pair()
    e2e(alice)._store.record_e2e_use(JID(BOB).bare, 1.0)
    failed, ended = Events(alice, "e2e_send_failed"), Events(alice, "e2e_session_failed")
    error, heard = MemoryExceeded("bob@localhost", 2, 1), list[Any]()
    with held(alice):
        driver = await stored_session(env, alice, bob)
        emit = driver._emit

        def listen(session: SessionDriver, event: Any) -> None:
            heard.append((type(event), session.closed.done()))
            emit(session, event)

        driver._emit = listen
        driver.give_up_memory(error)  # it ends, when that can be said
        assert not driver._released
        driver.give_up_memory(error)  # there is still too much: at once
        ends = [each for each in heard if each[0] is not events.StanzasAcknowledged]
        assert ends == [(events.SessionFailed, True), (SessionReleased, True)]
        await turns()
        assert len(failed) == len(ended) == 1
    assert driver.memory == 0
    assert driver not in e2e(alice)._client.memory._shares
    assert await until(driver.closed) is error
    await env.settle(alice, bob)
    assert len(failed) == len(ended) == 1
    assert (await failed.take()).stanza["body"] == "early"
    assert not e2e(alice)._client.queue.outstanding


async def test_what_is_sent_into_a_session_that_is_over_is_not_counted(env: Env) -> None:
    alice, bob = await env.pair()
    ours, _ = await env.session(alice, bob)
    await until(ours.close())
    await env.settle(alice, bob)
    budget, driver = e2e(alice)._client.memory, ours._driver
    assert driver._released
    with pytest.raises(LocalError):
        driver.send(alice.make_message(mto=BOB, mbody="late").xml)
    await turns()
    assert driver not in budget._shares
    assert driver not in budget._held
    assert not any(driver in waiting for waiting in budget._waiting.values())


async def test_blocks_that_wait_for_the_store_are_counted(env: Env) -> None:
    alice, bob = await env.pair()
    e2e(alice)._store.record_e2e_use(JID(BOB).bare, 1.0)
    with held(alice):
        driver = await stored_session(env, alice, bob)
        await turns()
        budget = e2e(alice)._client.memory
        before = budget.used
        request: Any = alice.make_iq_set(ifrom=BOB, ito=ALICE)
        payload = alice.make_iq_set().xml
        payload.text = "x" * 4096
        driver.receive_ibb(request, payload)
        await turns()
        assert driver.core.state is not State.CLOSED
        assert budget.used == before + 4096
        driver.abort_unreachable(LocalError("the test is over"))
        assert budget.used == 0


def budget_of_friends() -> MemoryBudget:
    return MemoryBudget(lambda account: account == JID(FRIEND).bare, LIMIT)


def test_strangers_who_hold_all_that_they_may_leave_room_for_contacts() -> None:
    """What we send to a friend goes on, and also while the friend holds something."""
    limits = budget_of_friends()
    domains = STRANGERS // STRANGERS_PER_DOMAIN
    crowd = [hold(limits, f"{n}@{domain}.test/x", LIMIT) for domain in range(domains) for n in range(STRANGERS_PER_DOMAIN)]
    assert not any(session.ended for session in crowd)
    assert limits.used == STRANGERS * LIMIT
    assert not limits.has_room(Session("new@other.test/x"))
    friend = Session(FRIEND)
    assert limits.has_room(friend)
    friend.memory = LIMIT // 2
    limits.update(friend)
    assert limits.has_room(friend)
