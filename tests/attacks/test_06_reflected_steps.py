"""Attack 6, steps: whoever does not know the secret says my own steps back to me, or to another session of mine.

The two tags are made with different keys, and the second covers the first; none fits another session.
"""

from __future__ import annotations

import pytest

from tests.attacks.steps import KEYED, StepRelay, proved, proves_nothing, served, step, terms, unbound
from tests.pair import ALICE, Pair, config, identity
from xmpp_e2e import events
from xmpp_e2e.authenticate import dialogue
from xmpp_e2e.authenticate.dialogue import Dialogue, Failed
from xmpp_e2e.identity import Assurance, Role
from xmpp_e2e.stages import Stage


def parrot(method: str) -> Pair:
    """Bob's place is taken by somebody who says Alice's steps back; where a salt is due he puts one in front."""
    pair = Pair(config("alice", **terms(method)), config("bob", identity=identity("mallory"), **terms()))
    heard = proves_nothing(pair.bob.session).heard
    served(pair.open(), pair.alice)
    while heard:
        name, payload = heard.popleft()
        salted = b"\0\0\0\x10" + bytes(16) + payload if name == "srp" and len(payload) > 100 else payload
        pair.says(Role.RESPONDER, step(name, salted))
        served(pair, pair.alice)
    return pair


@KEYED
def test_my_own_tag_is_no_answer(method: str) -> None:
    """Alice hears her own tag, and ends it."""
    pair = parrot(method)
    assert isinstance(pair.alice.failure, Failed)
    assert not proved(pair.alice)
    assert not pair.alice.of(events.SessionStart)


def alike(monkeypatch: pytest.MonkeyPatch, *, log: bool) -> None:
    """Both sides make their tags with the same key and, unless ``log``, over nothing that was said."""
    monkeypatch.setattr(dialogue, "_PURPOSE", dict.fromkeys(Role, b"confirm"))
    if not log:
        monkeypatch.setattr(Dialogue, "_note", lambda self, role, payload: None)


@KEYED
def test_the_log_alone_is_enough(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """Were the keys of both sides the same, the answer would still have to cover the question."""
    alike(monkeypatch, log=True)
    assert isinstance(parrot(method).alice.failure, Failed)


@KEYED
def test_control_with_neither_a_parrot_convinces(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """Control: with neither, a parrot who knows no secret is ``verified``."""
    alike(monkeypatch, log=False)
    pair = parrot(method)
    assert proved(pair.alice) == [method]
    assert pair.alice.session.stage is Stage.OPEN
    assert pair.alice.session.assurance is Assurance.VERIFIED
    assert pair.alice.session.fingerprint == identity("mallory").fingerprint


# --- another session of mine -----------------------------------------------------------------------------------------


def crossed(method: str) -> StepRelay:
    """Mallory poses as Bob in two sessions with Alice: in the one she asks, in the other she answers, with the same secret."""
    other = Pair(config("bob", identity=identity("mallory")), config("alice", **terms(method)))
    middle = StepRelay(needs=(method,), far=other, alice=terms(method))
    middle.open()
    return middle.relay()


@KEYED
def test_alice_does_not_answer_for_bob(method: str) -> None:
    """Her steps of the one session convince her of nothing in the other."""
    middle = crossed(method)
    assert isinstance(middle.bob.failure, Failed)
    for side in (middle.alice, middle.bob):
        assert side.session.config.ours == ALICE
        assert not proved(side)
        assert not side.of(events.SessionStart)


@KEYED
def test_control_unbound_she_does(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """Control: proofs that are tied to nothing convince her, in both sessions, that Mallory is Bob."""
    unbound(monkeypatch, "exporter", "context")
    middle = crossed(method)
    for side in (middle.alice, middle.bob):
        assert proved(side) == [method]
        assert side.session.fingerprint == identity("mallory").fingerprint
