"""Iqs inside a session: their answers come through the same session, or not at all (attack 17)."""

from __future__ import annotations

from typing import Any

import pytest
from slixmpp import Iq

from slixmpp_e2e.alarms import reason_of
from slixmpp_e2e.errors import NotSentReason
from slixmpp_e2e.messages import iq_tracking
from slixmpp_e2e.messages.iq_tracking import IqTracker
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, ask, e2e, refused, until
from tests.slixmpp_e2e.messages.fake_sessions import FakeDriver
from tests.slixmpp_e2e.messages.requests import Asked
from xmpp_e2e.types import Role

PEER = "p@localhost/r"


async def test_control_without_the_check_the_made_up_answer_counts(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attack is real: slixmpp's own matcher takes a result from the domain of the peer."""
    monkeypatch.setattr(IqTracker, "is_spoofed_reply", lambda self, iq: False)
    alice, bob = await env.pair()
    await env.session(alice, bob)
    asked = Asked(bob)
    answer = ask(alice, BOB)
    request = await asked.take()
    env.server.inject(ALICE, f"<iq from='localhost' to='{ALICE}' id='{request['id']}' type='result'/>")
    assert (await until(answer))["from"].full == "localhost"


async def test_an_answer_whose_session_has_ended_is_not_sent(env: Env) -> None:
    """Neither in plaintext (even where that is allowed) nor through a newer session, and the handler's side is told."""
    alice, bob = await env.pair()
    ours, theirs = await env.session(alice, bob)
    asked, failed = Asked(bob), Events(bob, "e2e_send_failed")
    answer = ask(alice, BOB)
    request = await asked.take()
    await until(ours.close())
    await until(theirs.wait_closed())
    assert "ended" in await refused(answer)
    await env.session(alice, bob)
    e2e(bob).allow_plaintext(ALICE)
    e2e(bob).set_policy(ALICE, "off")
    request.reply().send()
    assert reason_of((await failed.take()).error) is NotSentReason.SESSION_CLOSED
    await env.settle(alice, bob)
    assert env.in_clear(request["id"]) == []


async def test_a_request_goes_on_in_a_session_that_takes_the_place_of_its_own(env: Env) -> None:
    alice, bob = await env.pair()
    ours, _ = await env.session(alice, bob)
    asked = Asked(bob)
    answer = ask(alice, BOB)
    request = await asked.take()
    client = e2e(bob)._client
    newer = client._create(Role.INITIATOR, BOB, ALICE)
    newer.offer()
    client.registry.add(newer)
    await until(ours.wait_closed())
    assert [session.is_open for session in e2e(alice).sessions()] == [True]
    request.reply().send()
    assert (await until(answer))["type"] == "result"


async def test_requests_that_are_never_answered_do_not_pile_up(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound the oldest is answered by an error here, so that it cannot be answered by anybody else."""
    monkeypatch.setattr(iq_tracking, "PENDING_REQUESTS", 3)
    alice, bob = await env.pair()
    await env.session(alice, bob)
    Asked(bob)
    answers = [ask(alice, BOB) for _ in range(5)]
    for answer in answers[:2]:
        assert "too many" in await refused(answer)
    assert not any(answer.done() for answer in answers[2:])
    env.unload(alice)
    for answer in answers[2:]:
        await refused(answer)


def iq(iq_id: str, kind: str, peer: str = PEER) -> Any:
    stanza = Iq()
    stanza["from"], stanza["to"], stanza["id"], stanza["type"] = peer, peer, iq_id, kind
    return stanza


def test_an_answer_settles_a_request_of_its_session_and_the_end_of_a_session_settles_all() -> None:
    tracker, session, other = IqTracker(lambda stamped: ALICE), FakeDriver(PEER), FakeDriver(PEER, key=bytes([1]) * 32)
    for iq_id, kind in (("a", "get"), ("b", "set"), ("c", "get"), ("r", "result")):
        assert tracker.add(iq(iq_id, kind)) is None
        tracker.bind(iq(iq_id, kind), session)
    tracker.bind(iq("b", "result"), other)  # an answer of ours, by chance with the same id
    tracker.bind(iq("unknown", "get"), other)
    assert [each for each in ("a", "b", "c", "r", "unknown") if tracker.is_spoofed_reply(iq(each, "result"))] == list("abc")
    assert not tracker.is_spoofed_reply(iq("a", "get"))
    assert tracker.on_encrypted(iq("a", "get"), other)
    assert tracker.on_encrypted(iq("unknown", "result"), other)
    assert [tracker.on_encrypted(iq("a", "error"), each) for each in (other, session)] == [False, True]
    assert not tracker.is_spoofed_reply(iq("a", "result"))
    assert tracker.forget(iq("c", "result")) is None
    assert [request and request.id for request in (tracker.forget(iq("c", "get")) for _ in range(2))] == ["c", None]
    ended = [tracker.on_session_closed(each) for each in (other, session, session)]
    assert [[request.id for request in requests] for requests in ended] == [[], ["b"], []]


def test_each_jid_of_a_component_has_requests_of_its_own() -> None:
    """Though their ids are the same, ours and a peer's."""
    tracker = IqTracker(lambda stamped: stamped)
    sessions = {name: FakeDriver(PEER, own_jid=name) for name in ("echo@bots", "help@bots")}
    for name, session in sessions.items():
        request, answer = iq("1", "get"), iq("1", "result")
        request["from"] = name
        assert tracker.add(request) is None
        tracker.bind(request, session)
        assert tracker.on_encrypted(iq("2", "get"), session)
        answer["to"] = name
        assert tracker.is_spoofed_reply(answer)
    for name, session in reversed(sessions.items()):
        answer = iq("2", "result")
        answer["from"] = name
        assert tracker.session_for_reply(answer) is session
        assert tracker.session_for_reply(answer) is None
        assert tracker.on_encrypted(iq("1", "result"), session)
        came = iq("1", "result")
        came["to"] = name
        assert not tracker.is_spoofed_reply(came)
    assert (len(tracker._pending), len(tracker._ids)) == (0, 0)


def test_what_we_owe_counts_as_memory_of_the_session() -> None:
    tracker, session = IqTracker(lambda stamped: ALICE), FakeDriver(PEER)
    for iq_id in ("1", "1", "2" * 500):
        tracker.on_encrypted(iq(iq_id, "get"), session)
    assert 2000 < session.owed_memory < 4000
    tracker.session_for_reply(iq("2" * 500, "result"))
    assert 0 < session.owed_memory < 500
    tracker.on_session_closed(session)
    assert session.owed_memory == 0


def test_the_replies_that_we_owe_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer who asks and asks costs no memory without end; what is forgotten is answered nowhere."""
    monkeypatch.setattr(iq_tracking, "OWED_REPLIES", 2)
    monkeypatch.setattr(iq_tracking, "ID_BYTES", 3)
    tracker, session = IqTracker(lambda stamped: ALICE), FakeDriver(PEER)
    for iq_id in ("0", "1", "2", "long"):
        assert tracker.on_encrypted(iq(iq_id, "get"), session)
    owed = [tracker.session_for_reply(iq(iq_id, "result")) for iq_id in ("0", "1", "1", "2", "long")]
    assert owed == [None, session, None, session, None]
    assert not any(tracker.may_reply_plaintext(iq(iq_id, "result")) for iq_id in ("0", "1", "2", "long"))
    tracker.on_session_closed(session)
    assert not tracker._owed


def test_only_what_was_asked_in_plaintext_is_answered_in_plaintext(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iq_tracking, "OWED_PLAINTEXT_REPLIES", 2)
    monkeypatch.setattr(iq_tracking, "ID_BYTES", 3)
    tracker = IqTracker(lambda stamped: ALICE)
    for iq_id, kind in (("0", "get"), ("1", "get"), ("2", "set"), ("3", "result"), ("long", "get")):
        tracker.on_plaintext_request(iq(iq_id, kind))
    assert not tracker.may_reply_plaintext(iq("1", "result", "p@localhost/other"))
    ids = ("0", "1", "1", "2", "3", "long")
    assert [iq_id for iq_id in ids if tracker.may_reply_plaintext(iq(iq_id, "result"))] == ["1", "2"]
    assert all(tracker.may_reply_plaintext(iq("0", "result", server)) for server in ("p@localhost", "localhost"))


def test_who_asks_and_asks_takes_no_answer_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """One account has a limit of its own, and where all are too many, the one with most loses its oldest."""
    monkeypatch.setattr(iq_tracking, "OWED_PLAINTEXT_REPLIES", 6)
    monkeypatch.setattr(iq_tracking, "OWED_PLAINTEXT_PER_ACCOUNT", 4)
    tracker = IqTracker(lambda stamped: ALICE)
    for number in range(3):
        tracker.on_plaintext_request(iq(f"{number}", "get", "friend@localhost/x"))
    for number in range(9):
        tracker.on_plaintext_request(iq(f"{number}", "get", f"evil@localhost/{number}"))
        tracker.on_plaintext_request(iq(f"{number}", "get", f"evil@localhost/{number}"))
    assert len(tracker._owed_plaintext) == 6
    assert all(tracker.may_reply_plaintext(iq(f"{number}", "result", "friend@localhost/x")) for number in range(3))
    answered = [tracker.may_reply_plaintext(iq(f"{number}", "result", f"evil@localhost/{number}")) for number in range(9)]
    assert answered == [False] * 6 + [True] * 3
    assert not tracker._owed_plaintext
    assert not tracker._owed_plaintext._by_account


def test_what_a_session_owes_ends_with_it_and_not_with_another_of_the_same_peer() -> None:
    tracker, sessions = IqTracker(lambda stamped: ALICE), [FakeDriver(PEER) for _ in range(3)]
    for number, session in enumerate(sessions):
        tracker.on_encrypted(iq(str(number), "get"), session)
    tracker.on_session_closed(sessions[0])
    assert [tracker.session_for_reply(iq(each, "result")) for each in "021"] == [None, sessions[2], sessions[1]]
    for session in sessions:
        tracker.on_session_closed(session)
    assert not tracker._owed
