"""KeyUpdates (RFC 8446 §4.6.3) that ask for an answer, again and again, from a real TLS peer whose keys we know.

OpenSSL has a call for it, pyOpenSSL has not: the records are made here, with the secret from OpenSSL's key log.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.xmpp_e2e.tls.test_connection_attacks import as_peer, duel, victim
from xmpp_e2e.errors import TLSFailed
from xmpp_e2e.tls import connection as module
from xmpp_e2e.tls.certificate import OwnKey
from xmpp_e2e.tls.connection import ANSWER_BYTES
from xmpp_e2e.types import Role

MALLORY = OwnKey.create(datetime(2026, 2, 28))
ROLES = pytest.mark.parametrize("role", [Role.INITIATOR, Role.RESPONDER], ids=["initiator", "responder"])
UPDATE_REQUESTED = bytes.fromhex("18 000001 01")
PIECE = 4096


def expand(secret: bytes, label: bytes, size: int) -> bytes:
    """HKDF-Expand-Label (RFC 8446 §7.1) with SHA-384 and no context; one block is enough."""
    label = b"tls13 " + label
    info = size.to_bytes(2, "big") + bytes([len(label)]) + label + b"\0"
    return hmac.digest(secret, info + b"\1", hashlib.sha384)[:size]


class KeyUpdater:
    """A peer that has finished an honest handshake, and from then on sends nothing but KeyUpdates."""

    def __init__(self, role: Role) -> None:
        self.channel = victim(role, MALLORY.certificate_digest)
        hostile = as_peer(role, MALLORY)
        assert duel(self.channel, hostile) is None
        assert hostile.tls.get_cipher_name() == "TLS_AES_256_GCM_SHA384"
        end = "SERVER" if role is Role.INITIATOR else "CLIENT"
        self._secret = hostile.secrets[f"{end}_TRAFFIC_SECRET_0"]
        self._sequence = 2 if role is Role.INITIATOR else 0
        """Records that have left under these keys: OpenSSL's server has sent two tickets."""

    def key_updates(self, number: int) -> bytes:
        """So many records, each under the keys that the one before has brought."""
        return b"".join(self._key_update() for _ in range(number))

    def _key_update(self) -> bytes:
        key, nonce = expand(self._secret, b"key", 32), expand(self._secret, b"iv", 12)
        nonce = nonce[:-1] + bytes([nonce[-1] ^ self._sequence])
        self._secret, self._sequence = expand(self._secret, b"traffic upd", 48), 0
        plaintext = UPDATE_REQUESTED + b"\x16"
        header = b"\x17\x03\x03" + (len(plaintext) + 16).to_bytes(2, "big")
        return header + AESGCM(key).encrypt(nonce, plaintext, header)


def flood(peer: KeyUpdater, most: int) -> int:
    """How much waits in the channel after KeyUpdates have come, as long as it takes them."""
    for _ in range(most // 150):
        peer.channel.receive(peer.key_updates(150))
    return len(peer.channel.data_to_send())


@ROLES
def test_key_updates_without_end_end_the_session(role: Role) -> None:
    """Nothing can be sent meanwhile: so much waits, and no more."""
    peer = KeyUpdater(role)
    with pytest.raises(TLSFailed, match="perhaps to fill our memory"):
        flood(peer, 3000)
    assert ANSWER_BYTES < len(peer.channel.data_to_send()) <= ANSWER_BYTES + PIECE
    with pytest.raises(TLSFailed, match="KeyUpdate"):
        peer.channel.receive(peer.key_updates(1))


@ROLES
def test_control_key_updates_fill_our_memory(role: Role, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the bound, each one costs us an answer that waits."""
    monkeypatch.setattr(module, "ANSWER_BYTES", 10**9)
    assert flood(KeyUpdater(role), 3000) > 3000 * 20


@ROLES
def test_answered_key_updates_are_served(role: Role) -> None:
    """What has been fetched does not count, and neither does what we send ourselves."""
    peer = KeyUpdater(role)
    for _ in range(10):
        assert flood(peer, 300) > 300 * 20
    peer.channel.send(bytes(4 * ANSWER_BYTES))
    peer.channel.receive(peer.key_updates(2))
    peer.channel.receive(peer.key_updates(2))
    assert len(peer.channel.data_to_send()) > 4 * ANSWER_BYTES
