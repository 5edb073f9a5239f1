"""What an authenticator is: a generator that returns a proof or raises. There is no third outcome."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import ClassVar, Never, Protocol

from xmpp_e2e.identity import Assurance, Fingerprint, Role


@dataclass(frozen=True)
class Proven:
    """The evidence that an authenticator returns, and the only key to an open session."""

    method: str
    """The authenticator's name."""
    assurance: Assurance
    """What the evidence is worth by itself, before anything that is remembered is added."""
    key: Fingerprint
    """The key that it is evidence for."""


@dataclass(frozen=True)
class Evidence:
    """What an authenticator may look at: the channel as both ends of it see it."""

    role: Role
    """Our own."""
    signalled: bytes
    """SHA-256 of the peer's certificate as the negotiation announced it, 32 bytes."""
    certificate: bytes
    """SHA-256 of the certificate that TLS has seen, 32 bytes."""
    key: Fingerprint
    """The key in that certificate."""


Step = Never
"""What an authenticator may ask of the session meanwhile. The fingerprint asks nothing."""

Proof = Generator[Step, bytes, Proven]
"""Yields what it needs and returns once convinced; raises ``AuthenticationFailed`` if it never will be."""


class Authenticator(Protocol):
    """Returns ``Proven`` or raises ``AuthenticationFailed``: there is no third outcome."""

    name: ClassVar[str]
    """``<method name="…"/>`` on the wire."""
    assurance: ClassVar[Assurance]
    """What success is worth."""

    def prove(self, evidence: Evidence) -> Proof:
        """Convince yourself that ``evidence`` shows the peer's key."""
        ...


def convince(authenticator: Authenticator, evidence: Evidence) -> Proven:
    """Run an authenticator that asks nothing."""
    proof = authenticator.prove(evidence)
    try:
        next(proof)
    except StopIteration as convinced:
        proven: Proven = convinced.value
        return proven
    raise AssertionError(f"{authenticator.name} asks for more than it is given")
