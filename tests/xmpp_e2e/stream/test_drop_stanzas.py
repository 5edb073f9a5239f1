"""What waits for a key that was refused is dropped: from the first stanza on, whatever has been taken before."""

from __future__ import annotations

import pytest

from tests.pair import ALICE, BOB, message
from xmpp_e2e.stream.send_buffer import SendBuffer
from xmpp_e2e.stream.writer import CLOSER, element, header

FIRST, SECOND = message("first"), message("second")
DONE = message("no stanza as far as the buffer knows")


def filled(*stanzas: str) -> tuple[SendBuffer, bytes]:
    """A buffer with a header, then stanzas; and the header."""
    out = SendBuffer()
    out.header(ALICE, BOB, id=None)
    for body in stanzas:
        out.stanza(element(message(body)))
    return out, header(ALICE, BOB, id=None)


def test_nothing_waits() -> None:
    out = SendBuffer()
    out.drop_stanzas()
    assert out.take() == b""


def test_no_stanza_waits() -> None:
    """What the stream itself says stays."""
    out, before = filled()
    out.element(DONE)
    out.close_stream()
    out.drop_stanzas()
    assert out.take() == before + element(DONE) + CLOSER


def test_what_is_before_the_first_stanza_stays() -> None:
    """All from there on goes, elements between included: they would be out of place."""
    out, before = filled("first")
    out.element(DONE)
    out.stanza(element(SECOND))
    out.drop_stanzas()
    assert len(out) == len(before)
    out.close_stream()
    assert out.take() == before + CLOSER


def test_dropped_twice() -> None:
    """The second time there is nothing to drop: what was written meanwhile stays."""
    out, before = filled("first")
    out.drop_stanzas()
    out.close_stream()
    out.drop_stanzas()
    assert out.take() == before + CLOSER


def test_part_of_what_is_before_was_taken() -> None:
    out, before = filled("first", "second")
    assert out.take(10) == before[:10]
    out.drop_stanzas()
    assert out.take() == before[10:]


def test_exactly_what_is_before_was_taken() -> None:
    out, before = filled("first", "second")
    assert out.take(len(before)) == before
    out.drop_stanzas()
    assert out.take() == b""


@pytest.mark.parametrize("pieces", [1, 3])
def test_part_of_a_stanza_was_taken(pieces: int) -> None:
    """Its rest goes, too."""
    out, before = filled("first", "second")
    taken = b"".join(out.take((len(before) + 9) // pieces) for _ in range(pieces))
    assert taken == (before + element(FIRST))[: len(taken)]
    out.drop_stanzas()
    out.take(len(before))
    assert len(out) == 0


def test_a_stanza_was_taken_and_another_waits() -> None:
    """What follows the one that was taken cannot be told from the next: all of it goes."""
    out, before = filled("first", "second")
    assert out.take(len(before + element(FIRST))) == before + element(FIRST)
    out.drop_stanzas()
    assert len(out) == 0


def test_all_was_taken() -> None:
    """What the stream says afterwards stays."""
    out, before = filled("first")
    assert out.take() == before + element(FIRST)
    out.element(DONE)
    out.drop_stanzas()
    assert out.take() == element(DONE)


def test_new_stanzas_after_all_was_taken() -> None:
    """They are counted from where they begin."""
    out, _ = filled("first")
    out.take(None)
    out.element(DONE)
    out.stanza(element(SECOND))
    out.stanza(element(FIRST))
    out.drop_stanzas()
    assert out.take() == element(DONE)


def test_new_stanzas_after_the_others_were_dropped() -> None:
    out, before = filled("first")
    out.drop_stanzas()
    out.element(DONE)
    out.stanza(element(SECOND))
    out.drop_stanzas()
    assert out.take() == before + element(DONE)
