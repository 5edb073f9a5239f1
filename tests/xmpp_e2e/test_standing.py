"""How a key that was shown stands: the terms of the session count, and the words are about the peer."""

from __future__ import annotations

from tests.pair import NOBODY, config, identity, remembers
from xmpp_e2e.authenticate.base import Proven
from xmpp_e2e.config import Config
from xmpp_e2e.identity import Assurance, Remembered
from xmpp_e2e.standing import Standing
from xmpp_e2e.trust.judge import Decision

VOUCHED = Proven("fingerprint", Assurance.VOUCHED, identity("bob").fingerprint)


def shown(terms: Config, remembered: Remembered = NOBODY) -> Standing:
    """Bob's certificate has been shown, and no more."""
    standing = Standing(terms, remembered)
    standing.shown(VOUCHED)
    return standing


def test_what_the_session_requires_counts() -> None:
    """A minimum of the session's own holds a key that the trust model would take, until it is proved."""
    assert shown(config()).weigh().decision is Decision.ACCEPT
    standing = shown(config(required=Assurance.VERIFIED))
    assert standing.weigh().decision is Decision.HOLD
    standing.shown(Proven("psk", Assurance.VERIFIED, VOUCHED.key))
    assert standing.weigh().decision is Decision.ACCEPT


def test_what_was_proved_is_the_best() -> None:
    """Of what a session has shown; before that it is the certificate."""
    standing = shown(config())
    assert standing.best == VOUCHED
    proved = Proven("psk", Assurance.VERIFIED, VOUCHED.key)
    standing.shown(proved)
    assert standing.best == proved


def test_keys_are_pinned_for_the_bare_address() -> None:
    """What the user is told to type leaves out the resource, even one with a slash in it."""
    terms = config(peer="bob@b.test/desk/left", required=Assurance.VERIFIED)
    assert "trust pin bob@b.test SHA256:" in shown(terms).weigh().reason


def test_each_surprise_is_told_once() -> None:
    """A key that is new for a known peer is told when it is first weighed; a key that is expected, never."""
    standing = shown(config(), remembers("mallory"))
    told = standing.news(standing.weigh())
    assert told is not None
    assert (told.fingerprint, told.remembered) == (VOUCHED.key, (identity("mallory").fingerprint,))
    assert standing.news(standing.weigh()) is None
    known = shown(config(), remembers("bob"))
    assert known.news(known.weigh()) is None
