"""Decides whether stanzas may flow to a key: one pure function over the keys that are known, the signalling and the proofs.

The first key of a peer is taken for what the signalling or a proof makes of it, as SSH takes the first key of a host. A key
beside a verified one needs a proof, or the user. Each device of a peer has a key of its own, and each is decided by itself.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from xmpp_e2e.types import (
    Assurance,
    Fingerprint,
    KnownKey,
    KnownKeys,
    TrustModel,
)


class OnKeyChange(enum.Enum):
    """The user's rule for a new key of a known peer; a proof in that session overrides it."""

    BY_TRUST_MODEL = "by-trust-model"
    """NEW as the trust model says; CHANGED is held."""
    HOLD = "hold"
    """Both are held until the user acts or a proof succeeds."""
    REJECT = "reject"
    """Both end the session: for bots that nobody watches."""


class Decision(enum.Enum):
    """The outcome for the session."""

    ACCEPT = "accept"
    """Stanzas may flow."""
    HOLD = "hold"
    """Nothing flows until the user acts (pins the key) or a proof succeeds; then decide again."""
    REJECT = "reject"
    """The session ends."""


class KeyStatus(enum.Enum):
    """The relation of the key to the keys that we know of the peer."""

    FIRST = "first"
    """We remember no key of the peer."""
    KNOWN = "known"
    """We remember this key; and it is verified, or the user has accepted it, or no other is verified."""
    NEW = "new"
    """We remember other keys, none of them verified: always told to the user."""
    CHANGED = "changed"
    """Another key is verified, and the user has not decided about this one, remembered or not: the user must act."""
    BLOCKED = "blocked"
    """The user has refused this key for good."""

    @property
    def is_expected(self) -> bool:
        """Return whether such a key is no surprise for the user."""
        return self in (KeyStatus.FIRST, KeyStatus.KNOWN)


@dataclass(frozen=True)
class KeyDecision:
    """The decision about the key of one session, and the facts behind it."""

    decision: Decision
    assurance: Assurance
    """The level that the session has now."""
    status: KeyStatus
    fingerprint: Fingerprint
    """The key."""
    needed: Assurance
    """The minimum, by the trust model and the session's own."""
    verified_by: str
    """The method by which a known key was accepted; else empty."""


def decide(
    known_keys: KnownKeys,
    peer_key: Fingerprint,
    vouched: Assurance,
    *,
    trust_model: TrustModel,
    on_key_change: OnKeyChange,
    proved: Assurance = Assurance.NONE,
    min_assurance: Assurance = Assurance.NONE,
) -> KeyDecision:
    """Decide about ``peer_key``, which TLS has shown to be the peer's in this session.

    ``vouched`` is the level of the signalling by itself (NONE, VOUCHED or VOUCHED_SIGNED; ValueError above), ``proved`` that
    of an authenticator in this session, ``min_assurance`` a minimum beyond that of the trust model.
    """
    if vouched > Assurance.VOUCHED_SIGNED:
        raise ValueError(f"signalling vouches, it does not prove: {vouched} belongs in `proved`")
    key = known_keys.find(peer_key)
    status = _status(known_keys, key)
    assurance = vouched if status is KeyStatus.BLOCKED else max(vouched, proved, _continuity(status, key))
    needed = max(trust_model.min_assurance, min_assurance)
    decision = _decision(status, on_key_change, proved >= Assurance.VERIFIED, assurance >= needed)
    return KeyDecision(decision, assurance, status, peer_key, needed, key.verified_by if key else "")


def _status(known_keys: KnownKeys, key: KnownKey | None) -> KeyStatus:
    if key is not None and key.blocked:
        return KeyStatus.BLOCKED
    if known_keys.any_verified and not (key is not None and key.decided):
        return KeyStatus.CHANGED
    if key is not None:
        return KeyStatus.KNOWN
    return KeyStatus.NEW if known_keys.keys else KeyStatus.FIRST


def _continuity(status: KeyStatus, key: KnownKey | None) -> Assurance:
    """Return the level that a key has because we know it. What was taken before another key was verified counts no more."""
    if key is None or status is not KeyStatus.KNOWN:
        return Assurance.NONE
    return Assurance.VERIFIED if key.assurance is Assurance.VERIFIED else Assurance.KNOWN


def _decision(status: KeyStatus, on_key_change: OnKeyChange, proved: bool, enough: bool) -> Decision:
    """Apply the rules, the strictest first. ``enough``: the minimum is met."""
    if status is KeyStatus.BLOCKED:
        return Decision.REJECT
    if status in (KeyStatus.NEW, KeyStatus.CHANGED) and not proved:
        if on_key_change is OnKeyChange.REJECT:
            return Decision.REJECT
        if on_key_change is OnKeyChange.HOLD or status is KeyStatus.CHANGED:
            return Decision.HOLD
    return Decision.ACCEPT if enough else Decision.HOLD
