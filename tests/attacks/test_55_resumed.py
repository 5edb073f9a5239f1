"""Attack 55: acknowledgements and resumption are used to get, repeat, or make us forget what was meant for somebody.

Whoever has the right key may lie about what came: that costs them their own stanzas. Nobody else gets any, however the sessions
break, and nothing that was delivered is delivered again.
"""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element

import pytest

from tests.attacks.test_38_out_of_turn import UNTRUSTED
from tests.pair import Pair, Side, config, dice, identity, message, prepare, remembers, talk
from tests.resumed import World
from xmpp_e2e import events
from xmpp_e2e.errors import BytestreamFailed, SessionCancelled, StreamError
from xmpp_e2e.inner import resumption
from xmpp_e2e.inner.conversation import Conversation
from xmpp_e2e.inner.resumption import STATES_PER_LINK, Link, Resumptions
from xmpp_e2e.inner.stream_management import MAX_RESUMES
from xmpp_e2e.key_decision import OnKeyChange
from xmpp_e2e.states import State
from xmpp_e2e.stream import acks
from xmpp_e2e.stream.acks import AckState
from xmpp_e2e.types import Assurance, KnownKey, KnownKeys, Role

CAROL = "carol@b.test/desk"


def broken(alice: dict[str, Any] | None = None, bob: dict[str, Any] | None = None, count: int = 3) -> Pair:
    """A session in which Alice's stanzas got lost with the path."""
    pair = Pair(config(**(alice or {})), config("bob", **(bob or {}))).open()
    pair.on_data = lambda role, data: []
    for number in range(count):
        pair.alice.session.send_stanza(message(f"secret {number}"), number)
    pair.run()
    for side in (pair.alice, pair.bob):
        side.session.bytestream_failed(BytestreamFailed("cut"), pair.now)
    return pair.run()


def again(before: Pair, seed: str = "again", *, alice: dict[str, Any] | None = None, **bob: Any) -> Pair:
    """The next session of Alice's host; ``bob``: who it is with."""
    terms = config("bob", random=dice("b" + seed), **bob)
    return Pair(config(random=dice(seed), peer_jid=terms.own_jid, **(alice or {})), terms, after=before)


def asked(pair: Pair, *elements: Element) -> Side:
    """Bob says this to Alice."""
    pair.says(Role.RESPONDER, *elements)
    return pair.alice


# --- foreign ---------------------------------------------------------------------------------------------------------


def test_a_resumption() -> None:
    """What the attacks below are about: without any, Bob gets what got lost."""
    assert again(broken()).open().bob.stanzas == ["secret 0", "secret 1", "secret 2"]


@pytest.mark.parametrize(
    "bob",
    [{"own_key": identity("mallory")}, {"own_jid": CAROL}, {"own_jid": CAROL, "own_key": identity("mallory")}],
    ids=["another key", "another account with the same key", "another"],
)
def test_nobody_else_gets_what_was_left(bob: dict[str, Any]) -> None:
    """Though they know the sid, as every server does, and ask."""
    before = broken()
    pair = again(before, **bob).open()
    assert pair.alice.session.state is State.OPEN
    alice = asked(pair, acks.build_resume(acks.RESUME, before.alice.session.sid, 0))
    assert pair.bob.stanzas == []
    assert not alice.of(events.StanzasAcknowledged)
    assert again(before, "honest").open().bob.stanzas == ["secret 0", "secret 1", "secret 2"]


def test_nor_from_another_account_of_ours() -> None:
    """A component has one key for all its addresses."""
    before = broken()
    pair = Pair(
        config(random=dice("x"), own_jid="other@a.test/phone"),
        config("bob", random=dice("y"), peer_jid="other@a.test/phone"),
        after=before,
    ).open()
    asked(pair, acks.build_resume(acks.RESUME, before.alice.session.sid, 0))
    assert pair.bob.stanzas == []


def test_control_one_link_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """If what was left were not kept apart by keys and accounts, whoever comes next would get it."""
    genuine = Resumptions.begin

    def careless(self: Resumptions, link: Link, state: AckState, now: float) -> dict[str, AckState]:
        return genuine(self, Link("", "", identity("alice").fingerprint, identity("alice").fingerprint), state, now)

    monkeypatch.setattr(Resumptions, "begin", careless)
    monkeypatch.setattr(Resumptions, "end", lambda self, link, state, now: setattr(state, "live", False))
    pair = again(broken(), own_key=identity("mallory")).open()
    assert pair.bob.stanzas == ["secret 0", "secret 1", "secret 2"]


@pytest.mark.parametrize("status", ["held", "blocked"])
def test_a_key_that_may_get_nothing_gets_nothing_resent(status: str) -> None:
    """It was good enough when the stanzas were sent. It may ask as it likes."""
    before = broken()
    fingerprint = identity("bob").fingerprint
    if status == "blocked":
        known = KnownKeys((KnownKey(fingerprint, Assurance.VOUCHED, "route", 0.0, blocked=True),))
    else:
        known = remembers("carol", Assurance.VERIFIED, "pin")
    pair = Pair(
        config(random=dice("x"), on_key_change=OnKeyChange.HOLD),
        config("bob", random=dice("y")),
        alice_remembers=known,
        after=before,
    ).open()
    assert pair.alice.session.state is (State.CLOSED if status == "blocked" else State.DONE_RECEIVED)
    if status == "held":
        asked(pair, acks.build_resume(acks.RESUME, before.alice.session.sid, 0))
        assert pair.alice.session.state is State.DONE_RECEIVED
    assert pair.bob.stanzas == []
    assert not pair.alice.of(events.StanzasAcknowledged)


def test_a_key_that_is_blocked_when_it_has_asked() -> None:
    """While its question waits for the user's decision."""
    before = broken()
    pair = again(before, alice=UNTRUSTED).open()
    asked(pair, acks.build_resume(acks.RESUME, before.alice.session.sid, 0))
    blocked = KnownKey(identity("bob").fingerprint, Assurance.VOUCHED, "route", 0.0, blocked=True)
    pair.alice.session.update_known_keys(KnownKeys((blocked,)), pair.now)
    pair.run()
    assert pair.alice.session.state is State.CLOSED
    assert pair.bob.stanzas == []


# --- lies ------------------------------------------------------------------------------------------------------------


def refused(pair: Pair, condition: str) -> None:
    """Alice has ended the session over it, and got nothing acknowledged."""
    assert isinstance(pair.alice.failure, StreamError)
    assert pair.alice.failure.condition == condition
    assert not pair.alice.of(events.StanzasAcknowledged)


@pytest.mark.parametrize("h", [1, 2, 10**19 - 1])
def test_acknowledgement_of_what_was_never_sent(h: int) -> None:
    pair = Pair().open()
    asked(pair, acks.build_answer(h))
    refused(pair, "policy-violation")


@pytest.mark.parametrize("tag", [acks.RESUME, acks.RESUMED])
def test_resumption_of_what_was_never_sent(tag: str) -> None:
    """Three were."""
    before = broken()
    pair = again(before)

    def mum(conversation: Conversation) -> None:
        conversation.management._on_resume = lambda element, now: None  # type: ignore[method-assign]

    prepare(pair.bob.session, mum)
    pair.on_data = lambda role, data: [data]
    pair.open()
    resumed = acks.build_resume(tag, before.alice.session.sid, 4)
    talk(pair.alice.session).management._asked.add(before.alice.session.sid)
    talk(pair.alice.session).management._states[before.alice.session.sid].unacknowledged.clear()
    asked(pair, resumed)
    assert isinstance(pair.alice.failure, StreamError)
    assert pair.alice.failure.condition == "policy-violation"


def test_an_answer_to_no_question() -> None:
    """It says nothing, whatever it says."""
    before = broken()
    world = again(before)
    world.alice.session.offer(world.now)
    world.run()
    asked(world, acks.build_resume(acks.RESUMED, before.alice.session.sid, 0), acks.build_resume(acks.RESUMED, "x", 9))
    assert world.bob.stanzas == ["secret 0", "secret 1", "secret 2"]
    assert world.alice.session.state is State.OPEN


def test_a_question_about_this_session_itself() -> None:
    pair = Pair().open()
    asked(pair, acks.build_resume(acks.RESUME, pair.alice.session.sid, 0))
    refused(pair, "policy-violation")


def test_too_many_questions() -> None:
    """Each makes us keep a number; few are ever needed."""
    pair = Pair().open()
    for number in range(MAX_RESUMES):
        asked(pair, acks.build_resume(acks.RESUME, str(number), 0))
    assert pair.alice.session.state is State.OPEN
    assert len(talk(pair.alice.session).management._states) == MAX_RESUMES + 1
    asked(pair, acks.build_resume(acks.RESUME, "one more", 0))
    refused(pair, "policy-violation")
    pair.end_transport(Role.RESPONDER)
    assert len(talk(again(pair).open().alice.session).management._states) <= STATES_PER_LINK


def test_a_question_asked_again() -> None:
    """It gets what was left once, not twice: from then on that is in the session in which it was asked."""
    before = broken()
    pair = again(before).open()
    question = acks.build_resume(acks.RESUME, before.alice.session.sid, 0)
    asked(pair, question, question)
    assert pair.bob.stanzas == ["secret 0", "secret 1", "secret 2"]


MALFORMED = {
    "no h": Element(acks.A),
    "negative": Element(acks.A, {"h": "-1"}),
    "huge": Element(acks.A, {"h": "9" * 20}),
    "no digits": Element(acks.A, {"h": "one"}),
    "digits of another script": Element(acks.A, {"h": "\N{ARABIC-INDIC DIGIT ONE}"}),
    "resume: no h": Element(acks.RESUME, {"previd": "x"}),
    "resume: no previd": Element(acks.RESUME, {"h": "1"}),
    "resume: huge previd": Element(acks.RESUME, {"previd": "x" * 129, "h": "1"}),
    "resumed: negative": Element(acks.RESUMED, {"previd": "x", "h": "-1"}),
    "resumed: empty h": Element(acks.RESUMED, {"previd": "x", "h": ""}),
}


@pytest.mark.parametrize("element", MALFORMED.values(), ids=MALFORMED)
def test_malformed(element: Element) -> None:
    pair = Pair().open()
    asked(pair, element)
    refused(pair, "bad-format")


@pytest.mark.parametrize("name", ["enable", "enabled", "failed", "x"])
def test_the_rest_of_xep_0198(name: str) -> None:
    """It has no place inside."""
    pair = Pair().open()
    asked(pair, Element(f"{{{acks.NS_SM}}}{name}"))
    refused(pair, "unsupported-stanza-type")


ALL = {"r": acks.build_request(), "a": acks.build_answer(0), "resume": acks.build_resume(acks.RESUME, "x", 0)}


@pytest.mark.parametrize("element", ALL.values(), ids=ALL)
@pytest.mark.parametrize("when", ["before done", "after the farewell"])
def test_out_of_turn(element: Element, when: str) -> None:
    pair = Pair(bob=config("bob", **UNTRUSTED)) if when == "before done" else Pair()
    pair.open()
    if when != "before done":
        prepare(pair.bob.session, lambda conversation: conversation.out.close_stream())
    talk(pair.bob.session).out.element(element)
    if when == "before done":
        assert pair.bob.session.state is State.DONE_RECEIVED
    assert pair.bob.session._tls is not None
    pair.bob.session._tls.send(talk(pair.bob.session).out.take(None))
    pair.run()
    condition = "policy-violation" if when == "before done" else "not-well-formed"
    assert isinstance(pair.alice.failure, StreamError)
    assert pair.alice.failure.condition == condition


@pytest.mark.parametrize("element", ALL.values(), ids=ALL)
def test_from_a_peer_that_has_not_said_that_it_can(element: Element) -> None:
    pair = Pair()

    def unaware(conversation: Conversation) -> None:
        note = conversation.management.note_hello
        conversation.management.note_hello = lambda *, supported: note(supported=False)  # type: ignore[method-assign]

    prepare(pair.alice.session, unaware)
    pair.open()
    asked(pair, element)
    refused(pair, "policy-violation")


def test_a_flood_of_requests() -> None:
    """All that wait at once get one answer; what is held for them does not grow."""
    pair = Pair().open()
    before = len(pair.alice.data_sent)
    for _ in range(100):
        talk(pair.bob.session).out._write(b"<r xmlns='urn:xmpp:sm:3'/>" * 2000)
        pair.run()
    assert pair.alice.session.memory == 0
    assert len(pair.alice.data_sent) - before < 100 * 10 * 100


# --- the wire --------------------------------------------------------------------------------------------------------


def cut_before_anything_comes(world: World) -> None:
    """A server lets the handshake through, and cuts what follows."""
    path = world.open()
    world.carry(path, "bob")
    world.cut_all()


def heard_twice(world: World) -> None:
    """Alice has sent what Bob has got and not acknowledged. A server cuts session after session, then lets one through."""
    path = world.open()
    world.carry_all()
    world.send("alice")
    world.carry(path, "bob")
    world.cut_all()
    for _ in range(2 * STATES_PER_LINK):
        cut_before_anything_comes(world)
    world.open()
    world.carry_all()


def test_a_server_that_cuts_has_nothing_repeated() -> None:
    world = World()
    heard_twice(world)
    assert world.hosts["bob"].heard == [0]
    world.finish()


def test_control_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """If sessions in which nothing came pushed out others, a server could have anything delivered twice."""

    def careless(states: dict[str, AckState], now: float) -> None:
        for old in [each for each in states.values() if not each.live and each.is_settled]:
            if len(states) >= STATES_PER_LINK:
                del states[old.sid]

    def keep(self: Resumptions, link: Link, state: AckState, now: float) -> None:
        state.live, state.ended = False, now

    monkeypatch.setattr(resumption, "_make_room", careless)
    monkeypatch.setattr(Resumptions, "end", keep)
    world = World()
    heard_twice(world)
    assert world.hosts["bob"].heard == [0, 0]


def test_a_server_that_uses_a_session_id_again_makes_us_forget_nothing() -> None:
    """Bob offers; the server puts the sid of the broken session into the offer. TLS is up, with Bob's key, before the hello
    shows it."""
    before = broken()
    sid = before.alice.session.sid
    alice = config(random=dice("x"))
    bob = config("bob", random=dice("y"))
    pair = Pair(bob, alice, after=before)
    pair.resumptions = {role: before.resumptions[role.other] for role in Role}
    for role, side in ((Role.INITIATOR, pair.alice), (Role.RESPONDER, pair.bob)):
        side.session._resumptions = pair.resumptions[role]
    theirs: list[str] = []

    def alter(role: Role, element: Element) -> list[Element]:
        if role is Role.INITIATOR:
            theirs.append(element.attrib["sid"])
            element.set("sid", sid)
        else:
            element.set("sid", theirs[0])
        return [element]

    pair.on_jingle = alter
    pair.open()
    assert isinstance(pair.bob.failure, SessionCancelled)
    assert again(before, "honest").open().bob.stanzas == ["secret 0", "secret 1", "secret 2"]


def test_what_the_wire_cuts_short_is_no_acknowledgement() -> None:
    """The end of the path, in the middle of the number."""
    pair = Pair().open()
    for number in range(20):
        pair.alice.session.send_stanza(message(str(number)), number)
    pair.run()
    talk(pair.bob.session).out._write(b"<a xmlns='urn:xmpp:sm:3' h='1")
    pair.run()
    for role in Role:
        pair.end_transport(role)
    assert not pair.alice.of(events.StanzasAcknowledged)
