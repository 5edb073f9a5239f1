"""Values that every module may import: roles, assurance, fingerprints, the keys that are known of a peer, sizes of blocks."""

from __future__ import annotations

import base64
import enum
import hashlib
from dataclasses import dataclass, field, replace


class Role(enum.Enum):
    """The side of a session. The initiator of the Jingle session is always the TLS client."""

    INITIATOR = "initiator"
    RESPONDER = "responder"

    @property
    def other(self) -> Role:
        """Return the role of the peer."""
        return Role.RESPONDER if self is Role.INITIATOR else Role.INITIATOR


class SecretBytes(bytes):
    """Bytes that no repr shows: neither their own nor that of a future, a task or an exception that holds them."""

    def __repr__(self) -> str:
        return f"<{len(self)} secret bytes>"

    __str__ = __repr__


class Assurance(enum.IntEnum):
    """The levels of assurance that the key at the other end is the peer's, lowest first.

    A policy is a comparison: ``session.assurance >= Assurance.VERIFIED``.
    """

    NONE = 0
    """Plain XMPP: nothing end to end."""
    VOUCHED = 1
    """The fingerprint came in a stanza stamped by the peer's server."""
    VOUCHED_SIGNED = 2
    """The peer's domain signed a statement of who holds the key."""
    KNOWN = 3
    """The same key as in an earlier session."""
    VERIFIED = 4
    """Proved by a pinned fingerprint, a pre-shared key, a password or a short authentication string."""

    def __str__(self) -> str:
        return self.name.lower().replace("_", "-")

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    @classmethod
    def parse(cls, word: str) -> Assurance:
        """The level that ``word`` names (as ``str()`` writes it); ValueError for any other word."""
        for level in cls:
            if str(level) == word:
                return level
        raise ValueError(f"{word!r} is no assurance level; the levels are {', '.join(map(str, cls))}")


class TrustModel(enum.Enum):
    """How far a user trusts the servers."""

    SERVER_TRUSTED = "server-trusted"
    """They may read everything: any key will do."""
    SERVER_AUTHENTICATES = "server-authenticates"
    """They must not read, and may say whose key is whose: a vouched key will do."""
    SERVER_UNTRUSTED = "server-untrusted"
    """They are trusted with nothing: only a verified key will do."""

    @property
    def min_assurance(self) -> Assurance:
        """The level that the key must reach before a stanza flows."""
        return _MINIMUM[self]


_MINIMUM = {
    TrustModel.SERVER_TRUSTED: Assurance.NONE,
    TrustModel.SERVER_AUTHENTICATES: Assurance.VOUCHED,
    TrustModel.SERVER_UNTRUSTED: Assurance.VERIFIED,
}

MIN_BLOCK_SIZE = 256
"""Raw bytes in a block of an in-band bytestream (XEP-0047); in smaller ones the iq around each would be most of the traffic."""
MAX_BLOCK_SIZE = 8192
"""The most raw bytes that are ever agreed; larger blocks stall in servers that read 8 KiB at a time."""

_PREFIX = "SHA256:"


@dataclass(frozen=True, order=True)
class Fingerprint:
    """The fingerprint of a *key*, the one kind that people see and pin: SHA-256 over the SPKI (DER).

    Written ``SHA256:`` + unpadded base64 (43 characters), as OpenSSH does.
    """

    digest: bytes
    """32 bytes."""

    def __post_init__(self) -> None:
        if len(self.digest) != 32:
            raise ValueError(f"a SHA-256 fingerprint has 32 bytes, not {len(self.digest)}")

    def __repr__(self) -> str:
        return f"Fingerprint({self})"

    def __str__(self) -> str:
        return _PREFIX + base64.b64encode(self.digest).decode().rstrip("=")

    @classmethod
    def of(cls, spki: bytes) -> Fingerprint:
        """The fingerprint of a SubjectPublicKeyInfo in DER."""
        return cls(hashlib.sha256(spki).digest())

    @classmethod
    def parse(cls, text: str) -> Fingerprint:
        """The fingerprint that ``text`` spells; ValueError if it is not ``SHA256:`` and 43 base64 characters."""
        word = text.strip()
        try:
            if word.startswith(_PREFIX) and len(word) == len(_PREFIX) + 43:
                parsed = cls(base64.b64decode(word[len(_PREFIX) :] + "=", validate=True))
                if str(parsed) == word:
                    return parsed
        except ValueError:
            pass
        raise ValueError(f"{text!r} is no key fingerprint: expected SHA256: and 43 base64 characters")


ACCEPT = "accept"
"""The method of a key that the user accepts without having verified it."""

ROTATION = "rotation"
"""The method of a key that takes the place of a verified one, which says so."""
RETIRED = "retired"
"""The method of a key whose place another has taken: it is refused from then on."""


@dataclass(frozen=True)
class KnownKey:
    """One key of a peer that was accepted before."""

    fingerprint: Fingerprint
    assurance: Assurance
    """The highest level that it ever reached: VOUCHED, VOUCHED_SIGNED or VERIFIED."""
    verified_by: str
    """The method: ``route``, ``signed``, ``accept``, ``pin``, ``psk``, ``srp``, ``sas``, ``rotation`` or ``retired``."""
    first_seen: float
    """When it was first accepted, seconds since the epoch."""
    blocked: bool = False
    """The user has refused this key for good, or the peer has given it up."""

    @property
    def decided(self) -> bool:
        """True if the user stands behind the key, by a proof or a word of their own, or has blocked it."""
        return self.assurance is Assurance.VERIFIED or self.verified_by == ACCEPT or self.blocked


@dataclass(frozen=True)
class KnownKeys:
    """The keys that are known of one peer (a bare JID)."""

    keys: tuple[KnownKey, ...] = field(default=())
    forgotten: frozenset[Fingerprint] = frozenset()
    """Keys that the user has forgotten. Each counts as a new one, but takes the place of no other."""

    def find(self, fingerprint: Fingerprint) -> KnownKey | None:
        """Return the key with this fingerprint, or None."""
        return next((key for key in self.keys if key.fingerprint == fingerprint), None)

    def is_verified(self, fingerprint: Fingerprint) -> bool:
        """Return whether this key is verified, and not refused."""
        key = self.find(fingerprint)
        return key is not None and key.assurance is Assurance.VERIFIED and not key.blocked

    def rotated(self, old: Fingerprint, new: Fingerprint) -> KnownKeys:
        """Return what is known when ``new`` has taken the place of ``old``, which is verified."""
        keys = {key.fingerprint: key for key in self.keys}
        before = keys[old]
        keys[old] = replace(before, verified_by=RETIRED, blocked=True)
        keys.setdefault(new, replace(before, fingerprint=new, verified_by=ROTATION))
        return replace(self, keys=tuple(keys.values()))

    @property
    def any_verified(self) -> bool:
        """True if a key of this peer was ever verified or pinned. A blocked one counts: its user wants no surprise."""
        return any(key.assurance is Assurance.VERIFIED for key in self.keys)

    @property
    def held(self) -> tuple[Fingerprint, ...]:
        """The keys to which nothing flows: the user has not decided about them, and another key of this peer is verified."""
        return tuple(key.fingerprint for key in self.keys if not key.decided) if self.any_verified else ()
