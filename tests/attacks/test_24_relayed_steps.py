"""Attack 24: a man in the middle ends TLS on both sides, under keys of their own, and passes every step on to the other side.

Each proof is over the TLS exporter, the two certificates, the addresses and the negotiation, so what convinces on the one
connection is noise on the other.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from slixmpp_e2e.alarms import explain
from tests.attacks.mitm import SessionMitm
from tests.attacks.proof_mitm import ASKED, CONFIRMING, KEYED, ProofMitm, proved, run_attempts, shown, terms, unbound
from tests.pair import has_code, identity, message
from xmpp_e2e import events
from xmpp_e2e.errors import Code, LocalError, Timeout
from xmpp_e2e.states import State
from xmpp_e2e.types import Assurance, Role, TrustModel

NEEDS = pytest.mark.parametrize("who", [*Role, None], ids=["initiator needs it", "responder needs it", "both need it"])


def between(method: str, who: Role | None = None) -> ProofMitm:
    """Mallory between the two, of whom ``who``, or both, need the method."""
    alice = terms(*(() if who is Role.RESPONDER else (method,)))
    bob = terms(*(() if who is Role.INITIATOR else (method,)))
    middle = ProofMitm(needs=(method,), alice=alice, bob=bob)
    middle.open()
    return middle.relay()


@KEYED
@NEEDS
def test_relayed_steps_convince_nobody(method: str, who: Role | None) -> None:
    """Bob hears a tag that is none on this connection; who needs the proof opens nothing, sends nothing, is sure of nothing."""
    middle = between(method, who)
    assert has_code(Code.PROOF_FAILED)(middle.bob.failure)
    assert "with a session of their own to each of you" in explain(middle.bob.failure)
    assert [name for name, _ in middle.steps].count(method) == 2 * CONFIRMING[method] - 1  # the last is Alice's tag
    assert not proved(middle.alice)
    assert not proved(middle.bob)
    for role, side in ((Role.INITIATOR, middle.alice), (Role.RESPONDER, middle.bob)):
        if who is role.other:
            continue  # needs nothing, and has what the servers vouch for: a relay can fool one side alone
        assert not side.of(events.SessionOpened)
        with pytest.raises(LocalError):
            side.session.send_stanza(message("secret"))
    assert middle.relay().read == []


@KEYED
@pytest.mark.parametrize("part", ["exporter", "context"])
def test_either_half_of_the_binding_is_enough(monkeypatch: pytest.MonkeyPatch, method: str, part: str) -> None:
    """Were the exporter, or everything else, the same on both connections: refused all the same."""
    unbound(monkeypatch, part)
    assert has_code(Code.PROOF_FAILED)(between(method).bob.failure)


@KEYED
def test_control_unbound_it_succeeds(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """Control: a proof that is tied to nothing is passed on; both are sure of the key of Mallory, who reads what they say."""
    unbound(monkeypatch, "exporter", "context")
    middle = between(method)
    for side in (middle.alice, middle.bob):
        assert proved(side) == [method]
        assert side.session.state is State.OPEN
        assert side.session.assurance is Assurance.VERIFIED
        assert side.session.fingerprint == identity("mallory").fingerprint
    middle.alice.session.send_stanza(message("secret"))
    assert middle.relay().read == ["secret"]
    assert middle.bob.stanzas == ["secret"]


@KEYED
def test_a_proof_that_is_asked_for_later_finds_him(method: str) -> None:
    """He read along in a session that the servers vouched for. The first proof in it ends it at Bob's; at Alice's, when what
    Mallory cannot say has not come for five minutes, and Alice is as sure as before meanwhile."""
    middle = ProofMitm(needs=(), alice=terms(), bob=terms())
    middle.open()
    middle.alice.session.send_stanza(message("before"))
    assert middle.relay().read == ["before"]
    middle.wish(method)
    assert has_code(Code.PROOF_FAILED)(middle.bob.failure)
    assert middle.alice.session.assurance is Assurance.VOUCHED
    middle._near.pass_time(301.0)
    assert isinstance(middle.alice.failure, Timeout)
    assert not proved(middle.alice)
    assert not proved(middle.bob)


# --- short strings ---------------------------------------------------------------------------------------------------


def test_strings_of_two_connections_differ() -> None:
    """Mallory runs the method honestly on both sides: the people see two strings, and the session ends when they say so."""
    middle = SessionMitm(alice=terms(), bob=terms())
    for pair in (middle._near, middle._far):
        for side in (pair.alice, pair.bob):
            side.session.config = replace(side.session.config, promptable_methods=ASKED)
    middle.open()
    middle.alice.session.request_verification("sas", middle._near.now)
    middle._far.alice.session.request_verification("sas", middle._far.now)
    middle.relay()
    assert shown(middle.alice).code[:3] != shown(middle.bob).code[:3]
    middle.alice.session.answer_prompt(b"differs", middle._near.now)
    middle.relay()
    assert has_code(Code.SAS_MISMATCH)(middle.alice.failure)
    assert "in the middle" in explain(middle.alice.failure)
    assert not proved(middle.alice)


def test_a_relayed_commitment_is_none() -> None:
    """Mallory passes the steps on: Bob finds that the commitment is not to this nonce on this connection, and shows nothing."""
    middle = ProofMitm(alice=terms(), bob=terms())
    middle.open()
    middle.wish("sas")
    assert has_code(Code.PROOF_FAILED)(middle.bob.failure)
    assert middle.bob.session.pending_prompt is None
    assert not proved(middle.alice)


def test_control_unbound_strings_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: strings that are tied to nothing are the same on both sides; the people say so, and Mallory reads on."""
    unbound(monkeypatch, "exporter", "context")
    middle = ProofMitm(alice=terms(), bob=terms())
    middle.open()
    middle.wish("sas")
    assert shown(middle.alice) == shown(middle.bob)
    for side in (middle.alice, middle.bob):
        middle.answer(side, b"match")
        assert side.session.assurance is Assurance.VERIFIED
    middle.alice.session.send_stanza(message("secret"))
    assert middle.relay().read == ["secret"]


def test_without_a_proof_nothing_flows_to_an_untrusted_server() -> None:
    """Under server-untrusted the relay gets nothing at all, and a run that it does not pass on waits, then ends."""
    untrusted = terms("psk", trust_model=TrustModel.SERVER_UNTRUSTED)
    middle = ProofMitm(needs=("psk",), alice=untrusted, bob=untrusted)
    middle.open()
    run_attempts(middle._near, middle.alice)
    with pytest.raises(LocalError):
        middle.alice.session.send_stanza(message("secret"))
    middle._near.pass_time(301.0)
    assert middle.alice.session.state is State.CLOSED
    assert middle.read == []
