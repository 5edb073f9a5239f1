"""A new authenticator is one file: this is one, beside what it inherits by that, and the sessions that it opens."""

from __future__ import annotations

import hashlib
from typing import ClassVar

import pytest

from tests.pair import Pair, config
from tests.xmpp_e2e.authenticate.contract import Confirms, Convinces, Talks
from xmpp_e2e import AUTHENTICATORS, Assurance, Role, State, events
from xmpp_e2e.authenticate.base import ChannelBinding, ProofSteps
from xmpp_e2e.authenticate.proof_exchange import ProofExchange

NONCE = range(8, 9)


class Toy:
    """A shared secret, fresh by a nonce of each side: I lv(n_I) · R lv(n_R) · I lv(T_I) · R lv(T_R)."""

    name: ClassVar[str] = "toy"
    assurance: ClassVar[Assurance] = Assurance.VERIFIED
    order: ClassVar[int] = 9
    needs_shared_secret: ClassVar[bool] = True

    def prove(self, binding: ChannelBinding) -> ProofSteps:
        exchange = ProofExchange(self.name, binding)
        secret = yield from exchange.shared_secret()
        ours = binding.random(NONCE.start)
        if binding.role is Role.INITIATOR:
            yield from exchange.send(ours)
            nonces = [ours, *(yield from exchange.receive(NONCE))]
        else:
            nonces = [*(yield from exchange.receive(NONCE)), ours]
            yield from exchange.send(ours)
        return (yield from exchange.confirm_key(hashlib.sha256(secret + b"".join(nonces)).digest(), self.assurance))


ALL = (*AUTHENTICATORS, Toy())


@pytest.mark.parametrize("authenticator", [Toy()], ids=["toy"])
class TestToy(Convinces, Talks, Confirms):
    """It keeps what every authenticator keeps."""


def pair(bobs_secret: bytes = b"a secret", **bobs: object) -> Pair:
    """Alice needs it; both know it, unless ``bobs`` say something else."""
    alice = config("alice", authenticators=ALL, required_methods=("toy",), shared_secrets={"toy": b"a secret"})
    return Pair(alice, config("bob", **{"authenticators": ALL, "shared_secrets": {"toy": bobs_secret}, **bobs}))


def test_it_opens_a_session() -> None:
    opened = pair().open()
    for side in (opened.alice, opened.bob):
        assert [proved.method for proved in side.of(events.KeyVerified)] == ["toy"]
        assert (side.session.state, side.session.assurance) == (State.OPEN, Assurance.VERIFIED)


def test_the_wrong_secret_opens_none() -> None:
    refused = pair(b"another").open()
    assert [side.session.state for side in (refused.alice, refused.bob)] == [State.CLOSED] * 2


def test_whoever_does_not_know_it_is_told_so() -> None:
    """A peer without it cannot prove what our policy needs."""
    refused = pair(authenticators=AUTHENTICATORS, shared_secrets={}).open()
    assert "our policy needs toy" in str(refused.alice.failure)


def test_it_runs_in_an_open_session() -> None:
    for role in Role:
        terms = {"authenticators": ALL, "shared_secrets": {"toy": b"a secret"}}
        between = Pair(config("alice", **terms), config("bob", **terms)).open()
        between.side(role).session.request_verification("toy", between.now)
        between.run()
        assert {side.session.assurance for side in (between.alice, between.bob)} == {Assurance.VERIFIED}
