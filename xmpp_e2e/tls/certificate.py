"""Our key in its self-signed certificate (RFC 5280), and the fingerprint of a key, which people see and pin.

The certificate is only an envelope for the key. It names nobody, so it tells an observer no JID, and its validity is
never judged.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from xmpp_e2e.errors import TLSFailed
from xmpp_e2e.types import Fingerprint

if TYPE_CHECKING:
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

SUBJECT = "xmpp-e2e"
"""The common name in every certificate: the same for everybody, so it tells nothing."""


@dataclass(frozen=True)
class OwnKey:
    """One device's certificate and the private key to it. ValueError unless they belong together."""

    certificate: bytes
    """X.509, DER."""
    private_key: bytes
    """PKCS#8, DER, unencrypted: a store must encrypt it."""

    def __post_init__(self) -> None:
        try:
            key = serialization.load_der_private_key(self.private_key, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            # From None: the library's own words may quote its input.
            raise ValueError("the private key of this identity is no unencrypted PKCS#8 key in DER") from None
        try:
            fingerprint = self.fingerprint
        except TLSFailed as error:
            raise ValueError(f"the certificate of this identity is unfit: {error}") from error
        if Fingerprint.of(_spki(key.public_key())) != fingerprint:
            raise ValueError("the certificate of this identity belongs to another private key")

    def __repr__(self) -> str:
        return f"OwnKey({self.fingerprint})"

    @cached_property
    def certificate_digest(self) -> bytes:
        """SHA-256 of the certificate, 32 bytes: the ``<fingerprint/>`` on the wire."""
        return hashlib.sha256(self.certificate).digest()

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """The fingerprint of the key, which people see and pin. A new certificate for the key does not change it."""
        return key_fingerprint(self.certificate)

    @classmethod
    def create(cls, created: datetime) -> OwnKey:
        """Create an ECDSA P-256 key in a new certificate, valid from the day of ``created`` (naive means UTC), for ever."""
        key = ec.generate_private_key(ec.SECP256R1())
        offset = created.utcoffset()
        utc = created.replace(tzinfo=None) if offset is None else created.replace(tzinfo=None) - offset
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, SUBJECT)])
        # The serial number comes from the key and the date has no hours: a certificate tells nothing of its making.
        serial = int.from_bytes(hashlib.sha256(_spki(key.public_key())).digest()[:16])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(serial)
            .not_valid_before(utc.replace(hour=0, minute=0, second=0))
            # RFC 5280 §4.1.2.5: the date that means "no end".
            .not_valid_after(utc.replace(year=9999, month=12, day=31, hour=23, minute=59, second=59))
            .add_extension(_SIGNS_ONLY, critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(
            certificate.public_bytes(serialization.Encoding.DER),
            key.private_bytes(
                serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )


def key_fingerprint(certificate: bytes) -> Fingerprint:
    """The fingerprint of the key in ``certificate`` (DER); TLSFailed unless it is an ECDSA P-256 or an Ed25519 key."""
    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise TLSFailed("the certificate cannot be read") from error
    if not _is_accepted(key):
        raise TLSFailed(f"the certificate's key is {_kind(key)}, and only ECDSA P-256 and Ed25519 are accepted")
    return Fingerprint.of(_spki(key))


_SIGNS_ONLY = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def _is_accepted(key: PublicKeyTypes) -> bool:
    if isinstance(key, ec.EllipticCurvePublicKey):
        return isinstance(key.curve, ec.SECP256R1)
    return isinstance(key, ed25519.Ed25519PublicKey)


def _kind(key: PublicKeyTypes) -> str:
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC {key.curve.name}"
    return type(key).__name__.removesuffix("PublicKey")


def _spki(key: PublicKeyTypes) -> bytes:
    """SubjectPublicKeyInfo in DER, encoded anew: one key has one fingerprint, however its certificate spells it."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
