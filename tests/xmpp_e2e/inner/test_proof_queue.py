"""Which authenticator's turn it is, and what becomes of the others' steps."""

from __future__ import annotations

import pytest

from tests.conversation import evidence
from tests.pair import config
from xmpp_e2e.authenticate.base import AskHost, SecretNeeded, Send
from xmpp_e2e.encoding import length_prefixed
from xmpp_e2e.errors import StreamError
from xmpp_e2e.inner.proof_queue import ProofQueue
from xmpp_e2e.types import Role

COMMITMENT = length_prefixed(bytes(32))


def begun(role: Role, *methods: str) -> ProofQueue:
    """The first of these asks or says something, and the others wait."""
    runs = ProofQueue(evidence(role), config().authenticators)
    runs.add(methods)
    assert runs.run() is not None
    return runs


def test_what_waits_counts() -> None:
    runs = ProofQueue(evidence(Role.RESPONDER), config().authenticators)
    assert runs.is_unused("psk")
    runs.add(("psk", "sas"))
    assert runs.is_active
    assert not runs.is_unused("psk")
    assert runs.run() is not None
    assert not runs.is_unused("sas")


def test_nothing_is_left_of_a_closed_session() -> None:
    runs = begun(Role.RESPONDER, "psk", "sas")
    runs.clear()
    assert runs.pending_prompt is None
    assert not runs.is_active
    runs = ProofQueue(evidence(Role.RESPONDER), config().authenticators)
    runs.add(("psk",))
    runs.clear()
    assert not runs.is_active


def test_what_is_said_ahead_is_not_for_the_one_that_waits() -> None:
    """A step of the next method is none of this one's, which goes on waiting for its own."""
    runs = begun(Role.RESPONDER, "psk", "sas")
    runs.answer_prompt(bytes(32))
    assert runs.run() is None
    runs.receive("sas", COMMITMENT)
    assert runs.run() is None
    assert runs.method == "psk"


@pytest.mark.parametrize("role", Role)
def test_the_declined_method_ends_and_the_next_begins(role: Role) -> None:
    """A method that the peer declines while it asks is asked no more, and leaves its turn to the one that waits."""
    runs = begun(role, "psk", "sas")
    assert runs.pending_prompt == AskHost(SecretNeeded("psk"))
    runs.cancel("psk")
    assert runs.pending_prompt is None
    assert not runs.still_needs(("psk",))
    assert runs.still_needs(("sas",))
    due = runs.run()
    assert runs.method == "sas"
    assert isinstance(due, Send) if role is Role.INITIATOR else due is None


def test_an_answer_that_came_too_late_is_not_the_next_ones() -> None:
    """What our side has answered to a method that was declined is not taken for an answer to another's question."""
    runs = begun(Role.INITIATOR, "psk", "srp")  # which would begin to compute with it
    runs.answer_prompt(bytes(32))
    runs.cancel("psk")
    assert runs.run() == AskHost(SecretNeeded("srp"))
    assert runs.run() is None


def test_a_declined_method_that_waits_never_begins() -> None:
    """The one that runs goes on, and is the last."""
    runs = begun(Role.INITIATOR, "psk", "sas")
    runs.cancel("sas")
    assert runs.pending_prompt == AskHost(SecretNeeded("psk"))
    assert not runs.still_needs(("sas",))
    runs.cancel("psk")
    assert runs.run() is None
    assert not runs.is_active


def test_declining_what_is_not_there_changes_nothing() -> None:
    runs = begun(Role.INITIATOR, "psk")
    runs.cancel("sas")
    assert runs.pending_prompt == AskHost(SecretNeeded("psk"))
    runs.cancel("psk")
    runs.cancel("psk")
    assert not runs.is_active


def test_a_step_of_the_declined_method_is_forgotten() -> None:
    """What had come ahead for it does not stand in the way of the next one's step."""
    runs = begun(Role.RESPONDER, "psk", "sas")
    runs.receive("psk", length_prefixed(bytes(32)))
    runs.cancel("psk")
    runs.receive("sas", COMMITMENT)
    assert isinstance(runs.run(), Send)
    assert runs.method == "sas"


def test_a_step_of_the_next_method_is_kept() -> None:
    runs = begun(Role.RESPONDER, "psk", "sas")
    runs.receive("sas", COMMITMENT)
    runs.cancel("psk")
    assert isinstance(runs.run(), Send)
    assert runs.method == "sas"


@pytest.mark.parametrize("method", ["fingerprint", "sas", "tomorrow"])
def test_a_step_out_of_turn_is_refused(method: str) -> None:
    """Steps of the method that runs and of the next are taken; those of one that waits longer or does not run are not."""
    runs = begun(Role.RESPONDER, "psk", "srp", "sas")
    with pytest.raises(StreamError, match=f"step of {method}, which is not running") as refused:
        runs.receive(method, COMMITMENT)
    assert refused.value.condition == "policy-violation"
    runs.receive("srp", COMMITMENT)
