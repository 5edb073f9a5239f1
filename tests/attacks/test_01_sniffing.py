"""Attack 1: somebody records everything that passes, and steals the long-term keys of both sides years later."""

from __future__ import annotations

import base64
from xml.etree.ElementTree import Element

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from OpenSSL import SSL

from tests.pair import Pair, identity, message
from xmpp_e2e import events
from xmpp_e2e.errors import TLSFailed
from xmpp_e2e.negotiate.jingle import NS_SECURITY
from xmpp_e2e.tls import connection
from xmpp_e2e.tls.connection import HYBRID_GROUPS, TLSConnection
from xmpp_e2e.types import Role

SECRET = "the treasure is under the oak"
APPLICATION_DATA = 23
HANDSHAKE = b"\x16"


def conversation() -> tuple[Pair, dict[Role, bytes]]:
    """A session in which each side says the secret once, and the bytes that a sniffer has of it, flights and all."""
    recorded = dict.fromkeys(Role, b"")

    def sniff(role: Role, data: bytes) -> list[bytes]:
        recorded[role] += data
        return [data]

    def sniff_flight(role: Role, element: Element) -> list[Element]:
        for flight in element.iter(f"{{{NS_SECURITY}}}flight"):
            recorded[role] += base64.b64decode(flight.text or "")
        return [element]

    pair = Pair(on_jingle=sniff_flight, on_data=sniff).open()
    assert recorded[Role.INITIATOR][:1] == recorded[Role.RESPONDER][:1] == HANDSHAKE
    for side in (pair.alice, pair.bob):
        side.session.send_stanza(message(SECRET))
    pair.run()
    assert pair.alice.stanzas == pair.bob.stanzas == [SECRET]
    return pair, recorded


def decrypted(recorded: bytes, traffic_secret: bytes) -> bytes:
    """What a traffic secret of TLS 1.3 makes of recorded bytes (RFC 8446 §5.2, §7.3): AES-256-GCM with SHA-384."""

    def derived(label: bytes, length: int) -> bytes:
        full = b"tls13 " + label
        info = length.to_bytes(2, "big") + bytes([len(full)]) + full + b"\0"
        return HKDFExpand(SHA384(), length, info).derive(traffic_secret)

    key, iv = AESGCM(derived(b"key", 32)), int.from_bytes(derived(b"iv", 12), "big")
    clear, number = b"", 0
    while recorded:
        header, size = recorded[:5], int.from_bytes(recorded[3:5], "big")
        record, recorded = recorded[5 : 5 + size], recorded[5 + size :]
        if header[0] != APPLICATION_DATA:
            continue
        try:
            clear += key.decrypt((iv ^ number).to_bytes(12, "big"), record, header).rstrip(b"\0")[:-1]
            number += 1
        except InvalidTag:
            assert not clear, "the records of the handshake come before those of the application"
    return clear


def test_nothing_can_be_read_on_the_way() -> None:
    """Neither in the bytes nor in the signalling is a word that was said; the key exchange is ephemeral and hybrid."""
    pair, recorded = conversation()
    signalled = "".join("".join(element.itertext()) for side in (pair.alice, pair.bob) for element in side.jingle_sent)
    for word in (SECRET, "treasure", "message", "body"):
        assert word.encode() not in recorded[Role.INITIATOR] + recorded[Role.RESPONDER]
        assert word not in signalled
    (secured,) = pair.bob.of(events.TLSEstablished)
    assert secured.protocol == "TLSv1.3"
    assert secured.group in HYBRID_GROUPS


@pytest.mark.parametrize("role", Role)
def test_stolen_keys_do_not_open_the_recording(role: Role) -> None:
    """Whoever holds the identities of both sides and plays the recording to a channel of their own reads nothing."""
    _, recorded = conversation()
    ours, theirs = ("alice", "bob") if role is Role.INITIATOR else ("bob", "alice")
    thief = TLSConnection(role, identity(ours))
    thief.start()
    thief.expect_certificate(identity(theirs).certificate_digest)
    got = b""
    with pytest.raises(TLSFailed):
        got = thief.receive(recorded[role.other])
    assert got == b""
    assert thief.handshake_result is None


def test_control_session_keys_do_open_the_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: the recording is complete, for who has the keys of that one session reads all of it."""
    genuine, secrets = connection._context, {}

    def leaky(*args: object) -> SSL.Context:
        context = genuine(*args)

        def keylog(connection: SSL.Connection, line: bytes) -> None:
            label, _, secret = line.decode().split()
            secrets[label] = bytes.fromhex(secret)

        context.set_keylog_callback(keylog)
        return context

    monkeypatch.setattr(connection, "_context", leaky)
    _, recorded = conversation()
    assert SECRET.encode() in decrypted(recorded[Role.INITIATOR], secrets["CLIENT_TRAFFIC_SECRET_0"])
    assert SECRET.encode() in decrypted(recorded[Role.RESPONDER], secrets["SERVER_TRAFFIC_SECRET_0"])


def test_no_two_sessions_share_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is resumed: the same two devices agree on fresh keys each time, so one stolen session opens no other."""
    exporters = set()
    for _ in range(3):
        pair, _ = conversation()
        established = pair.alice.session.handshake_result
        assert established is not None
        exporters.add(established.exporter)
    assert len(exporters) == 3
