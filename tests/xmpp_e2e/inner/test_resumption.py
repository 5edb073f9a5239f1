"""What one session leaves, the next one resumes; an earlier one does not count any more."""

from __future__ import annotations

import pytest

from tests.pair import ALICE, BOB, identity, message, prepare, talk
from tests.resumed import Path, World
from xmpp_e2e import events
from xmpp_e2e.errors import SendBufferFull, SessionCancelled
from xmpp_e2e.inner import resumption
from xmpp_e2e.inner.conversation import Conversation
from xmpp_e2e.inner.resumption import KEPT_SECONDS, STATES_PER_LINK, Link, Resumptions
from xmpp_e2e.inner.stream_management import ACK_SECONDS
from xmpp_e2e.states import State
from xmpp_e2e.stream import acks
from xmpp_e2e.stream.acks import AckState, SentStanza

NOBODY_ELSE = Link(ALICE, BOB, identity("alice").fingerprint, identity("bob").fingerprint)


def broken(world: World, *, count: int = 3, names: tuple[str, ...] = ("alice", "bob")) -> Path:
    """A session in which these have sent so many stanzas, none of which arrives before the path breaks for both."""
    path = world.open()
    world.carry_all()
    for name in names:
        for _ in range(count):
            world.send(name)
    for name in names:
        world.cut(path, name, last_words=False)
    return path


@pytest.mark.parametrize("initiator", ["alice", "bob"])
@pytest.mark.parametrize("names", [("alice",), ("bob",), ("alice", "bob")], ids="+".join)
def test_nothing_is_lost(initiator: str, names: tuple[str, ...]) -> None:
    """Whoever begins, and whoever has something left."""
    world = World()
    broken(world, names=names)
    world.cut_all()
    world.open(initiator)
    world.carry_all()
    for name in ("alice", "bob"):
        world.send(name)
    world.carry_all()
    world.check()
    world.finish()


def test_what_came_is_not_sent_again() -> None:
    """Here all of it came, and no acknowledgement."""
    world = World()
    path = world.open()
    world.carry_all()
    for _ in range(3):
        world.send("alice")
    world.carry(path, "bob")
    assert world.hosts["bob"].heard == [0, 1, 2]
    world.cut_all()
    again = world.open()
    world.carry_all()
    assert world.hosts["alice"].acknowledged == [0, 1, 2]
    assert not again.ends["bob"].of(events.StanzaReceived)


def test_nothing_new_before_the_answer() -> None:
    """Else it would overtake what is left, and the numbers of earlier sessions could never be forgotten."""
    world = World()
    broken(world, names=("alice",))
    world.cut_all()
    path = world.open()
    world.carry(path, "bob")
    with pytest.raises(SendBufferFull, match="what earlier sessions have left comes first"):
        path.ends["alice"].session.send_stanza(message("new"))
    world.finish()


def test_what_is_given_up_is_not_asked_about() -> None:
    world = World()
    broken(world, names=("alice",))
    for stanza in world.hosts["alice"].sent.values():
        stanza.give_up()
    world.hosts["alice"].given_up.update(range(3))
    assert world.hosts["alice"].resumptions.memory == 0
    world.cut_all()
    path = world.open()
    world.carry(path, "bob")
    world.send("alice")
    world.carry_all()
    assert world.hosts["bob"].heard == [3]


@pytest.mark.parametrize("late", ["before it opens", "handshake"])
def test_an_old_session_does_not_count_any_more(late: str) -> None:
    """Alice's path is broken, Bob's is not: what she had sent arrives when she has asked about it."""
    world = World()
    old = world.open()
    if late == "before it opens":
        world.carry_all()
    for _ in range(2):
        world.send("alice")
    world.cut(old, "alice", last_words=True)
    world.open()
    for path in world.paths[1:]:
        for _ in range(4):
            world.carry(path, "bob")
            world.carry(path, "alice")
    world.carry(old, "bob")
    assert world.hosts["bob"].heard == [0, 1]
    assert not world.alive(old, "bob")
    world.finish()


def test_bob_is_told_that_the_old_session_is_over() -> None:
    """As soon as Alice asks. What comes there ends it, if the host has not done so."""
    world = World()
    old = world.open()
    world.carry_all()
    world.send("alice")
    world.cut(old, "alice", last_words=False)
    new = world.open()
    world.carry(new, "bob")
    world.carry(new, "alice")
    world.carry(new, "bob")
    (event,) = new.ends["bob"].of(events.SessionSuperseded)
    assert event.sid == old.ends["bob"].session.sid
    assert not world.alive(old, "bob")


def superseded() -> tuple[World, Path]:
    """Alice has asked about a session in another; her host has not ended it yet, and Bob's knows nothing."""
    world = World()
    old = world.open()
    world.carry_all()
    world.send("alice")
    world.send("bob")
    world.carry(old, "alice")
    world.paths.remove(old)  # nobody ends it
    new = world.open()
    assert new.ends["alice"].of(events.SessionSuperseded)
    return world, old


def test_nothing_is_sent_in_a_superseded_session() -> None:
    _, old = superseded()
    with pytest.raises(SendBufferFull, match="takes the place of this one"):
        old.ends["alice"].session.send_stanza(message("x"))


@pytest.mark.parametrize("what", ["stanza", "request"])
def test_nothing_counts_in_a_superseded_session(what: str) -> None:
    world, old = superseded()
    bob, alice = old.ends["bob"].session, old.ends["alice"].session
    bob.send_stanza(message("late"))
    if what == "request":
        assert bob._conversation is not None
        bob._conversation.out.take(None)
        bob.request_acknowledgement()
    alice.receive_data(bob.data_to_send(), world.now)
    assert alice.state is State.CLOSED
    (told,) = iter(alice.next_event, None)
    assert isinstance(told, events.SessionClosed)
    assert isinstance(told.error, SessionCancelled)


def test_a_superseded_session_says_nothing() -> None:
    """Not even what came there before: its peer has heard that from the other session."""
    world, old = superseded()
    alice = old.ends["alice"].session
    alice.handle_timer(world.now + ACK_SECONDS)
    assert alice.data_to_send() == b""


def test_a_clean_end_of_a_superseded_session_acknowledges_nothing() -> None:
    """The other session has asked, and its answer counts."""
    world, old = superseded()
    talk(old.ends["bob"].session).management.acknowledge = lambda: None  # type: ignore[method-assign]
    world.carry(old, "bob")
    for name in ("alice", "bob"):
        old.ends[name].session.close(world.now)
    for _ in range(2):
        for name, peer in (("alice", "bob"), ("bob", "alice")):
            old.ends[peer].session.receive_data(old.ends[name].session.data_to_send(), world.now)
    (told,) = iter(old.ends["alice"].session.next_event, None)
    assert told == events.SessionClosed(clean=True, error=None)


def test_an_older_session_does_not_ask_about_a_newer_one() -> None:
    """The newer one is on its way, with stanzas of ours; the older one still writes."""
    world = World()
    old = world.open()
    world.carry_all()
    new = world.open()
    world.send("alice")
    old.ends["alice"].session.send_stanza(message("1"))
    world.settle()
    assert not old.ends["alice"].of(events.SessionSuperseded)
    assert world.alive(new, "alice")


def test_after_our_farewell_nothing_is_resent() -> None:
    """Bob has closed when Alice's question comes: what she has got is acknowledged, and the next session resumes the rest."""
    world = World()
    old = broken(world, names=("bob",))
    world.cut_all()
    path = world.open()
    for side in path.ends.values():
        prepare(side.session, asks_nothing)
    for name in ("bob", "alice"):
        world.carry(path, name)
    bob = path.ends["bob"].session
    bob.close(world.now)
    world.settle()
    talk(path.ends["alice"].session).out.element(acks.build_resume(acks.RESUME, old.ends["bob"].session.sid, 2))
    world.hosts["alice"].heard += [0, 1]
    world.settle()
    world.carry(path, "bob")
    assert world.hosts["bob"].acknowledged == [0, 1]
    assert bob.state is State.CLOSING
    assert talk(bob).management.memory == 0
    assert world.hosts["bob"].resumptions.memory > 0


def asks_nothing(conversation: Conversation) -> None:
    """It says nothing of earlier sessions."""
    conversation.management._left = list  # type: ignore[method-assign]


def test_a_session_id_is_used_once() -> None:
    """A server could give a new session an old one's, before anything has proved who is there."""
    resumptions = Resumptions()
    state = AckState("sid", (ALICE, BOB))
    state.add(SentStanza(b"x", None, 1))
    resumptions.begin(NOBODY_ELSE, state, 0.0)
    with pytest.raises(SessionCancelled, match="a session with this id"):
        resumptions.begin(NOBODY_ELSE, AckState("sid", (ALICE, BOB)), 0.0)
    resumptions.end(NOBODY_ELSE, state, 0.0)
    with pytest.raises(SessionCancelled):
        resumptions.begin(NOBODY_ELSE, AckState("sid", (ALICE, BOB)), 0.0)
    assert resumptions.memory == 1


# --- what is kept ----------------------------------------------------------------------------------------------------


def ended(resumptions: Resumptions, sid: str, now: float = 0.0, *, handled: int = 1, left: int = 0) -> AckState:
    """A session that is over."""
    state = AckState(sid, (ALICE, BOB))
    resumptions.begin(NOBODY_ELSE, state, now)
    state.handled = handled
    for _ in range(left):
        state.add(SentStanza(b"x", None, 1))
    resumptions.end(NOBODY_ELSE, state, now)
    return state


def kept(resumptions: Resumptions, now: float = 0.0) -> set[str]:
    """The sids that a new session finds."""
    state = AckState("new", (ALICE, BOB))
    found = set(resumptions.begin(NOBODY_ELSE, state, now)) - {"new"}
    resumptions.end(NOBODY_ELSE, state, now)
    return found


def test_sessions_in_which_nothing_came_are_not_kept() -> None:
    """However many break before: else whoever breaks them would have us forget what counts, and get it twice."""
    resumptions = Resumptions()
    ended(resumptions, "one")
    for number in range(2 * STATES_PER_LINK):
        ended(resumptions, str(number), handled=0)
    assert kept(resumptions) == {"one"}


def test_the_oldest_go_first() -> None:
    """And before those, the ones that were only asked about; what has something left stays."""
    resumptions = Resumptions()
    ended(resumptions, "left", left=1, handled=0)
    ended(resumptions, "oldest")
    now = AckState("now", (ALICE, BOB))
    states = resumptions.begin(NOBODY_ELSE, now, 0.0)
    states["asked"] = AckState("asked", (ALICE, BOB), live=False, superseded=True)
    for number in range(STATES_PER_LINK - 4):
        ended(resumptions, str(number))
    assert len(kept(resumptions)) == STATES_PER_LINK - 1
    assert "asked" not in states
    assert "oldest" in states
    ended(resumptions, "one more")
    ended(resumptions, "and one")
    assert "oldest" not in kept(resumptions)
    assert {"left", "now"} <= set(states)


def test_after_a_day() -> None:
    resumptions = Resumptions()
    ended(resumptions, "old")
    ended(resumptions, "left", left=1)
    assert kept(resumptions, KEPT_SECONDS) == {"old", "left"}
    assert kept(resumptions, KEPT_SECONDS + 1) == {"left"}


def test_nothing_is_kept_of_who_has_said_nothing() -> None:
    resumptions = Resumptions()
    ended(resumptions, "strangers", handled=0)
    assert not resumptions._states


def test_pairs_of_keys_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has something left, or a session, is not forgotten."""
    monkeypatch.setattr(resumption, "LINKS", 3)
    resumptions = Resumptions()

    def link(name: str) -> Link:
        return Link(ALICE, name, NOBODY_ELSE.own_key, NOBODY_ELSE.peer_key)

    for name in ("left", "live", "third", "fourth", "fifth"):
        state = AckState("sid", (ALICE, BOB))
        resumptions.begin(link(name), state, 0.0)
        state.handled = 1
        if name == "left":
            state.add(SentStanza(b"x", None, 1))
        if name != "live":
            resumptions.end(link(name), state, 0.0)
    assert [each.peer_account for each in resumptions._states] == ["left", "live", "fifth"]
    for name in ("sixth", "seventh"):
        resumptions.begin(link(name), AckState("sid", (ALICE, BOB)), 0.0)
    assert [each.peer_account for each in resumptions._states] == ["left", "live", "sixth", "seventh"]


def test_of_what_is_left_only_the_given_up_is_not_sent_again() -> None:
    world = World()
    path = world.open()
    world.carry_all()
    for _ in range(3):
        world.send("alice")
    world.hosts["alice"].sent[1].give_up()
    world.cut(path, "alice", last_words=False)
    world.cut_all()
    world.open()
    world.carry_all()
    assert world.hosts["bob"].heard == [0, 2]
