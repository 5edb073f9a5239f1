"""Attack 7, proofs: an unknown key share. Alice shares one secret with Bob and, carelessly, with Mallory, too.

Mallory passes Alice's stream on to Bob as their own: TLS runs between Alice and Bob, and both know the secret. Were the stream
header and the hellos believed, the proof itself would still say who proves it to whom.
"""

from __future__ import annotations

import pytest

from tests.attacks.proof_mitm import KEYED, proved, run_attempts, terms, unbound
from tests.attacks.test_07_misbinding import MALLORY, believe_the_header
from tests.pair import Pair, config, has_code, identity, message
from xmpp_e2e import events
from xmpp_e2e.errors import Code, StreamError
from xmpp_e2e.inner.elements import Hello
from xmpp_e2e.states import State
from xmpp_e2e.types import Assurance


def misbound(method: str) -> Pair:
    """Both believe that the other end is Mallory, and share the secret with them."""
    pair = Pair(config("alice", peer_jid=MALLORY, **terms(method)), config("bob", peer_jid=MALLORY, **terms(method)))
    return run_attempts(pair.open())


def credulous(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither header nor hello is looked at."""
    believe_the_header(monkeypatch)
    monkeypatch.setattr(Hello, "verify_matches", lambda self, ours: None)


@KEYED
def test_the_stream_is_addressed_to_somebody_else(method: str) -> None:
    """With all checks it does not come to a proof."""
    pair = misbound(method)
    assert isinstance(pair.bob.failure, StreamError)
    assert not proved(pair.alice)
    assert not proved(pair.bob)


@KEYED
def test_the_proof_itself_names_both_ends(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """With the right key and the right secret at both ends of one connection, the proof fails: the addresses are in it."""
    credulous(monkeypatch)
    pair = misbound(method)
    assert pair.bob.session.fingerprint == identity("alice").fingerprint
    assert has_code(Code.PROOF_FAILED)(pair.bob.failure)
    for side in (pair.alice, pair.bob):
        assert not proved(side)
        assert not side.of(events.SessionOpened)
        assert not side.stanzas


@KEYED
def test_control_bound_to_the_exporter_alone(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """Control: a proof over the exporter and nothing else, as a channel binding alone would have it, makes Alice's words
    Mallory's, ``verified``."""
    credulous(monkeypatch)
    unbound(monkeypatch, "context")
    pair = misbound(method)
    assert pair.bob.session.state is State.OPEN
    assert pair.bob.session.assurance is Assurance.VERIFIED
    pair.alice.session.send_stanza(message("I resign"))
    (received,) = pair.run().bob.of(events.StanzaReceived)
    assert received.stanza.get("from") == MALLORY
