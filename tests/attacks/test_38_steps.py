"""Attack 38, steps: out of turn, of a method that has run or does not run, without an end; requests and declines alike."""

from __future__ import annotations

from xml.etree.ElementTree import Element

import pytest

from tests.attacks.proof_mitm import KEYED, SECRETS, proved, run_attempts, step, terms
from tests.pair import Pair, config, message, talk
from xmpp_e2e import events
from xmpp_e2e.authenticate.base import MATCH, CompareSas
from xmpp_e2e.authenticate.sas_text import SasForm
from xmpp_e2e.encoding import length_prefixed
from xmpp_e2e.errors import LocalError, StreamError
from xmpp_e2e.inner import elements as auth
from xmpp_e2e.inner.verification_requests import VerificationRequest
from xmpp_e2e.inner.verifications import MAX_PROOF_MESSAGES
from xmpp_e2e.states import State
from xmpp_e2e.types import Assurance, Role, TrustModel

NAMES = ["", "fingerprint", "psk", "srp", "sas", "x" * 200]


def opened(*need: str, **changes: object) -> Pair:
    """Alice needs these methods; it is open."""
    pair = run_attempts(Pair(config("alice", **terms(*need)), config("bob", **terms(**changes))).open())
    assert pair.alice.session.state is pair.bob.session.state is State.OPEN
    return pair


def said(name: str, **attributes: str) -> Element:
    return Element(f"{{{auth.NS_AUTH}}}{name}", attributes)


def assert_closed(pair: Pair, role: Role, condition: str = "policy-violation") -> None:
    """``role`` has ended the session over it."""
    failure = pair.side(role).failure
    assert isinstance(failure, StreamError)
    assert failure.condition == condition
    assert pair.side(role.other).session.state is State.CLOSED


# --- out of turn -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", NAMES, ids=lambda name: name[:12] or "empty")
def test_a_responder_begins_nothing(method: str) -> None:
    """In an open session the initiator alone begins: whatever step the responder invents, it ends the session."""
    pair = opened().says(Role.RESPONDER, step(method, length_prefixed(bytes(32))))
    assert_closed(pair, Role.INITIATOR)


@pytest.mark.parametrize("method", ["", "fingerprint", "nonsense"], ids=lambda name: name or "empty")
def test_a_method_that_is_none_is_declined(method: str) -> None:
    """The initiator begins something that does not exist, or is no proof by steps: declined, nothing is kept or proved."""
    pair = opened().says(Role.INITIATOR, step(method, length_prefixed(bytes(32))))
    assert pair.bob.session.state is State.OPEN
    assert not proved(pair.bob)
    assert not pair.bob.of(events.PromptRequested)
    assert pair.bob.session.assurance is Assurance.VOUCHED


@KEYED
@pytest.mark.parametrize("speaker", list(Role))
def test_two_steps_at_once(method: str, speaker: Role) -> None:
    """Each waits for the other's answer: the second in a row ends it, whoever says it; nobody is convinced."""
    asking = terms(method, shared_secrets={}, promptable_methods=frozenset(SECRETS))
    pair = Pair(config("alice", **terms(method)), config("bob", **asking)).open()
    if speaker is Role.INITIATOR:  # its first step waits until Bob's user has been asked for the secret
        pair.says(speaker, step(method, length_prefixed(bytes(32))))
    else:
        pair.says(speaker, *[step(method, length_prefixed(bytes(32)))] * 2)
    for side in (pair.alice, pair.bob):
        assert side.session.state is State.CLOSED
        assert not proved(side)
        assert not side.of(events.SessionOpened)


@KEYED
def test_a_step_of_another_method(method: str) -> None:
    """While one runs, a step of another that nobody has asked for is out of turn."""
    (other,) = {"psk", "srp"} - {method}
    asking = terms(method, shared_secrets={}, promptable_methods=frozenset(SECRETS))
    pair = Pair(config("alice", **terms(method)), config("bob", **asking)).open()
    pair.says(Role.INITIATOR, step(other, length_prefixed(bytes(32))))
    assert_closed(pair, Role.RESPONDER)


@pytest.mark.parametrize("name", ["decline", "result"])
@pytest.mark.parametrize("speaker", list(Role))
def test_what_is_needed_is_not_declined(name: str, speaker: Role) -> None:
    """Nor is told of strings that were never shown, before both are done."""
    asking = terms("psk", shared_secrets={}, promptable_methods=frozenset({"psk"}))
    alice, bob = (asking, terms("psk")) if speaker is Role.RESPONDER else (terms("psk"), asking)
    pair = Pair(config("alice", **alice), config("bob", **bob)).open()
    pair.says(speaker, said(name, method="psk", match="true"))
    assert_closed(pair, speaker.other)
    assert not pair.side(speaker.other).of(events.SessionOpened)


def test_what_is_needed_need_not_be_asked_for() -> None:
    """It runs already: a request for it changes nothing."""
    asking = terms("psk", shared_secrets={}, promptable_methods=frozenset({"psk"}))
    pair = Pair(config("alice", **asking), config("bob", **terms("psk"))).open()
    steps = talk(pair.bob.session)._verifications._messages
    pair.says(Role.RESPONDER, said("request", method="psk"))
    pair.alice.session.answer_prompt(SECRETS["psk"], pair.now)
    run_attempts(pair)
    assert talk(pair.bob.session)._verifications._messages == steps + 1
    assert proved(pair.alice) == proved(pair.bob) == ["psk"]


@pytest.mark.parametrize("stage", ["held", "open"])
def test_a_responder_alone_asks(stage: str) -> None:
    """The initiator begins what it wants; a request of its own ends the session, before it is open, too."""
    held = {"trust_model": TrustModel.SERVER_UNTRUSTED} if stage == "held" else {}
    pair = Pair(config("alice", **terms(**held)), config("bob", **terms())).open()
    assert (pair.bob.session.state is State.OPEN) == (stage == "open")
    assert_closed(pair.says(Role.INITIATOR, said("request", method="sas")), Role.RESPONDER)


@pytest.mark.parametrize("stage", ["held", "open"])
@pytest.mark.parametrize("form", ["", "EMOJI", "emoji ", "hexadecimal"])
def test_an_unknown_form_is_declined(form: str, stage: str) -> None:
    """Nobody is shown what the other cannot show, and the session is as it was."""
    held = {"trust_model": TrustModel.SERVER_UNTRUSTED} if stage == "held" else {}
    request, begin = said("request", method="sas"), step("sas", length_prefixed(bytes(32)))
    for speaker, word in ((Role.RESPONDER, request), (Role.INITIATOR, begin)):
        pair = Pair(config("alice", **terms(**held)), config("bob", **terms())).open()
        word.set("form", form)
        stages = pair.alice.session.state, pair.bob.session.state
        # who says it had not asked, and so, before it is open, refuses the decline
        listener = pair.side(speaker.other)
        talk(pair.side(speaker).session)._verifications._requests.add("sas", VerificationRequest(SasForm.DECIMAL, agreed=True))
        pair.says(speaker, word)
        assert (pair.alice.session.state, pair.bob.session.state) == stages
        assert [declined.method for declined in pair.side(speaker).of(events.VerificationDeclined)] == ["sas"]
        assert not listener.of(events.PromptRequested) + listener.of(events.VerificationRequested)


# --- once more -------------------------------------------------------------------------------------------------------


@KEYED
@pytest.mark.parametrize("wants", list(Role))
def test_a_second_run_is_refused_here(method: str, wants: Role) -> None:
    """What has run is not asked for again by our own side."""
    pair = opened(method)
    with pytest.raises(LocalError, match="has run"):
        pair.side(wants).session.request_verification(method, pair.now)


def has_run(method: str) -> Pair:
    """Both have proved each other by it, in an open session."""
    pair = opened()
    pair.alice.session.request_verification(method, pair.now)
    run_attempts(pair)
    for side in (pair.alice, pair.bob):
        if isinstance(side.session.pending_prompt, CompareSas):
            side.session.answer_prompt(MATCH, pair.now)
    pair.run()
    assert proved(pair.bob) == [method]
    return pair


@pytest.mark.parametrize("method", ["psk", "srp", "sas"])
def test_a_second_run_is_refused_there(method: str) -> None:
    """A peer who begins it again is out of turn: one guess, one try at the strings, in a session."""
    pair = has_run(method)
    asked = len(pair.bob.of(events.PromptRequested))
    pair.says(Role.INITIATOR, step(method, length_prefixed(bytes(32))))
    assert_closed(pair, Role.RESPONDER)
    assert len(pair.bob.of(events.PromptRequested)) == asked


@pytest.mark.parametrize("method", ["psk", "srp", "sas"])
def test_a_second_request_is_declined(method: str) -> None:
    """The responder asks for it again: declined, nobody is asked anything, and the session goes on."""
    pair = has_run(method)
    steps = talk(pair.alice.session)._verifications._messages
    pair.says(Role.RESPONDER, said("request", method=method))
    assert talk(pair.alice.session)._verifications._messages == steps + 1
    assert [event.method for event in pair.bob.of(events.VerificationDeclined)] == [method]
    assert pair.alice.session.state is State.OPEN
    assert proved(pair.alice) == [method]


# --- without an end --------------------------------------------------------------------------------------------------

ENDLESS = {
    "steps": (Role.INITIATOR, step("nonsense", b"")),
    "requests": (Role.RESPONDER, said("request", method="nonsense")),
    "declines": (Role.RESPONDER, said("decline", method="sas")),
    "results": (Role.INITIATOR, said("result", method="sas", match="true")),
}
EACH = pytest.mark.parametrize(("speaker", "word"), ENDLESS.values(), ids=ENDLESS.keys())


@EACH
def test_endless_words_of_proofs_end_it(speaker: Role, word: Element) -> None:
    """As many as the bound says are taken; one more ends the session, and no more was answered or told."""
    pair = opened().says(speaker, *[word] * MAX_PROOF_MESSAGES)
    victim = pair.side(speaker.other)
    pair.side(speaker).session.send_stanza(message("still here"))
    assert pair.run().side(speaker.other).stanzas == ["still here"]
    pair.says(speaker, word)
    assert_closed(pair, speaker.other)
    assert len(victim.of(events.VerificationDeclined)) <= MAX_PROOF_MESSAGES


@pytest.mark.parametrize("name", ["steps", "requests"])
def test_answers_do_not_pile_up(name: str) -> None:
    """Nor does it help not to take what is answered: it is little."""
    speaker, word = ENDLESS[name]
    pair = opened()
    victim = pair.side(speaker.other).session
    for _ in range(MAX_PROOF_MESSAGES):
        talk(pair.side(speaker).session).out.element(word)
    pair.arrive(speaker.other, pair.collect(speaker))
    assert 0 < len(talk(victim).out) < MAX_PROOF_MESSAGES * 100


@pytest.mark.parametrize("name", ["steps", "requests"])
def test_control_without_the_bound(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Control: without it each is answered, for ever, and what nobody takes is kept."""
    monkeypatch.setattr("xmpp_e2e.inner.verifications.MAX_PROOF_MESSAGES", 2**30)
    speaker, word = ENDLESS[name]
    pair = opened()
    victim = pair.side(speaker.other).session
    for _ in range(100 * MAX_PROOF_MESSAGES):
        talk(pair.side(speaker).session).out.element(word)
    pair.arrive(speaker.other, pair.collect(speaker))
    assert len(talk(victim).out) > 100 * MAX_PROOF_MESSAGES * 50
