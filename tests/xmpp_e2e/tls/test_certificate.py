"""The certificate names nobody and tells nothing but its key; only two kinds of key are accepted."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from xmpp_e2e.errors import TLSFailed
from xmpp_e2e.tls.certificate import OwnKey, key_fingerprint
from xmpp_e2e.types import Fingerprint

CREATED = datetime(2026, 2, 28, 13, 14, 15, 16)
Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey | rsa.RSAPrivateKey


def certificate_of(key: Key) -> bytes:
    """A self-signed certificate around any key, DER."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "anything")])
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) else hashes.SHA256()
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, CREATED, CREATED + timedelta(days=1))
    return builder.sign(key, algorithm).public_bytes(Encoding.DER)


def pkcs8(key: Key) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def parsed(identity: OwnKey) -> x509.Certificate:
    return x509.load_der_x509_certificate(identity.certificate)


def test_a_new_certificate() -> None:
    """It signs itself, names nobody, and its serial number is 128 bits of the key's hash: neither a clock nor a counter."""
    identity = OwnKey.create(CREATED)
    certificate = parsed(identity)
    certificate.verify_directly_issued_by(certificate)
    assert certificate.subject.rfc4514_string() == certificate.issuer.rfc4514_string() == "CN=xmpp-e2e"
    assert [extension.oid for extension in certificate.extensions] == [x509.KeyUsage.oid]
    assert certificate.serial_number == int.from_bytes(identity.fingerprint.digest[:16], "big")
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP256R1)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value == x509.KeyUsage(True, False, False, False, False, False, False, False, False)


def test_a_new_identity() -> None:
    """The wire carries the SHA-256 of the certificate, people that of the SubjectPublicKeyInfo; a repr shows no key."""
    identity = OwnKey.create(CREATED)
    assert identity.certificate_digest == hashlib.sha256(identity.certificate).digest()
    spki = parsed(identity).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert identity.fingerprint == key_fingerprint(identity.certificate) == Fingerprint.of(spki)
    assert identity.fingerprint != OwnKey.create(CREATED).fingerprint
    assert OwnKey(identity.certificate, identity.private_key) == identity
    assert repr(identity) == f"OwnKey({identity.fingerprint})"


FEBRUARY, LEAP_DAY = datetime(2026, 2, 28, tzinfo=UTC), datetime(2028, 2, 29, tzinfo=UTC)


@pytest.mark.parametrize(
    ("created", "day"),
    [
        (CREATED, FEBRUARY),
        (CREATED.replace(tzinfo=UTC), FEBRUARY),
        (datetime(2026, 3, 1, 3, 14, tzinfo=timezone(timedelta(hours=14))), FEBRUARY),
        (datetime(2026, 2, 27, 13, 14, tzinfo=timezone(timedelta(hours=-12))), FEBRUARY),
        (datetime(2028, 2, 29), LEAP_DAY),  # which 9999 does not have
    ],
)
def test_certificate_tells_the_day_and_not_the_hour(created: datetime, day: datetime) -> None:
    """It is valid from the beginning of its day in UTC, wherever it is made, without end."""
    certificate = parsed(OwnKey.create(created))
    assert certificate.not_valid_before_utc == day
    assert certificate.not_valid_after_utc == datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def test_ed25519_identity_is_accepted() -> None:
    """An Ed25519 key from elsewhere may be an identity."""
    key = ed25519.Ed25519PrivateKey.generate()
    assert OwnKey(certificate_of(key), pkcs8(key)).fingerprint == key_fingerprint(certificate_of(key))


OWN, P384 = OwnKey.create(CREATED), ec.generate_private_key(ec.SECP384R1())
SEALED = load_der_private_key(OWN.private_key, None).private_bytes(
    Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(b"seal")
)


@pytest.mark.parametrize(
    ("certificate", "private_key", "reason"),
    [
        (OWN.certificate, OwnKey.create(CREATED).private_key, "belongs to another private key"),
        (OWN.certificate, SEALED, "no unencrypted PKCS#8 key"),
        (OWN.certificate[:-1], OWN.private_key, "unfit: the certificate cannot be read"),
        (certificate_of(P384), pkcs8(P384), "unfit: the certificate's key is EC secp384r1"),
    ],
    ids=["another's key", "a sealed key", "an unreadable certificate", "another kind of key"],
)
def test_what_is_no_identity(certificate: bytes, private_key: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        OwnKey(certificate, private_key)


def test_unreadable_private_key_is_refused_without_quoting_it() -> None:
    identity = OwnKey.create(CREATED)
    broken = identity.private_key[:-1]
    with pytest.raises(ValueError, match="no unencrypted PKCS#8 key") as raised:
        OwnKey(identity.certificate, broken)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


def test_fingerprint_belongs_to_the_key_and_not_to_the_certificate() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    assert certificate_of(key) != certificate_of(key)
    assert key_fingerprint(certificate_of(key)) == key_fingerprint(certificate_of(key))


@pytest.mark.parametrize(
    ("key", "named"),
    [
        (rsa.generate_private_key(65537, 2048), "key is RSA"),
        (ec.generate_private_key(ec.SECP384R1()), "key is EC secp384r1"),
        (ec.generate_private_key(ec.SECP256K1()), "key is EC secp256k1"),
        (ed448.Ed448PrivateKey.generate(), "key is Ed448"),
    ],
    ids=["RSA", "P-384", "secp256k1", "Ed448"],
)
def test_other_keys_are_refused_by_name(key: Key, named: str) -> None:
    with pytest.raises(TLSFailed, match=named):
        key_fingerprint(certificate_of(key))


@pytest.mark.parametrize("junk", [b"", b"0", b"0\x03\x02\x01\x01", b"\xff" * 400])
def test_junk_is_no_certificate(junk: bytes) -> None:
    with pytest.raises(TLSFailed, match="cannot be read"):
        key_fingerprint(junk)


def test_an_algorithm_that_the_library_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key of an algorithm that was not built in is refused like any other that is not accepted."""
    identity = OwnKey.create(CREATED)

    def refuse(*_: object, **__: object) -> None:
        raise UnsupportedAlgorithm("not built in")

    monkeypatch.setattr(x509, "load_der_x509_certificate", refuse)
    with pytest.raises(TLSFailed, match="cannot be read"):
        key_fingerprint(identity.certificate)
    monkeypatch.setattr(serialization, "load_der_private_key", refuse)
    with pytest.raises(ValueError, match="no unencrypted PKCS#8"):
        OwnKey(identity.certificate, identity.private_key)


def test_unknown_certificate_version_is_refused() -> None:
    """A version that X.509 does not have raises the documented error too."""
    certificate = certificate_of(ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(TLSFailed, match="cannot be read"):
        key_fingerprint(certificate.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x05", 1))
