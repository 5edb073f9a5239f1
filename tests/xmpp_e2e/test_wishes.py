"""What users want proved beyond what hellos need: asked for, agreed to, shown, answered, cut."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element

import pytest

from tests.pair import NOBODY, Pair, config, message
from tests.xmpp_e2e.test_proofs import SECRETS, served
from xmpp_e2e import events
from xmpp_e2e.authenticate import hello
from xmpp_e2e.authenticate.base import MATCH, SecretWanted, StringsShown
from xmpp_e2e.authenticate.psk import WeakKey
from xmpp_e2e.authenticate.sas import StringsDiffer
from xmpp_e2e.authenticate.strings import Form
from xmpp_e2e.config import Deadlines
from xmpp_e2e.errors import AuthenticationFailed, LocalError, StreamError, TimedOut, Truncated
from xmpp_e2e.identity import Assurance, Role, TrustModel
from xmpp_e2e.stages import Stage
from xmpp_e2e.stream.outflow import Outflow

ROLES = pytest.mark.parametrize("wants", list(Role))
ASKED = frozenset({"sas"})
HELD = {"trust_model": TrustModel.SERVER_UNTRUSTED}


def pair(*, asks: frozenset[str] = ASKED, alice: Any = None, bob: Any = None) -> Pair:
    """It is open, unless the terms of one hold the other's key."""
    between = Pair(config("alice", asks=asks, **(alice or {})), config("bob", asks=asks, **(bob or {})))
    between.declines = False
    return between.open()


def answers(between: Pair, role: Role, reply: bytes = MATCH) -> None:
    between.side(role).session.answer(reply, between.now)
    between.run()


def stages(between: Pair) -> set[Stage]:
    """Where both are."""
    return {between.alice.session.stage, between.bob.session.stage}


def wish(between: Pair, role: Role, method: str = "sas", secret: bytes | None = None, form: Form = Form.DECIMAL) -> Pair:
    """The user of one side wants it."""
    between.side(role).session.request(method, between.now, secret, form)
    return between.run()


def test_a_wish_is_said_once() -> None:
    """The responder asks twice: the initiator hears it once, and nothing runs before he begins."""
    between = pair(asks=frozenset())
    for _ in range(2):
        wish(between, Role.RESPONDER)
        assert not between.bob.session.proving
    assert len(between.alice.of(events.VerifyRequest)) == 1
    assert between.alice.session._inner._steps == 1


def test_numbers_are_what_needs_no_word() -> None:
    """``decimal`` is not said on the wire."""
    assert "form" not in hello.build_late(hello.REQUEST, "sas", Form.DECIMAL).attrib
    assert hello.build_late(hello.REQUEST, "sas", Form.EMOJI).get("form") == "emoji"


@ROLES
def test_the_form_is_said_once(monkeypatch: pytest.MonkeyPatch, wants: Role) -> None:
    """By who asks, and by the initiator's first step; on no other."""
    between = pair()
    said: list[Element] = []
    say = Outflow.element

    def noted(out: Outflow, element: Element) -> None:
        said.append(element)
        say(out, element)

    monkeypatch.setattr(Outflow, "element", noted)
    wish(between, wants, form=Form.EMOJI)
    first = [("request", "emoji")] if wants is Role.RESPONDER else []
    steps = [("step", "emoji"), ("step", None), ("step", None)]
    assert [(element.tag.rpartition("}")[2], element.get("form")) for element in said] == [*first, *steps]


@ROLES
def test_a_wish_that_was_declined_has_no_deadline(wants: Role) -> None:
    """The session lives on, though nobody has proved anything."""
    between = wish(pair(asks=frozenset()), wants)
    between.side(wants.other).session.decline("sas", between.now)
    between.run().pass_time(2 * Deadlines().human)
    assert stages(between) == {Stage.OPEN}


def test_what_cannot_be_begun_is_nobodys_wish() -> None:
    """Our own key is too short: the peer hears nothing of it, least of all that we decline, and nothing waits."""
    between = pair()
    with pytest.raises(WeakKey):
        between.alice.session.request("psk", between.now, bytes(15))
    between.run().pass_time(2 * Deadlines().human)
    assert not between.bob.of(events.Declined) + between.bob.of(events.VerifyRequest)
    assert stages(between) == {Stage.OPEN}


def test_what_cannot_be_agreed_to_is_declined() -> None:
    """The key that is given for the peer's wish is too short: he is told that it is declined, and nothing waits."""
    between = wish(pair(), Role.INITIATOR, "psk", SECRETS["psk"])
    with pytest.raises(WeakKey):
        between.bob.session.request("psk", between.now, bytes(15))
    between.run().pass_time(2 * Deadlines().human)
    assert [declined.method for declined in between.alice.of(events.Declined)] == ["psk"]
    assert stages(between) == {Stage.OPEN}


def test_the_peers_word_is_waited_for() -> None:
    """Our own user has said that the strings are the same, and the proof is through; his has his time, and then it ends."""
    between = wish(pair(), Role.INITIATOR)
    between.alice.session.answer(MATCH, between.now)
    assert not between.alice.session.proving
    between.alice.session.handle_timer(between.now + Deadlines().human)
    between.collect_events(Role.INITIATOR)
    assert isinstance(between.alice.failure, TimedOut)


# --- asked for -------------------------------------------------------------------------------------------------------


@ROLES
@pytest.mark.parametrize("form", list(Form))
def test_who_asks_says_how_it_is_shown(wants: Role, form: Form) -> None:
    """Both sides are told the same form, and the other that he is asked."""
    between = wish(pair(), wants, form=form)
    for side in (between.alice, between.bob):
        [asked] = side.of(events.Asked)
        assert asked.form is form
    assert between.side(wants.other).of(events.VerifyRequest) == [events.VerifyRequest("sas", form.value, begun=True)]
    assert not between.side(wants).of(events.VerifyRequest)


def test_the_initiators_form_counts_when_wishes_cross() -> None:
    """It is the one that he says with his first step."""
    between = pair()
    for role, form in ((Role.INITIATOR, Form.WORDS), (Role.RESPONDER, Form.EMOJI)):
        between.side(role).session.request("sas", between.now, None, form)
    between.run()
    assert [asked.form for side in (between.alice, between.bob) for asked in side.of(events.Asked)] == [Form.WORDS] * 2


@ROLES
def test_what_is_not_set_up_waits_for_the_user(wants: Role) -> None:
    """Nothing is shown before he has agreed; then it runs in the form that was asked for, whatever he would have asked for."""
    between = wish(pair(asks=frozenset()), wants, form=Form.EMOJI)
    other = between.side(wants.other)
    assert other.of(events.VerifyRequest) == [events.VerifyRequest("sas", "emoji", begun=False)]
    assert not other.of(events.Asked) + between.side(wants).of(events.Asked)
    wish(between, wants.other, form=Form.WORDS)
    assert [asked.form for side in (between.alice, between.bob) for asked in side.of(events.Asked)] == [Form.EMOJI] * 2
    for role in Role:
        answers(between, role)
    assert between.alice.session.assurance is between.bob.session.assurance is Assurance.VERIFIED


@ROLES
@pytest.mark.parametrize("over", [False, True], ids=["ends", "has ended"])
def test_what_ends_is_not_declined(wants: Role, over: bool) -> None:
    """Nothing is said behind a farewell: whoever declines as the session ends, or when it has, need not know."""
    between = wish(pair(asks=frozenset()), wants)
    other = between.side(wants.other).session
    other.close(between.now)
    if over:
        between.run()
    other.decline("sas", between.now)
    between.run()
    assert [end.clean for side in (between.alice, between.bob) for end in side.of(events.SessionEnd)] == [True, True]


@ROLES
def test_a_wish_waits_for_five_minutes(wants: Role) -> None:
    """At the side that is asked, too, whatever the other does."""
    asked = wish(pair(asks=frozenset()), wants).side(wants.other).session
    assert asked.timer() == 1000.0 + Deadlines().human


def test_another_wish_gives_no_more_time() -> None:
    """The first one's five minutes are those of all."""
    between = wish(pair(asks=frozenset()), Role.RESPONDER)
    between.pass_time(200)
    wish(between, Role.RESPONDER, "srp", SECRETS["srp"])
    assert len(between.alice.session._inner._wishes.waiting) == 2
    assert between.alice.session.timer() == 1000.0 + Deadlines().human


def test_nobody_declines_what_he_has_asked_for_himself() -> None:
    """Before the session is open that ends it: he may have meant what a hello needs."""
    between = pair(asks=frozenset(), alice=HELD)
    between.says(Role.RESPONDER, *(hello.build_late(name, "sas") for name in (hello.REQUEST, hello.DECLINE)))
    assert isinstance(between.alice.failure, StreamError)


@ROLES
def test_what_crosses_a_farewell_is_ignored(wants: Role) -> None:
    """A decline, or the word of the other's user, of no use to whoever has left."""
    declined, said = wish(pair(asks=frozenset()), wants), wish(pair(), wants)
    for between in (declined, said):
        between.side(wants).session.close(between.now)
    declined.side(wants.other).session.decline("sas", declined.now)
    said.side(wants.other).session.answer(MATCH, said.now)
    declined.run()
    said.run()
    assert not declined.side(wants).of(events.Declined)
    assert not said.side(wants).of(events.VerifyResult)
    for between in (declined, said):
        assert [end.clean for side in (between.alice, between.bob) for end in side.of(events.SessionEnd)] == [True, True]


def test_a_peer_who_has_agreed_may_be_cut_off() -> None:
    """His user says that the strings are the same, ours has yet to speak when the path breaks: told as a cut."""
    between = wish(pair(), Role.INITIATOR)
    answers(between, Role.RESPONDER)
    between.alice.session.receive_data(b"", between.now)
    between.collect_events(Role.INITIATOR)
    assert [cut.method for cut in between.alice.of(events.VerifyCut)] == ["sas"]


@ROLES
def test_he_may_decline(wants: Role) -> None:
    """The session goes on, and another method can be asked for."""
    between = wish(pair(asks=frozenset()), wants)
    other = between.side(wants.other).session
    other.decline("sas", between.now)
    between.run()
    assert [declined.method for declined in between.side(wants).of(events.Declined)] == ["sas"]
    with pytest.raises(LocalError, match="was not asked for"):
        other.decline("sas", between.now)
    wish(wish(between, wants, "srp", SECRETS["srp"]), wants.other, "srp", SECRETS["srp"])
    served(between)
    assert between.alice.session.assurance is between.bob.session.assurance is Assurance.VERIFIED


@ROLES
def test_a_password_is_agreed_to_with_another(wants: Role) -> None:
    """It is a proof like any: whoever gives another one ends the session."""
    between = wish(wish(pair(), wants, "srp", SECRETS["srp"]), wants.other, "srp", bytes(32))
    served(between)
    assert between.alice.session.stage is between.bob.session.stage is Stage.CLOSED


def test_a_weak_key_is_no_agreement() -> None:
    """Bob is told, Alice that he takes no part, and the session goes on."""
    between = wish(pair(), Role.INITIATOR, "psk", SECRETS["psk"])
    with pytest.raises(WeakKey):
        between.bob.session.request("psk", between.now, b"short")
    between.run()
    assert [declined.method for declined in between.alice.of(events.Declined)] == ["psk"]
    assert between.alice.session.stage is between.bob.session.stage is Stage.OPEN


@ROLES
@pytest.mark.parametrize("set_up", [True, False])
def test_a_wish_that_nobody_answers_has_its_time(wants: Role, set_up: bool) -> None:
    """Five minutes for the user who is asked, and five from then on to compare; the session ends at both sides."""
    between = wish(pair(asks=frozenset()), wants)
    between.pass_time(299.0)
    if set_up:
        wish(between, wants.other)
        between.pass_time(299.0)
    assert stages(between) == {Stage.OPEN}
    between.pass_time(1.0)
    assert stages(between) == {Stage.CLOSED}
    assert isinstance(between.side(wants).failure, TimedOut)


def test_the_time_of_a_wish_is_that_of_its_own_side() -> None:
    """A responder whose request is never answered ends the session, however long the other side would wait."""
    patient = {"deadlines": Deadlines(human=10_000.0)}
    between = wish(pair(asks=frozenset(), alice=patient), Role.RESPONDER)
    between.pass_time(300.0)
    assert isinstance(between.bob.failure, TimedOut)


def test_a_second_wish_before_the_first_is_answered() -> None:
    """An initiator waits for the answer to his first step."""
    between = wish(pair(asks=frozenset()), Role.INITIATOR)
    between.alice.session._inner._runs.drop("sas")  # type: ignore[union-attr]
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
    [held] = side.of(events.KeyHeld)
    assert "xmpp-e2e trust pin" in held.text
    assert not side.of(events.SessionStart)
    side.session.remember(NOBODY, between.now)  # something else was decided
    wish(between.run(), wants)
    for role in Role:
        answers(between, role)
    assert between.alice.session.stage is between.bob.session.stage is Stage.OPEN
    assert len(side.of(events.KeyHeld)) == 1
    between.alice.session.send_stanza(message("at last, verified"))
    assert between.run().bob.stanzas == ["at last, verified"]


@ROLES
def test_what_is_open_earlier_than_the_strings_are_compared(wants: Role) -> None:
    """One needs no proof and his stanzas wait at the other's; the time to compare begins anew when it opens."""
    between = wish(pair(**{"alice" if wants is Role.INITIATOR else "bob": HELD}), wants)  # type: ignore[arg-type]
    answers(between, wants)
    assert stages(between) == {Stage.OPEN}
    between.pass_time(299.0)
    assert isinstance(between.side(wants.other).session.question, StringsShown)
    between.pass_time(1.0)
    assert stages(between) == {Stage.CLOSED}


def test_what_is_needed_is_not_told_as_held() -> None:
    """A proof is on its way already, whoever needs it; what the other's hello names is told when none is."""
    between = Pair(config("alice", secrets=SECRETS, **HELD), config("bob", secrets=SECRETS, need=("srp",))).open()
    assert not between.alice.of(events.KeyHeld)
    assert not served(between).alice.of(events.KeyHeld)
    [held] = pair(alice=HELD, bob={"secrets": SECRETS}).alice.of(events.KeyHeld)
    assert held.methods == ("psk", "srp")


def test_before_the_hello_nothing_can_be_wished() -> None:
    """Nor after the farewell."""
    between = pair()
    between.alice.session.close(between.now)
    with pytest.raises(LocalError, match="cannot run now"):
        between.alice.session.request("sas", between.now)
    early = Pair(config("alice"), config("bob", asks=ASKED))
    with pytest.raises(LocalError, match="cannot run now"):
        early.alice.session.request("sas", early.now)


# --- what the users say ----------------------------------------------------------------------------------------------


@ROLES
def test_each_hears_what_the_other_says(wants: Role) -> None:
    """It changes nothing of his own key's worth: his own answer does."""
    between = wish(pair(), wants)
    answers(between, wants)
    assert between.side(wants.other).of(events.VerifyResult) == [events.VerifyResult("sas", match=True)]
    assert between.side(wants.other).session.assurance is Assurance.VOUCHED
    answers(between, wants.other)
    assert between.side(wants).of(events.VerifyResult) == [events.VerifyResult("sas", match=True)]
    assert between.side(wants.other).session.assurance is Assurance.VERIFIED


def test_another_question_leaves_the_strings_compared() -> None:
    """Alice has compared and is asked for a password when Bob says that the strings are the same: she hears it."""
    between = wish(wish(pair(), Role.INITIATOR), Role.INITIATOR, "srp")
    answers(between, Role.INITIATOR)
    assert between.alice.session.question == SecretWanted("srp")
    answers(between, Role.RESPONDER)
    assert between.alice.of(events.VerifyResult) == [events.VerifyResult("sas", match=True)]


@ROLES
@pytest.mark.parametrize("before", [True, False])
def test_strings_that_differ_for_the_other(wants: Role, before: bool) -> None:
    """Our user hears of it, and why it ends, even if he had said that they match; nobody is left to compare."""
    between = wish(pair(), wants)
    if before:
        answers(between, wants)
    answers(between, wants.other, b"differs")
    ours = between.side(wants)
    assert ours.of(events.VerifyResult) == [events.VerifyResult("sas", match=False)]
    assert isinstance(ours.failure, StringsDiffer)
    assert ours.session.question is None
    assert isinstance(between.side(wants.other).failure, StringsDiffer)
    assert not ours.of(events.VerifyCut) + between.side(wants.other).of(events.VerifyCut)


# --- cut -------------------------------------------------------------------------------------------------------------

ENDS = ["end of file", "terminate", "silence", "abort", "farewell", "decline"]


@ROLES
@pytest.mark.parametrize("answered", [True, False])
@pytest.mark.parametrize("how", ENDS)
def test_strings_that_are_cut_are_told(wants: Role, how: str, answered: bool) -> None:
    """Shown, and over before both users have spoken: told once, whatever ends it, before the end itself."""
    between = wish(pair(), Role.INITIATOR)
    side, other = between.side(wants), between.side(wants.other).session
    if answered:
        answers(between, wants)
    match how:
        case "end of file":
            between.end_transport(wants)
        case "terminate":
            between.on_data = lambda role, data: []
            other.transport_failed(TimedOut("lost"), between.now)
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
            other._inner.out.element(hello.build_late(hello.DECLINE, "sas"))
            between.run()
    assert side.of(events.VerifyCut) == [events.VerifyCut("sas")]
    over = (events.SessionEnd, events.Declined)
    assert next(event for event in side.events if isinstance(event, (events.VerifyCut, *over))) in side.of(events.VerifyCut)


def test_what_both_have_compared_is_not_cut() -> None:
    """Nor what our own user ends."""
    between = wish(pair(), Role.INITIATOR)
    for role in Role:
        answers(between, role)
    between.end_transport(Role.INITIATOR)
    assert not between.alice.of(events.VerifyCut)
    again = wish(pair(), Role.INITIATOR)
    again.alice.session.close(again.now)
    again.run()
    assert not again.alice.of(events.VerifyCut)
    assert again.bob.of(events.VerifyCut)


@ROLES
def test_a_word_is_not_taken_back(wants: Role) -> None:
    """Of several results the first counts, and is told."""
    between = wish(pair(), wants)
    answers(between, wants.other)
    for match in ("false", "true"):
        between.says(wants.other, hello.build_late(hello.RESULT, "sas", match=match))
    assert between.side(wants).of(events.VerifyResult) == [events.VerifyResult("sas", match=True)]
    assert stages(between) == {Stage.OPEN}


@pytest.mark.parametrize(
    "said", [{"method": "psk", "match": "true"}, {"method": "sas"}, {"method": "sas", "match": "yes"}], ids=str
)
def test_a_result_that_is_none(said: dict[str, str]) -> None:
    """Whoever says something else when strings are compared breaks the rules."""
    between = wish(pair(), Role.INITIATOR).says(Role.INITIATOR, Element(hello.RESULT, said))
    failure = between.bob.failure
    assert isinstance(failure, StreamError)
    assert failure.condition == "bad-format"


def test_what_is_asked_for_twice_is_told_once() -> None:
    """A responder who insists changes nothing."""
    between = wish(pair(asks=frozenset()), Role.RESPONDER)
    between.says(Role.RESPONDER, hello.build_late(hello.REQUEST, "sas", Form.WORDS))
    assert between.alice.of(events.VerifyRequest) == [events.VerifyRequest("sas", "decimal", begun=False)]


def test_what_our_own_user_ends_is_not_cut() -> None:
    """He has closed the session, before it is open or after, and however the peer takes it."""
    held = wish(pair(alice=HELD), Role.INITIATOR)
    held.alice.session.close(held.now)
    held.run()
    assert not held.alice.of(events.VerifyCut)
    between = wish(pair(), Role.INITIATOR)
    between.on_data = lambda role, data: []
    between.alice.session.close(between.now)
    between.run().pass_time(5.0)
    assert isinstance(between.alice.failure, Truncated)
    assert not between.alice.of(events.VerifyCut)


def test_a_comparison_is_cut_by_its_own_end_alone_and_once() -> None:
    """Another method that the peer declines meanwhile says nothing of the strings; nor is a cut told again when all ends."""
    between = wish(pair(), Role.INITIATOR)
    between.says(Role.RESPONDER, hello.build_late(hello.DECLINE, "psk"))
    assert not between.alice.of(events.VerifyCut)
    between.says(Role.RESPONDER, hello.build_late(hello.DECLINE, "sas"))
    between.end_transport(Role.INITIATOR)
    assert between.alice.of(events.VerifyCut) == [events.VerifyCut("sas")]
