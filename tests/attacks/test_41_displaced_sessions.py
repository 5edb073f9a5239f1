"""Attack 41: beside an open session, the server makes up a second one with the same full JID, under a key of its own.

It must not become the one through which answers and messages leave, only because it came later.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e import E2ESession, NotSentReason
from slixmpp_e2e.alarms import reason_of
from slixmpp_e2e.sessions.registry import SessionRegistry
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, ask, e2e, turns, until
from xmpp_e2e.errors import BytestreamFailed
from xmpp_loopback.hostile import Hold

SECRET = "the treasure is under the oak"


async def with_a_second(env: Env) -> tuple[ClientXMPP, ClientXMPP, E2ESession, Hold]:
    """Return Alice; somebody with another key at Bob's address, of whom she has had a message; her session with Bob, and what
    she says in it, which the server swallows, so that the session lasts."""
    alice, bob = await env.pair(accept_from="anyone")
    ours, _ = await env.session(alice, bob)
    [(_, _, stream)] = e2e(alice)._client.registry._by_stream
    env.unload(bob)
    await turns()

    def in_the_first(stanza: Element, sender: str) -> bool:
        return sender == ALICE and any(child.get("sid") == stream for child in stanza)

    swallowed = env.hold(in_the_first)
    env.load(bob, store_path=str(env._folder / "mallory.db"), accept_from="anyone")
    heard = Events(alice, "message")
    bob.send_message(mto=ALICE, mbody="it is me", mtype="chat")
    assert await heard.bodies(1) == ["it is me"]
    assert ours.is_open
    return alice, bob, ours, swallowed


@pytest.mark.parametrize("to", [BOB, "bob@localhost"])
async def test_messages_stay_with_the_session_that_was_there(env: Env, to: str) -> None:
    alice, mallory, ours, swallowed = await with_a_second(env)
    read = Events(mallory, "message")
    alice.send_message(mto=to, mbody=SECRET, mtype="chat")
    await until(swallowed.caught(1))
    await turns()
    assert len(read) == 0
    assert env.in_clear(SECRET) == []
    ours._driver.abort_unreachable(BytestreamFailed("it was cut"))
    alice.send_message(mto=BOB, mbody="you, then", mtype="chat")
    assert await read.bodies(1) == ["you, then"]  # the one that is left is nobody's rival any more


async def test_a_request_through_the_second_is_not_answered(env: Env) -> None:
    alice, mallory, _, _ = await with_a_second(env)
    failed = Events(alice, "e2e_send_failed")
    answer = ask(mallory, ALICE)
    report = await failed.take()
    assert reason_of(report.error) is NotSentReason.SESSION_OUTRANKED
    assert "xmpp-e2e trust show" in str(report)
    assert not answer.done()
    answer.cancel()


async def test_control_where_the_newest_wins(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: where what leaves follows the session that opened last, as once it did, the second reads."""
    alice, mallory, _, _ = await with_a_second(env)
    read = Events(mallory, "message")
    monkeypatch.setattr(SessionRegistry, "open_with", lambda self, target: list(self._by_target[target])[-1])
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert await read.bodies(1) == [SECRET]
