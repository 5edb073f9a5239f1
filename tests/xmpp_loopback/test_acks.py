"""The counters of stream management."""

from __future__ import annotations

import pytest

from xmpp_loopback import acks
from xmpp_loopback.acks import Acks, AcksOverflow


def test_an_acknowledgement_frees_what_was_sent_and_covers_nothing_else() -> None:
    queue = Acks("token", resumable=True)
    for text in "abc":
        queue.sending(text)
    queue.acknowledged(2)
    assert queue.unacknowledged() == ("c",)
    with pytest.raises(ValueError, match="never sent"):
        queue.acknowledged(4)
    queue.acknowledged(3)
    with pytest.raises(ValueError, match="never sent"):
        queue.acknowledged(2)


def test_the_counters_wrap(monkeypatch: pytest.MonkeyPatch) -> None:
    """After 2^32 stanzas, here after four, counting goes on from 0."""
    monkeypatch.setattr(acks, "_MODULUS", 4)
    queue = Acks("token", resumable=True)
    for text in "abcde":
        queue.sending(text)
        queue.received()
        queue.acknowledged(queue.handled)
    assert queue.handled == 1
    assert queue.unacknowledged() == ()


def test_an_acknowledgement_is_asked_for_now_and_then() -> None:
    queue = Acks("token", resumable=True)
    assert [number for number in range(1, 25) if queue.sending("x")] == [8, 16, 24]


def test_the_queue_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acks, "UNACKED_LIMIT", 10)
    queue = Acks("token", resumable=True)
    queue.sending("12345")
    queue.sending("12345")
    with pytest.raises(AcksOverflow):
        queue.sending("1")
    queue.acknowledged(1)
    queue.sending("12345")
