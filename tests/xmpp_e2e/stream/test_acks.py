"""The numbers of one session's stanzas, and the elements that tell them."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement

import pytest

from xmpp_e2e.errors import StreamError
from xmpp_e2e.stream import acks
from xmpp_e2e.stream.acks import AckState, SentStanza


def sent(count: int) -> tuple[AckState, list[SentStanza]]:
    """A session in which so many stanzas were sent, of 10 bytes each."""
    state = AckState("sid", ("alice@a.test/phone", "bob@b.test/desk"))
    stanzas = [SentStanza(bytes(10), number, 10) for number in range(1, count + 1)]
    for stanza in stanzas:
        state.add(stanza)
    return state, stanzas


def test_each_is_acknowledged_once() -> None:
    state, stanzas = sent(5)
    assert state.acknowledge(2) == stanzas[:2]
    assert (state.size, state.memory, state.is_settled) == (30, 30, False)
    assert state.acknowledge(2) == state.acknowledge(0) == []
    assert state.acknowledge(5) == stanzas[2:]
    assert (state.size, state.is_settled) == (0, True)


def test_no_more_than_was_sent() -> None:
    state, _ = sent(5)
    with pytest.raises(StreamError, match="acknowledges 6 stanzas; 5 were sent") as error:
        state.acknowledge(6)
    assert error.value.condition == "policy-violation"
    assert state.size == 50


def test_what_is_taken_is_not_acknowledged_later() -> None:
    """An acknowledgement may come late, when the stanzas are in another session already."""
    state, stanzas = sent(3)
    assert state.take_unacknowledged() == stanzas
    assert state.acknowledge(2) == []
    state.add(stanzas[0])
    assert state.acknowledge(3) == []
    assert state.acknowledge(4) == [stanzas[0]]


def test_what_is_given_up_keeps_its_number() -> None:
    state, (first, second) = sent(2)
    first.give_up()
    assert (state.memory, state.is_settled, first.tag) == (10, False, None)
    second.give_up()
    assert (state.memory, state.is_settled, state.size) == (0, True, 20)
    assert state.acknowledge(1) == [first]


def test_nothing_of_a_stanza_is_shown() -> None:
    assert "secret" not in repr(SentStanza(b"<message>secret</message>", "secret", 25))
    assert "unacknowledged" not in repr(sent(1)[0])


@pytest.mark.parametrize("h", [0, 1, 10**19 - 1])
def test_numbers(h: int) -> None:
    assert acks.parse_h(acks.build_answer(h)) == h
    assert acks.parse_resume(acks.build_resume(acks.RESUME, "s", h)) == ("s", h)
    assert acks.parse_resume(acks.build_resume(acks.RESUMED, "s" * 128, h)) == ("s" * 128, h)


def test_nothing_is_known() -> None:
    assert acks.parse_resume(acks.build_resume(acks.RESUMED, "s", None)) == ("s", None)


BAD_NUMBERS = ["", "-1", "+1", "1.0", " 1", "0x1", "1" * 20, "٣", "²", "1_0", "one"]


@pytest.mark.parametrize("h", BAD_NUMBERS)
def test_no_numbers(h: str) -> None:
    for element in (
        Element(acks.A, {"h": h}),
        Element(acks.RESUME, {"previd": "s", "h": h}),
        Element(acks.RESUMED, {"previd": "s", "h": h}),
    ):
        with pytest.raises(StreamError) as error:
            acks.parse_h(element) if element.tag == acks.A else acks.parse_resume(element)
        assert error.value.condition == "bad-format"


@pytest.mark.parametrize(
    "attributes", [{"h": "1"}, {"previd": "", "h": "1"}, {"previd": "s" * 129, "h": "1"}, {"previd": "s"}], ids=str
)
def test_malformed_resumptions(attributes: dict[str, str]) -> None:
    with pytest.raises(StreamError, match="malformed"):
        acks.parse_resume(Element(acks.RESUME, attributes))


def test_nothing_is_inside() -> None:
    answer, resumed = acks.build_answer(1), acks.build_resume(acks.RESUMED, "s", None)
    for element in (answer, resumed):
        SubElement(element, "x")
    with pytest.raises(StreamError):
        acks.parse_h(answer)
    with pytest.raises(StreamError):
        acks.parse_resume(resumed)
