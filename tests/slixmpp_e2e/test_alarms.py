"""The words of the alarms: each error that a user may see is explained, and a key alarm says what to do."""

from __future__ import annotations

import shlex

import pytest

from slixmpp_e2e.alarms import WORDS, explain, key_alarm, words
from slixmpp_e2e.errors import NotSent, NotSentReason
from tests.xmpp_e2e.test_key_decision import A, B, judged, key
from xmpp_e2e import errors
from xmpp_e2e.errors import Code
from xmpp_e2e.key_decision import KeyStatus, OnKeyChange
from xmpp_e2e.types import Assurance, TrustModel

PEER = "bob@example.org"
MUTE = {Code.ERROR, Code.LOCAL_ERROR, Code.UNTRUSTED_KEY}
"""Their message says everything."""


def test_every_code_has_words() -> None:
    """Each kind of error of the core is explained, but for those whose message says everything; so is each reason."""
    assert set(WORDS) == {*Code, *NotSentReason} - MUTE
    for reason in NotSentReason:
        assert words(NotSent("", reason)) == WORDS[reason]
        assert WORDS[reason].likely
        assert WORDS[reason].remedy


def test_an_error_is_explained() -> None:
    """What happened, the cause, the attack and the way out, a line each; an error of the plugin's own brings its words."""
    lines = explain(errors.Timeout("nobody answered")).splitlines()
    its = WORDS[Code.TIMEOUT]
    assert lines == ["nobody answered", its.likely, its.attack, its.remedy]

    class Own(errors.Timeout):
        remedy = "Wait."

    assert (words(Own("late")).remedy, words(Own("late")).likely) == ("Wait.", its.likely)


def test_a_refused_key_is_explained_by_its_alarm() -> None:
    decision = judged(key(B, "verified"))
    assert explain(errors.UntrustedKey(decision, PEER)) == key_alarm(decision, PEER)
    assert explain(errors.UntrustedKey("in words")) == "in words"


@pytest.mark.parametrize("kind", list(KeyStatus))
def test_a_reason_says_what_likely_attack_and_command(kind: KeyStatus) -> None:
    memory = {
        KeyStatus.FIRST: (),
        KeyStatus.KNOWN: (key(A, "vouched"),),
        KeyStatus.NEW: (key(B, "vouched"),),
        KeyStatus.CHANGED: (key(B, "verified"),),
        KeyStatus.BLOCKED: (key(A, "vouched", True),),
    }[kind]
    verdict = judged(*memory, model=TrustModel.SERVER_UNTRUSTED)
    verb = "forget" if kind is KeyStatus.BLOCKED else "pin"
    assert verdict.status is kind
    reason = key_alarm(verdict, PEER)
    assert f"xmpp-e2e trust {verb} bob@example.org {A}" in reason
    assert ("Most likely" in reason) == (kind not in (KeyStatus.FIRST, KeyStatus.KNOWN))
    assert ("A server that reads along" in reason) == (kind in (KeyStatus.FIRST, KeyStatus.NEW, KeyStatus.CHANGED))
    assert ("Somebody who stole that key" in reason) == (kind is KeyStatus.BLOCKED)
    assert "{" not in reason


def test_the_reason_of_a_hold_says_what_is_missing() -> None:
    """Held for a minimum: which, and what it is; held for a change: what lifts it. Accepting lifts no minimum."""
    below = judged(key(A, "vouched"), model=TrustModel.SERVER_UNTRUSTED)
    assert "until the key is verified (it is known)" in key_alarm(below, PEER)
    assert "until you pin or accept it, or a proof succeeds" in key_alarm(judged(key(B, "verified")), PEER)
    strict = judged(key(B, "verified"), model=TrustModel.SERVER_UNTRUSTED)
    assert "trust accept" not in key_alarm(strict, PEER)
    new = judged(key(B, "vouched"), change=OnKeyChange.HOLD)
    assert "until you pin it or a proof succeeds" in key_alarm(new, PEER)


def test_a_key_that_was_met_before_another_was_verified_is_not_called_new() -> None:
    reason = key_alarm(judged(key(A, "vouched"), key(B, "verified")), PEER)
    assert "was taken as theirs (route) before another one was verified" in reason
    assert "HAS CHANGED" not in reason


def test_the_reason_of_a_known_key_says_how_it_was_accepted() -> None:
    assert "(accepted by route)" in key_alarm(judged(key(A, "vouched")), PEER)


def test_a_verified_session_alarms_nobody() -> None:
    reason = key_alarm(judged(key(A, "verified")), PEER)
    assert "Accepted as verified." in reason
    assert "xmpp-e2e" not in reason
    assert "server that reads along" not in key_alarm(judged(key(B, "verified"), proved=Assurance.VERIFIED), PEER)


def test_the_command_in_a_reason_is_safe_to_paste() -> None:
    evil = "$(reboot)@example.org"
    reason = key_alarm(judged(), evil)
    command = reason[reason.index("xmpp-e2e trust pin") :].split(" (or", 1)[0]
    assert shlex.split(command) == ["xmpp-e2e", "trust", "pin", evil, str(A)]
    assert "'$(reboot)@example.org'" in command
