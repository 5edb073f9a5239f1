"""What every authenticator keeps: a proof of this key on this connection, or one error, and no third outcome.

Whoever writes one lets a class inherit what applies, and names the authenticator: see test_toy.py.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conversation import KEYS, End, converse, elsewhere, ends, evidence
from xmpp_e2e.authenticate.base import Authenticator, Proof
from xmpp_e2e.encoding import length_prefixed
from xmpp_e2e.errors import AuthenticationFailed
from xmpp_e2e.types import Role


class Convinces:
    """Kept by all."""

    def test_both_ends_are_convinced_of_the_others_key(self, authenticator: Authenticator) -> None:
        """On an honest wire, with the same secret: each has proof of the key that TLS has shown it."""
        one, other = ends(authenticator)
        converse(one, other)
        for end in (one, other):
            assert end.outcome == Proof(authenticator.name, authenticator.assurance, KEYS[end.evidence.role.other])


class Talks:
    """Kept by those that take steps."""

    # One method for several classes: each is another authenticator's.
    @pytest.mark.slow
    @settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.differing_executors])
    @given(data=st.data())
    def test_a_step_that_is_changed_convinces_nobody(self, authenticator: Authenticator, data: st.DataObject) -> None:
        """Any bit of any step, or any other step in its place: AuthenticationFailed at one end at least, and no other error;
        or people see that their strings differ."""
        place = data.draw(st.integers(0, _steps(authenticator) - 1))
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
            return length_prefixed(*fields) if length_prefixed(*fields) != payload else b""

        one, other = ends(authenticator)
        converse(one, other, wire)
        if not authenticator.needs_shared_secret and all(isinstance(end.outcome, Proof) for end in (one, other)):
            assert one.code != other.code  # the people see it
        else:
            assert any(isinstance(end.outcome, AuthenticationFailed) for end in (one, other))
            assert not all(isinstance(end.outcome, Proof) for end in (one, other))

    def test_nothing_secret_is_in_a_repr(self, authenticator: Authenticator) -> None:
        """Neither the evidence nor a question shows what only the ends know."""
        one, other = ends(authenticator)
        converse(one, other)
        shown = repr((one.evidence, one.asked, one.outcome, authenticator))
        for secret in (one.evidence.exporter, one.evidence.context, one.secret):
            assert not secret or repr(secret) not in shown


class Confirms:
    """Kept by those that take a secret which both sides hold beforehand."""

    def test_a_relay_between_two_connections_convinces_nobody(self, authenticator: Authenticator) -> None:
        """Whoever ends TLS on both sides has two exporters, and passing the steps on is of no use."""
        one, other = ends(authenticator, evidence=elsewhere(evidence(Role.RESPONDER), b"another"))
        converse(one, other)
        assert isinstance(other.outcome, AuthenticationFailed)
        assert not isinstance(one.outcome, Proof)

    @pytest.mark.parametrize("part", ["exporter", "context"])
    def test_each_part_of_the_binding_counts(self, authenticator: Authenticator, part: str) -> None:
        """The exporter alone, or the context alone, being another is enough."""
        ours = evidence(Role.RESPONDER)
        changed = replace(ours, exporter=bytes(32)) if part == "exporter" else replace(ours, context=bytes(32))
        one, other = ends(authenticator, evidence=changed)
        converse(one, other)
        assert isinstance(other.outcome, AuthenticationFailed)
        assert not isinstance(one.outcome, Proof)

    def test_another_secret_looks_like_another_connection(self, authenticator: Authenticator) -> None:
        errors = set()
        for changes in ({"secret": bytes(32)}, {"evidence": elsewhere(evidence(Role.RESPONDER), b"another")}):
            one, other = ends(authenticator, **changes)
            converse(one, other)
            assert not isinstance(one.outcome, Proof)
            errors.add((type(other.outcome), str(other.outcome)))
        assert len(errors) == 1

    def test_my_own_steps_convince_me_of_nothing(self, authenticator: Authenticator) -> None:
        """Each end gets its own steps back."""
        for role in Role:
            end = End(authenticator, evidence(role), ends(authenticator)[0].secret)
            for _ in range(_steps(authenticator)):
                if end.waits and end.said:
                    end.hear(end.said.popleft())
            assert not isinstance(end.outcome, Proof)

    def test_without_a_secret_it_is_refused(self, authenticator: Authenticator) -> None:
        end = End(authenticator, evidence(Role.INITIATOR), b"")
        assert isinstance(end.outcome, AuthenticationFailed)
        assert not end.said

    def test_the_responder_shows_nothing_before_the_initiator_has(self, authenticator: Authenticator) -> None:
        """A wrong secret gets no tag for an answer, which could be searched offline."""
        (one, other), spoken = ends(authenticator, secret=bytes(31) + b"1"), []
        converse(one, other, lambda speaker, number, payload: spoken.append(speaker) or payload)  # type: ignore[func-returns-value]
        assert isinstance(other.outcome, AuthenticationFailed)
        assert spoken[-1] is Role.INITIATOR
        assert not other.said


def _steps(authenticator: Authenticator) -> int:
    count = 0

    def wire(speaker: Role, number: int, payload: bytes) -> bytes:
        nonlocal count
        count += 1
        return payload

    converse(*ends(authenticator), wire)
    return count
