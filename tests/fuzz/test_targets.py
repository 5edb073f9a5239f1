"""A short search of every parser: a few hundred inputs each, in seconds. ``make fuzz`` searches as long as it is told."""

from __future__ import annotations

import gc
import tracemalloc
from xml.etree.ElementTree import Element

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import targets
from tests.fuzz.grow import Choices
from tests.fuzz.targets import MAX_INPUT, TARGETS
from xmpp_e2e.negotiate import jingle

EACH = pytest.mark.parametrize("name", TARGETS)
_HELD = 64 * MAX_INPUT
"""Bytes that one input may cost for a while: an element takes some fifty times what it has on the wire."""


@st.composite
def mutated(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """Something honest with a piece replaced."""
    seed = draw(st.sampled_from(seeds))
    begin = draw(st.integers(0, len(seed)))
    end = draw(st.integers(begin, min(len(seed), begin + 20)))
    return seed[:begin] + draw(st.binary(max_size=20)) + seed[end:]


@EACH
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_only_documented_errors_escape(name: str, data: st.DataObject) -> None:
    """Whatever comes, a parser takes it or refuses it in the way that it documents."""
    target = TARGETS[name]
    target.run(data.draw(mutated(target.seeds) | st.binary(max_size=400), label="input"))


@EACH
@pytest.mark.parametrize("byte", [b"\x00", b"\x07", b"<", b"A", b"\xff"])
def test_a_long_input_costs_little(name: str, byte: bytes) -> None:
    """The longest input, behind each honest one, makes no parser hold much more than it was given."""
    target = TARGETS[name]
    target.run(target.seeds[0])  # what is made once is not the input's
    for seed in target.seeds:
        gc.collect()
        tracemalloc.start()
        try:
            target.run(seed + byte * (MAX_INPUT - len(seed)))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < _HELD


@pytest.mark.parametrize("error", [KeyError, IndexError, UnicodeError, RecursionError])
def test_an_undocumented_error_is_found(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: what a parser does not document leaves its target."""

    def broken(element: object) -> None:
        raise error

    monkeypatch.setattr(jingle, "parse", broken)
    with pytest.raises(error):
        TARGETS["jingle"].run(TARGETS["jingle"].seeds[0])


def test_honest_elements_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: the examples pass their parser, so that what is made of them comes far."""
    taken: list[jingle.Jingle] = []
    parse = jingle.parse

    def noted(element: Element) -> jingle.Jingle:
        taken.append(parse(element))
        return taken[-1]

    monkeypatch.setattr(jingle, "parse", noted)
    for seed in TARGETS["jingle"].seeds:
        targets.jingles(seed)
    assert len(taken) == 2 * len(TARGETS["jingle"].seeds)


def test_choices_end() -> None:
    """When the bytes are used up, every choice is the first, and every text empty."""
    choices = Choices(b"\x05\x02ab")
    assert (choices.number(4), choices.piece(9), choices.left) == (1, b"ab", False)
    assert (choices.number(4), choices.piece(9), choices.rest(), choices.word(("x", "y"))) == (0, b"", b"", "x")
