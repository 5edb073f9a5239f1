"""One TLS 1.3 connection in memory (RFC 8446, ALPN RFC 7301): bytes in, bytes out; the only importer of OpenSSL.

One comparison decides who the peer is: the SHA-256 of the peer's certificate with the one that was signalled,
first while OpenSSL verifies, so that a stranger sees nothing of ours, and again after the handshake with everything
else. There is one SSL.Context for each connection and no resumption: a resumed session would skip the comparison.
"""

from __future__ import annotations

import hashlib
import hmac
from contextlib import suppress
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import load_der_private_key
from OpenSSL import SSL, crypto

from xmpp_e2e.encoding import PROTOCOL
from xmpp_e2e.errors import Code, LocalError, TLSFailed
from xmpp_e2e.tls.certificate import OwnKey, key_fingerprint
from xmpp_e2e.types import Fingerprint, Role

ALPN = PROTOCOL.encode()
"""Only software that means this protocol gets through the handshake."""
HANDSHAKE_BYTES = 64 * 1024
"""Bytes that a peer may send before the handshake is done: an honest one needs 2 KiB, OpenSSL by itself would hold 130."""
ANSWER_BYTES = 16 * 1024
"""Answers to KeyUpdates (RFC 8446 §4.6.3) that may wait while our path is stalled: 600 in all; an honest peer asks for one."""
RECORD_BYTES = 4 * 1024
"""The largest record that we send, with its framing: it fits one IBB block and keeps OpenSSL's buffers small."""
HYBRID_GROUPS = frozenset({"X25519MLKEM768", "SecP256r1MLKEM768", "SecP384r1MLKEM1024"})
"""The key exchanges that are safe against quantum computers, and classically safe if ML-KEM is not."""

_RECORD_OVERHEAD = 5 + 1 + 16
"""Header, inner content type and tag of a TLS 1.3 record (RFC 8446 §5.2)."""
_PIECE = RECORD_BYTES
"""Bytes that pass OpenSSL's memory buffers at a time: the buffers grow to what was once in them and never shrink."""
_EXPORTER_LABEL = b"EXPORTER-Channel-Binding"
_EXPORTER_BYTES = 32
_HANDSHAKE_FAILURE = bytes.fromhex("15 0303 0002 02 28")
"""A fatal handshake_failure alert in a record of its own. A server accepts it unencrypted until the client's Finished."""


@dataclass(frozen=True)
class HandshakeResult:
    """The outcome of a handshake that passed every check."""

    protocol: str
    """``TLSv1.3``."""
    cipher: str
    """As OpenSSL names it: ``TLS_AES_256_GCM_SHA384``."""
    group: str
    """The key exchange, as OpenSSL names it: ``X25519MLKEM768``."""
    peer_certificate: bytes = field(repr=False)
    """DER."""
    peer_key: Fingerprint
    """The key in that certificate."""
    exporter: bytes = field(repr=False)
    """``tls-exporter`` (RFC 9266): 32 secret bytes that only the two ends of this connection know."""

    @property
    def certificate_digest(self) -> bytes:
        """SHA-256 of the peer's certificate, 32 bytes."""
        return hashlib.sha256(self.peer_certificate).digest()


class TLSConnection:
    """One end of one TLS connection over bytes that somebody else transports. The initiator is the client.

    Call ``start()`` (initiator), ``expect_certificate()``, then ``receive()`` and ``send()``; after every call send what
    ``data_to_send()`` gives. A connection that has raised TLSFailed is dead: ``data_to_send()`` still has the alert for the
    peer, every other method raises.
    """

    def __init__(self, role: Role, own_key: OwnKey, *, require_post_quantum: bool = False) -> None:
        self.role = role
        self.handshake_result: HandshakeResult | None = None
        """Set once, when the handshake is done and every check of it was passed.

        On the initiator this does not say that the responder accepts us: a TLS client is done before the server has
        looked at its certificate. The responder's first bytes say so; its refusal is raised by ``receive()``.
        """
        self.peer_closed = False
        """The peer's close_notify has come: these were all its bytes."""
        self.truncated = False
        """The transport ended and no close_notify had come: bytes may be missing."""
        self.bytes_used = 0
        """Bytes of TLS, both ways together."""
        self._own_key = own_key
        self._require_post_quantum = require_post_quantum
        self._expected = _ExpectedCertificate()
        self._connection = SSL.Connection(_context(role, own_key, self._expected))
        if role is Role.INITIATOR:
            self._connection.set_connect_state()
        else:
            self._connection.set_accept_state()
        self._outgoing = bytearray()
        self._flight_in_signalling = False
        self._handshake_bytes = self._answer_bytes = 0
        self._ended = False
        self._closed = False
        self._failure: TLSFailed | None = None

    def start(self) -> None:
        """Make the initiator's ClientHello available; on the responder, which has nothing to begin with, do nothing."""
        self._check_alive()
        self._do_handshake()
        self._drain()

    def flight_for_signalling(self) -> bytes:
        """Return the bytes that TLS has written so far, to travel ahead of the transport (docs/protocol.md §3).

        It stays here too: ``data_to_send()`` gives it again if the peer's answer does not come before that.
        """
        self._flight_in_signalling = True
        return bytes(self._outgoing)

    def expect_certificate(self, certificate_digest: bytes) -> None:
        """Say which certificate the peer must show: its SHA-256, 32 bytes. Once, and before the first ``receive()``."""
        self._check_alive()
        if self._expected.digest:
            raise LocalError("this TLS channel already expects a certificate")
        if len(certificate_digest) != hashlib.sha256().digest_size:
            raise ValueError(f"a SHA-256 digest has 32 bytes, not {len(certificate_digest)}")
        self._expected.digest = certificate_digest

    def receive(self, data: bytes) -> bytes:
        """Take what the transport brought and return the plaintext in it; ``b""`` is the end of the transport.

        TLSFailed if anything in ``data`` is wrong, and then none of it is returned.
        LocalError before ``expect_certificate()`` and after the end. What follows the peer's close_notify is ignored (RFC 8446
        §6.1).
        """
        self._check_alive()
        if not self._expected.digest:
            raise LocalError("no bytes can be judged before it is known which certificate the peer must show")
        if not data:
            self._ended = True
            self.truncated = not self.peer_closed
            return b""
        if self._ended:
            raise LocalError("bytes came after the end of the transport")
        if self._flight_in_signalling:
            self.data_to_send()
        self.bytes_used += len(data)
        plaintext = bytearray()
        for start in range(0, len(data), _PIECE):
            plaintext += self._receive_piece(data[start : start + _PIECE])
        return bytes(plaintext)

    def send(self, plaintext: bytes) -> None:
        """Encrypt ``plaintext`` in records of RECORD_BYTES; LocalError before ``handshake_result`` and after ``close()``.

        The result waits here; the caller bounds its size.
        """
        self._check_alive()
        if self.handshake_result is None or self._closed:
            raise LocalError("this TLS channel " + ("is closed" if self._closed else "is not established yet"))
        step = RECORD_BYTES - _RECORD_OVERHEAD
        for start in range(0, len(plaintext), step):
            piece = plaintext[start : start + step]
            try:
                # All or nothing. Nothing can be: half a KeyUpdate from the peer makes OpenSSL wait for the rest.
                self._connection.send(piece)
            except SSL.Error as error:
                raise self._failed(_tls_failure(error)) from error
            self._drain()

    def data_to_send(self) -> bytes:
        """Return the bytes that must travel to the peer now; they wait here no longer."""
        data, self._outgoing = bytes(self._outgoing), bytearray()
        self._flight_in_signalling, self._answer_bytes = False, 0
        return data

    @property
    def waiting(self) -> int:
        """Bytes that ``data_to_send()`` would give."""
        return len(self._outgoing)

    def close(self) -> None:
        """Say that these were all our bytes (close_notify); the peer's may still come. No-op until ``handshake_result``."""
        self._check_alive()
        if self.handshake_result is not None and not self._closed:
            self._send_close_notify()

    # --- inside ----------------------------------------------------------------------------------------------------

    def _check_alive(self) -> None:
        if self._failure is not None:
            raise TLSFailed(str(self._failure), self._failure.code) from self._failure

    def _receive_piece(self, piece: bytes) -> bytes:
        if self.peer_closed:
            return b""  # OpenSSL would ignore it too, but keep it.
        self._check_size(len(piece))
        waiting = len(self._outgoing)
        self._connection.bio_write(piece)
        try:
            if not self._do_handshake():
                return b""
            if self.handshake_result is None:
                self.handshake_result = self._check_handshake()
            return self._decrypt()
        finally:
            self._drain()
            self._answer_bytes += len(self._outgoing) - waiting

    def _check_size(self, size: int) -> None:
        if self.handshake_result is None:
            self._handshake_bytes += size
            if self._handshake_bytes > HANDSHAKE_BYTES:
                raise self._failed(TLSFailed(f"the peer sent over {HANDSHAKE_BYTES} bytes and finished no handshake"))
        elif self._answer_bytes > ANSWER_BYTES:
            raise self._failed(TLSFailed(_TOO_MANY_ANSWERS))

    def _do_handshake(self) -> bool:
        """Return whether the handshake is done, now that OpenSSL has seen all that came. Once done, it stays done."""
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return False
        except TLSFailed as refusal:
            raise self._failed(refusal) from None
        except SSL.Error as error:
            raise self._failed(_tls_failure(error)) from error
        return True

    def _decrypt(self) -> bytes:
        plaintext = bytearray()
        try:
            while True:
                plaintext += self._connection.recv(_PIECE)
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self.peer_closed = True
        except SSL.Error as error:
            raise self._failed(_tls_failure(error)) from error
        return bytes(plaintext)

    def _drain(self) -> None:
        self._queue(_written(self._connection))

    def _queue(self, data: bytes) -> None:
        self._outgoing += data
        self.bytes_used += len(data)

    def _check_handshake(self) -> HandshakeResult:
        """Check all that the handshake agreed on, in the order of docs/protocol.md §3."""
        connection = self._connection
        try:
            protocol = connection.get_protocol_version_name()
            _check_protocol(protocol)
            _check_alpn(connection.get_alpn_proto_negotiated())
            certificate = _check_presence(connection.get_peer_certificate())
            _check_alone(connection, self.role)
            key = key_fingerprint(certificate)
            _check_not_ours(key, self._own_key.fingerprint)
            _check_digest(certificate, self._expected.digest)
            # no test fails without `"unknown"`, here and below: OpenSSL names what it has agreed on; mypy asks
            group = connection.get_group_name() or "unknown"
            if self._require_post_quantum:
                _check_group(group)
        except TLSFailed as refusal:
            self._refuse_handshake()
            raise self._failed(refusal) from None
        return HandshakeResult(
            protocol=protocol,
            cipher=connection.get_cipher_name() or "unknown",  # no test fails without `"unknown"`
            group=group,
            peer_certificate=certificate,
            peer_key=key,
            exporter=connection.export_keying_material(_EXPORTER_LABEL, _EXPORTER_BYTES, b""),
        )

    def _refuse_handshake(self) -> None:
        """Refuse a handshake that OpenSSL itself would have let pass, and for which it therefore has no alert."""
        if self.role is Role.RESPONDER:
            self._send_close_notify()
            return
        # Our certificate and our Finished have not left yet, and never will: for the peer the handshake fails too.
        _written(self._connection)
        self._queue(_HANDSHAKE_FAILURE)

    def _send_close_notify(self) -> None:
        self._closed = True
        try:
            self._connection.shutdown()
        except SSL.Error as error:
            raise self._failed(_tls_failure(error)) from error
        self._drain()

    def _failed(self, failure: TLSFailed) -> TLSFailed:
        """Remember ``failure``: from here on only the alert is left."""
        self._failure = failure
        return failure


_CHAIN = "the peer sent a chain of certificates, and only one that stands alone is accepted"
_TOO_MANY_ANSWERS = "the peer sent KeyUpdates without end and took no answers, perhaps to fill our memory; write again to go on"


class _ExpectedCertificate:
    """The certificate that the peer must show. It does not refer to the connection, so a dropped one is freed at once."""

    def __init__(self) -> None:
        self.digest = b""
        """SHA-256, 32 bytes; empty, which no certificate meets, until it is known."""

    def verify(self, connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
        """OpenSSL's verify callback. It runs more than once for one certificate, and each time has to agree."""
        if depth != 0:
            raise TLSFailed(_CHAIN)
        _check_digest(_der(certificate), self.digest)
        return True


def _context(role: Role, own_key: OwnKey, expected: _ExpectedCertificate) -> SSL.Context:
    """A context for one connection. Its groups are OpenSSL's own: naming one would turn the hybrid key exchange off."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    # no test fails without this: OpenSSL knows nothing newer yet, and _check_protocol would refuse it
    context.set_max_proto_version(SSL.TLS1_3_VERSION)
    context.set_options(SSL.OP_NO_TICKET)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, expected.verify)
    if role is Role.INITIATOR:
        context.set_alpn_protos([ALPN])
    else:
        context.set_alpn_select_callback(_select_alpn)
    context.use_certificate(x509.load_der_x509_certificate(own_key.certificate))
    key = load_der_private_key(own_key.private_key, password=None)
    assert isinstance(key, (ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey))  # An Identity has no other.
    context.use_privatekey(key)
    return context


def _select_alpn(connection: SSL.Connection, offered: list[bytes]) -> bytes:
    """Raising, unlike NO_OVERLAPPING_PROTOCOLS, ends the handshake with no_application_protocol (RFC 7301 §3.2)."""
    if ALPN not in offered:
        raise TLSFailed("the peer's TLS is for another application")
    return ALPN


def _check_protocol(protocol: str) -> None:
    if protocol != "TLSv1.3":
        raise TLSFailed(f"the handshake ended with {protocol}, not TLSv1.3")


def _check_alpn(agreed: bytes) -> None:
    if agreed != ALPN:
        raise TLSFailed("the handshake did not agree on our application protocol (ALPN)")


def _check_alone(connection: SSL.Connection, role: Role) -> None:
    """OpenSSL's verify callback sees the chain that OpenSSL has built, which leaves out what it has no use for."""
    sent = connection.get_peer_cert_chain() or []
    if len(sent) > (role is Role.INITIATOR):  # SSL_get_peer_cert_chain() leaves a client's own certificate out
        raise TLSFailed(_CHAIN)


def _check_presence(certificate: crypto.X509 | None) -> bytes:
    if certificate is None:
        raise TLSFailed("the peer showed no certificate")
    return _der(certificate)


def _check_not_ours(key: Fingerprint, own: Fingerprint) -> None:
    """The key, not the certificate: a new certificate around our own key is still our own key."""
    if hmac.compare_digest(key.digest, own.digest):
        raise TLSFailed("the peer shows our own key", Code.REFLECTED_KEY)


def _check_digest(certificate: bytes, expected: bytes) -> None:
    if not hmac.compare_digest(hashlib.sha256(certificate).digest(), expected):
        raise TLSFailed("the peer's certificate is not the one that was announced", Code.FINGERPRINT_MISMATCH)


def _check_group(group: str) -> None:
    if group not in HYBRID_GROUPS:
        raise TLSFailed(f"the key exchange {group} is not safe against quantum computers, which our policy demands")


def _der(certificate: crypto.X509) -> bytes:
    # Not by to_cryptography(): that parser refuses, with exceptions of its own, certificates that OpenSSL takes.
    return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)


def _written(connection: SSL.Connection) -> bytes:
    written = bytearray()
    with suppress(SSL.WantReadError):
        while True:
            written += connection.bio_read(_PIECE)
    return bytes(written)


def _tls_failure(error: SSL.Error) -> TLSFailed:
    """OpenSSL's own reasons: they name what was wrong and quote nothing."""
    queue = error.args[0] if error.args and isinstance(error.args[0], list) else []
    reasons = ", ".join(dict.fromkeys(reason for _, _, reason in queue if reason))
    return TLSFailed(f"TLS failed: {reasons or 'the record layer gave no reason'}")
