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

from tests.attacks.edits import ended_with
from tests.attacks.steps import KEYED, SECRETS, served, terms
from tests.pair import Pair, config
from xmpp_e2e import events
from xmpp_e2e.authenticate import dialogue
from xmpp_e2e.authenticate.base import Evidence, GuessReturned, GuessSpent
from xmpp_e2e.authenticate.dialogue import Dialogue, Failed
from xmpp_e2e.errors import E2EError
from xmpp_e2e.identity import Role
from xmpp_e2e.inner import Inner
from xmpp_e2e.session import Session
from xmpp_e2e.stages import Stage
from xmpp_e2e.tls.channel import Channel

SPOILING = Callable[[pytest.MonkeyPatch], dict[str, bytes]]
"""Spoils the proof at Bob's end; what he holds then."""


def wrong_secret(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    return {name: bytes(31) + b"1" for name in SECRETS}


def another(monkeypatch: pytest.MonkeyPatch, part: str) -> dict[str, bytes]:
    genuine = Session._evidence

    def evidence(self: Session, *args: Any) -> Evidence:
        known = genuine(self, *args)
        return replace(known, **{part: bytes(32)}) if known.role is Role.RESPONDER else known

    monkeypatch.setattr(Session, "_evidence", evidence)
    return dict(SECRETS)


def wrong_exporter(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    return another(monkeypatch, "exporter")


def wrong_context(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    return another(monkeypatch, "context")


def wrong_log(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """As if a step had been altered on the way."""
    genuine = Dialogue._tag

    def tag(self: Dialogue, key: bytes, role: Role) -> bytes:
        spoilt = self._evidence.role is Role.RESPONDER
        self._log += b"altered" if spoilt else b""
        return genuine(self, key, role)

    monkeypatch.setattr(Dialogue, "_tag", tag)
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
        genuine = Channel.send

        def send(self: Channel, plaintext: bytes) -> None:
            # ids, digests and payloads are random in each session; how long they are is not
            words = re.sub(r"(?<=[>'\"])[A-Za-z0-9+/=]{20,}(?=[<'\"])", lambda value: "~" * len(value[0]), plaintext.decode())
            inside.append((self.role, words))
            genuine(self, plaintext)

        monkeypatch.setattr(Channel, "send", send)
        needs = [(method,) if role is need else () for role in Role]
        pair = Pair(
            config("alice", **terms(*needs[0])), config("bob", **terms(*needs[1], secrets=held)), on_data=on_data
        ).open()
        served(pair)
    assert pair.alice.session.stage is pair.bob.session.stage is Stage.CLOSED
    assert not pair.alice.of(events.Proved)
    assert not pair.bob.of(events.Proved)
    sides = (pair.alice, pair.bob)
    return Seen(
        inside=inside,
        outside=outside,
        signalled=[ended_with(side.jingle_sent) for side in sides],
        told=[f"{type(side.failure).__name__}\n{side.failure.explain()}" for side in sides],  # type: ignore[attr-defined]
        asked=[[type(event.question).__name__ for event in side.of(events.Asked)] for side in sides],
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
        assert played("srp", Role.INITIATOR, cause).asked == [[GuessSpent.__name__]] * 2


@KEYED
@pytest.mark.parametrize("right", [True, False], ids=["right secret", "wrong secret"])
def test_tags_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch, method: str, right: bool) -> None:
    """How long a look at a tag takes does not tell how much of it was right: no other comparison decides."""
    looks: list[tuple[bytes, bytes]] = []

    def compare(heard: bytes, expected: bytes) -> bool:
        looks.append((heard, expected))
        return hmac.compare_digest(heard, expected)

    monkeypatch.setattr(dialogue, "hmac", SimpleNamespace(digest=hmac.digest, compare_digest=compare))
    held = SECRETS if right else wrong_secret(monkeypatch)
    pair = served(Pair(config("alice", **terms(method)), config("bob", **terms(secrets=held))).open())
    assert pair.bob.session.stage is (Stage.OPEN if right else Stage.CLOSED)
    assert [heard == expected for heard, expected in looks] == ([True, True] if right else [False])
    assert {len(tag) for look in looks for tag in look} == {dialogue.TAG_BYTES}


def test_control_the_right_secret_looks_otherwise() -> None:
    """Control: a run that succeeds says something else, so the comparison sees what is said."""
    pair = Pair(config("alice", **terms("srp")), config("bob", **terms())).open()
    served(pair)
    assert pair.alice.session.stage is Stage.OPEN
    assert GuessReturned in [type(event.question) for event in pair.alice.of(events.Asked)]
    assert "abort" not in "".join(tostring(element, "unicode") for element in pair.alice.jingle_sent)


@KEYED
def test_control_a_failure_with_a_cause_is_told_apart(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """Control: were whoever fails to say why, the causes would differ on the wire."""

    def tell(self: Inner, error: E2EError) -> None:
        self.out.error(str(error) if isinstance(error, Failed) else "reset")
        self.out.farewell()

    def with_cause(cause: SPOILING) -> Seen:
        monkeypatch.setattr(Dialogue, "failed", lambda self: Failed(cause.__name__.replace("_", "-")))
        return played(method, Role.INITIATOR, cause)

    monkeypatch.setattr(Inner, "abort", tell)
    assert with_cause(wrong_secret).inside != with_cause(wrong_exporter).inside
