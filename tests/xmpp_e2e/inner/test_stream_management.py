"""Acknowledgements in one session: when they are asked for and given, what waits for them, and peers that know none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from xml.etree.ElementTree import Element

import pytest

from tests.pair import Pair, config, dice, message, prepare, remembers, talk
from xmpp_e2e import events
from xmpp_e2e.config import Config
from xmpp_e2e.errors import BytestreamFailed, LocalError, SendBufferFull, StreamError
from xmpp_e2e.inner.conversation import Conversation
from xmpp_e2e.inner.stream_management import ACK_SECONDS
from xmpp_e2e.states import State
from xmpp_e2e.stream import acks, writer
from xmpp_e2e.stream.send_buffer import EARLY_STANZA_BYTES, SEND_BUFFER_BYTES
from xmpp_e2e.types import Role, TrustModel


def tags(side: Any, *, by_peer: bool = True) -> list[object]:
    """What was acknowledged, in order."""
    told = side.of(events.StanzasAcknowledged)
    assert all(event.by_peer is by_peer for event in told)
    return [stanza.tag for event in told for stanza in event.stanzas]


def unaware(conversation: Conversation) -> None:
    """It does not say, or know, that stanzas can be acknowledged."""
    conversation._hello = replace(conversation._hello, acknowledges=False)
    note = conversation.management.note_hello
    conversation.management.note_hello = lambda *, supported: note(supported=False)  # type: ignore[method-assign]


def opened(*, knows: bool = True, seed: str = "", **terms: Any) -> Pair:
    """Alice and Bob, who may know no acknowledgements."""
    pair = Pair(config("alice", random=dice("a" + seed)), config("bob", random=dice("b" + seed)), **terms)
    if not knows:
        prepare(pair.bob.session, unaware)
    return pair.open()


def heard(pair: Pair, role: Role) -> list[Element]:
    """Collect the elements of XEP-0198 that ``role`` gets, from now on."""
    found: list[Element] = []
    gate = talk(pair.side(role).session)._gate
    genuine = gate.receive

    def receive(element: Element, size: int, now: float, memory: int = 0) -> None:
        if element.tag in acks.ELEMENTS:
            found.append(element)
        genuine(element, size, now, memory)

    gate.receive = receive  # type: ignore[method-assign]
    return found


# --- when ------------------------------------------------------------------------------------------------------------


def test_an_echo_takes_the_acknowledgement_along() -> None:
    pair = opened()
    to_alice = heard(pair, Role.INITIATOR)
    pair.alice.session.send_stanza(message("1"), "first")
    pair.run()
    assert tags(pair.alice) == []
    pair.bob.session.send_stanza(message("echo"))
    pair.run()
    assert tags(pair.alice) == ["first"]
    assert [acks.parse_h(each) for each in to_alice] == [1]


def test_one_acknowledgement_for_many() -> None:
    """After a while, by a timer, which is then over."""
    pair = opened()
    to_alice = heard(pair, Role.INITIATOR)
    for number in range(5):
        pair.alice.session.send_stanza(message(str(number)), number)
    pair.run().pass_time(ACK_SECONDS / 2)
    assert to_alice == []
    pair.pass_time(ACK_SECONDS / 2)
    assert tags(pair.alice) == list(range(5))
    assert len(to_alice) == 1
    assert pair.bob.session.timer() == pair.alice.session.timer()


def test_acknowledged_when_asked() -> None:
    pair = opened()
    pair.alice.session.send_stanza(message("1"), 1)
    pair.alice.session.request_acknowledgement()
    pair.run()
    assert tags(pair.alice) == [1]
    assert talk(pair.alice.session).management.memory == 0


def test_nothing_is_asked_for_nothing() -> None:
    pair = opened()
    to_bob = heard(pair, Role.RESPONDER)
    pair.alice.session.request_acknowledgement()
    pair.run()
    assert to_bob == []


def test_a_question_is_always_answered() -> None:
    """XEP-0198 §4: even if there is nothing new. Many that come at once get one answer."""
    pair = opened()
    to_alice = heard(pair, Role.INITIATOR)
    pair.says(Role.INITIATOR, acks.build_request())
    assert [acks.parse_h(each) for each in to_alice] == [0]
    for _ in range(1000):
        talk(pair.alice.session).out.element(acks.build_request())
    pair.run()
    assert len(to_alice) == 2


def test_none_is_asked_for_before_the_peer_says_that_it_can() -> None:
    """An older one would end the session over it."""
    pair = Pair(alice_remembers=remembers("bob"))
    pair.alice.session.offer(pair.now)
    for role in Role:
        pair.arrive(role.other, pair.collect(role))
    pair.collect_events(Role.INITIATOR)
    pair.alice.session.send_stanza(message("early"), "early")
    pair.alice.session.request_acknowledgement()
    prepare(pair.bob.session, unaware)
    pair.run()
    assert pair.bob.stanzas == ["early"]
    assert pair.alice.session.state is State.OPEN
    assert tags(pair.alice, by_peer=False) == ["early"]


def test_before_there_is_anybody() -> None:
    pair = Pair()
    with pytest.raises(LocalError, match="no acknowledgement can be asked for"):
        pair.alice.session.request_acknowledgement()


def test_a_farewell_acknowledges_all() -> None:
    """On both sides, whoever begins."""
    pair = opened()
    pair.alice.session.send_stanza(message("1"), 1)
    pair.bob.session.send_stanza(message("2"), 2)
    pair.alice.session.close(pair.now)
    pair.run()
    assert tags(pair.alice) == [1]
    assert tags(pair.bob) == [2]
    assert pair.alice.session.timer() is pair.bob.session.timer() is None


def test_an_end_without_farewell_acknowledges_nothing() -> None:
    pair = opened()
    pair.alice.session.send_stanza(message("1"), 1)
    pair.run()
    for role in Role:
        pair.end_transport(role)
    assert tags(pair.alice) == []
    assert pair.bob.session.timer() is None


def test_a_farewell_that_was_not_read_acknowledges_nothing() -> None:
    """Bob has answered Alice's farewell, behind a stanza. Alice gets neither in time: her end is no word that she has."""
    pair = opened()
    pair.alice.session.close(pair.now)
    pair.arrive(Role.RESPONDER, pair.collect(Role.INITIATOR)[:1])
    assert pair.bob.session.state is State.PEER_CLOSING
    pair = opened(seed="2")
    pair.bob.session.send_stanza(message("late"), "late")
    lost = pair.collect(Role.RESPONDER)
    assert lost
    pair.alice.session.close(pair.now)
    pair.arrive(Role.RESPONDER, pair.collect(Role.INITIATOR))
    lost += pair.collect(Role.RESPONDER)
    pair.alice.session.handle_timer(pair.alice.session.timer() or 0)
    assert pair.alice.session.state is State.CLOSED
    pair.arrive(Role.RESPONDER, [each for each in pair.collect(Role.INITIATOR) if isinstance(each, bytes)])
    pair.end_transport(Role.RESPONDER)
    assert tags(pair.bob) == []
    assert pair.bob.of(events.SessionClosed)[0].clean is False


# --- how much --------------------------------------------------------------------------------------------------------


def of_size(size: int) -> Element:
    """A message of so many bytes."""
    return message("x" * (size - len(writer.element(message("x"))) + 1))


def test_what_is_not_acknowledged_is_bounded() -> None:
    """And is asked for when half of the room is taken; the answer makes room."""
    pair = opened()
    to_bob = heard(pair, Role.RESPONDER)
    size = 200 * 1024
    count = 0
    for count in range(SEND_BUFFER_BYTES // size + 1):
        try:
            pair.alice.session.send_stanza(of_size(size), count)
        except SendBufferFull:
            break
        pair.collect_events(Role.INITIATOR)
    assert count == SEND_BUFFER_BYTES // size
    with pytest.raises(SendBufferFull, match="are free until the peer has taken"):
        pair.alice.session.send_stanza(of_size(size))
    pair.run()
    assert [each.tag for each in to_bob] == [acks.R]
    assert len(tags(pair.alice)) > 0
    pair.alice.session.send_stanza(of_size(size), count)
    pair.run().pass_time(ACK_SECONDS)
    assert tags(pair.alice) == list(range(count + 1))


def test_early_stanzas_add_up() -> None:
    """To the last byte, taken or not; one that finds no room takes none."""
    pair = Pair(alice_remembers=remembers("bob"), bob=config("bob", trust_model=TrustModel.SERVER_UNTRUSTED)).open()
    session = pair.alice.session
    assert session.state is State.DONE_SENT
    session.send_stanza(of_size(EARLY_STANZA_BYTES // 2))
    pair.run()
    with pytest.raises(SendBufferFull, match="16384 are free"):
        session.send_stanza(of_size(EARLY_STANZA_BYTES))
    session.send_stanza(of_size(EARLY_STANZA_BYTES // 2))
    with pytest.raises(SendBufferFull, match="0 are free"):
        session.send_stanza(message(""))


def test_a_session_names_what_is_not_acknowledged() -> None:
    """But for what was given up."""
    pair = Pair()
    assert not pair.alice.session.unacknowledged
    assert pair.alice.session.awaited == 0
    pair.open()
    first, second = (pair.alice.session.send_stanza(message(text), text) for text in ("first", "second"))
    assert list(pair.alice.session.unacknowledged) == [first, second]
    first.give_up()
    assert list(pair.alice.session.unacknowledged) == [second]
    assert pair.alice.session.awaited == first.size + second.size, "its number is acknowledged all the same"
    pair.run().pass_time(ACK_SECONDS)
    assert not list(pair.alice.session.unacknowledged)
    assert pair.alice.session.awaited == 0


# --- peers that know none --------------------------------------------------------------------------------------------


def test_a_peer_that_knows_none_gets_none() -> None:
    """Each side works as if there were no acknowledgements; of what is sent it is known that it has left."""
    pair = opened(knows=False)
    to_bob = heard(pair, Role.RESPONDER)
    pair.alice.session.send_stanza(message("1"), 1)
    pair.alice.session.request_acknowledgement()
    pair.bob.session.send_stanza(message("2"), 2)
    pair.run().pass_time(ACK_SECONDS)
    assert (pair.bob.stanzas, pair.alice.stanzas) == (["1"], ["2"])
    assert to_bob == []
    assert tags(pair.alice, by_peer=False) == [1]
    assert talk(pair.alice.session).management.memory == 0


def test_what_an_older_client_has_left_is_sent_again() -> None:
    """It broke off before the session was open; nothing of that was delivered, as the protocol has it."""
    pair = Pair(alice_remembers=remembers("bob"), bob=config("bob", trust_model=TrustModel.SERVER_UNTRUSTED))
    prepare(pair.bob.session, unaware)
    pair.open()
    pair.alice.session.send_stanza(message("early"), "early")
    pair.run()
    for side in (pair.alice, pair.bob):
        side.session.bytestream_failed(BytestreamFailed("cut"), pair.now)
    again = Pair(config(random=dice("a2")), config("bob", random=dice("b2")), after=pair, alice_remembers=remembers("bob"))
    prepare(again.bob.session, unaware)
    again.open()
    assert again.bob.stanzas == ["early"]
    assert tags(again.alice, by_peer=False) == ["early"]


def test_a_peer_that_was_downgraded_is_told_all_again() -> None:
    """Alice asks it early, since it could answer before. That ends the session; the next one goes by what it can now."""
    pair = opened(alice_remembers=remembers("bob"))
    pair.on_data = lambda role, data: []
    pair.alice.session.send_stanza(message("1"), 1)
    pair.run()
    for side in (pair.alice, pair.bob):
        side.session.bytestream_failed(BytestreamFailed("cut"), pair.now)

    def older(conversation: Conversation) -> None:
        unaware(conversation)

        def refuse(element: Element, size: int, now: float, memory: int = 0) -> None:
            if element.tag in acks.ELEMENTS:
                raise StreamError("unknown", "unsupported-stanza-type")
            genuine(element, size, now, memory)

        genuine = conversation._gate.receive
        conversation._gate.receive = refuse  # type: ignore[method-assign]

    second, third = (
        Pair(config(random=dice(seed)), config("bob", random=dice("b" + seed)), after=pair, alice_remembers=remembers("bob"))
        for seed in "23"
    )
    for again in (second, third):
        prepare(again.bob.session, older)
        again.open()
    assert "cannot acknowledge" in str(second.alice.failure)
    assert tags(second.alice) == []
    assert third.bob.stanzas == ["1"]
    assert tags(third.alice, by_peer=False) == [1]


def test_two_that_know_none() -> None:
    """An older session is not asked about, though it ends only now."""
    pair = opened(knows=False)
    assert isinstance(pair.alice.session.config, Config)
    pair.alice.session.send_stanza(message("1"), 1)
    pair.run()
    pair.end_transport(Role.INITIATOR)
    again = opened(knows=False, seed="2", after=pair)
    again.alice.session.send_stanza(message("2"), 2)
    again.run()
    assert again.bob.stanzas == ["2"]
