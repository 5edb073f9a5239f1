"""The transport sends, answers and ends an in-band bytestream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.etree.ElementTree import Element

import pytest
from slixmpp import Iq

from slixmpp_e2e.xmpp.ibb import IBBTransport
from slixmpp_e2e.xmpp.iq_channel import Refusal
from tests.slixmpp_e2e.env import ALICE, BOB
from xmpp_e2e.errors import BytestreamFailed, BytestreamViolation, JingleError
from xmpp_e2e.transport.ibb import DATA, FIRST_WINDOW, HIGH_WATER, IBB, OPEN
from xmpp_e2e.types import Role


class Iqs:
    """An IqChannel that keeps what it is to send, in order, and the owners of requests."""

    def __init__(self) -> None:
        self.requests: list[tuple[Element, Callable[[str | None], None]]] = []
        self.answers: list[tuple[str, str]] = []
        self.owners: list[object] = []

    def request(self, ours: str, peer: str, payload: Element, replied: Any, owner: object) -> None:
        assert (ours, peer) == (ALICE, BOB)
        self.requests.append((payload, replied))
        self.owners.append(owner)

    def result(self, request: Iq, *, late: bool = False) -> None:
        self.answers.append((request["id"], "result"))

    def error(self, request: Iq, error: JingleError) -> None:
        self.answers.append((request["id"], error.condition))

    def forget_requests(self, owner: object) -> None:
        self.owners = [other for other in self.owners if other is not owner]

    drop_requests = forget_requests


class Ours:
    """Alice's transport, and the core's bytestream at Bob's end."""

    def __init__(self, role: Role = Role.INITIATOR, size: int = 256) -> None:
        self.iqs: Any = Iqs()
        self.woken = 0
        self.transport = IBBTransport(self.iqs, role, ALICE, BOB, "stream", size, self._wake)
        self.bob = IBB(role.other, "stream", size)
        if role is Role.RESPONDER:
            self.bob.open()

    def send(self, data: bytes) -> None:
        self.transport.send(data)
        self.transport.flush()

    def _wake(self) -> None:
        self.woken += 1

    @property
    def tags(self) -> list[str]:
        return [payload.tag for payload, _ in self.iqs.requests]

    def arrives(self, payload: Element, number: int = 0) -> bytes:
        iq = Iq()
        iq["id"] = f"bob{number}"
        return self.transport.receive(iq, payload)


def test_the_initiator_opens_and_sends_at_once() -> None:
    ours = Ours()
    ours.send(bytes(256 * 100))
    assert ours.tags == [OPEN, *[DATA] * (FIRST_WINDOW - 1)]
    assert not ours.transport.drained


def test_the_responder_waits_for_the_open() -> None:
    ours = Ours(Role.RESPONDER)
    ours.send(b"hello")
    assert ours.tags == []
    [(_, opening)] = ours.bob.stanzas_to_send()
    assert ours.arrives(opening) == b""
    ours.transport.flush()
    assert ours.tags == [DATA]
    assert ours.iqs.answers == [("bob0", "result")]


def test_each_answer_makes_room_for_one_block() -> None:
    ours = Ours()
    ours.send(bytes(256 * 20))
    for number, (_, replied) in enumerate(ours.iqs.requests, 1):
        replied(None)
        ours.transport.flush()
        assert (ours.woken, ours.transport.replies) == (number, number)
    assert len(ours.iqs.requests) == 21
    assert ours.transport.drained


def test_there_is_room_up_to_the_high_water() -> None:
    ours = Ours(size=8192)
    ours.transport.send(bytes(HIGH_WATER - 1))
    assert ours.transport.has_room
    ours.transport.send(b"x")
    assert not ours.transport.has_room


@pytest.mark.parametrize(("condition", "may_pass"), [("item-not-found", False), ("resource-constraint", True)])
def test_an_error_ends_it(condition: str, may_pass: bool) -> None:
    refusal = Refusal(condition)
    refusal.may_pass = may_pass
    ours = Ours()
    ours.send(bytes(256 * 20))
    ours.iqs.requests[3][1](refusal)
    assert isinstance(ours.transport.broken, BytestreamFailed)
    assert ours.transport.broken.may_pass is may_pass
    assert condition in str(ours.transport.broken)
    assert ours.transport.drained
    assert not ours.transport.has_room
    assert ours.woken == 1
    ours.transport.flush()
    assert len(ours.iqs.requests) == FIRST_WINDOW


def test_bytes_come_in_order_and_are_acknowledged() -> None:
    ours = Ours()
    ours.transport.flush()
    ours.bob.receive(ours.iqs.requests[0][0])
    ours.bob.send(bytes(range(256)) * 3)
    got = b"".join(ours.arrives(payload, number) for number, (_, payload) in enumerate(ours.bob.stanzas_to_send()))
    ours.transport.flush()
    assert got == bytes(range(256)) * 3
    assert ours.iqs.answers == [(f"bob{number}", "result") for number in range(3)]


def test_misuse_is_answered_and_ends_it() -> None:
    ours = Ours()
    ours.transport.flush()
    with pytest.raises(BytestreamViolation):
        ours.arrives(Element(DATA, {"sid": "stream", "seq": "7"}))
    assert ours.iqs.answers == [("bob0", "unexpected-request")]
    assert ours.transport.broken is not None
    assert ours.transport.ended


def test_an_abandoned_transport_waits_for_no_reply() -> None:
    ours = Ours()
    ours.send(bytes(256 * 20))
    assert ours.iqs.owners == [ours.transport] * FIRST_WINDOW
    ours.transport.abandon()
    assert ours.iqs.owners == []
