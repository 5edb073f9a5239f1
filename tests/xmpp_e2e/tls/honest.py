"""Two honest channels back to back: Alice, the initiator, and Bob."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from xmpp_e2e.tls.certificate import OwnKey
from xmpp_e2e.tls.connection import HandshakeResult, TLSConnection
from xmpp_e2e.types import Role

CREATED = datetime(2026, 2, 28)
ALICE = OwnKey.create(CREATED)
BOB = OwnKey.create(CREATED)


def channels(alice: OwnKey = ALICE, bob: OwnKey = BOB, *, require_pq: bool = False) -> tuple[TLSConnection, TLSConnection]:
    """Both expect each other; nothing has travelled."""
    initiator = TLSConnection(Role.INITIATOR, alice, require_post_quantum=require_pq)
    responder = TLSConnection(Role.RESPONDER, bob, require_post_quantum=require_pq)
    initiator.start()
    initiator.expect_certificate(bob.certificate_digest)
    responder.expect_certificate(alice.certificate_digest)
    return initiator, responder


def connected(alice: OwnKey = ALICE, bob: OwnKey = BOB, *, require_pq: bool = False) -> tuple[TLSConnection, TLSConnection]:
    """The same, with the handshake done and nothing under way."""
    initiator, responder = channels(alice, bob, require_pq=require_pq)
    assert responder.receive(initiator.data_to_send()) == b""
    assert initiator.receive(responder.data_to_send()) == b""
    assert responder.receive(initiator.data_to_send()) == b""
    assert initiator.receive(responder.data_to_send()) == b""
    return initiator, responder


def agreed(channel: TLSConnection) -> HandshakeResult:
    assert channel.handshake_result is not None
    return channel.handshake_result


def records(data: bytes) -> Iterator[bytes]:
    """The TLS records in ``data``, whole, with their headers."""
    while data:
        size = 5 + int.from_bytes(data[3:5], "big")
        assert size <= len(data)
        yield data[:size]
        data = data[size:]
