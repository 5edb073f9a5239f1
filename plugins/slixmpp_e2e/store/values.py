"""The values that the store holds, besides keys and secrets."""

from __future__ import annotations

from dataclasses import dataclass, field

from slixmpp_e2e.policy import Policy
from xmpp_e2e.key_decision import OnKeyChange
from xmpp_e2e.types import (
    Assurance,
    Fingerprint,
    TrustModel,
)


@dataclass(frozen=True)
class PeerPolicy:
    """What the user wants for one peer; None = as for everybody."""

    policy: Policy | None = None
    trust_model: TrustModel | None = None
    plaintext_allowed: bool = False
    """The user said ``allow_plaintext(peer)``."""
    on_key_change: OnKeyChange | None = None


@dataclass(frozen=True)
class StoredOwnKey:
    """Our key and certificate as bytes; what they mean is for ``xmpp_e2e.tls`` to say. Never shown in a repr."""

    certificate: bytes = field(repr=False)
    """DER."""
    private_key: bytes = field(repr=False)
    """PKCS#8, DER."""
    rotations: bytes = field(default=b"", repr=False)
    """How the key took the place of earlier ones, as peers are told; empty if it never did."""


@dataclass(frozen=True)
class Change:
    """One line of a peer's history."""

    at: float
    """Seconds since the epoch."""
    fingerprint: Fingerprint
    what: str
    """``accepted``, ``raised``, ``pinned``, ``doubted``, ``blocked`` or ``forgotten``; ``retired``, and next, of the key in its
    place, ``rotated``."""
    assurance: Assurance
    """The key's level after it (before it, if forgotten)."""
    method: str
    """How it was reached: ``route``, ``signed``, ``accept`` (by the user), ``pin``, ``psk``, ``srp``, ``sas``, ``rotation``,
    ``retired``; ``block`` if it was never accepted."""
