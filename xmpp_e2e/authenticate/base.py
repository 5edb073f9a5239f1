"""What an authenticator is: a generator that returns a proof or raises. There is no third outcome."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

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
    exporter: bytes = field(repr=False)
    """``tls-exporter`` (RFC 9266): 32 bytes that only the two ends of this TLS connection know."""
    context: bytes = field(repr=False)
    """One hash over everything that a proof must be bound to, 32 bytes: exporter, JIDs, session, certificates, negotiation."""
    random: Callable[[int], bytes] = field(repr=False)
    """``random(n)`` gives n unpredictable bytes."""


# --- what an authenticator may want meanwhile ------------------------------------------------------------------------


@dataclass(frozen=True)
class SecretWanted:
    """The secret that is shared with the peer. The answer is its bytes; empty: there is none, and none will be had."""

    method: str


@dataclass(frozen=True)
class GuessSpent:
    """Whoever is at the other end is about to learn whether one guess of the secret was right: count it, durably, then answer
    (with anything)."""

    method: str


@dataclass(frozen=True)
class GuessReturned:
    """The guess was right, and counts no more. Answer with anything."""

    method: str


@dataclass(frozen=True)
class StringsShown:
    """Two people compare what their clients show them. The answer is MATCH, or anything else for "they differ"."""

    code: bytes = field(repr=False)
    """8 bytes, of which renderings show the first bits."""


@dataclass(frozen=True)
class Computation:
    """What takes long enough to hold up others: run it in a thread, say, and answer with what it returns."""

    run: Callable[[], bytes] = field(repr=False)


MATCH = b"match"
"""The answer to StringsShown of somebody who sees the same."""

Question = SecretWanted | GuessSpent | GuessReturned | StringsShown | Computation


@dataclass(frozen=True)
class Send:
    """Send a <step/> with this payload."""

    payload: bytes = field(repr=False)


@dataclass(frozen=True)
class Receive:
    """Wait for the peer's next <step/>; its payload is the answer."""


@dataclass(frozen=True)
class Ask:
    """Ask our own side: the host, its store or its user."""

    question: Question


Step = Send | Receive | Ask
Proof = Generator[Step, bytes, Proven]
"""Yields what it needs and returns once convinced; raises ``AuthenticationFailed`` if it never will be."""


class Authenticator(Protocol):
    """Returns ``Proven`` or raises ``AuthenticationFailed``: there is no third outcome."""

    name: ClassVar[str]
    """``<method name="…"/>`` on the wire."""
    assurance: ClassVar[Assurance]
    """What success is worth."""
    rank: ClassVar[int]
    """Of several that are needed the lower comes first. 0: it runs by itself, before all others, and asks nothing."""
    keyed: ClassVar[bool]
    """Does it take a secret that both sides hold beforehand?"""

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
