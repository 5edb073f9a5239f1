"""Two honest channels back to back: what they agree on, and what they carry."""

from __future__ import annotations

import gc
import weakref
from itertools import pairwise
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from tests.xmpp_e2e.tls.honest import ALICE, BOB, CREATED, agreed, channels, connected, records
from xmpp_e2e.errors import LocalError
from xmpp_e2e.tls.certificate import OwnKey
from xmpp_e2e.tls.connection import HANDSHAKE_BYTES, RECORD_BYTES, TLSConnection
from xmpp_e2e.types import Role

# --- the handshake ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("require_pq", [False, True])
def test_both_ends_agree(require_pq: bool) -> None:
    """Both ends establish TLS 1.3 with the hybrid key exchange and know each other's certificate and key."""
    initiator, responder = connected(require_pq=require_pq)
    for channel, peer in ((initiator, BOB), (responder, ALICE)):
        established = agreed(channel)
        assert established.protocol == "TLSv1.3"
        assert established.cipher == "TLS_AES_256_GCM_SHA384"
        assert established.group == "X25519MLKEM768"
        assert established.peer_certificate == peer.certificate
        assert established.certificate_digest == peer.certificate_digest
        assert established.peer_key == peer.fingerprint


def test_exporter_is_shared_by_the_two_ends_and_by_nobody_else() -> None:
    """Both ends derive the same 32 bytes, and another connection of the same two other ones."""
    initiator, responder = connected()
    again, _ = connected()
    assert len(agreed(initiator).exporter) == 32
    assert agreed(initiator).exporter == agreed(responder).exporter != agreed(again).exporter
    rfc_9266 = initiator._connection.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")
    assert agreed(initiator).exporter == rfc_9266


def test_exporter_is_in_no_repr() -> None:
    initiator, _ = connected()
    secret = agreed(initiator).exporter
    for shown in (repr(agreed(initiator)), repr(initiator), repr(vars(initiator))):
        assert repr(secret)[2:-1] not in shown
        assert secret.hex() not in shown
        assert repr(BOB.certificate)[2:-1] not in shown
        assert repr(ALICE.private_key)[2:-1] not in shown


def test_ed25519_identities_connect() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([])
    certificate = x509.CertificateBuilder(name, name, key.public_key(), 1, CREATED, CREATED.replace(year=2027))
    identity = OwnKey(
        certificate.sign(key, None).public_bytes(Encoding.DER),
        key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
    )
    for alice, bob in ((identity, BOB), (ALICE, identity)):
        initiator, responder = connected(alice, bob)
        assert agreed(initiator).peer_key == bob.fingerprint
        assert agreed(responder).peer_key == alice.fingerprint


def test_three_flights() -> None:
    """The handshake is three flights of bounded size, and the little that follows is no session ticket."""
    initiator, responder = channels()
    sizes = []
    for sender, receiver in ((initiator, responder), (responder, initiator)) * 2:
        flight = sender.data_to_send()
        sizes.append(len(flight))
        receiver.receive(flight)
    assert all(size <= limit for size, limit in zip(sizes, (1600, 2000, 600, 200), strict=True))
    assert initiator.handshake_result
    assert responder.handshake_result
    assert initiator.data_to_send() == responder.data_to_send() == b""


def test_first_flight_needs_no_fingerprint() -> None:
    initiator, responder = TLSConnection(Role.INITIATOR, ALICE), TLSConnection(Role.RESPONDER, BOB)
    initiator.start()
    initiator.start()
    responder.start()
    (hello,) = records(initiator.data_to_send())
    assert hello[:1] == b"\x16"
    assert initiator.data_to_send() == responder.data_to_send() == b""


@given(st.lists(st.floats(0, 1), max_size=8))
@settings(max_examples=20, deadline=None)
def test_transport_may_cut_anywhere(places: list[float]) -> None:
    """However the transport cuts the bytes, the handshake succeeds and the plaintext arrives whole and in order."""
    initiator, responder = channels()
    arrived = b""
    for sender, receiver in ((initiator, responder), (responder, initiator), (initiator, responder)):
        if sender.handshake_result:
            sender.send(b"first data " * 1000)
        flight = sender.data_to_send()
        # Places are fractions, for a flight's length is not the same every time: ECDSA signatures differ by some bytes.
        edges = [0, *sorted(round(place * len(flight)) for place in places), len(flight)]
        for start, end in pairwise(edges):
            if start < end:
                arrived += receiver.receive(flight[start:end])
    assert responder.handshake_result
    assert arrived == b"first data " * 1000


def test_byte_by_byte() -> None:
    initiator, responder = channels()
    for sender, receiver in ((initiator, responder), (responder, initiator), (initiator, responder)):
        for byte in sender.data_to_send():
            receiver.receive(bytes([byte]))
    assert responder.handshake_result


def test_first_data_rides_with_the_last_flight() -> None:
    initiator, responder = channels()
    responder.receive(initiator.data_to_send())
    initiator.receive(responder.data_to_send())
    initiator.send(bytes(2 * HANDSHAKE_BYTES))
    assert responder.receive(initiator.data_to_send()) == bytes(2 * HANDSHAKE_BYTES)


# --- what comes before what -------------------------------------------------------------------------------------------


def test_nothing_is_received_before_the_fingerprint_is_known() -> None:
    initiator, responder = TLSConnection(Role.INITIATOR, ALICE), TLSConnection(Role.RESPONDER, BOB)
    initiator.start()
    flight = initiator.data_to_send()
    with pytest.raises(LocalError, match="before it is known which certificate"):
        responder.receive(flight)
    responder.expect_certificate(ALICE.certificate_digest)
    responder.receive(flight)
    assert responder.data_to_send()


def test_expectation_cannot_be_changed() -> None:
    """The fingerprint is set once."""
    initiator, _ = channels()
    with pytest.raises(LocalError, match="already expects"):
        initiator.expect_certificate(BOB.certificate_digest)


@pytest.mark.parametrize("digest", [b"", b"x" * 31, b"x" * 33])
def test_expectation_is_a_sha_256_digest(digest: bytes) -> None:
    """Only 32 bytes are a fingerprint; above all, nothing is none."""
    with pytest.raises(ValueError, match="32 bytes"):
        TLSConnection(Role.INITIATOR, ALICE).expect_certificate(digest)


def test_nothing_is_sent_before_the_handshake() -> None:
    initiator, responder = channels()
    for channel in (initiator, responder):
        with pytest.raises(LocalError, match="not established yet"):
            channel.send(b"too early")
        assert channel.handshake_result is None


# --- what they carry --------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 3 * RECORD_BYTES), min_size=1, max_size=5))
@settings(max_examples=20, deadline=None)
def test_plaintext_arrives(sizes: list[int]) -> None:
    for sender, receiver in (connected(), connected()[::-1]):
        sent = [bytes([index]) * size for index, size in enumerate(sizes)]
        for plaintext in sent:
            sender.send(plaintext)
        data = sender.data_to_send()
        assert (receiver.receive(data) if data else b"") == b"".join(sent)


def test_records_fit_a_block() -> None:
    initiator, _ = connected()
    initiator.send(bytes(3 * RECORD_BYTES))
    sizes = [len(record) for record in records(initiator.data_to_send())]
    assert sizes[:-1] == [RECORD_BYTES] * 3
    assert sizes[-1] < RECORD_BYTES


def test_larger_records_of_others_are_taken() -> None:
    initiator, responder = connected()
    initiator._connection.send(bytes(16 * 1024))
    data = initiator._connection.bio_read(32 * 1024)
    assert len(list(records(data))) == 1
    assert responder.receive(data) == bytes(16 * 1024)


def test_what_waits_outlives_what_comes() -> None:
    initiator, responder = connected()
    for _ in range(2):
        initiator.send(b"words")
        responder.send(b"others")
        assert initiator.receive(responder.data_to_send()) == b"others"
        assert responder.receive(initiator.data_to_send()) == b"words"


def test_a_flight_that_was_not_lent_outlives_what_comes() -> None:
    initiator, _ = channels()
    initiator.receive(b"\x16")
    assert initiator.data_to_send()


def test_what_follows_a_flight_outlives_what_comes() -> None:
    """The answer to the first flight makes that one superfluous, and nothing that is written after it."""
    initiator, responder = channels()
    responder.receive(initiator.flight_for_signalling())
    initiator.receive(responder.data_to_send())
    initiator.receive(b"\x17")
    responder.receive(initiator.data_to_send())
    assert responder.handshake_result


def test_established_is_set_once() -> None:
    """The handshake is examined when it is over, and never again."""
    initiator, responder = connected()
    before = agreed(responder)
    initiator.send(b"words")
    responder.receive(initiator.data_to_send())
    assert responder.handshake_result is before


def test_used_counts_the_bytes_of_both_ways() -> None:
    """Every byte that travelled either way is counted, those of the handshake, of the goodbye and after it too."""
    initiator, responder = channels()
    travelled = 0
    for sender, receiver in ((initiator, responder), (responder, initiator)) * 3:
        if sender.handshake_result:
            sender.send(b"counted" * 1000)
            if travelled > 20_000:
                sender.close()
        data = sender.data_to_send()
        travelled += len(data)
        receiver.receive(data)
    assert initiator.bytes_used == responder.bytes_used == travelled > 21_000
    initiator.receive(b"ignored")
    assert initiator.bytes_used == travelled + 7


# --- what OpenSSL is told ---------------------------------------------------------------------------------------------


class RecordingContext(SSL.Context):
    """Notes the calls that decide about memory, caches and groups: their effect is not visible from outside."""

    made: list[RecordingContext]

    def __init__(self, method: int) -> None:
        super().__init__(method)
        self.calls: list[tuple[Any, ...]] = []
        self.made.append(self)

    def set_mode(self, mode: int) -> int:
        if hasattr(self, "calls"):  # The base class sets modes of its own.
            self.calls.append(("mode", mode))
        return super().set_mode(mode)

    def set_session_cache_mode(self, mode: int) -> int:
        self.calls.append(("cache", mode))
        return super().set_session_cache_mode(mode)

    def set_tmp_ecdh(self, curve: Any) -> None:
        self.calls.append(("group", curve))


def test_context_is_fresh_and_frugal(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[RecordingContext] = []
    monkeypatch.setattr(RecordingContext, "made", made, raising=False)
    monkeypatch.setattr(SSL, "Context", RecordingContext)
    connected()
    connected()
    assert len(made) == 4
    for context in made:
        assert context.calls == [("cache", SSL.SESS_CACHE_OFF), ("mode", SSL.MODE_RELEASE_BUFFERS)]


def test_dropped_channel_is_freed_at_once() -> None:
    _, responder = connected()
    freed = weakref.ref(responder._connection)
    gc.disable()
    try:
        del _, responder
        assert freed() is None
    finally:
        gc.enable()
