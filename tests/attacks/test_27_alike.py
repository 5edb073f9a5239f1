"""Attack 27: wrong key, wrong password, wrong binding, altered step: whoever reads along, or is the peer, cannot tell which.

What is said inside TLS after the failure is the same to the byte, and so are the sizes outside and the reason in the
signalling. What a user is told at either end does not depend on it either.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any
from xml.etree.ElementTree import tostring

import pytest

from slixmpp_e2e.alarms import explain
from tests.attacks.proof_mitm import KEYED, SECRETS, run_attempts, terms
from tests.attacks.signalling_edits import terminate_reasons
from tests.pair import Pair, config, has_code
from xmpp_e2e import events
from xmpp_e2e.authenticate import proof_exchange
from xmpp_e2e.authenticate.base import AttemptStarted, AttemptSucceeded, ChannelBinding
from xmpp_e2e.authenticate.proof_exchange import ProofExchange
from xmpp_e2e.errors import AuthenticationFailed, Code, E2EError
from xmpp_e2e.inner.conversation import Conversation
from xmpp_e2e.session import Session
from xmpp_e2e.states import State
from xmpp_e2e.tls.connection import TLSConnection
from xmpp_e2e.types import Role

SPOILING = Callable[[pytest.MonkeyPatch], dict[str, bytes]]
"""Spoils the proof at Bob's end; what Bob holds then."""


def wrong_secret(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    return {name: bytes(31) + b"1" for name in SECRETS}


def another(monkeypatch: pytest.MonkeyPatch, part: str) -> dict[str, bytes]:
    genuine = Session._channel_binding

    def evidence(self: Session, *args: Any) -> ChannelBinding:
        known = genuine(self, *args)
        return replace(known, **{part: bytes(32)}) if known.role is Role.RESPONDER else known

    monkeypatch.setattr(Session, "_channel_binding", evidence)
    return dict(SECRETS)


def wrong_exporter(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    return another(monkeypatch, "exporter")


def wrong_context(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    return another(monkeypatch, "context")


def wrong_log(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """As if a step had been altered on the way."""
    genuine = ProofExchange._tag

    def tag(self: ProofExchange, key: bytes, role: Role) -> bytes:
        spoilt = self._binding.role is Role.RESPONDER
        self._log += b"altered" if spoilt else b""
        return genuine(self, key, role)

    monkeypatch.setattr(ProofExchange, "_tag", tag)
    return dict(SECRETS)


CAUSES: list[SPOILING] = [wrong_secret, wrong_exporter, wrong_context, wrong_log]


@dataclass
class Seen:
    """All that can be seen of one run, random values apart."""

    inside: list[tuple[Role, str]]
    outside: list[tuple[Role, int]]
    signalled: list[list[str]]
    told: list[str]
    asked: list[list[str]]


def played(method: str, need: Role, cause: SPOILING) -> Seen:
    """A run that fails for ``cause``."""
    inside: list[tuple[Role, str]] = []
    outside: list[tuple[Role, int]] = []

    def on_data(role: Role, data: bytes) -> list[bytes]:
        outside.append((role, len(data)))
        return [data]

    with pytest.MonkeyPatch.context() as monkeypatch:
        held = cause(monkeypatch)
        genuine = TLSConnection.send

        def send(self: TLSConnection, plaintext: bytes) -> None:
            # ids, digests and payloads are random in each session; how long they are is not
            words = re.sub(r"(?<=[>'\"])[A-Za-z0-9+/=]{20,}(?=[<'\"])", lambda value: "~" * len(value[0]), plaintext.decode())
            inside.append((self.role, words))
            genuine(self, plaintext)

        monkeypatch.setattr(TLSConnection, "send", send)
        needs = [(method,) if role is need else () for role in Role]
        pair = Pair(
            config("alice", **terms(*needs[0])), config("bob", **terms(*needs[1], shared_secrets=held)), on_data=on_data
        ).open()
        run_attempts(pair)
    assert pair.alice.session.state is pair.bob.session.state is State.CLOSED
    assert not pair.alice.of(events.KeyVerified)
    assert not pair.bob.of(events.KeyVerified)
    sides = (pair.alice, pair.bob)
    return Seen(
        inside=inside,
        outside=outside,
        signalled=[terminate_reasons(side.jingle_sent) for side in sides],
        told=[f"{type(side.failure).__name__}\n{explain(side.failure)}" for side in sides],
        asked=[[type(event.prompt).__name__ for event in side.of(events.PromptRequested)] for side in sides],
    )


@KEYED
@pytest.mark.parametrize("need", list(Role))
def test_every_cause_looks_the_same(method: str, need: Role) -> None:
    """Inside to the byte but for the random values, outside by size; in the signalling, and in what users are told."""
    first, *others = [played(method, need, cause) for cause in CAUSES]
    for other in others:
        assert other.inside == first.inside
        assert [role for role, _ in other.outside] == [role for role, _ in first.outside]
        assert other.signalled == first.signalled
        assert other.told == first.told
        assert other.asked == first.asked
    for role in Role:
        *_, last = (words for speaker, words in first.inside if speaker is role)
        assert last.endswith("<abort xmlns='urn:x-xmpp-e2e:auth:0'/></stream:stream>")
    assert all(reasons in ([], ["security-error"]) for reasons in first.signalled)


def test_a_guess_is_counted_whatever_was_wrong() -> None:
    """One at each end, in every case, and none is returned: what is counted does not tell the causes apart either."""
    for cause in CAUSES:
        assert played("srp", Role.INITIATOR, cause).asked == [[AttemptStarted.__name__]] * 2


@KEYED
@pytest.mark.parametrize("right", [True, False], ids=["right secret", "wrong secret"])
def test_tags_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch, method: str, right: bool) -> None:
    """How long a look at a tag takes does not tell how much of it was right: no other comparison decides."""
    looks: list[tuple[bytes, bytes]] = []

    def compare(heard: bytes, expected: bytes) -> bool:
        looks.append((heard, expected))
        return hmac.compare_digest(heard, expected)

    monkeypatch.setattr(proof_exchange, "hmac", SimpleNamespace(digest=hmac.digest, compare_digest=compare))
    held = SECRETS if right else wrong_secret(monkeypatch)
    pair = run_attempts(Pair(config("alice", **terms(method)), config("bob", **terms(shared_secrets=held))).open())
    assert pair.bob.session.state is (State.OPEN if right else State.CLOSED)
    assert [heard == expected for heard, expected in looks] == ([True, True] if right else [False])
    assert {len(tag) for look in looks for tag in look} == {proof_exchange.TAG_BYTES}


def test_control_the_right_secret_looks_otherwise() -> None:
    """Control: a run that succeeds says something else, so the comparison sees what is said."""
    pair = Pair(config("alice", **terms("srp")), config("bob", **terms())).open()
    run_attempts(pair)
    assert pair.alice.session.state is State.OPEN
    assert AttemptSucceeded in [type(event.prompt) for event in pair.alice.of(events.PromptRequested)]
    assert "abort" not in "".join(tostring(element, "unicode") for element in pair.alice.jingle_sent)


@KEYED
def test_control_a_failure_with_a_cause_is_told_apart(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """Control: were whoever fails to say why, the causes would differ on the wire."""

    def tell(self: Conversation, error: E2EError) -> None:
        self.out.error(str(error) if has_code(Code.PROOF_FAILED)(error) else "reset")
        self.out.close_stream()

    def with_cause(cause: SPOILING) -> Seen:
        monkeypatch.setattr(
            ProofExchange, "failure", lambda self: AuthenticationFailed(cause.__name__.replace("_", "-"), Code.PROOF_FAILED)
        )
        return played(method, Role.INITIATOR, cause)

    monkeypatch.setattr(Conversation, "send_abort", tell)
    assert with_cause(wrong_secret).inside != with_cause(wrong_exporter).inside
