"""The interface of an authenticator: a generator that returns a proof or raises. There is no third outcome."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from xmpp_e2e.types import Assurance, Fingerprint, Role


@dataclass(frozen=True)
class Proof:
    """The binding that an authenticator returns, and the only key to an open session."""

    method: str
    """The authenticator's name."""
    assurance: Assurance
    """The level of the binding by itself, without the keys that are known."""
    key: Fingerprint
    """The key that it is binding for."""


@dataclass(frozen=True)
class ChannelBinding:
    """The facts about the connection that an authenticator may use: both ends see the same."""

    role: Role
    """Our own."""
    signalled_digest: bytes
    """SHA-256 of the peer's certificate as the negotiation announced it, 32 bytes."""
    certificate_digest: bytes
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
class SecretNeeded:
    """The secret that is shared with the peer. The answer is its bytes; empty: there is none, and none will be had."""

    method: str


@dataclass(frozen=True)
class AttemptStarted:
    """The other end is about to learn whether one guess of the secret was right: count it durably, then answer anything."""

    method: str


@dataclass(frozen=True)
class AttemptSucceeded:
    """The guess was right, and no longer counts. Answer with anything."""

    method: str


@dataclass(frozen=True)
class CompareSas:
    """Two people compare what their clients show them. The answer is MATCH, or anything else for "they differ"."""

    code: bytes = field(repr=False)
    """8 bytes, of which renderings show the first bits."""


@dataclass(frozen=True)
class Computation:
    """A computation that takes long enough to hold up others: run it in a thread, say, and answer with its result."""

    run: Callable[[], bytes] = field(repr=False)


MATCH = b"match"
"""The answer to CompareSas of somebody who sees the same."""

Prompt = SecretNeeded | AttemptStarted | AttemptSucceeded | CompareSas | Computation


@dataclass(frozen=True)
class Send:
    """Send a <step/> with this payload."""

    payload: bytes = field(repr=False)


@dataclass(frozen=True)
class Receive:
    """Wait for the peer's next <step/>; its payload is the answer."""


@dataclass(frozen=True)
class AskHost:
    """Ask our own side: the host, its store or its user."""

    prompt: Prompt


Effect = Send | Receive | AskHost
ProofSteps = Generator[Effect, bytes, Proof]
"""Yields what it needs and returns once convinced; raises ``AuthenticationFailed`` if it never will be."""


class Authenticator(Protocol):
    """Returns ``Proof`` or raises ``AuthenticationFailed``: there is no third outcome."""

    name: ClassVar[str]
    """``<method name="…"/>`` on the wire."""
    assurance: ClassVar[Assurance]
    """The level that a success proves."""
    order: ClassVar[int]
    """Of several that are needed the lower comes first. 0: it runs by itself, before all others, and asks nothing."""
    needs_shared_secret: ClassVar[bool]
    """True if it takes a secret that both sides hold beforehand."""

    def prove(self, binding: ChannelBinding) -> ProofSteps:
        """Return the proof that ``binding`` shows the peer's key."""
        ...


def run_to_end(authenticator: Authenticator, binding: ChannelBinding) -> Proof:
    """Run an authenticator that asks nothing."""
    proof = authenticator.prove(binding)
    try:
        next(proof)
    except StopIteration as convinced:
        proven: Proof = convinced.value
        return proven
    raise AssertionError(f"{authenticator.name} asks for more than it is given")
