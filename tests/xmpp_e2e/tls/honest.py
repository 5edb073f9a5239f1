"""Two honest channels back to back: Alice, the initiator, and Bob."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from xmpp_e2e.identity import Role
from xmpp_e2e.tls.certificate import Identity
from xmpp_e2e.tls.channel import Channel, Established

CREATED = datetime(2026, 2, 28)
ALICE = Identity.create(CREATED)
BOB = Identity.create(CREATED)


def channels(alice: Identity = ALICE, bob: Identity = BOB, *, require_pq: bool = False) -> tuple[Channel, Channel]:
    """Both expect each other; nothing has travelled."""
    initiator = Channel(Role.INITIATOR, alice, require_pq=require_pq)
    responder = Channel(Role.RESPONDER, bob, require_pq=require_pq)
    initiator.start()
    initiator.expect(bob.certificate_digest)
    responder.expect(alice.certificate_digest)
    return initiator, responder


def connected(alice: Identity = ALICE, bob: Identity = BOB, *, require_pq: bool = False) -> tuple[Channel, Channel]:
    """The same, with the handshake done and nothing under way."""
    initiator, responder = channels(alice, bob, require_pq=require_pq)
    assert responder.receive(initiator.data_to_send()) == b""
    assert initiator.receive(responder.data_to_send()) == b""
    assert responder.receive(initiator.data_to_send()) == b""
    assert initiator.receive(responder.data_to_send()) == b""
    return initiator, responder


def agreed(channel: Channel) -> Established:
    assert channel.established is not None
    return channel.established


def records(data: bytes) -> Iterator[bytes]:
    """The TLS records in ``data``, whole, with their headers."""
    while data:
        size = 5 + int.from_bytes(data[3:5], "big")
        assert size <= len(data)
        yield data[:size]
        data = data[size:]
