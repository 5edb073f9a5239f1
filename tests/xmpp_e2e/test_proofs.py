"""Methods that need a secret run inside TLS before a stanza flows, or later in the open session; what they cost in trips."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from xml.etree.ElementTree import Element

import pytest

from tests.pair import Pair, config, message, remembers
from xmpp_e2e import events
from xmpp_e2e.authenticate.base import GuessReturned, GuessSpent, SecretWanted, StringsShown
from xmpp_e2e.authenticate.dialogue import Failed
from xmpp_e2e.authenticate.hello import REQUEST, build_step
from xmpp_e2e.authenticate.psk import WeakKey
from xmpp_e2e.config import Each
from xmpp_e2e.errors import AuthenticationFailed, LocalError, StreamError, TimedOut, UntrustedKey
from xmpp_e2e.identity import Assurance, Remembered, Role
from xmpp_e2e.stages import HUMAN_DEADLINE, Stage

KEY, STRETCHED = (hashlib.sha256(name).digest() for name in (b"key", b"password"))
SECRETS = {"psk": KEY, "srp": STRETCHED}
ASKED = frozenset({"sas"})


def pair(alice: tuple[str, ...] = (), bob: tuple[str, ...] = (), **changes: object) -> Pair:
    """Both hold both secrets, and need these methods."""
    return Pair(
        config("alice", need=alice, secrets=SECRETS, asks=ASKED),
        config("bob", need=bob, **{"secrets": SECRETS, "asks": ASKED, **changes}),
    )


def served(between: Pair) -> Pair:
    """Each host counts guesses, and has nothing against one."""
    busy = True
    while busy:
        busy = False
        for side in (between.alice, between.bob):
            question = side.session.question
            if isinstance(question, GuessSpent | GuessReturned):
                side.session.answer(b"", between.now)
                busy = True
        between.run()
    return between


NEEDS = [(), ("psk",), ("srp",), ("psk", "srp")]


@pytest.mark.parametrize("bob", NEEDS, ids=str)
@pytest.mark.parametrize("alice", NEEDS, ids=str)
def test_whoever_needs_them_they_run_and_it_opens(alice: tuple[str, ...], bob: tuple[str, ...]) -> None:
    """Each method once, however many need it; who has seen a proof is at ``verified``, and so is the other."""
    opened = served(pair(alice, bob).open())
    proofs = [sorted(proved.method for proved in side.of(events.Proved)) for side in (opened.alice, opened.bob)]
    assert proofs == [sorted({*alice, *bob})] * 2
    expected = Assurance.VERIFIED if alice or bob else Assurance.VOUCHED
    for side in (opened.alice, opened.bob):
        assert (side.session.stage, side.session.assurance) == (Stage.OPEN, expected)


def test_a_blocked_key_is_not_asked_for_proof() -> None:
    """It is refused at once, though a key is shared with whoever holds it, and gets no step."""
    blocked = Remembered((replace(remembers("bob").keys[0], blocked=True),))
    refused = Pair(config("alice", need=("psk",), secrets=SECRETS), config("bob", secrets=SECRETS), alice_remembers=blocked)
    refused.open()
    assert isinstance(refused.alice.failure, UntrustedKey)
    assert refused.bob.session._inner._steps == 0


def test_a_key_that_is_blocked_meanwhile_is_refused_at_once() -> None:
    """No proof is waited for."""
    waits = pair(("srp",)).open()
    assert waits.alice.session.proving
    waits.alice.session.remember(Remembered((replace(remembers("bob").keys[0], blocked=True),)), waits.now)
    waits.collect_events(Role.INITIATOR)
    assert isinstance(waits.alice.failure, UntrustedKey)


def test_a_proof_that_is_not_finished_is_the_openings() -> None:
    """Before the session is open it has no deadline of its own, and nobody is told of an open one."""
    late = pair(("srp",)).open()
    late.pass_time(HUMAN_DEADLINE)
    assert isinstance(late.alice.failure, TimedOut)
    assert "open session" not in str(late.alice.failure)


@pytest.mark.parametrize("method", ["psk", "srp"])
@pytest.mark.parametrize("needs", list(Role))
def test_another_secret_opens_nothing(method: str, needs: Role) -> None:
    """The responder says that the proof failed, the initiator that the peer gave up; nobody has opened."""
    need = (method,)
    failed = pair(need if needs is Role.INITIATOR else (), need if needs is Role.RESPONDER else (), secrets={method: bytes(32)})
    served(failed.open())
    assert failed.alice.session.stage is failed.bob.session.stage is Stage.CLOSED
    assert not failed.alice.of(events.SessionStart)
    assert not failed.bob.of(events.SessionStart)
    [here], [there] = (side.of(events.SessionFailed) for side in (failed.bob, failed.alice))
    assert isinstance(here.error, AuthenticationFailed)
    assert isinstance(there.error, Failed)


def test_a_secret_that_is_missing_is_asked_for() -> None:
    """Bob's user can be asked for the password, and has minutes to answer."""
    asking = pair(("srp",), secrets={}, asks=frozenset({"srp"})).open()
    assert asking.bob.session.question == SecretWanted("srp")
    asking.pass_time(250.0)
    asking.bob.session.answer(STRETCHED, asking.now)
    served(asking.run())
    assert asking.bob.session.stage is Stage.OPEN


def test_a_user_who_has_none_refuses() -> None:
    """An empty answer ends it."""
    asking = pair(("srp",), secrets={}, asks=frozenset({"srp"})).open()
    asking.bob.session.answer(b"", asking.now)
    asking.run()
    assert asking.alice.session.stage is asking.bob.session.stage is Stage.CLOSED


@pytest.mark.parametrize("need", ["psk", "sas", "fingerprint"])
def test_what_cannot_run_cannot_be_needed(need: str) -> None:
    """The host's mistake, which the peer would take for a broken hello."""
    with pytest.raises(ValueError, match="cannot be needed"):
        config("alice", need=(need,), secrets={"srp": STRETCHED}, asks=ASKED)


def test_nothing_was_asked() -> None:
    """An answer to no question is the host's mistake, and harms nothing."""
    opened = pair().open()
    with pytest.raises(LocalError, match="nothing was asked"):
        opened.alice.session.answer(b"", opened.now)
    assert opened.alice.session.stage is Stage.OPEN


@pytest.mark.parametrize("wants", list(Role))
def test_short_strings_in_an_open_session(wants: Role) -> None:
    """Either side may ask for it; both see the same, and each has its own user's word for it."""
    opened = pair().open()
    opened.side(wants).session.request("sas", opened.now)
    opened.run()
    shown = [side.session.question for side in (opened.alice, opened.bob)]
    assert isinstance(shown[0], StringsShown)
    assert shown[0] == shown[1]
    opened.alice.session.answer(b"match", opened.now)
    opened.run()
    assert (opened.alice.session.assurance, opened.bob.session.assurance) == (Assurance.VERIFIED, Assurance.VOUCHED)
    opened.bob.session.answer(b"match", opened.now)
    opened.run()
    assert opened.bob.session.assurance is Assurance.VERIFIED
    opened.alice.session.send_stanza(message("now that I know you"))
    opened.run()
    assert opened.bob.stanzas == ["now that I know you"]


def test_strings_that_differ_end_the_session() -> None:
    """What a user says is final."""
    opened = pair().open()
    opened.alice.session.request("sas", opened.now)
    opened.run()
    opened.bob.session.answer(b"", opened.now)
    opened.run()
    assert opened.alice.session.stage is opened.bob.session.stage is Stage.CLOSED


def test_both_want_it_at_once() -> None:
    """Their wishes cross, and it runs once."""
    opened = pair().open()
    for side in (opened.alice, opened.bob):
        side.session.request("sas", opened.now)
    opened.run()
    assert isinstance(opened.alice.session.question, StringsShown)
    assert opened.alice.session.question == opened.bob.session.question
    assert not opened.alice.of(events.Declined) + opened.bob.of(events.Declined)


def test_one_side_may_be_through_before_the_other() -> None:
    """Alice has compared and goes on with the password; Bob still compares, and follows when he has."""
    opened = pair().open()
    for method in ("sas", "srp"):
        opened.alice.session.request(method, opened.now)
    opened.run()
    opened.alice.session.answer(b"match", opened.now)
    opened.run()
    assert isinstance(opened.bob.session.question, StringsShown)
    opened.bob.session.answer(b"match", opened.now)
    served(opened.run())
    for side in (opened.alice, opened.bob):
        assert [proved.method for proved in side.of(events.Proved)] == ["sas", "srp"]
        assert side.session.stage is Stage.OPEN


def test_a_step_too_many() -> None:
    """While his user compares, Bob cannot know that the peer says more than the method asks for; then he can, and ends it."""
    opened = pair().open()
    opened.alice.session.request("sas", opened.now)
    opened.run().says(Role.INITIATOR, build_step("sas", b"more"))
    opened.bob.session.answer(b"match", opened.now)
    opened.run()
    assert isinstance(opened.bob.failure, StreamError)
    assert opened.bob.failure.condition == "policy-violation"
    assert opened.bob.session.assurance is Assurance.VOUCHED


@pytest.mark.parametrize("closer", list(Role))
def test_a_proof_that_crosses_a_farewell_harms_nothing(closer: Role) -> None:
    """Who has said farewell is asked nothing any more, and overhears what the other says of proofs."""
    opened = pair().open()
    opened.side(closer).session.close(opened.now)
    opened.side(closer.other).session.request("sas", opened.now)
    opened.run()
    for side in (opened.alice, opened.bob):
        assert side.of(events.SessionEnd) == [events.SessionEnd(clean=True, error=None)]


@pytest.mark.parametrize("leaver", list(Role))
def test_a_farewell_ends_what_is_asked(leaver: Role) -> None:
    """Both users compare, and one leaves: nobody waits for an answer, and the end is clean."""
    opened = pair().open()
    opened.alice.session.request("sas", opened.now)
    opened.run().side(leaver).session.close(opened.now)
    assert opened.side(leaver).session.question is None
    opened.run()
    assert [side.of(events.SessionEnd)[0].clean for side in (opened.alice, opened.bob)] == [True, True]


def test_a_method_of_tomorrow_is_declined() -> None:
    """Whoever begins what we do not know, or asks for it, learns that, and the session goes on."""
    opened = pair().open()
    opened.says(Role.INITIATOR, build_step("tomorrow", b""))
    assert [declined.method for declined in opened.alice.of(events.Declined)] == ["tomorrow"]
    opened.says(Role.RESPONDER, Element(REQUEST, {"method": "tomorrow"}))
    assert [declined.method for declined in opened.bob.of(events.Declined)] == ["tomorrow"]
    assert opened.alice.session.stage is opened.bob.session.stage is Stage.OPEN


@pytest.mark.parametrize("method", ["fingerprint", "tomorrow"])
def test_what_cannot_run_late(method: str) -> None:
    """What has run by itself, and what there is not, is the host's mistake."""
    opened = pair().open()
    with pytest.raises(LocalError, match="cannot run"):
        opened.alice.session.request(method, opened.now)


def test_a_peer_may_decline() -> None:
    """Who cannot ask his user says so, and the session goes on."""
    opened = pair(asks=frozenset()).open()
    opened.alice.session.request("sas", opened.now)
    opened.run()
    assert [declined.method for declined in opened.alice.of(events.Declined)] == ["sas"]
    assert opened.alice.session.stage is opened.bob.session.stage is Stage.OPEN
    assert opened.alice.session.question is None


def test_a_verified_key_needs_no_proof_again() -> None:
    """Whoever pinned the key, or proved it once, opens as fast as ever."""
    opened = Pair(
        config("alice", need=("srp",), secrets=SECRETS),
        config("bob", need=("srp",), secrets=SECRETS),
        alice_remembers=remembers("bob", Assurance.VERIFIED, "srp"),
        bob_remembers=remembers("alice", Assurance.VERIFIED, "srp"),
    ).open()
    assert opened.alice.session.stage is opened.bob.session.stage is Stage.OPEN
    assert not opened.alice.of(events.Proved)


@pytest.mark.parametrize("wants", list(Role))
def test_a_verified_key_is_proved_again_where_that_is_wanted(wants: Role) -> None:
    """In each session, whichever side wants it; and another secret opens nothing, verified or not."""
    for secret, stage in ((STRETCHED, Stage.OPEN), (bytes(32), Stage.CLOSED)):
        terms = {role: {"each": Each.ALWAYS, "need": ("srp",)} if role is wants else {} for role in Role}
        opened = served(
            Pair(
                config("alice", secrets=SECRETS, **terms[Role.INITIATOR]),
                config("bob", secrets={"srp": secret}, **terms[Role.RESPONDER]),
                alice_remembers=remembers("bob", Assurance.VERIFIED, "srp"),
                bob_remembers=remembers("alice", Assurance.VERIFIED, "srp"),
            ).open()
        )
        assert opened.alice.session.stage is opened.bob.session.stage is stage
        assert len(opened.alice.of(events.Proved)) == (stage is Stage.OPEN)


def test_a_late_proof_has_its_own_time() -> None:
    """Nobody compares the strings: the session ends after minutes, not before, and the session's own time goes on."""
    opened = pair().open()
    until = opened.alice.session.timer()
    opened.alice.session.request("sas", opened.now)
    opened.run()
    opened.pass_time(299.0)
    assert opened.alice.session.stage is opened.bob.session.stage is Stage.OPEN
    for side in (opened.alice, opened.bob):
        side.session.answer(b"match", opened.now)
    opened.run()
    assert opened.alice.session.timer() == until
    again = pair().open()
    again.alice.session.request("sas", again.now)
    again.run()
    again.pass_time(300.0)
    assert again.alice.session.stage is again.bob.session.stage is Stage.CLOSED


def test_a_key_that_is_too_short_costs_its_run_alone() -> None:
    """Our own side is told, nothing is sent, and another method can still run in the session."""
    opened = Pair(config("alice", secrets={"psk": b"short"}, asks=ASKED), config("bob", secrets=SECRETS, asks=ASKED)).open()
    with pytest.raises(WeakKey):
        opened.alice.session.request("psk", opened.now)
    assert opened.run().alice.session.stage is opened.bob.session.stage is Stage.OPEN
    opened.alice.session.request("sas", opened.now)
    opened.run()
    assert isinstance(opened.alice.session.question, StringsShown)


@pytest.mark.parametrize("wants", list(Role))
def test_a_secret_may_come_with_the_wish(wants: Role) -> None:
    """It serves for the terms' own, and nothing is asked; a peer who has it in his terms is convinced, and convinces."""
    ours: dict[str, object] = {}
    theirs: dict[str, object] = {"secrets": SECRETS}
    terms = (ours, theirs) if wants is Role.INITIATOR else (theirs, ours)
    opened = Pair(config("alice", **terms[0]), config("bob", **terms[1])).open()
    opened.side(wants).session.request("psk", opened.now, KEY)
    opened.run()
    for side in (opened.alice, opened.bob):
        assert side.session.assurance is Assurance.VERIFIED
        assert not side.of(events.Asked)
