"""Attack 6, steps: whoever does not know the secret says my own steps back to me, or to another session of mine.

The two tags are made with different keys, and the second covers the first; none fits another session.
"""

from __future__ import annotations

import pytest

from tests.attacks.proof_mitm import KEYED, ProofMitm, disable_proofs, proved, run_attempts, step, terms, unbound
from tests.pair import ALICE, Pair, config, has_code, identity
from xmpp_e2e import events
from xmpp_e2e.authenticate import proof_exchange
from xmpp_e2e.authenticate.proof_exchange import ProofExchange
from xmpp_e2e.errors import Code
from xmpp_e2e.states import State
from xmpp_e2e.types import Assurance, Role


def parrot(method: str) -> Pair:
    """Bob's place is taken by somebody who says Alice's steps back; where a salt is due they put one in front."""
    pair = Pair(config("alice", **terms(method)), config("bob", own_key=identity("mallory"), **terms()))
    heard = disable_proofs(pair.bob.session).heard
    run_attempts(pair.open(), pair.alice)
    while heard:
        name, payload = heard.popleft()
        salted = b"\0\0\0\x10" + bytes(16) + payload if name == "srp" and len(payload) > 100 else payload
        pair.says(Role.RESPONDER, step(name, salted))
        run_attempts(pair, pair.alice)
    return pair


@KEYED
def test_my_own_tag_is_no_answer(method: str) -> None:
    """Alice hears Alice's own tag, and ends it."""
    pair = parrot(method)
    assert has_code(Code.PROOF_FAILED)(pair.alice.failure)
    assert not proved(pair.alice)
    assert not pair.alice.of(events.SessionOpened)


def alike(monkeypatch: pytest.MonkeyPatch, *, log: bool) -> None:
    """Both sides make their tags with the same key and, unless ``log``, over nothing that was said."""
    monkeypatch.setattr(proof_exchange, "_PURPOSE", dict.fromkeys(Role, b"confirm"))
    if not log:
        monkeypatch.setattr(ProofExchange, "_note", lambda self, role, payload: None)


@KEYED
def test_the_log_alone_is_enough(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """Were the keys of both sides the same, the answer would still have to cover the question."""
    alike(monkeypatch, log=True)
    assert has_code(Code.PROOF_FAILED)(parrot(method).alice.failure)


@KEYED
def test_control_with_neither_a_parrot_convinces(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """Control: with neither, a parrot who knows no secret is ``verified``."""
    alike(monkeypatch, log=False)
    pair = parrot(method)
    assert proved(pair.alice) == [method]
    assert pair.alice.session.state is State.OPEN
    assert pair.alice.session.assurance is Assurance.VERIFIED
    assert pair.alice.session.fingerprint == identity("mallory").fingerprint


# --- another session of mine -----------------------------------------------------------------------------------------


def crossed(method: str) -> ProofMitm:
    """Mallory poses as Bob in two sessions with Alice: Alice asks in the one and answers in the other, with the same secret."""
    other = Pair(config("bob", own_key=identity("mallory")), config("alice", **terms(method)))
    middle = ProofMitm(needs=(method,), far=other, alice=terms(method))
    middle.open()
    return middle.relay()


@KEYED
def test_alice_does_not_answer_for_bob(method: str) -> None:
    """Alice's steps of the one session convince Alice of nothing in the other."""
    middle = crossed(method)
    assert has_code(Code.PROOF_FAILED)(middle.bob.failure)
    for side in (middle.alice, middle.bob):
        assert side.session.config.own_jid == ALICE
        assert not proved(side)
        assert not side.of(events.SessionOpened)


@KEYED
def test_control_unbound_she_does(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """Control: proofs that are tied to nothing convince Alice, in both sessions, that Mallory is Bob."""
    unbound(monkeypatch, "exporter", "context")
    middle = crossed(method)
    for side in (middle.alice, middle.bob):
        assert proved(side) == [method]
        assert side.session.fingerprint == identity("mallory").fingerprint
