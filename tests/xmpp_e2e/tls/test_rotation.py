"""A rotation is signed by both keys, for one account; it counts for a verified key and an unknown one, and for nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from tests.xmpp_e2e.tls.test_certificate import certificate_of, pkcs8
from xmpp_e2e.encoding import length_prefixed
from xmpp_e2e.tls.certificate import OwnKey
from xmpp_e2e.tls.rotation import MAX_ROTATION_BYTES, MAX_ROTATIONS, Rotation, find_rotation, pack, unpack
from xmpp_e2e.types import RETIRED, ROTATION, Assurance, Fingerprint, KnownKey, KnownKeys

CREATED = datetime(2024, 1, 1, tzinfo=UTC)
ACCOUNT = "alice@a.test"
ED25519 = ed25519.Ed25519PrivateKey.generate()
P384 = ec.generate_private_key(ec.SECP384R1())
ONE, TWO, THREE, MALLORY = (OwnKey.create(CREATED) for _ in range(4))
EDWARD = OwnKey(certificate_of(ED25519), pkcs8(ED25519))
BY_EDWARD = Rotation.sign(ACCOUNT, EDWARD, TWO)
FIRST, SECOND = Rotation.sign(ACCOUNT, ONE, TWO), Rotation.sign(ACCOUNT, TWO, THREE)


def known(own: OwnKey, assurance: Assurance = Assurance.VERIFIED, *, blocked: bool = False) -> KnownKey:
    return KnownKey(own.fingerprint, assurance, "pin", 1.0, blocked)


def found(
    *rotations: Rotation, shown: OwnKey, keys: KnownKeys, account: str = ACCOUNT
) -> tuple[Fingerprint, Fingerprint] | None:
    return find_rotation(rotations, keys, account, shown.fingerprint)


KNOWS_ONE = KnownKeys((known(ONE),))


@pytest.mark.parametrize(("old", "new"), [(ONE, TWO), (ONE, EDWARD), (EDWARD, ONE)])
def test_both_keys_sign(old: OwnKey, new: OwnKey) -> None:
    """Either kind of key can be given up, and take the place of another."""
    rotation = Rotation.sign(ACCOUNT, old, new)
    assert rotation.is_signed()
    assert (rotation.old_key, rotation.new_key) == (old.fingerprint, new.fingerprint)
    assert unpack(pack((rotation,))) == (rotation,)


def spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def respelt() -> bytes:
    """The key of TWO with its point compressed: the same key, of another fingerprint."""
    key = x509.load_der_x509_certificate(TWO.certificate).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    point = key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
    uncompressed = key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    head = FIRST.new.removesuffix(uncompressed)
    shorter = len(uncompressed) - len(point)
    return bytes((head[0], head[1] - shorter, *head[2:-2], head[-2] - shorter, head[-1])) + point


def signed_by(new_key: ec.EllipticCurvePrivateKey | None, new: bytes) -> Rotation:
    """A statement of ONE about ``new``, signed again by both."""
    one = serialization.load_der_private_key(ONE.private_key, None)
    two = serialization.load_der_private_key(TWO.private_key, None)
    said = length_prefixed(b"xmpp-e2e/1 rotation", ACCOUNT.encode(), FIRST.old, new)
    assert isinstance(one, ec.EllipticCurvePrivateKey)
    assert isinstance(two, ec.EllipticCurvePrivateKey)
    by_old, by_new = (key.sign(said, ec.ECDSA(hashes.SHA256())) for key in (one, new_key or two))
    return Rotation(ACCOUNT, FIRST.old, new, (by_old, by_new))


@pytest.mark.parametrize(
    "wrong",
    [
        replace(FIRST, account="bob@b.test"),
        replace(FIRST, old=Rotation.sign(ACCOUNT, MALLORY, TWO).old),
        replace(FIRST, new=SECOND.new),
        replace(FIRST, signatures=FIRST.signatures[::-1]),
        replace(FIRST, signatures=(FIRST.signatures[0], b"")),
        replace(FIRST, signatures=(b"", FIRST.signatures[1])),
        signed_by(None, b"no key"),
        signed_by(None, BY_EDWARD.old.replace(bytes.fromhex("2b6570"), bytes.fromhex("2b6563"))),
        replace(BY_EDWARD, signatures=(bytes(64), BY_EDWARD.signatures[1])),
        signed_by(P384, spki(P384)),
        signed_by(None, respelt()),
    ],
    ids=[
        "account", "old", "new", "swapped", "not by the new", "not by the old", "no key", "an unknown kind", "not by Edward",
        "P-384", "another spelling",
    ],
)  # fmt: skip
def test_unsigned(wrong: Rotation) -> None:
    """A signature covers the account and both keys. A key must be of an accepted kind, in its one spelling."""
    assert not wrong.is_signed()
    assert signed_by(None, FIRST.new).is_signed()


@pytest.mark.parametrize("data", [b"x", bytes(FIRST), pack((FIRST,) * 8) + length_prefixed(bytes(FIRST)), length_prefixed(b"")])
def test_malformed(data: bytes) -> None:
    """Anything but at most eight statements is refused."""
    with pytest.raises(ValueError):  # noqa: PT011 - of several kinds
        unpack(data)


def test_only_the_last_are_told() -> None:
    """At most eight, and no more than fit: a long JID makes them fewer."""
    many = tuple(replace(FIRST, account=f"{number}@a.test") for number in range(MAX_ROTATIONS + 2))
    assert unpack(pack(many)) == many[2:]
    long = tuple(replace(FIRST, account=f"{number}{'x' * 1023}@a.test") for number in range(4))
    assert len(pack(long)) <= MAX_ROTATION_BYTES
    assert unpack(pack(long)) == long[2:]
    with pytest.raises(ValueError, match="more statements"):
        unpack(length_prefixed(*map(bytes, long)))


def test_what_counts() -> None:
    """In a session under either key, and along a chain of which only the first key was met."""
    one_two, one_three = (ONE.fingerprint, TWO.fingerprint), (ONE.fingerprint, THREE.fingerprint)
    assert found(FIRST, shown=TWO, keys=KNOWS_ONE) == one_two
    assert found(FIRST, shown=ONE, keys=KNOWS_ONE) == one_two
    assert found(FIRST, SECOND, shown=THREE, keys=KNOWS_ONE) == one_three
    assert found(FIRST, SECOND, shown=THREE, keys=KnownKeys((known(TWO),))) == (TWO.fingerprint, THREE.fingerprint)
    pinned = KnownKeys((known(ONE), known(TWO)))
    assert found(FIRST, shown=TWO, keys=pinned) == one_two, "pinned before: the old one is given up all the same"
    component = Rotation.sign("a.test", ONE, TWO)
    assert found(component, shown=TWO, keys=KNOWS_ONE) == one_two, "the key of all addresses of a component"


@pytest.mark.parametrize(
    ("rotations", "shown", "keys"),
    [
        ((), TWO, KNOWS_ONE),
        ((FIRST,), TWO, KnownKeys()),
        ((FIRST,), TWO, KnownKeys((known(ONE, Assurance.VOUCHED),))),
        ((FIRST,), TWO, KnownKeys((known(ONE, blocked=True),))),
        ((FIRST,), TWO, KnownKeys((known(ONE), known(TWO, Assurance.VOUCHED)))),
        ((FIRST,), TWO, KnownKeys((known(ONE), known(TWO, blocked=True)))),
        ((FIRST,), TWO, KnownKeys((known(ONE),), frozenset({TWO.fingerprint}))),
        ((FIRST,), MALLORY, KNOWS_ONE),
        ((FIRST, SECOND), TWO, KNOWS_ONE),
        ((SECOND, FIRST), TWO, KNOWS_ONE),
        ((FIRST, Rotation.sign(ACCOUNT, TWO, ONE)), ONE, KNOWS_ONE),
        ((Rotation.sign(ACCOUNT, ONE, ONE),), ONE, KNOWS_ONE),
        ((Rotation.sign("bob@b.test", ONE, TWO),), TWO, KNOWS_ONE),
        ((Rotation.sign("carol@a.test", ONE, TWO),), TWO, KNOWS_ONE),
        ((replace(FIRST, signatures=(b"", b"")),), TWO, KNOWS_ONE),
    ],
    ids=[
        "nothing said", "no key known", "old not verified", "old blocked", "new held", "new blocked", "new forgotten",
        "another's session", "a key between", "no chain", "a loop", "itself", "another account", "a neighbour", "unsigned",
    ],
)  # fmt: skip
def test_what_does_not_count(rotations: tuple[Rotation, ...], shown: OwnKey, keys: KnownKeys) -> None:
    """Then the new key is judged as if nothing had been said."""
    assert found(*rotations, shown=shown, keys=keys) is None


def test_what_is_known_afterwards() -> None:
    """The old key is refused from then on; the new one is verified, by rotation unless it was before."""
    after = KNOWS_ONE.rotated(ONE.fingerprint, TWO.fingerprint)
    assert after.keys == (
        replace(known(ONE), verified_by=RETIRED, blocked=True),
        replace(known(TWO), verified_by=ROTATION),
    )
    assert not after.is_verified(ONE.fingerprint)
    assert after.is_verified(TWO.fingerprint)
    pinned = KnownKeys((known(ONE), known(TWO)))
    assert pinned.rotated(ONE.fingerprint, TWO.fingerprint).find(TWO.fingerprint) == known(TWO)
