"""A program ends and starts again: of what came in its sessions, it knows what it has noted."""

from __future__ import annotations

from xml.etree.ElementTree import Element

import pytest

from tests.pair import ALICE, BOB, Pair, config, identity
from tests.resumed import Path, World
from xmpp_e2e import events
from xmpp_e2e.errors import LocalError, SessionCancelled
from xmpp_e2e.inner.resumption import Link, Resumptions
from xmpp_e2e.inner.stream_management import ACK_SECONDS
from xmpp_e2e.states import State
from xmpp_e2e.stream import acks
from xmpp_e2e.stream.acks import AckState
from xmpp_e2e.types import Role

NOBODY_ELSE = Link(ALICE, BOB, identity("alice").fingerprint, identity("bob").fingerprint)


def heard_by_bob_alone(world: World) -> Path:
    """Each has sent; Bob has got it all, and Alice half of it, and neither has heard so. Then the path breaks."""
    path = world.open()
    world.carry_all()
    world.send("bob")
    world.carry(path, "alice")
    world.send("bob")
    for _ in range(3):
        world.send("alice")
    world.carry(path, "bob")
    assert (world.hosts["alice"].heard, world.hosts["bob"].heard) == ([0], [0, 1, 2])
    return path


@pytest.mark.parametrize("initiator", ["alice", "bob"])
@pytest.mark.parametrize("names", [("alice",), ("bob",), ("alice", "bob")], ids="+".join)
def test_what_came_before_a_restart_is_not_sent_again(names: tuple[str, ...], initiator: str) -> None:
    world = World()
    heard_by_bob_alone(world)
    for name in names:
        world.restart(name)
    world.cut_all()
    path = world.open(initiator)
    world.carry_all()
    assert not path.ends["bob"].of(events.StanzaReceived)
    assert len(path.ends["alice"].of(events.StanzaReceived)) == ("bob" not in names)
    world.finish()


def test_without_a_note_it_is_sent_again() -> None:
    """The control."""
    world = World()
    heard_by_bob_alone(world)
    world.restart("bob")
    world.hosts["bob"].notes.clear()
    world.cut_all()
    world.open()
    world.carry_all()
    assert world.hosts["bob"].heard == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize("has_note", [True, False])
def test_who_has_started_again_is_asked_twice(has_note: bool) -> None:
    """The first answer does not arrive. What Alice has handled of Bob's, he does not remember to have sent."""
    world = World()
    heard_by_bob_alone(world)
    world.restart("bob")
    if not has_note:
        world.hosts["bob"].notes.clear()
    world.cut_all()
    for _ in range(2):
        path = world.open()
        while path.wire["bob"]:
            world.carry(path, "bob")
            if path.ends["bob"].of(events.SessionOpened):  # he has got her question with her done
                break
            world.carry(path, "alice")
        world.cut_all()
    again = world.open()
    world.carry_all()
    world.pass_time(ACK_SECONDS)
    world.carry_all()
    assert len(again.ends["bob"].of(events.StanzaReceived)) == (0 if has_note else 3)
    assert world.hosts["alice"].acknowledged == [0, 1, 2]


def test_only_what_the_host_has_taken_is_noted() -> None:
    """What still waits for it ends with the program."""
    world = World()
    path = world.open()
    world.carry_all()
    world.send("alice")
    world.send("alice")
    bob, resumptions = path.ends["bob"].session, world.hosts["bob"].resumptions
    bob.receive_data(bytes(path.wire["bob"]), world.now)
    assert resumptions.take_changes() == []
    link = Link("bob@b.test", "alice@a.test", identity("bob").fingerprint, identity("alice").fingerprint)
    assert isinstance(bob.next_event(), events.StanzaReceived)
    assert resumptions.take_changes() == [(link, bob.sid, 1)]
    assert isinstance(bob.next_event(), events.StanzaReceived)
    bob.uncount_stanza()
    assert resumptions.take_changes() == [(link, bob.sid, 1)]
    assert resumptions.take_changes() == []


def test_a_session_id_is_used_once_over_restarts() -> None:
    resumptions = Resumptions(lambda link, sid: 3 if (link, sid) == (NOBODY_ELSE, "old") else None)
    with pytest.raises(SessionCancelled, match="there was a session with this id"):
        resumptions.begin(NOBODY_ELSE, AckState("old", (ALICE, BOB)), 0.0)
    resumptions.begin(NOBODY_ELSE, AckState("new", (ALICE, BOB)), 0.0)


def test_nothing_is_kept_for_a_host_that_notes_nothing() -> None:
    resumptions, state = Resumptions(), AckState("sid", (ALICE, BOB))
    resumptions.note_taken(NOBODY_ELSE, state)
    assert resumptions.take_changes() == []
    assert not resumptions._changed


@pytest.mark.parametrize(("key", "h"), [("bob", 7), ("mallory", None)])
def test_only_the_same_key_hears_what_came(key: str, h: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every server knows the session's id. Somebody else's question changes nothing, either."""
    link = Link("alice@a.test", "bob@b.test", identity("alice").fingerprint, identity("bob").fingerprint)
    answers: list[int | None] = []
    pair = Pair(config(), config("bob", own_key=identity(key)))
    pair.alice.session._resumptions = Resumptions(lambda *of: {(link, "old"): 7}.get(of))
    pair.open()
    question, build = acks.build_resume(acks.RESUME, "old", 3), acks.build_resume

    def answer(tag: str, previd: str, said: int | None) -> Element:
        answers.append(said)
        return build(tag, previd, said)

    monkeypatch.setattr(acks, "build_resume", answer)
    pair.says(Role.RESPONDER, question)
    pair.says(Role.RESPONDER, question)
    assert answers == [h, h]
    assert pair.alice.session.state is State.OPEN


def test_what_cannot_be_recalled_ends_the_session() -> None:
    """Rather than that all comes twice."""

    def fail(link: Link, sid: str) -> int | None:
        raise LocalError("the disk is broken")

    pair = Pair().open()
    pair.alice.session._resumptions.recall = fail
    pair.says(Role.RESPONDER, acks.build_resume(acks.RESUME, "old", 3))
    assert isinstance(pair.alice.failure, LocalError)
