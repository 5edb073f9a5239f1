"""How a key that was shown stands: the terms of the session count, and the words are about the peer."""

from __future__ import annotations

from tests.pair import NOBODY, config, identity, remembers
from xmpp_e2e.authenticate.base import Proof
from xmpp_e2e.config import Config
from xmpp_e2e.inner.key_assessment import KeyAssessment
from xmpp_e2e.key_decision import Decision
from xmpp_e2e.types import Assurance, KnownKeys

VOUCHED = Proof("fingerprint", Assurance.VOUCHED, identity("bob").fingerprint)


def shown(terms: Config, remembered: KnownKeys = NOBODY) -> KeyAssessment:
    return KeyAssessment(terms, remembered, VOUCHED)


def test_what_the_session_requires_counts() -> None:
    """A minimum of the session's own holds a key that the trust model would take, until it is proved."""
    assert shown(config()).assess().decision is Decision.ACCEPT
    standing = shown(config(min_assurance=Assurance.VERIFIED))
    assert standing.assess().decision is Decision.HOLD
    standing.add_proof(Proof("psk", Assurance.VERIFIED, VOUCHED.key))
    assert standing.assess().decision is Decision.ACCEPT


def test_what_was_proved_is_the_best() -> None:
    standing = shown(config())
    assert standing.strongest == VOUCHED
    proved = Proof("psk", Assurance.VERIFIED, VOUCHED.key)
    standing.add_proof(proved)
    assert standing.strongest == proved


def test_each_surprise_is_told_once() -> None:
    """A key that is new for a known peer is told when it is first weighed; a key that is expected, never."""
    standing = shown(config(), remembers("mallory"))
    told = standing.changed_event(standing.assess())
    assert told is not None
    assert (told.fingerprint, told.known) == (VOUCHED.key, (identity("mallory").fingerprint,))
    assert standing.changed_event(standing.assess()) is None
    known = shown(config(), remembers("bob"))
    assert known.changed_event(known.assess()) is None
