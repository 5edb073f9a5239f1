"""A man in the middle who passes on every step of every proof, and hosts that have nothing against a guess."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from types import MethodType
from typing import Any
from xml.etree.ElementTree import Element

import pytest

from tests.attacks.middleman import Middleman
from tests.pair import Pair, Side
from xmpp_e2e import events
from xmpp_e2e.authenticate import hello as auth
from xmpp_e2e.authenticate.base import Evidence, GuessReturned, GuessSpent, StringsShown
from xmpp_e2e.inner import Inner
from xmpp_e2e.session import Session

SECRETS = {"psk": hashlib.sha256(b"a key").digest(), "srp": hashlib.sha256(b"a stretched password").digest()}
ASKED = frozenset({"sas"})
KEYED = pytest.mark.parametrize("method", ["psk", "srp"])
CONFIRMING = {"psk": 1, "srp": 2}
"""Which of the initiator's steps is the tag, from 1."""


def terms(*need: str, **changes: Any) -> dict[str, Any]:
    """Of somebody who shares every secret, and needs these methods."""
    return {"secrets": SECRETS, "asks": ASKED, "need": need, **changes}


def served(pair: Pair, *sides: Side) -> Pair:
    """The hosts of these sides, or of both, count guesses and let them be made; whatever a user is asked waits."""
    busy = True
    while busy:
        pair.run()
        busy = False
        for side in sides or (pair.alice, pair.bob):
            if isinstance(side.session.question, GuessSpent | GuessReturned):
                side.session.answer(b"", pair.now)
                busy = True
    return pair


def proved(side: Side) -> list[str]:
    """The methods that have convinced it, in order."""
    return [event.method for event in side.of(events.Proved)]


class Passing:
    """Takes the place of the proofs of Mallory's session: whatever step comes waits for the other one to say it."""

    question = None
    active = False

    def __init__(self) -> None:
        self.heard: deque[tuple[str, bytes]] = deque()
        self.may_begin = self.wants = lambda method: False

    def add(self, methods: Iterable[str]) -> None:
        """Needs nothing proved."""

    def advance(self) -> None:
        """Has nothing to say for himself."""

    def receive(self, method: str, payload: bytes) -> None:
        self.heard.append((method, payload))


class StepRelay(Middleman):
    """His two hellos say what the victims want to read; he proves nothing himself and passes steps on as they are."""

    def __init__(self, *, needs: tuple[str, ...] = (), far: Pair | None = None, **sides: Any) -> None:
        """``far``: his other connection, if it is not one with Bob in which he poses as Alice."""
        super().__init__(**sides)
        if far is not None:
            self._far, self.bob = far, far.bob
        self.steps: list[tuple[str, bytes]] = []
        """What he has passed on."""
        self._passing: dict[Session, Passing] = {}
        for mallory in (self._near.bob.session, self._far.alice.session):
            mallory.config = replace(mallory.config, need=needs, secrets=dict.fromkeys(SECRETS, bytes(32)))
            mallory._inner._config = mallory.config
            self._passing[mallory] = proves_nothing(mallory)

    def relay(self) -> StepRelay:
        """Carry everything, steps too, until nobody has any more to say."""
        busy = True
        while busy:
            busy = False
            for source, pair, speaker in (
                (self._near.bob, self._far, self._far.alice),
                (self._far.alice, self._near, self._near.bob),
            ):
                served(self._near, self.alice)
                served(self._far, self.bob)
                heard = self._passing[source.session].heard
                while heard:
                    busy = True
                    self.steps.append(heard[0])
                    speaker.session._inner.out.element(auth.build_step(*heard.popleft()))
                    served(pair, self.alice if pair is self._near else self.bob)
        super().relay()
        return self

    def wish(self, method: str) -> StepRelay:
        """Alice asks for ``method`` in her open session."""
        self.alice.session.request(method, self._near.now)
        return self.relay()

    def answer(self, side: Side, reply: bytes) -> StepRelay:
        """The user of a victim answers."""
        side.session.answer(reply, self._near.now)
        return self.relay()


def proves_nothing(session: Session) -> Passing:
    """Its hello is its own; from then on it proves nothing, wants nothing proved, and is done at once."""
    inner, passing = session._inner, Passing()

    def go_on(self: Inner, now: float) -> None:
        self._runs = passing  # type: ignore[assignment]
        self._judge(now)

    inner._go_on = MethodType(go_on, inner)  # type: ignore[method-assign]
    return passing


def unbound(monkeypatch: pytest.MonkeyPatch, *parts: str) -> None:
    """Take these parts of the binding away: every session sees the same in their place."""
    genuine = Session._evidence

    def evidence(self: Session, *args: Any) -> Evidence:
        return replace(genuine(self, *args), **dict.fromkeys(parts, bytes(32)))

    monkeypatch.setattr(Session, "_evidence", evidence)


def shown(side: Side) -> StringsShown:
    """What a user is asked to compare."""
    question = side.session.question
    assert isinstance(question, StringsShown)
    return question


def step(method: str, payload: bytes) -> Element:
    """A step on the wire."""
    return auth.build_step(method, payload)
