"""What every authenticator keeps: a proof of this key on this connection, or one error, and no third outcome."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conversation import KEYS, End, converse, elsewhere, ends, evidence
from xmpp_e2e.authenticate.base import Authenticator, GuessSpent, Proven
from xmpp_e2e.config import AUTHENTICATORS
from xmpp_e2e.encoding import lv
from xmpp_e2e.errors import AuthenticationFailed
from xmpp_e2e.identity import Role

EACH = pytest.mark.parametrize("authenticator", AUTHENTICATORS, ids=lambda each: each.name)
TALKATIVE = [each for each in AUTHENTICATORS if each.rank]
TALKS = pytest.mark.parametrize("authenticator", TALKATIVE, ids=lambda each: each.name)
KEYED = pytest.mark.parametrize("authenticator", [each for each in TALKATIVE if each.keyed], ids=lambda each: each.name)


@EACH
def test_both_ends_are_convinced_of_the_others_key(authenticator: Authenticator) -> None:
    """On an honest wire, with the same secret: each has proof of the key that TLS has shown it."""
    one, other = ends(authenticator)
    converse(one, other)
    for end in (one, other):
        assert end.outcome == Proven(authenticator.name, authenticator.assurance, KEYS[end.evidence.role.other])


def test_names_and_ranks_are_unique() -> None:
    """Each method has a name of its own on the wire, and a place in the order."""
    assert len({each.name for each in AUTHENTICATORS}) == len({each.rank for each in AUTHENTICATORS}) == len(AUTHENTICATORS)


@KEYED
def test_a_relay_between_two_connections_convinces_nobody(authenticator: Authenticator) -> None:
    """Whoever ends TLS on both sides has two exporters, and passing the steps on is of no use."""
    one, other = ends(authenticator, evidence=elsewhere(evidence(Role.RESPONDER), b"another"))
    converse(one, other)
    assert isinstance(other.outcome, AuthenticationFailed)
    assert not isinstance(one.outcome, Proven)


@KEYED
@pytest.mark.parametrize("part", ["exporter", "context"])
def test_each_part_of_the_binding_counts(authenticator: Authenticator, part: str) -> None:
    """The exporter alone, or the context alone, being another is enough."""
    ours = evidence(Role.RESPONDER)
    changed = replace(ours, exporter=bytes(32)) if part == "exporter" else replace(ours, context=bytes(32))
    one, other = ends(authenticator, evidence=changed)
    converse(one, other)
    assert isinstance(other.outcome, AuthenticationFailed)
    assert not isinstance(one.outcome, Proven)


@KEYED
def test_another_secret_looks_like_another_connection(authenticator: Authenticator) -> None:
    """The same error, with the same words, whichever it was."""
    errors = set()
    for changes in ({"secret": bytes(32)}, {"evidence": elsewhere(evidence(Role.RESPONDER), b"another")}):
        one, other = ends(authenticator, **changes)
        converse(one, other)
        assert not isinstance(one.outcome, Proven)
        errors.add((type(other.outcome), str(other.outcome)))
    assert len(errors) == 1


@KEYED
def test_my_own_steps_convince_me_of_nothing(authenticator: Authenticator) -> None:
    """Each end gets its own steps back."""
    for role in Role:
        end = End(authenticator, evidence(role), ends(authenticator)[0].secret)
        for _ in range(4):
            if end.waits and end.said:
                end.hear(end.said.popleft())
        assert not isinstance(end.outcome, Proven)


@TALKS
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_a_step_that_is_changed_convinces_nobody(authenticator: Authenticator, data: st.DataObject) -> None:
    """Any bit of any step, or any other step in its place: AuthenticationFailed at one end at least, and no other error."""
    steps = {"psk": 2, "srp": 4, "sas": 3}[authenticator.name]
    place = data.draw(st.integers(0, steps - 1))
    kind = data.draw(st.sampled_from(["flip", "other", "none"]))
    seen = 0

    def wire(speaker: Role, number: int, payload: bytes) -> bytes:
        nonlocal seen
        seen += 1
        if seen - 1 != place:
            return payload
        if kind == "flip":
            bit = data.draw(st.integers(0, 8 * len(payload) - 1))
            changed = bytearray(payload)
            changed[bit // 8] ^= 1 << bit % 8
            return bytes(changed)
        if kind == "none":
            return b""
        fields = data.draw(st.lists(st.binary(max_size=40), max_size=3))
        return lv(*fields) if lv(*fields) != payload else b""

    one, other = ends(authenticator)
    converse(one, other, wire)
    if authenticator.name == "sas" and all(isinstance(end.outcome, Proven) for end in (one, other)):
        assert one.code != other.code  # the people see it
    else:
        assert any(isinstance(end.outcome, AuthenticationFailed) for end in (one, other))
        assert not all(isinstance(end.outcome, Proven) for end in (one, other))


@KEYED
def test_without_a_secret_it_is_refused(authenticator: Authenticator) -> None:
    """Nobody proves anything with nothing."""
    end = End(authenticator, evidence(Role.INITIATOR), b"")
    assert isinstance(end.outcome, AuthenticationFailed)
    assert not end.said


@KEYED
def test_the_responder_shows_nothing_before_the_initiator_has(authenticator: Authenticator) -> None:
    """A wrong tag gets no tag for an answer, which could be searched offline."""
    one, other = ends(authenticator, secret=bytes(31) + b"1")
    before = sum(1 for _ in other.said)
    converse(one, other)
    assert isinstance(other.outcome, AuthenticationFailed)
    assert len(other.said) == before == 0


@TALKS
def test_nothing_secret_is_in_a_repr(authenticator: Authenticator) -> None:
    """Neither the evidence nor a question shows what only the ends know."""
    one, other = ends(authenticator)
    converse(one, other)
    shown = repr((one.evidence, one.asked, one.outcome, authenticator))
    for secret in (one.evidence.exporter, one.evidence.context, one.secret):
        assert not secret or repr(secret) not in shown
    assert GuessSpent.__name__ not in shown or authenticator.name == "srp"
