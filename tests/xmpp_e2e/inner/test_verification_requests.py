"""What users want proved beyond what hellos need: asked for, agreed to, shown, answered, cut."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element

import pytest

from tests.pair import NOBODY, Pair, config, has_code, message, remembers, talk
from tests.xmpp_e2e.test_proofs import SECRETS, answers, served, wish
from xmpp_e2e import events
from xmpp_e2e.authenticate.base import MATCH, CompareSas, SecretNeeded
from xmpp_e2e.authenticate.psk import WeakKey
from xmpp_e2e.authenticate.sas_text import SasForm
from xmpp_e2e.config import Timeouts
from xmpp_e2e.errors import AuthenticationFailed, BytestreamFailed, Code, LocalError, StreamError, Timeout, UncleanClose
from xmpp_e2e.inner import elements
from xmpp_e2e.states import State
from xmpp_e2e.stream.send_buffer import SendBuffer
from xmpp_e2e.types import Assurance, Role, TrustModel

ROLES = pytest.mark.parametrize("wants", list(Role))
ASKED = frozenset({"sas"})
HELD = {"trust_model": TrustModel.SERVER_UNTRUSTED}


def pair(*, promptable_methods: frozenset[str] = ASKED, alice: Any = None, bob: Any = None) -> Pair:
    """It is open, unless the terms of one hold the other's key."""
    both: dict[str, Any] = {"promptable_methods": promptable_methods}
    between = Pair(config("alice", **both, **(alice or {})), config("bob", **both, **(bob or {})))
    between.declines = False
    return between.open()


def stages(between: Pair) -> set[State]:
    return {between.alice.session.state, between.bob.session.state}


def test_a_wish_is_said_once() -> None:
    between = pair(promptable_methods=frozenset())
    for _ in range(2):
        wish(between, Role.RESPONDER)
        assert not between.bob.session.is_verifying
    assert len(between.alice.of(events.VerificationRequested)) == 1
    assert talk(between.alice.session)._verifications._messages == 1


def test_numbers_are_what_needs_no_word() -> None:
    assert "form" not in elements.build_verification(elements.REQUEST, "sas", SasForm.DECIMAL).attrib
    assert elements.build_verification(elements.REQUEST, "sas", SasForm.EMOJI).get("form") == "emoji"


@ROLES
def test_the_form_is_said_once(monkeypatch: pytest.MonkeyPatch, wants: Role) -> None:
    between = pair()
    said: list[Element] = []
    say = SendBuffer.element

    def noted(out: SendBuffer, element: Element) -> None:
        said.append(element)
        say(out, element)

    monkeypatch.setattr(SendBuffer, "element", noted)
    wish(between, wants, form=SasForm.EMOJI)
    first = [("request", "emoji")] if wants is Role.RESPONDER else []
    steps = [("step", "emoji"), ("step", None), ("step", None)]
    assert [(element.tag.rpartition("}")[2], element.get("form")) for element in said] == [*first, *steps]


@ROLES
def test_a_wish_that_was_declined_has_no_deadline(wants: Role) -> None:
    """The session lives on, though nobody has proved anything."""
    between = wish(pair(promptable_methods=frozenset()), wants)
    between.side(wants.other).session.decline_verification("sas", between.now)
    between.run().pass_time(2 * Timeouts().user)
    assert stages(between) == {State.OPEN}


def test_what_cannot_be_begun_is_nobodys_wish() -> None:
    """Our own key is too short: the peer hears nothing of it, least of all that we decline, and nothing waits."""
    between = pair()
    with pytest.raises(WeakKey):
        between.alice.session.request_verification("psk", between.now, bytes(15))
    between.run().pass_time(2 * Timeouts().user)
    assert not between.bob.of(events.VerificationDeclined) + between.bob.of(events.VerificationRequested)
    assert stages(between) == {State.OPEN}


def test_what_cannot_be_agreed_to_is_declined() -> None:
    between = wish(pair(), Role.INITIATOR, "psk", SECRETS["psk"])
    with pytest.raises(WeakKey):
        between.bob.session.request_verification("psk", between.now, bytes(15))
    between.run().pass_time(2 * Timeouts().user)
    assert [declined.method for declined in between.alice.of(events.VerificationDeclined)] == ["psk"]
    assert stages(between) == {State.OPEN}


def test_the_peers_word_is_waited_for() -> None:
    between = wish(pair(), Role.INITIATOR)
    between.alice.session.answer_prompt(MATCH, between.now)
    assert not between.alice.session.is_verifying
    between.alice.session.handle_timer(between.now + Timeouts().user)
    between.collect_events(Role.INITIATOR)
    assert isinstance(between.alice.failure, Timeout)


# --- asked for -------------------------------------------------------------------------------------------------------


@ROLES
@pytest.mark.parametrize("form", list(SasForm))
def test_who_asks_says_how_it_is_shown(wants: Role, form: SasForm) -> None:
    between = wish(pair(), wants, form=form)
    for side in (between.alice, between.bob):
        [asked] = side.of(events.PromptRequested)
        assert asked.form is form
    assert between.side(wants.other).of(events.VerificationRequested) == [
        events.VerificationRequested("sas", form.value, started=True)
    ]
    assert not between.side(wants).of(events.VerificationRequested)


def test_the_initiators_form_counts_when_wishes_cross() -> None:
    between = pair()
    for role, form in ((Role.INITIATOR, SasForm.WORDS), (Role.RESPONDER, SasForm.EMOJI)):
        between.side(role).session.request_verification("sas", between.now, None, form)
    between.run()
    assert [asked.form for side in (between.alice, between.bob) for asked in side.of(events.PromptRequested)] == [
        SasForm.WORDS
    ] * 2


@ROLES
def test_what_is_not_set_up_waits_for_the_user(wants: Role) -> None:
    between = wish(pair(promptable_methods=frozenset()), wants, form=SasForm.EMOJI)
    other = between.side(wants.other)
    assert other.of(events.VerificationRequested) == [events.VerificationRequested("sas", "emoji", started=False)]
    assert not other.of(events.PromptRequested) + between.side(wants).of(events.PromptRequested)
    wish(between, wants.other, form=SasForm.WORDS)
    assert [asked.form for side in (between.alice, between.bob) for asked in side.of(events.PromptRequested)] == [
        SasForm.EMOJI
    ] * 2
    for role in Role:
        answers(between, role)
    assert between.alice.session.assurance is between.bob.session.assurance is Assurance.VERIFIED


@ROLES
@pytest.mark.parametrize("over", [False, True], ids=["ends", "has ended"])
def test_what_ends_is_not_declined(wants: Role, over: bool) -> None:
    """Nothing is said behind a farewell: whoever declines as the session ends, or when it has, need not know."""
    between = wish(pair(promptable_methods=frozenset()), wants)
    other = between.side(wants.other).session
    other.close(between.now)
    if over:
        between.run()
    other.decline_verification("sas", between.now)
    between.run()
    assert [end.clean for side in (between.alice, between.bob) for end in side.of(events.SessionClosed)] == [True, True]


@ROLES
def test_a_wish_waits_for_five_minutes(wants: Role) -> None:
    asked = wish(pair(promptable_methods=frozenset()), wants).side(wants.other).session
    assert asked.timer() == 1000.0 + Timeouts().user


def test_another_wish_gives_no_more_time() -> None:
    between = wish(pair(promptable_methods=frozenset()), Role.RESPONDER)
    between.pass_time(200)
    wish(between, Role.RESPONDER, "srp", SECRETS["srp"])
    assert len(talk(between.alice.session)._verifications._requests.pending) == 2
    assert between.alice.session.timer() == 1000.0 + Timeouts().user


def test_nobody_declines_what_they_have_asked_for() -> None:
    between = pair(promptable_methods=frozenset(), alice=HELD)
    between.says(Role.RESPONDER, *(elements.build_verification(name, "sas") for name in (elements.REQUEST, elements.DECLINE)))
    assert isinstance(between.alice.failure, StreamError)


@ROLES
def test_what_crosses_a_farewell_is_ignored(wants: Role) -> None:
    declined, said = wish(pair(promptable_methods=frozenset()), wants), wish(pair(), wants)
    for between in (declined, said):
        between.side(wants).session.close(between.now)
    declined.side(wants.other).session.decline_verification("sas", declined.now)
    said.side(wants.other).session.answer_prompt(MATCH, said.now)
    declined.run()
    said.run()
    assert not declined.side(wants).of(events.VerificationDeclined)
    assert not said.side(wants).of(events.PeerSasResult)
    for between in (declined, said):
        assert [end.clean for side in (between.alice, between.bob) for end in side.of(events.SessionClosed)] == [True, True]


def test_a_peer_who_has_agreed_may_be_cut_off() -> None:
    between = wish(pair(), Role.INITIATOR)
    answers(between, Role.RESPONDER)
    between.alice.session.receive_data(b"", between.now)
    between.collect_events(Role.INITIATOR)
    assert [cut.method for cut in between.alice.of(events.SasInterrupted)] == ["sas"]


@ROLES
@pytest.mark.parametrize("method", ["sas", "nonsense", ""])
def test_what_nobody_asked_for_is_declined_in_vain(wants: Role, method: str) -> None:
    between = pair()
    between.says(wants, elements.build_verification(elements.DECLINE, method))
    assert stages(between) == {State.OPEN}
    assert not between.side(wants.other).of(events.VerificationDeclined)


@pytest.mark.parametrize("tag", sorted(elements.OF_PROOFS))
@pytest.mark.parametrize("stage", ["open", "closing"])
def test_no_method_has_a_long_name(tag: str, stage: str) -> None:
    """We might have to repeat it, and in quotes it takes six times as much: more than a tag may take."""
    between = pair()
    speaker = Role.RESPONDER if tag == elements.REQUEST else Role.INITIATOR
    between.says(speaker, Element(tag, {"method": '"' * 32}))
    assert stages(between) == {State.OPEN}
    if stage == "closing":
        between.side(speaker.other).session.close(between.now)
    between.says(speaker, Element(tag, {"method": '"' * 33}))
    failure = between.side(speaker.other).failure
    assert isinstance(failure, StreamError)
    assert failure.condition == "policy-violation"


def test_behind_a_farewell_no_step_is_judged() -> None:
    between = pair()
    between.alice.session.close(between.now)
    between.says(Role.RESPONDER, Element(elements.STEP))
    assert [side.of(events.SessionClosed)[0].clean for side in (between.alice, between.bob)] == [True, True]


@ROLES
def test_a_proof_ends_with_a_session_that_fails(wants: Role) -> None:
    between = wish(pair(), wants)
    between.alice.session.bytestream_failed(BytestreamFailed("cut"), between.now)
    assert not between.alice.session.is_verifying
    assert between.alice.session.timer() is None


def test_a_comparison_that_began_before_has_a_deadline_when_it_opens() -> None:
    """Bob's user pins the key instead of comparing; Alice's may still compare, for as long as in any open session."""
    between = wish(pair(bob=HELD), Role.RESPONDER)
    assert between.alice.session.pending_prompt is not None
    between.pass_time(10).bob.session.update_known_keys(remembers("alice", Assurance.VERIFIED, "pin"), between.now)
    between.run()
    assert stages(between) == {State.OPEN}
    assert between.alice.session.timer() == between.bob.session.timer() == between.now + Timeouts().user


@ROLES
def test_a_user_may_decline(wants: Role) -> None:
    between = wish(pair(promptable_methods=frozenset()), wants)
    other = between.side(wants.other).session
    other.decline_verification("sas", between.now)
    between.run()
    assert [declined.method for declined in between.side(wants).of(events.VerificationDeclined)] == ["sas"]
    with pytest.raises(LocalError, match="was not asked for"):
        other.decline_verification("sas", between.now)
    wish(wish(between, wants, "srp", SECRETS["srp"]), wants.other, "srp", SECRETS["srp"])
    served(between)
    assert between.alice.session.assurance is between.bob.session.assurance is Assurance.VERIFIED


@ROLES
def test_a_password_is_agreed_to_with_another(wants: Role) -> None:
    """It is a proof like any: whoever gives another one ends the session."""
    between = wish(wish(pair(), wants, "srp", SECRETS["srp"]), wants.other, "srp", bytes(32))
    served(between)
    assert between.alice.session.state is between.bob.session.state is State.CLOSED


def test_a_weak_key_is_no_agreement() -> None:
    between = wish(pair(), Role.INITIATOR, "psk", SECRETS["psk"])
    with pytest.raises(WeakKey):
        between.bob.session.request_verification("psk", between.now, b"short")
    between.run()
    assert [declined.method for declined in between.alice.of(events.VerificationDeclined)] == ["psk"]
    assert between.alice.session.state is between.bob.session.state is State.OPEN


@ROLES
@pytest.mark.parametrize("set_up", [True, False])
def test_a_wish_that_nobody_answers_has_its_time(wants: Role, set_up: bool) -> None:
    between = wish(pair(promptable_methods=frozenset()), wants)
    between.pass_time(299.0)
    if set_up:
        wish(between, wants.other)
        between.pass_time(299.0)
    assert stages(between) == {State.OPEN}
    between.pass_time(1.0)
    assert stages(between) == {State.CLOSED}
    assert isinstance(between.side(wants).failure, Timeout)


def test_the_time_of_a_wish_is_that_of_its_own_side() -> None:
    """A responder whose request is never answered ends the session, however long the other side would wait."""
    patient = {"timeouts": Timeouts(user=10_000.0)}
    between = wish(pair(promptable_methods=frozenset(), alice=patient), Role.RESPONDER)
    between.pass_time(300.0)
    assert isinstance(between.bob.failure, Timeout)


def test_a_second_wish_before_the_first_is_answered() -> None:
    between = wish(pair(promptable_methods=frozenset()), Role.INITIATOR)
    talk(between.alice.session)._verifications._proofs.cancel("sas")
    wish(between, Role.INITIATOR, "psk", SECRETS["psk"])
    failure = between.bob.failure
    assert isinstance(failure, StreamError)
    assert failure.condition == "policy-violation"


# --- before it is open -----------------------------------------------------------------------------------------------


@ROLES
@pytest.mark.parametrize("held_by", ["one", "both"])
def test_strings_open_what_is_held(wants: Role, held_by: str) -> None:
    """A key that has to be verified is told as held, once; the strings prove it, and stanzas flow."""
    terms = {role: HELD if held_by == "both" or role is wants else {} for role in Role}
    between = pair(alice=terms[Role.INITIATOR], bob=terms[Role.RESPONDER])
    side = between.side(wants)
    [held] = side.of(events.VerificationRequired)
    assert held.decision == "hold"
    assert not side.of(events.SessionOpened)
    side.session.update_known_keys(NOBODY, between.now)  # something else was decided
    wish(between.run(), wants)
    for role in Role:
        answers(between, role)
    assert between.alice.session.state is between.bob.session.state is State.OPEN
    assert len(side.of(events.VerificationRequired)) == 1
    between.alice.session.send_stanza(message("at last, verified"))
    assert between.run().bob.stanzas == ["at last, verified"]


@ROLES
def test_what_is_open_earlier_than_the_strings_are_compared(wants: Role) -> None:
    between = wish(pair(**{"alice" if wants is Role.INITIATOR else "bob": HELD}), wants)  # type: ignore[arg-type]
    answers(between, wants)
    assert stages(between) == {State.OPEN}
    between.pass_time(299.0)
    assert isinstance(between.side(wants.other).session.pending_prompt, CompareSas)
    between.pass_time(1.0)
    assert stages(between) == {State.CLOSED}


def test_what_is_needed_is_not_told_as_held() -> None:
    between = Pair(
        config("alice", shared_secrets=SECRETS, **HELD), config("bob", shared_secrets=SECRETS, required_methods=("srp",))
    ).open()
    assert not between.alice.of(events.VerificationRequired)
    assert not served(between).alice.of(events.VerificationRequired)
    [held] = pair(alice=HELD, bob={"shared_secrets": SECRETS}).alice.of(events.VerificationRequired)
    assert held.methods == ("psk", "srp")


def test_before_the_hello_nothing_can_be_wished() -> None:
    between = pair()
    between.alice.session.close(between.now)
    with pytest.raises(LocalError, match="cannot run now"):
        between.alice.session.request_verification("sas", between.now)
    early = Pair(config("alice"), config("bob", promptable_methods=ASKED))
    with pytest.raises(LocalError, match="cannot run now"):
        early.alice.session.request_verification("sas", early.now)


# --- what the users say ----------------------------------------------------------------------------------------------


@ROLES
def test_each_hears_what_the_other_says(wants: Role) -> None:
    between = wish(pair(), wants)
    answers(between, wants)
    assert between.side(wants.other).of(events.PeerSasResult) == [events.PeerSasResult("sas", match=True)]
    assert between.side(wants.other).session.assurance is Assurance.VOUCHED
    answers(between, wants.other)
    assert between.side(wants).of(events.PeerSasResult) == [events.PeerSasResult("sas", match=True)]
    assert between.side(wants.other).session.assurance is Assurance.VERIFIED


def test_another_question_leaves_the_strings_compared() -> None:
    """Alice has compared and is asked for a password when Bob says that the strings are the same: Alice hears it."""
    between = wish(wish(pair(), Role.INITIATOR), Role.INITIATOR, "srp")
    answers(between, Role.INITIATOR)
    assert between.alice.session.pending_prompt == SecretNeeded("srp")
    answers(between, Role.RESPONDER)
    assert between.alice.of(events.PeerSasResult) == [events.PeerSasResult("sas", match=True)]


@ROLES
@pytest.mark.parametrize("before", [True, False])
def test_strings_that_differ_for_the_other(wants: Role, before: bool) -> None:
    between = wish(pair(), wants)
    if before:
        answers(between, wants)
    answers(between, wants.other, b"differs")
    ours = between.side(wants)
    assert ours.of(events.PeerSasResult) == [events.PeerSasResult("sas", match=False)]
    assert has_code(Code.SAS_MISMATCH)(ours.failure)
    assert ours.session.pending_prompt is None
    assert has_code(Code.SAS_MISMATCH)(between.side(wants.other).failure)
    assert not ours.of(events.SasInterrupted) + between.side(wants.other).of(events.SasInterrupted)
    for side, shown in ((between.alice, "bob"), (between.bob, "alice")):
        assert side.of(events.KeyDoubted) == [events.KeyDoubted(config(shown).own_key.fingerprint)]


@ROLES
@pytest.mark.parametrize("match", [True, False])
def test_what_the_other_says_is_heard_while_we_say_farewell(wants: Role, match: bool) -> None:
    """We have said that the strings are the same, and close; the other's answer crosses our farewell. Only a doubt counts."""
    between = wish(pair(), wants)
    answers(between, wants)
    ours, theirs = between.side(wants), between.side(wants.other)
    theirs.session.answer_prompt(MATCH if match else b"differs", between.now)
    ours.session.close(between.now)
    between.run()
    assert len(ours.of(events.KeyDoubted)) == (not match)
    assert ours.session.state is State.CLOSED


@pytest.mark.parametrize("attributes", [{"method": "sas"}, {"method": "srp", "match": "false"}])
def test_a_malformed_answer_behind_our_farewell_harms_nothing(attributes: dict[str, str]) -> None:
    between = wish(pair(), Role.INITIATOR)
    answers(between, Role.INITIATOR)
    between.alice.session.close(between.now)
    between.says(Role.RESPONDER, Element(elements.RESULT, attributes))
    between.run()
    [end] = between.alice.of(events.SessionClosed)
    assert end.clean
    assert not between.alice.of(events.KeyDoubted)


# --- cut -------------------------------------------------------------------------------------------------------------

ENDS = ["end of file", "terminate", "silence", "abort", "farewell", "decline"]


@ROLES
@pytest.mark.parametrize("answered", [True, False])
@pytest.mark.parametrize("how", ENDS)
def test_strings_that_are_cut_are_told(wants: Role, how: str, answered: bool) -> None:
    between = wish(pair(), Role.INITIATOR)
    side, other = between.side(wants), between.side(wants.other).session
    if answered:
        answers(between, wants)
    match how:
        case "end of file":
            between.end_transport(wants)
        case "terminate":
            between.on_data = lambda role, data: []
            other.bytestream_failed(Timeout("lost"), between.now)
            between.run()
        case "silence":
            between.pass_time(300.0)
        case "abort":
            other._fail(AuthenticationFailed("not yet"), between.now)
            between.run()
        case "farewell":
            other.close(between.now)
            between.run()
        case "decline":
            talk(other).out.element(elements.build_verification(elements.DECLINE, "sas"))
            between.run()
    assert side.of(events.SasInterrupted) == [events.SasInterrupted("sas")]
    over = (events.SessionClosed, events.VerificationDeclined)
    assert next(event for event in side.events if isinstance(event, (events.SasInterrupted, *over))) in side.of(
        events.SasInterrupted
    )


def test_what_both_have_compared_is_not_cut() -> None:
    between = wish(pair(), Role.INITIATOR)
    for role in Role:
        answers(between, role)
    between.end_transport(Role.INITIATOR)
    assert not between.alice.of(events.SasInterrupted)
    again = wish(pair(), Role.INITIATOR)
    again.alice.session.close(again.now)
    again.run()
    assert not again.alice.of(events.SasInterrupted)
    assert again.bob.of(events.SasInterrupted)


@ROLES
def test_a_word_is_not_taken_back(wants: Role) -> None:
    between = wish(pair(), wants)
    answers(between, wants.other)
    for match in ("false", "true"):
        between.says(wants.other, elements.build_verification(elements.RESULT, "sas", match=match))
    assert between.side(wants).of(events.PeerSasResult) == [events.PeerSasResult("sas", match=True)]
    assert stages(between) == {State.OPEN}


@pytest.mark.parametrize(
    "said", [{"method": "psk", "match": "true"}, {"method": "sas"}, {"method": "sas", "match": "yes"}], ids=str
)
def test_a_result_that_is_none(said: dict[str, str]) -> None:
    """Whoever says something else when strings are compared breaks the rules."""
    between = wish(pair(), Role.INITIATOR).says(Role.INITIATOR, Element(elements.RESULT, said))
    failure = between.bob.failure
    assert isinstance(failure, StreamError)
    assert failure.condition == "bad-format"


def test_what_is_asked_for_twice_is_told_once() -> None:
    between = wish(pair(promptable_methods=frozenset()), Role.RESPONDER)
    between.says(Role.RESPONDER, elements.build_verification(elements.REQUEST, "sas", SasForm.WORDS))
    assert between.alice.of(events.VerificationRequested) == [events.VerificationRequested("sas", "decimal", started=False)]


def test_what_our_own_user_ends_is_not_cut() -> None:
    held = wish(pair(alice=HELD), Role.INITIATOR)
    held.alice.session.close(held.now)
    held.run()
    assert not held.alice.of(events.SasInterrupted)
    between = wish(pair(), Role.INITIATOR)
    between.on_data = lambda role, data: []
    between.alice.session.close(between.now)
    between.run().pass_time(5.0)
    assert isinstance(between.alice.failure, UncleanClose)
    assert not between.alice.of(events.SasInterrupted)


def test_a_comparison_is_cut_by_its_own_end_alone_and_once() -> None:
    """Another method that the peer declines meanwhile says nothing of the strings; nor is a cut told again when all ends."""
    between = wish(wish(pair(), Role.INITIATOR), Role.INITIATOR, "psk", SECRETS["psk"])
    between.says(Role.RESPONDER, elements.build_verification(elements.DECLINE, "psk"))
    assert [declined.method for declined in between.alice.of(events.VerificationDeclined)] == ["psk"]
    assert not between.alice.of(events.SasInterrupted)
    between.says(Role.RESPONDER, elements.build_verification(elements.DECLINE, "sas"))
    between.end_transport(Role.INITIATOR)
    assert between.alice.of(events.SasInterrupted) == [events.SasInterrupted("sas")]
