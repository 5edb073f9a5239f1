"""The statement that a new key takes the place of an old one: signed by both, for one account (docs/protocol.md §5).

Whoever has verified the old key can check it without having met the new one, and the old private key is needed only to sign.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from xmpp_e2e.encoding import label, length_prefixed, split_length_prefixed
from xmpp_e2e.tls.certificate import OwnKey
from xmpp_e2e.types import ROTATION, Fingerprint, KnownKeys

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

_PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

MAX_ROTATIONS = 8
"""Statements that are told to a peer, the last ones: whoever has not met us for so many rotations verifies our key anew."""
MAX_ROTATION_BYTES = 4096
"""Bytes of all of them: eight take some 3 KiB, and stay far below what one tag may have (16 KiB)."""


@dataclass(frozen=True)
class Rotation:
    """One statement. ``old`` and ``new`` are SubjectPublicKeyInfos (DER); its signatures may be wrong (``is_signed``)."""

    account: str
    """The bare JID; the domain of a component, whose addresses share a key."""
    old: bytes
    new: bytes
    signatures: tuple[bytes, bytes] = field(repr=False)
    """By the old key and by the new one: nobody can announce a key that is another's."""

    @classmethod
    def sign(cls, account: str, old: OwnKey, new: OwnKey) -> Self:
        """Return the statement that ``new`` takes the place of ``old``."""
        old_signer, new_signer = _private_key(old), _private_key(new)
        spkis = _spki(old_signer.public_key()), _spki(new_signer.public_key())
        said = _signed_bytes(account, *spkis)
        return cls(account, *spkis, (_sign(old_signer, said), _sign(new_signer, said)))

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Return the statement in ``data``; ValueError if there is none."""
        account, old, new, by_old, by_new = split_length_prefixed(data)
        return cls(account.decode(), old, new, (by_old, by_new))

    def __bytes__(self) -> bytes:
        return length_prefixed(self.account.encode(), self.old, self.new, *self.signatures)

    @property
    def old_key(self) -> Fingerprint:
        """The key that is given up."""
        return Fingerprint.of(self.old)

    @property
    def new_key(self) -> Fingerprint:
        """The key that takes its place."""
        return Fingerprint.of(self.new)

    def is_signed(self) -> bool:
        """Return whether both keys are of an accepted kind and have signed it."""
        said = _signed_bytes(self.account, self.old, self.new)
        by_old, by_new = self.signatures
        return _is_signed(self.old, by_old, said) and _is_signed(self.new, by_new, said)


def pack(rotations: tuple[Rotation, ...]) -> bytes:
    """Return the last statements, the oldest first, as they are told to peers; at most MAX_ROTATIONS."""
    kept = tuple(map(bytes, rotations[-MAX_ROTATIONS:]))
    while len(packed := length_prefixed(*kept)) > MAX_ROTATION_BYTES:
        kept = kept[1:]
    return packed


def unpack(data: bytes) -> tuple[Rotation, ...]:
    """Return the statements in ``data``; ValueError if there are too many, or anything else."""
    if len(data) > MAX_ROTATION_BYTES or len(fields := split_length_prefixed(data)) > MAX_ROTATIONS:
        raise ValueError("more statements about rotations than are taken")
    return tuple(map(Rotation.parse, fields))


def find_rotation(
    rotations: tuple[Rotation, ...], known_keys: KnownKeys, account: str, shown: Fingerprint
) -> tuple[Fingerprint, Fingerprint] | None:
    """Return the verified key that these statements give up, and the key that takes its place; None if they count for nothing.

    ``account`` is the peer's bare JID, ``shown`` the key of this session: one of the two, as nobody else may say it.
    The statements form a chain that leads to the new key. That one is not known yet, and never was; or it is verified.
    """
    if any(one.new != then.old for one, then in pairwise(rotations)):
        return None
    verified = [known_keys.is_verified(rotation.old_key) for rotation in rotations]
    if True not in verified:
        return None
    rotations = rotations[len(verified) - 1 - verified[::-1].index(True) :]  # from the last key that is verified
    old, new = rotations[0].old_key, rotations[-1].new_key
    unmet = [known_keys.find(one.new_key) is None and one.new_key not in known_keys.forgotten for one in rotations]
    after = known_keys.find(new)
    proved = after is not None and known_keys.is_verified(new) and after.verified_by != ROTATION
    fit = all(unmet[:-1]) and (unmet[-1] or proved)
    accounts = (account, account.rpartition("@")[2])
    if old == new or shown not in (old, new) or not fit:
        return None
    if not all(rotation.account in accounts and rotation.is_signed() for rotation in rotations):
        return None
    return old, new


def _signed_bytes(account: str, old: bytes, new: bytes) -> bytes:
    return length_prefixed(label("rotation"), account.encode(), old, new)


def _private_key(own: OwnKey) -> _PrivateKey:
    key = serialization.load_der_private_key(own.private_key, password=None)
    assert isinstance(key, _PrivateKey)  # OwnKey has seen to it
    return key


def _sign(key: _PrivateKey, said: bytes) -> bytes:
    return key.sign(said) if isinstance(key, ed25519.Ed25519PrivateKey) else key.sign(said, ec.ECDSA(hashes.SHA256()))


def _is_signed(spki: bytes, signature: bytes, said: bytes) -> bool:
    """Return whether the key has signed it. One key has one spelling, as it has one fingerprint."""
    try:
        key = serialization.load_der_public_key(spki)
        if _spki(key) != spki:
            return False
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, said)
        elif isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
            key.verify(signature, said, ec.ECDSA(hashes.SHA256()))
        else:
            return False
    except (ValueError, UnsupportedAlgorithm, InvalidSignature):
        return False
    return True


def _spki(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
