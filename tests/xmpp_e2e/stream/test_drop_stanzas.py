"""What waits for a key that was refused is dropped: from the first stanza on, whatever has been taken before."""

from __future__ import annotations

import pytest

from tests.pair import message
from xmpp_e2e.stream.send_buffer import SendBuffer
from xmpp_e2e.stream.writer import CLOSER, element

FIRST, SECOND = message("first"), message("second")
DONE = message("no stanza as far as the buffer knows")


def filled(*stanzas: str) -> tuple[SendBuffer, bytes]:
    """A buffer with a header, then stanzas; and the header."""
    out = SendBuffer()
    out.header("alice@a.test/phone", "bob@b.test/desk", id=None)
    header = bytes(out._waiting)
    for body in stanzas:
        out.stanza(message(body), early=False)
    return out, header


def test_nothing_waits() -> None:
    out = SendBuffer()
    out.drop_stanzas()
    assert out.take() == b""


def test_no_stanza_waits() -> None:
    """What the stream itself says stays."""
    out, header = filled()
    out.element(DONE)
    out.close_stream()
    out.drop_stanzas()
    assert out.take() == header + element(DONE) + CLOSER


def test_what_is_before_the_first_stanza_stays() -> None:
    """All from there on goes, elements between included: they would be out of place."""
    out, header = filled("first")
    out.element(DONE)
    out.stanza(SECOND, early=False)
    out.drop_stanzas()
    assert len(out) == len(header)
    out.close_stream()
    assert out.take() == header + CLOSER


def test_dropped_twice() -> None:
    """The second time there is nothing to drop: what was written meanwhile stays."""
    out, header = filled("first")
    out.drop_stanzas()
    out.close_stream()
    out.drop_stanzas()
    assert out.take() == header + CLOSER


def test_part_of_what_is_before_was_taken() -> None:
    out, header = filled("first", "second")
    assert out.take(10) == header[:10]
    out.drop_stanzas()
    assert out.take() == header[10:]


def test_exactly_what_is_before_was_taken() -> None:
    out, header = filled("first", "second")
    assert out.take(len(header)) == header
    out.drop_stanzas()
    assert out.take() == b""


@pytest.mark.parametrize("pieces", [1, 3])
def test_part_of_a_stanza_was_taken(pieces: int) -> None:
    """Its rest goes, too."""
    out, header = filled("first", "second")
    taken = b"".join(out.take((len(header) + 9) // pieces) for _ in range(pieces))
    assert taken == (header + element(FIRST))[: len(taken)]
    out.drop_stanzas()
    out.take(len(header))
    assert len(out) == 0


def test_a_stanza_was_taken_and_another_waits() -> None:
    """What follows the one that was taken cannot be told from the next: all of it goes."""
    out, header = filled("first", "second")
    assert out.take(len(header + element(FIRST))) == header + element(FIRST)
    out.drop_stanzas()
    assert len(out) == 0


def test_all_was_taken() -> None:
    """What the stream says afterwards stays."""
    out, header = filled("first")
    assert out.take() == header + element(FIRST)
    out.element(DONE)
    out.drop_stanzas()
    assert out.take() == element(DONE)


def test_new_stanzas_after_all_was_taken() -> None:
    """They are counted from where they begin."""
    out, _ = filled("first")
    out.take(None)
    out.element(DONE)
    out.stanza(SECOND, early=False)
    out.stanza(FIRST, early=False)
    out.drop_stanzas()
    assert out.take() == element(DONE)


def test_new_stanzas_after_the_others_were_dropped() -> None:
    out, header = filled("first")
    out.drop_stanzas()
    out.element(DONE)
    out.stanza(SECOND, early=False)
    out.drop_stanzas()
    assert out.take() == header + element(DONE)
