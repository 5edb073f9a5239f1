"""Methods that need a secret run inside TLS before a stanza flows, or later in the open session; what they cost in trips."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from xml.etree.ElementTree import Element

import pytest

from tests.pair import Pair, config, has_code, message, remembers, talk
from xmpp_e2e import events
from xmpp_e2e.authenticate.base import MATCH, AttemptStarted, AttemptSucceeded, CompareSas, SecretNeeded
from xmpp_e2e.authenticate.psk import WeakKey
from xmpp_e2e.authenticate.sas_text import SasForm
from xmpp_e2e.config import VerifyWhen
from xmpp_e2e.errors import AuthenticationFailed, Code, LocalError, StreamError, Timeout, UntrustedKey
from xmpp_e2e.inner.elements import REQUEST, build_step
from xmpp_e2e.inner.verification_requests import VerificationRequest
from xmpp_e2e.states import USER_TIMEOUT, State
from xmpp_e2e.types import Assurance, KnownKeys, Role

KEY, STRETCHED = (hashlib.sha256(name).digest() for name in (b"key", b"password"))
SECRETS = {"psk": KEY, "srp": STRETCHED}
ASKED = frozenset({"sas"})


def pair(alice: tuple[str, ...] = (), bob: tuple[str, ...] = (), **changes: object) -> Pair:
    return Pair(
        config("alice", required_methods=alice, shared_secrets=SECRETS, promptable_methods=ASKED),
        config("bob", required_methods=bob, **{"shared_secrets": SECRETS, "promptable_methods": ASKED, **changes}),
    )


def served(between: Pair) -> Pair:
    """Each host counts guesses, and has nothing against one."""
    busy = True
    while busy:
        busy = False
        for side in (between.alice, between.bob):
            question = side.session.pending_prompt
            if isinstance(question, AttemptStarted | AttemptSucceeded):
                side.session.answer_prompt(b"", between.now)
                busy = True
        between.run()
    return between


def answers(between: Pair, role: Role, reply: bytes = MATCH) -> None:
    between.side(role).session.answer_prompt(reply, between.now)
    between.run()


def wish(between: Pair, role: Role, method: str = "sas", secret: bytes | None = None, form: SasForm = SasForm.DECIMAL) -> Pair:
    between.side(role).session.request_verification(method, between.now, secret, form)
    return between.run()


NEEDS = [(), ("psk",), ("srp",), ("psk", "srp")]


@pytest.mark.parametrize("bob", NEEDS, ids=str)
@pytest.mark.parametrize("alice", NEEDS, ids=str)
def test_whoever_needs_them_they_run_and_it_opens(alice: tuple[str, ...], bob: tuple[str, ...]) -> None:
    opened = served(pair(alice, bob).open())
    proofs = [sorted(proved.method for proved in side.of(events.KeyVerified)) for side in (opened.alice, opened.bob)]
    assert proofs == [sorted({*alice, *bob})] * 2
    expected = Assurance.VERIFIED if alice or bob else Assurance.VOUCHED
    for side in (opened.alice, opened.bob):
        assert (side.session.state, side.session.assurance) == (State.OPEN, expected)


def test_a_blocked_key_is_not_asked_for_proof() -> None:
    """It is refused at once, though a key is shared with whoever holds it, and gets no step."""
    blocked = KnownKeys((replace(remembers("bob").keys[0], blocked=True),))
    refused = Pair(
        config("alice", required_methods=("psk",), shared_secrets=SECRETS),
        config("bob", shared_secrets=SECRETS),
        alice_remembers=blocked,
    )
    refused.open()
    assert isinstance(refused.alice.failure, UntrustedKey)
    assert talk(refused.bob.session)._verifications._messages == 0


def test_a_key_that_is_blocked_meanwhile_is_refused_at_once() -> None:
    waits = pair(("srp",)).open()
    assert waits.alice.session.is_verifying
    waits.alice.session.update_known_keys(KnownKeys((replace(remembers("bob").keys[0], blocked=True),)), waits.now)
    waits.collect_events(Role.INITIATOR)
    assert isinstance(waits.alice.failure, UntrustedKey)


def test_a_proof_that_is_not_finished_is_the_openings() -> None:
    """Before the session is open it has no deadline of its own, and nobody is told of an open one."""
    late = pair(("srp",)).open()
    late.pass_time(USER_TIMEOUT)
    assert isinstance(late.alice.failure, Timeout)
    assert "open session" not in str(late.alice.failure)


@pytest.mark.parametrize("method", ["psk", "srp"])
@pytest.mark.parametrize("needs", list(Role))
def test_another_secret_opens_nothing(method: str, needs: Role) -> None:
    """The responder says that the proof failed, the initiator that the peer gave up; nobody has opened."""
    need = (method,)
    failed = pair(
        need if needs is Role.INITIATOR else (), need if needs is Role.RESPONDER else (), shared_secrets={method: bytes(32)}
    )
    served(failed.open())
    assert failed.alice.session.state is failed.bob.session.state is State.CLOSED
    assert not failed.alice.of(events.SessionOpened)
    assert not failed.bob.of(events.SessionOpened)
    [here], [there] = (side.of(events.SessionFailed) for side in (failed.bob, failed.alice))
    assert isinstance(here.error, AuthenticationFailed)
    assert has_code(Code.PROOF_FAILED)(there.error)


def test_a_secret_that_is_missing_is_asked_for() -> None:
    asking = pair(("srp",), shared_secrets={}, promptable_methods=frozenset({"srp"})).open()
    assert asking.bob.session.pending_prompt == SecretNeeded("srp")
    asking.pass_time(250.0)
    asking.bob.session.answer_prompt(STRETCHED, asking.now)
    served(asking.run())
    assert asking.bob.session.state is State.OPEN


def test_a_user_who_has_none_refuses() -> None:
    asking = pair(("srp",), shared_secrets={}, promptable_methods=frozenset({"srp"})).open()
    answers(asking, Role.RESPONDER, b"")
    assert asking.alice.session.state is asking.bob.session.state is State.CLOSED


@pytest.mark.parametrize("need", ["psk", "sas", "fingerprint"])
def test_what_cannot_run_cannot_be_needed(need: str) -> None:
    with pytest.raises(ValueError, match="cannot be needed"):
        config("alice", required_methods=(need,), shared_secrets={"srp": STRETCHED}, promptable_methods=ASKED)


def test_nothing_was_asked() -> None:
    """An answer to no question is the host's mistake, and harms nothing."""
    opened = pair().open()
    with pytest.raises(LocalError, match="nothing was asked"):
        opened.alice.session.answer_prompt(b"", opened.now)
    assert opened.alice.session.state is State.OPEN


@pytest.mark.parametrize("wants", list(Role))
def test_short_strings_in_an_open_session(wants: Role) -> None:
    """Either side may ask for it; both see the same, and each has its own user's word for it."""
    opened = pair().open()
    wish(opened, wants)
    shown = [side.session.pending_prompt for side in (opened.alice, opened.bob)]
    assert isinstance(shown[0], CompareSas)
    assert shown[0] == shown[1]
    answers(opened, Role.INITIATOR)
    assert (opened.alice.session.assurance, opened.bob.session.assurance) == (Assurance.VERIFIED, Assurance.VOUCHED)
    answers(opened, Role.RESPONDER)
    assert opened.bob.session.assurance is Assurance.VERIFIED
    opened.alice.session.send_stanza(message("now that I know you"))
    opened.run()
    assert opened.bob.stanzas == ["now that I know you"]


def test_strings_that_differ_end_the_session() -> None:
    opened = pair().open()
    wish(opened, Role.INITIATOR)
    answers(opened, Role.RESPONDER, b"")
    assert opened.alice.session.state is opened.bob.session.state is State.CLOSED


def test_both_want_it_at_once() -> None:
    opened = pair().open()
    for side in (opened.alice, opened.bob):
        side.session.request_verification("sas", opened.now)
    opened.run()
    assert isinstance(opened.alice.session.pending_prompt, CompareSas)
    assert opened.alice.session.pending_prompt == opened.bob.session.pending_prompt
    assert not opened.alice.of(events.VerificationDeclined) + opened.bob.of(events.VerificationDeclined)


def test_one_side_may_be_through_before_the_other() -> None:
    """Alice has compared and goes on with the password; Bob still compares, and follows afterwards."""
    opened = pair().open()
    for method in ("sas", "srp"):
        opened.alice.session.request_verification(method, opened.now)
    opened.run()
    answers(opened, Role.INITIATOR)
    assert isinstance(opened.bob.session.pending_prompt, CompareSas)
    opened.bob.session.answer_prompt(b"match", opened.now)
    served(opened.run())
    for side in (opened.alice, opened.bob):
        assert [proved.method for proved in side.of(events.KeyVerified)] == ["sas", "srp"]
        assert side.session.state is State.OPEN


def test_a_step_too_many() -> None:
    opened = pair().open()
    opened.alice.session.request_verification("sas", opened.now)
    opened.run().says(Role.INITIATOR, build_step("sas", b"more"))
    answers(opened, Role.RESPONDER)
    assert isinstance(opened.bob.failure, StreamError)
    assert opened.bob.failure.condition == "policy-violation"
    assert opened.bob.session.assurance is Assurance.VOUCHED


@pytest.mark.parametrize("closer", list(Role))
def test_a_proof_that_crosses_a_farewell_harms_nothing(closer: Role) -> None:
    """Who has said farewell is asked nothing any more, and overhears what the other says of proofs."""
    opened = pair().open()
    opened.side(closer).session.close(opened.now)
    opened.side(closer.other).session.request_verification("sas", opened.now)
    opened.run()
    for side in (opened.alice, opened.bob):
        assert side.of(events.SessionClosed) == [events.SessionClosed(clean=True, error=None)]


@pytest.mark.parametrize("leaver", list(Role))
def test_a_farewell_ends_what_is_asked(leaver: Role) -> None:
    """Both users compare, and one leaves: nobody waits for an answer, and the end is clean."""
    opened = pair().open()
    opened.alice.session.request_verification("sas", opened.now)
    opened.run().side(leaver).session.close(opened.now)
    assert opened.side(leaver).session.pending_prompt is None
    opened.run()
    assert [side.of(events.SessionClosed)[0].clean for side in (opened.alice, opened.bob)] == [True, True]


def test_a_method_of_tomorrow_is_declined() -> None:
    """Whoever begins what we do not know, or asks for it, learns that, and the session goes on."""
    opened = pair().open()
    for side in (opened.alice, opened.bob):
        request = VerificationRequest(SasForm.DECIMAL, agreed=True)
        talk(side.session)._verifications._requests.add("tomorrow", request)
    opened.says(Role.INITIATOR, build_step("tomorrow", b""))
    assert [declined.method for declined in opened.alice.of(events.VerificationDeclined)] == ["tomorrow"]
    opened.says(Role.RESPONDER, Element(REQUEST, {"method": "tomorrow"}))
    assert [declined.method for declined in opened.bob.of(events.VerificationDeclined)] == ["tomorrow"]
    assert opened.alice.session.state is opened.bob.session.state is State.OPEN


@pytest.mark.parametrize("method", ["fingerprint", "tomorrow"])
def test_what_cannot_run_late(method: str) -> None:
    """What has run by itself, and what there is not, is the host's mistake."""
    opened = pair().open()
    with pytest.raises(LocalError, match="cannot run"):
        opened.alice.session.request_verification(method, opened.now)


def test_a_peer_may_decline() -> None:
    opened = pair(promptable_methods=frozenset()).open()
    wish(opened, Role.INITIATOR)
    assert [declined.method for declined in opened.alice.of(events.VerificationDeclined)] == ["sas"]
    assert opened.alice.session.state is opened.bob.session.state is State.OPEN
    assert opened.alice.session.pending_prompt is None


@pytest.mark.parametrize("opened", [False, True], ids=["before the session", "in it"])
def test_what_the_user_can_be_asked_may_change(opened: bool) -> None:
    asked = pair(promptable_methods=frozenset())
    if opened:
        asked.open()
    asked.bob.session.update_promptable_methods(ASKED)
    if not opened:
        asked.open()
    wish(asked, Role.INITIATOR)
    assert isinstance(asked.alice.session.pending_prompt, CompareSas)


def test_a_verified_key_needs_no_proof_again() -> None:
    """Whoever pinned the key, or proved it once, opens as fast as ever."""
    opened = Pair(
        config("alice", required_methods=("srp",), shared_secrets=SECRETS),
        config("bob", required_methods=("srp",), shared_secrets=SECRETS),
        alice_remembers=remembers("bob", Assurance.VERIFIED, "srp"),
        bob_remembers=remembers("alice", Assurance.VERIFIED, "srp"),
    ).open()
    assert opened.alice.session.state is opened.bob.session.state is State.OPEN
    assert not opened.alice.of(events.KeyVerified)


@pytest.mark.parametrize("wants", list(Role))
def test_a_verified_key_is_proved_again_where_that_is_wanted(wants: Role) -> None:
    for secret, stage in ((STRETCHED, State.OPEN), (bytes(32), State.CLOSED)):
        terms = {
            role: {"verify_when": VerifyWhen.ALWAYS, "required_methods": ("srp",)} if role is wants else {} for role in Role
        }
        opened = served(
            Pair(
                config("alice", shared_secrets=SECRETS, **terms[Role.INITIATOR]),
                config("bob", shared_secrets={"srp": secret}, **terms[Role.RESPONDER]),
                alice_remembers=remembers("bob", Assurance.VERIFIED, "srp"),
                bob_remembers=remembers("alice", Assurance.VERIFIED, "srp"),
            ).open()
        )
        assert opened.alice.session.state is opened.bob.session.state is stage
        assert len(opened.alice.of(events.KeyVerified)) == (stage is State.OPEN)


def test_a_late_proof_has_its_own_time() -> None:
    """Nobody compares the strings: the session ends after minutes, not before, and the session's own time goes on."""
    opened = pair().open()
    until = opened.alice.session.timer()
    wish(opened, Role.INITIATOR)
    opened.pass_time(299.0)
    assert opened.alice.session.state is opened.bob.session.state is State.OPEN
    for side in (opened.alice, opened.bob):
        side.session.answer_prompt(b"match", opened.now)
    opened.run()
    assert opened.alice.session.timer() == until
    again = pair().open()
    wish(again, Role.INITIATOR)
    again.pass_time(300.0)
    assert again.alice.session.state is again.bob.session.state is State.CLOSED


def test_a_key_that_is_too_short_costs_its_run_alone() -> None:
    """Our own side is told, nothing is sent, and another method can still run in the session."""
    opened = Pair(
        config("alice", shared_secrets={"psk": b"short"}, promptable_methods=ASKED),
        config("bob", shared_secrets=SECRETS, promptable_methods=ASKED),
    ).open()
    with pytest.raises(WeakKey):
        opened.alice.session.request_verification("psk", opened.now)
    assert opened.run().alice.session.state is opened.bob.session.state is State.OPEN
    wish(opened, Role.INITIATOR)
    assert isinstance(opened.alice.session.pending_prompt, CompareSas)


@pytest.mark.parametrize("wants", list(Role))
def test_a_secret_may_come_with_the_wish(wants: Role) -> None:
    ours: dict[str, object] = {}
    theirs: dict[str, object] = {"shared_secrets": SECRETS}
    terms = (ours, theirs) if wants is Role.INITIATOR else (theirs, ours)
    opened = Pair(config("alice", **terms[0]), config("bob", **terms[1])).open()
    wish(opened, wants, "psk", KEY)
    for side in (opened.alice, opened.bob):
        assert side.session.assurance is Assurance.VERIFIED
        assert not side.of(events.PromptRequested)


@pytest.mark.parametrize("needs", list(Role))
def test_the_others_user_has_time_to_type(needs: Role) -> None:
    """Whoever only answers a proof that the other needs waits as long as the other, whose user may have to type the secret."""
    needy = {"required_methods": ("psk",), "promptable_methods": frozenset({"psk"})}
    answers = {"shared_secrets": SECRETS}
    alice, bob = (needy, answers) if needs is Role.INITIATOR else (answers, needy)
    between = Pair(config("alice", **alice), config("bob", **bob)).open().pass_time(USER_TIMEOUT - 1)
    between.side(needs).session.answer_prompt(KEY, between.now)
    between.run()
    assert between.alice.session.state is between.bob.session.state is State.OPEN
