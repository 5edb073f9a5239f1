"""Carrying an in-band bytestream: what is sent, what is answered, and when it is over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.etree.ElementTree import Element

import pytest
from slixmpp import Iq

from slixmpp_e2e.xmpp.ibb import IBBCarrier
from tests.slixmpp_e2e.world import ALICE, BOB
from xmpp_e2e.errors import JingleError, TransportFailed, TransportMisused
from xmpp_e2e.identity import Role
from xmpp_e2e.transport.base import HIGH_WATER
from xmpp_e2e.transport.ibb import DATA, FIRST_WINDOW, IBB, OPEN


class Iqs:
    """What the carrier has sent, in order, and who waits for the answers."""

    def __init__(self) -> None:
        self.requests: list[tuple[Element, Callable[[str | None], None]]] = []
        self.answers: list[tuple[str, str]] = []
        self.owners: list[object] = []

    def request(self, ours: str, peer: str, payload: Element, replied: Any, owner: object) -> None:
        """Keep it."""
        assert (ours, peer) == (ALICE, BOB)
        self.requests.append((payload, replied))
        self.owners.append(owner)

    def result(self, request: Iq) -> None:
        """Keep it."""
        self.answers.append((request["id"], "result"))

    def error(self, request: Iq, error: JingleError) -> None:
        """Keep it."""
        self.answers.append((request["id"], error.condition))

    def gone(self, owner: object) -> None:
        """Nobody waits any more."""
        self.owners = [other for other in self.owners if other is not owner]


class Ours:
    """Alice's carrier, and the bytestream itself at Bob's end."""

    def __init__(self, role: Role = Role.INITIATOR, size: int = 256) -> None:
        self.iqs: Any = Iqs()
        self.woken = 0
        self.carrier = IBBCarrier(self.iqs, role, ALICE, BOB, "stream", size, self._wake)
        self.bob = IBB(role.other, "stream", size)
        if role is Role.RESPONDER:
            self.bob.open()

    def _wake(self) -> None:
        self.woken += 1

    @property
    def tags(self) -> list[str]:
        """What was sent."""
        return [payload.tag for payload, _ in self.iqs.requests]

    def arrives(self, payload: Element, number: int = 0) -> bytes:
        """A stanza of Bob's."""
        iq = Iq()
        iq["id"] = f"bob{number}"
        return self.carrier.receive(iq, payload)


def test_the_initiator_opens_and_sends_at_once() -> None:
    """Data follows <open/> without waiting for its answer, as much as the window allows."""
    ours = Ours()
    ours.carrier.send(bytes(256 * 100))
    ours.carrier.pump()
    assert ours.tags == [OPEN, *[DATA] * (FIRST_WINDOW - 1)]
    assert not ours.carrier.drained


def test_the_responder_waits_for_the_open() -> None:
    """Nothing leaves before the peer has opened; then what waited does, and the open is answered."""
    ours = Ours(Role.RESPONDER)
    ours.carrier.send(b"hello")
    ours.carrier.pump()
    assert ours.tags == []
    [(_, opening)] = ours.bob.stanzas_to_send()
    assert ours.arrives(opening) == b""
    ours.carrier.pump()
    assert ours.tags == [DATA]
    assert ours.iqs.answers == [("bob0", "result")]


def test_answers_make_room_and_progress() -> None:
    """Each answer wakes whoever pumps, counts as progress, and lets one more block go; when all came, it is drained."""
    ours = Ours()
    ours.carrier.send(bytes(256 * 20))
    ours.carrier.pump()
    for number, (_, replied) in enumerate(ours.iqs.requests, 1):
        replied(None)
        ours.carrier.pump()
        assert (ours.woken, ours.carrier.progress) == (number, number)
    assert len(ours.iqs.requests) == 21
    assert ours.carrier.drained


def test_there_is_room_up_to_the_high_water() -> None:
    """Whoever pumps stops there, so that what waits is bounded."""
    ours = Ours(size=8192)
    ours.carrier.send(bytes(HIGH_WATER - 1))
    assert ours.carrier.has_room
    ours.carrier.send(b"x")
    assert not ours.carrier.has_room


@pytest.mark.parametrize("condition", ["item-not-found", "resource-constraint"])
def test_an_error_ends_it(condition: str) -> None:
    """A block that is refused is lost: nothing more is sent, nothing is waited for, and it is told why."""
    ours = Ours()
    ours.carrier.send(bytes(256 * 20))
    ours.carrier.pump()
    ours.iqs.requests[3][1](condition)
    assert isinstance(ours.carrier.broken, TransportFailed)
    assert condition in str(ours.carrier.broken)
    assert ours.carrier.drained
    assert not ours.carrier.has_room
    assert ours.woken == 1
    ours.carrier.pump()
    assert len(ours.iqs.requests) == FIRST_WINDOW


def test_bytes_come_in_order_and_are_acknowledged() -> None:
    """What the peer sends is handed on, each block answered once."""
    ours = Ours()
    ours.carrier.pump()
    ours.bob.receive(ours.iqs.requests[0][0])
    ours.bob.send(bytes(range(256)) * 3)
    got = b"".join(ours.arrives(payload, number) for number, (_, payload) in enumerate(ours.bob.stanzas_to_send()))
    ours.carrier.pump()
    assert got == bytes(range(256)) * 3
    assert ours.iqs.answers == [(f"bob{number}", "result") for number in range(3)]


def test_misuse_is_answered_and_ends_it() -> None:
    """A block out of order gets the error of XEP-0047, and whoever carries is told; what is due to earlier ones is not lost."""
    ours = Ours()
    ours.carrier.pump()
    with pytest.raises(TransportMisused):
        ours.arrives(Element(DATA, {"sid": "stream", "seq": "7"}))
    assert ours.iqs.answers == [("bob0", "unexpected-request")]
    assert ours.carrier.broken is not None
    assert ours.carrier.ended


def test_abandoned_nobody_waits() -> None:
    """No answer counts any more."""
    ours = Ours()
    ours.carrier.send(bytes(256 * 20))
    ours.carrier.pump()
    assert ours.iqs.owners == [ours.carrier] * FIRST_WINDOW
    ours.carrier.abandon()
    assert ours.iqs.owners == []
