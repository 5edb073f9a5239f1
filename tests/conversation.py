"""Two runs of an authenticator, one at each end of a connection, and whoever is in between."""

from __future__ import annotations

import hashlib
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from xmpp_e2e.authenticate.base import (
    AskHost,
    Authenticator,
    ChannelBinding,
    CompareSas,
    Computation,
    Effect,
    Prompt,
    Proof,
    ProofSteps,
    Receive,
    SecretNeeded,
    Send,
)
from xmpp_e2e.encoding import labelled_hash
from xmpp_e2e.errors import AuthenticationFailed, LocalError
from xmpp_e2e.types import Fingerprint, Role

KEYS = {Role.INITIATOR: Fingerprint.of(b"initiator"), Role.RESPONDER: Fingerprint.of(b"responder")}
DIGEST = bytes(32)

Wire = Callable[[Role, int, bytes], bytes]
"""Gets who says the how many-th step (from 0), and what; returns what the other hears."""


def honest(speaker: Role, number: int, payload: bytes) -> bytes:
    """Changes nothing."""
    return payload


def evidence(role: Role, connection: bytes = b"one", seed: int = 1) -> ChannelBinding:
    """What one end sees of the connection of that name."""
    exporter = labelled_hash("test exporter", connection)
    dice = random.Random(f"{seed} {role}")
    return ChannelBinding(
        role, DIGEST, DIGEST, KEYS[role.other], exporter, labelled_hash("test context", connection), dice.randbytes
    )


@dataclass
class End:
    """One end: runs the generator until it is done, or waits for the other."""

    authenticator: Authenticator
    evidence: ChannelBinding
    secret: bytes = b""
    says: bytes = b"match"
    """Of two strings that are shown."""
    outcome: Proof | AuthenticationFailed | LocalError | None = None
    asked: list[Prompt] = field(default_factory=list)
    said: deque[bytes] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._proof: ProofSteps = self.authenticator.prove(self.evidence)
        self._waits = False
        self._go(lambda: next(self._proof))

    @property
    def code(self) -> bytes:
        """What was shown to compare."""
        (shown,) = (question for question in self.asked if isinstance(question, CompareSas))
        return shown.code

    def hear(self, payload: bytes) -> None:
        """The other end said this."""
        assert self._waits, "nothing is waited for"
        self._waits = False
        self._go(lambda: self._proof.send(payload))

    @property
    def waits(self) -> bool:
        """Does it wait for a step?"""
        return self._waits

    def _go(self, advance: Callable[[], Effect]) -> None:
        try:
            step = advance()
            while not isinstance(step, Receive):
                if isinstance(step, Send):
                    self.said.append(step.payload)
                    step = self._proof.send(b"")
                else:
                    step = self._proof.send(self._answer(step))
            self._waits = True
        except StopIteration as convinced:
            self.outcome = convinced.value
        except (AuthenticationFailed, LocalError) as refused:
            self.outcome = refused

    def _answer(self, ask: AskHost) -> bytes:
        if isinstance(ask.prompt, Computation):
            return ask.prompt.run()
        self.asked.append(ask.prompt)
        match ask.prompt:
            case SecretNeeded():
                return self.secret
            case CompareSas():
                return self.says
        return b""


def secret_of(authenticator: Authenticator) -> bytes:
    """What both ends know, 32 bytes, if it takes a secret."""
    return hashlib.sha256(authenticator.name.encode()).digest() if authenticator.needs_shared_secret else b""


def ends(authenticator: Authenticator, **changes: object) -> tuple[End, End]:
    """Both ends of one connection, with the same secret; ``changes`` are the responder's alone."""
    secret = secret_of(authenticator)
    initiator = End(authenticator, evidence(Role.INITIATOR), secret)
    terms = {"secret": secret, "evidence": evidence(Role.RESPONDER), **changes}
    return initiator, End(authenticator, **terms)  # type: ignore[arg-type]


def converse(one: End, other: End, wire: Wire = honest) -> None:
    """Let them talk until nobody has anything to say, or to hear."""
    numbers = {one.evidence.role: 0, other.evidence.role: 0}
    progress = True
    while progress:
        progress = False
        for speaker, hearer in ((one, other), (other, one)):
            while speaker.said and hearer.waits:
                role = speaker.evidence.role
                hearer.hear(wire(role, numbers[role], speaker.said.popleft()))
                numbers[role] += 1
                progress = True


def elsewhere(known: ChannelBinding, connection: bytes) -> ChannelBinding:
    """The same end, at another connection."""
    other = evidence(known.role, connection)
    return replace(known, exporter=other.exporter, context=other.context)
