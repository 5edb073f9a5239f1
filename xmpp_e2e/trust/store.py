"""What a host's store offers: the identity, what is remembered of peers, policies, secrets and failure counters.

The core never calls it: a session is *handed* what is remembered and *emits* what happened; the host writes that back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from xmpp_e2e.identity import Assurance, Fingerprint, Remembered, TrustModel
from xmpp_e2e.trust.judge import OnKeyChange
from xmpp_e2e.trust.policy import Policy


@dataclass(frozen=True)
class PeerPolicy:
    """What the user wants for one peer; None = as for everybody."""

    policy: Policy | None = None
    trust_model: TrustModel | None = None
    plaintext_allowed: bool = False
    """The user said ``allow_plaintext(peer)``."""
    on_key_change: OnKeyChange | None = None


@dataclass(frozen=True)
class StoredIdentity:
    """Our key and certificate as bytes; what they mean is for ``xmpp_e2e.tls`` to say. Never shown in a repr."""

    certificate: bytes = field(repr=False)
    """DER."""
    private_key: bytes = field(repr=False)
    """PKCS#8, DER."""


@dataclass(frozen=True)
class Change:
    """One line of a peer's history."""

    at: float
    """Seconds since the epoch."""
    fingerprint: Fingerprint
    what: str
    """``accepted``, ``raised``, ``pinned``, ``blocked`` or ``forgotten``."""
    assurance: Assurance
    """The key's level after it (before it, if forgotten)."""
    method: str
    """How it was reached: ``route``, ``signed``, ``pin``, ``psk``, ``srp``, ``sas``; ``block`` if never accepted."""


class TrustStore(Protocol):
    """A store of one account and device.

    Peers are bare JIDs (ValueError for a full one, which would fail open); times are seconds since the epoch.
    """

    def identity(self, create: Callable[[], StoredIdentity]) -> StoredIdentity:
        """Our identity; made by ``create`` and stored if there is none yet, once whoever asks at the same time."""
        ...

    def remembered(self, bare_jid: str) -> Remembered:
        """What to hand to a session with this peer."""
        ...

    def accept(self, bare_jid: str, fingerprint: Fingerprint, assurance: Assurance, method: str, now: float) -> bool:
        """Remember a key once its session is open (never one that is held), or raise its level; never lowers it.

        True if something changed: False for a level not above what is stored, for KNOWN (nothing was learnt) and for a
        blocked key, which stays blocked. ValueError for NONE.
        """
        ...

    def pin(self, bare_jid: str, fingerprint: Fingerprint, now: float) -> bool:
        """The user vouches for the key: VERIFIED by ``pin``. False if it was verified before."""
        ...

    def block(self, bare_jid: str, fingerprint: Fingerprint, now: float) -> bool:
        """The user refuses the key, remembered or not, until it is forgotten. False if it was blocked before."""
        ...

    def forget(self, bare_jid: str, fingerprint: Fingerprint | None, now: float) -> int:
        """Forget one key (None: all keys) of the peer; the number forgotten. Policy, ``seen`` and history stay."""
        ...

    def history(self, bare_jid: str) -> tuple[Change, ...]:
        """Everything that was ever decided about the peer's keys, oldest first."""
        ...

    def news(self) -> frozenset[str]:
        """The peers about whose keys somebody has decided (pin, block, forget) since this was last asked, another process
        perhaps; nobody the first time. Cheap: asked every second."""
        ...

    def peers(self) -> tuple[str, ...]:
        """The bare JIDs of which we remember a key, sorted."""
        ...

    def policy(self, bare_jid: str) -> PeerPolicy:
        """What the user wants for the peer. Cheap: asked for every stanza."""
        ...

    def set_policy(self, bare_jid: str, policy: PeerPolicy) -> None:
        """Replace what the user wants for the peer."""
        ...

    def seen(self, bare_jid: str) -> bool:
        """Has the peer ever advertised encryption to us, or had a session with us? Cheap: asked for every stanza."""
        ...

    def mark_seen(self, bare_jid: str, now: float) -> None:
        """The peer advertises encryption, or has a session with us."""
        ...

    def put_secret(self, bare_jid: str, kind: str, key_id: str, value: bytes) -> None:
        """Store a secret that is shared with the peer, sealed; replaces the one of the same kind and id."""
        ...

    def secret(self, bare_jid: str, kind: str, key_id: str) -> bytes | None:
        """The secret, or None."""
        ...

    def secret_ids(self, bare_jid: str, kind: str) -> tuple[str, ...]:
        """The ids of the secrets of this kind, sorted."""
        ...

    def forget_secret(self, bare_jid: str, kind: str, key_id: str) -> bool:
        """Forget a secret; False if there was none."""
        ...

    def count_failure(self, bare_jid: str, kind: str) -> int:
        """Count a failed guess, durably; the new count."""
        ...

    def failures(self, bare_jid: str, kind: str) -> int:
        """Failed guesses since the last ``clear_failures``."""
        ...

    def clear_failures(self, bare_jid: str, kind: str) -> None:
        """The count is 0 again."""
        ...
