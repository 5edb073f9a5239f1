"""A request outlives the path of its session: what was asked in one session is answered in the next one under the same key."""

from __future__ import annotations

from typing import Any

import pytest
from slixmpp import ClientXMPP
from slixmpp.exceptions import IqError

from slixmpp_e2e.messages import iq_tracking
from slixmpp_e2e.messages.iq_tracking import ANSWER_SECONDS, IqTracker
from slixmpp_e2e.messages.owed import EndedSession, OwedReplies
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, ask, block, e2e, refused, until
from tests.slixmpp_e2e.messages.fake_sessions import FakeDriver
from tests.slixmpp_e2e.messages.requests import Asked
from tests.slixmpp_e2e.messages.test_iq_tracking import iq
from xmpp_e2e.errors import BytestreamFailed, UntrustedKey

PEER = "p@localhost/r"
CUT = BytestreamFailed("cut")


def end(*clients: ClientXMPP, error: Any = CUT) -> None:
    """The sessions of these clients end, and their peers do not hear of it."""
    for client in clients:
        for session in e2e(client).sessions():
            session._driver.abort_unreachable(error)


@pytest.mark.parametrize("who_knows", ["both", "the asker", "the asked"])
async def test_an_answer_comes_through_the_next_session(env: Env, who_knows: str) -> None:
    alice, bob = await env.pair()
    await env.session(alice, bob)
    asked, failed = Asked(bob), [Events(client, "e2e_send_failed") for client in (alice, bob)]
    answer = ask(alice, BOB)
    request = await asked.take()
    end(*{"both": (alice, bob), "the asker": (alice,), "the asked": (bob,)}[who_knows])
    if who_knows == "the asker":  # it asks for something else meanwhile
        alice.send_message(mto=BOB, mbody="hello")
    request.reply().send()
    assert (await until(answer))["type"] == "result"
    assert not any(map(len, failed))
    assert env.in_clear(request["id"]) == []


async def test_a_request_that_did_not_arrive_is_asked_in_the_next_session(env: Env) -> None:
    alice, bob = await env.pair()
    await env.session(alice, bob)
    asked, hold = Asked(bob), env.hold(block)
    answer = ask(alice, BOB)
    await until(hold.caught())
    hold.discard()
    env.server.hooks.remove(hold)
    end(alice, bob)
    (await asked.take()).reply().send()
    assert (await until(answer))["type"] == "result"


async def test_a_request_dies_with_a_session_that_ends_over_trust(env: Env) -> None:
    alice, bob = await env.pair()
    await env.session(alice, bob)
    asked = Asked(bob)
    answer = ask(alice, BOB)
    await asked.take()
    end(alice, error=UntrustedKey("blocked"))
    assert "blocked" in await refused(answer)


async def test_a_request_dies_with_the_last_session_under_its_key(env: Env) -> None:
    """The next one under the key ends by farewells: nobody will answer any more."""
    alice, bob = await env.pair()
    await env.session(alice, bob)
    asked = Asked(bob)
    answer = ask(alice, BOB)
    await asked.take()
    end(alice, bob)
    ours, _ = await env.session(alice, bob)
    await until(ours.close())
    with pytest.raises(IqError):
        await until(answer)


def tracker_with(*ids: str) -> tuple[IqTracker, EndedSession, list[float]]:
    """A tracker, what is left of a session in which these were asked of us and which has ended over its path, and the time."""
    now = [0.0]
    tracker, session = IqTracker(lambda stamped: ALICE, lambda: now[0]), FakeDriver(PEER)
    for iq_id in ids:
        tracker.on_encrypted(iq(iq_id, "get"), session)
    assert tracker.on_session_closed(session, goes_on=True) == []
    assert session.owed_memory == 0
    return tracker, EndedSession(session.target, session.key), now


def test_an_answer_is_owed_once_and_for_a_while() -> None:
    tracker, session, now = tracker_with("1", "2", "3")
    assert [tracker.session_for_reply(iq("1", "result")) for _ in range(2)] == [session, None]
    now[0] = ANSWER_SECONDS - 1
    assert tracker.session_for_reply(iq("2", "result")) == session
    now[0] = ANSWER_SECONDS
    assert tracker.session_for_reply(iq("3", "result")) is None
    assert not tracker.may_reply_plaintext(iq("1", "result"))


def test_what_was_owed_for_too_long_is_forgotten_when_the_next_session_ends() -> None:
    tracker, _, now = tracker_with("1", "2")
    now[0] = ANSWER_SECONDS
    other = FakeDriver("other@localhost/r")
    tracker.on_encrypted(iq("3", "get", other.peer), other)
    tracker.on_session_closed(other, goes_on=True)
    assert len(tracker._owed_after_end) == 1


def test_what_is_owed_after_the_end_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iq_tracking, "OWED_AFTER_END", 3)
    monkeypatch.setattr(iq_tracking, "OWED_AFTER_END_PER_ACCOUNT", 2)
    tracker, session, _ = tracker_with("1", "2", "3")
    assert [tracker.session_for_reply(iq(each, "result")) for each in "123"] == [None, session, session]


def test_who_owes_most_loses_the_oldest_and_nothing_stays() -> None:
    owed = OwedReplies[int](per_account=9, in_all=3)
    keys = [(ALICE, f"{name}/x", str(number)) for number, name in enumerate(["a@b", "c@d", "c@d", "e@f"])]
    for number, key in enumerate(keys):
        owed.add(key, number)
    assert [owed.pop(key) for key in keys] == [0, None, 2, 3]
    assert (len(owed), owed._by_account) == (0, {})


@pytest.mark.parametrize("key", [bytes(32), bytes([1]) * 32], ids=["same", "other"])
def test_an_answer_counts_only_under_the_key_that_was_asked(key: bytes) -> None:
    tracker, session, later = IqTracker(lambda stamped: ALICE), FakeDriver(PEER), FakeDriver(PEER, key=key)
    tracker.add(iq("1", "get"))
    tracker.bind(iq("1", "get"), session)
    tracker.on_session_closed(session, goes_on=True)
    assert tracker.on_encrypted(iq("1", "result"), later) is (key == bytes(32))
