"""A man in the middle that relays every step of every proof, and hosts that allow every attempt."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from xml.etree.ElementTree import Element

import pytest

from tests.attacks.mitm import SessionMitm
from tests.pair import Pair, Side, prepare, talk
from xmpp_e2e import events
from xmpp_e2e.authenticate.base import (
    AttemptStarted,
    AttemptSucceeded,
    ChannelBinding,
    CompareSas,
)
from xmpp_e2e.inner import elements as auth
from xmpp_e2e.inner.conversation import Conversation
from xmpp_e2e.session import Session

SECRETS = {"psk": hashlib.sha256(b"a key").digest(), "srp": hashlib.sha256(b"a stretched password").digest()}
ASKED = frozenset({"sas"})
KEYED = pytest.mark.parametrize("method", ["psk", "srp"])
CONFIRMING = {"psk": 1, "srp": 2}
"""The number of the initiator's step that has the tag, counted from 1."""


def terms(*need: str, **changes: Any) -> dict[str, Any]:
    """Return the Config of somebody who shares every secret and requires these methods."""
    return {"shared_secrets": SECRETS, "promptable_methods": ASKED, "required_methods": need, **changes}


def run_attempts(pair: Pair, *sides: Side) -> Pair:
    """Let the hosts of these sides, or of both, count and allow attempts. Prompts of users stay open."""
    busy = True
    while busy:
        pair.run()
        busy = False
        for side in sides or (pair.alice, pair.bob):
            if isinstance(side.session.pending_prompt, AttemptStarted | AttemptSucceeded):
                side.session.answer_prompt(b"", pair.now)
                busy = True
    return pair


def proved(side: Side) -> list[str]:
    """Return the methods that have verified the peer to this side, in order."""
    return [event.method for event in side.of(events.KeyVerified)]


class NoProofs:
    """Replaces the proofs in a session of the man in the middle: incoming steps wait to be relayed."""

    pending_prompt = None
    is_active = False

    def __init__(self) -> None:
        self.heard: deque[tuple[str, bytes]] = deque()
        self.is_unused = self.still_needs = lambda method: False

    def add(self, methods: Iterable[str]) -> None:
        """Require nothing."""

    def run(self) -> None:
        """Send nothing."""

    def clear(self) -> None:
        """Has nothing to drop."""

    def receive(self, method: str, payload: bytes) -> None:
        self.heard.append((method, payload))


class ProofMitm(SessionMitm):
    """Its hellos say what the victims want to read. It proves nothing itself and relays steps unchanged."""

    def __init__(self, *, needs: tuple[str, ...] = (), far: Pair | None = None, **sides: Any) -> None:
        """``far`` is its other connection, if that is not one to Bob in which it poses as Alice."""
        super().__init__(**sides)
        if far is not None:
            self._far, self.bob = far, far.bob
        self.steps: list[tuple[str, bytes]] = []
        """The steps that it has relayed."""
        self._passing: dict[Session, NoProofs] = {}
        for mallory in (self._near.bob.session, self._far.alice.session):
            mallory.config = replace(mallory.config, required_methods=needs, shared_secrets=dict.fromkeys(SECRETS, bytes(32)))
            self._passing[mallory] = disable_proofs(mallory)

    def relay(self) -> ProofMitm:
        """Deliver and relay everything, steps too, until nobody has anything left to send."""
        busy = True
        while busy:
            busy = False
            for source, pair, speaker in (
                (self._near.bob, self._far, self._far.alice),
                (self._far.alice, self._near, self._near.bob),
            ):
                run_attempts(self._near, self.alice)
                run_attempts(self._far, self.bob)
                heard = self._passing[source.session].heard
                while heard:
                    busy = True
                    self.steps.append(heard[0])
                    talk(speaker.session).out.element(auth.build_step(*heard.popleft()))
                    run_attempts(pair, self.alice if pair is self._near else self.bob)
        super().relay()
        return self

    def wish(self, method: str) -> ProofMitm:
        """Let Alice ask for ``method`` in the open session."""
        self.alice.session.request_verification(method, self._near.now)
        return self.relay()

    def answer(self, side: Side, reply: bytes) -> ProofMitm:
        """Answer a prompt of a victim."""
        side.session.answer_prompt(reply, self._near.now)
        return self.relay()


def disable_proofs(session: Session) -> NoProofs:
    """Its hello is its own; from then on it proves nothing, wants nothing proved, and is done at once."""
    passing = NoProofs()

    def change(conversation: Conversation) -> None:
        verifications = conversation._verifications

        def run(now: float) -> None:
            verifications._proofs = passing  # type: ignore[assignment]
            verifications.assess(now)

        verifications.run = run  # type: ignore[method-assign]

    prepare(session, change)
    return passing


def unbound(monkeypatch: pytest.MonkeyPatch, *parts: str) -> None:
    """Remove these parts of the channel binding: they are the same in every session."""
    genuine = Session._channel_binding

    def evidence(self: Session, *args: Any) -> ChannelBinding:
        return replace(genuine(self, *args), **dict.fromkeys(parts, bytes(32)))

    monkeypatch.setattr(Session, "_channel_binding", evidence)


def shown(side: Side) -> CompareSas:
    """Return what the user is asked to compare."""
    question = side.session.pending_prompt
    assert isinstance(question, CompareSas)
    return question


def step(method: str, payload: bytes) -> Element:
    """Return a step as an element."""
    return auth.build_step(method, payload)
