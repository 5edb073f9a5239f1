"""Verifications that users start, that peers ask for, or that a session needs before it opens: who is asked, who hears what."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from slixmpp_e2e import E2ESession, SasPrompt, VerificationDeclined, VerificationInterrupted, VerificationRequested
from slixmpp_e2e.alarms import explain
from slixmpp_e2e.errors import VerificationUnavailable
from slixmpp_e2e.store import StoreError
from slixmpp_e2e.verification import verifier
from slixmpp_e2e.verification.attempt_limiter import MAX_PASSWORD_ATTEMPTS
from tests.pair import has_code
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e, turns, until
from tests.slixmpp_e2e.verification.users import ALICES, BOBS, Looks, agrees, says, share
from xmpp_e2e.authenticate.sas_text import SasForm
from xmpp_e2e.errors import AuthenticationFailed, BytestreamFailed, Code, LocalError
from xmpp_e2e.types import Assurance, Role

ASKS = pytest.mark.parametrize("asks", list(Role))
UNTRUSTED = {"trust_model": "server-untrusted"}


async def sides(env: Env, asks: Role, **bob: Any) -> tuple[Any, Any, E2ESession, E2ESession]:
    one, other = await env.client(ALICE), await env.client(BOB, **bob)
    if asks is Role.INITIATOR:
        ours, theirs = await env.session(one, other)
    else:
        theirs, ours = await env.session(other, one)
    return one, other, ours, theirs


@ASKS
@pytest.mark.parametrize("form", list(SasForm))
async def test_both_see_the_form_of_the_side_that_asks(env: Env, asks: Role, form: SasForm) -> None:
    mine, his = Looks(), Looks()
    _, other, ours, theirs = await sides(env, asks, ask_sas=his)
    requested = Events(other, "e2e_verification_requested")
    await until(ours.verify_sas(mine, form=form.value))
    shown = [await until(user.seen.get()) for user in (mine, his)]
    assert [compare.form for compare in shown] == [form.value] * 2
    assert shown[0].text == shown[1].text == getattr(shown[0], form.value)
    assert await requested.take() == VerificationRequested(theirs, "sas", form.value, running=True)


@ASKS
async def test_a_handler_answers(env: Env, asks: Role) -> None:
    """Without any setting, a handler of the event agrees by the same call at any time, or declines."""
    one, other, ours, theirs = await sides(env, asks)

    async def answers(happened: Any) -> None:
        if happened.method == "sas":
            await happened.session.verify_sas(agrees)
        else:
            happened.session.decline(happened.method)

    other.add_event_handler("e2e_verification_requested", answers)
    with pytest.raises(VerificationDeclined):
        await until(ours.verify_password("correct horse"))
    results = Events(one, "e2e_peer_sas_result")
    await until(ours.verify_sas(agrees))
    assert (await results.take()).match is True
    assert ours.is_open
    assert ours.assurance is theirs.assurance is Assurance.VERIFIED


async def test_a_request_that_nobody_answers_is_declined(
    env: Env, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is declined when most of the time for users is over; a verification that was agreed to goes on."""
    _, other, ours, theirs = await sides(env, Role.INITIATOR)
    requested = Events(other, "e2e_verification_requested")
    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING, "slixmpp_e2e"):
        patched.setattr(verifier, "DECLINE_AFTER", 0.0)
        with pytest.raises(VerificationDeclined):
            await until(ours.verify_password("correct horse"))
    assert "nobody has answered" in caplog.text
    mine, his = Looks(), Looks(at_once=False)
    both = [asyncio.ensure_future(ours.verify_sas(mine))]
    for _ in range(2):
        await requested.take()
    both.append(asyncio.ensure_future(theirs.verify_sas(his)))
    await until(his.seen.get())
    with monkeypatch.context() as patched:
        patched.setattr(verifier, "DECLINE_AFTER", 0.0)
        await e2e(other)._client._verifier._decline_later(theirs._driver, "sas")
    his.decides.set()
    await until(asyncio.gather(*both))
    assert ours.assurance is theirs.assurance is Assurance.VERIFIED


async def test_where_nobody_can_be_asked_the_log_says_what_to_set_up(env: Env, caplog: pytest.LogCaptureFixture) -> None:
    """The side that asked gets an error; the log of the other one names the settings and the event."""
    alice, bob = await env.pair()
    ours, _ = await env.session(alice, bob)
    with caplog.at_level(logging.WARNING, "slixmpp_e2e"), pytest.raises(VerificationDeclined):
        await until(ours.verify_sas(agrees))
    [line] = [record.getMessage() for record in caplog.records if "declined" in record.getMessage()]
    assert ALICE in line
    assert "ask_sas" in line
    assert "e2e_verification_requested" in line
    assert ours.is_open


@ASKS
async def test_strings_that_differ_for_the_peer_end_the_session(env: Env, asks: Role) -> None:
    his = Looks(same=False, at_once=False)
    one, _, ours, _ = await sides(env, asks, ask_sas=his)
    results, ends = Events(one, "e2e_peer_sas_result"), Events(one, "e2e_session_closed")
    await until(ours.verify_sas(agrees))
    his.decides.set()
    assert (await results.take()).match is False
    assert has_code(Code.SAS_MISMATCH)((await ends.take()).error)


@pytest.mark.parametrize("unloaded", [False, True], ids=["it ends", "the plugin ends"])
async def test_a_prompt_ends_with_its_session(env: Env, unloaded: bool) -> None:
    """A prompt whose answer is of no use is cancelled; a prompt of another session stays."""
    asked, gone = asyncio.Event(), asyncio.Event()

    async def hesitates(shown: SasPrompt) -> bool:
        asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            gone.set()
            raise
        return False

    _, other, ours, theirs = await sides(env, Role.INITIATOR, ask_sas=hesitates)
    proving = asyncio.ensure_future(ours.verify_sas(Looks(at_once=False)))
    await until(asked.wait())
    tasks = e2e(other)._client._verifier._tasks
    elsewhere = asyncio.Event()
    bystander: Any = object()
    tasks.start(bystander, elsewhere.wait())
    if unloaded:
        env.unload(other)
    else:
        await until(theirs.close())
    await until(gone.wait())
    await turns()
    assert list(tasks._tasks.values()) == [bystander]
    elsewhere.set()
    proving.cancel()
    await asyncio.gather(proving, return_exceptions=True)


async def test_a_method_runs_once_at_a_time(env: Env) -> None:
    mine, his = Looks(at_once=False), Looks()
    _, _, ours, _ = await sides(env, Role.INITIATOR, ask_sas=his)
    before = asyncio.all_tasks()
    first = asyncio.ensure_future(ours.verify_sas(mine))
    await until(mine.seen.get())
    with pytest.raises(LocalError, match="already"):
        await until(ours.verify_sas(agrees))
    mine.decides.set()
    await until(first)
    await until(_none_but(before))


async def _none_but(tasks: set[Any]) -> None:
    while left := asyncio.all_tasks() - tasks - {asyncio.current_task()}:
        await asyncio.wait(left)


async def test_strings_are_compared_though_the_password_is_locked(env: Env) -> None:
    one, _, ours, _ = await sides(env, Role.INITIATOR, ask_sas=Looks())
    for _ in range(MAX_PASSWORD_ATTEMPTS):
        e2e(one)._store.count_failed_attempt(BOBS, "srp")
    await until(ours.verify_sas(agrees))
    assert ours.assurance is Assurance.VERIFIED


async def test_an_interrupted_comparison_is_counted(env: Env) -> None:
    """The count outlives restarts and is shown with the next prompt; a late answer pins nothing; a success ends the count."""
    mine, his = Looks(at_once=False), Looks()
    alice, bob = await env.client(ALICE), await env.client(BOB, ask_sas=his)
    for count in (1, 2):
        interruptions = Events(alice, "e2e_verification_interrupted")
        ours, _ = await env.session(alice, bob)
        verifying = asyncio.ensure_future(ours.verify_sas(mine))
        assert (await until(mine.seen.get())).interrupted == count - 1
        ours._driver.abort_unreachable(BytestreamFailed("in the middle"))
        with pytest.raises(BytestreamFailed):
            await until(verifying)
        report = await interruptions.take()
        assert report == VerificationInterrupted(BOB, count)
        mine.decides.set()
        await env.settle(alice, bob)
        assert not e2e(alice).trust.show(BOBS).any_verified
        assert e2e(alice)._store.failed_attempts(BOBS, "sas") == count
        env.unload(alice)
        env.load(alice)
        mine.decides.clear()
    mine.decides.set()
    ours, _ = await env.session(alice, bob)
    await until(ours.verify_sas(mine))
    assert e2e(alice)._store.failed_attempts(BOBS, "sas") == 0


@pytest.mark.parametrize("holds", list(Role))
@pytest.mark.parametrize(
    "prompts", [{"ask_sas": agrees}, {"ask_password": lambda _: says("correct horse")}], ids=["sas", "password"]
)
async def test_a_session_that_needs_a_verification_asks_for_it(env: Env, holds: Role, prompts: dict[str, Any]) -> None:
    terms = {ALICE: prompts, BOB: prompts}
    terms[ALICE if holds is Role.INITIATOR else BOB] = {**prompts, **UNTRUSTED}
    alice, bob = await env.client(ALICE, **terms[ALICE]), await env.client(BOB, **terms[BOB])
    heard = Events(bob, "message")
    await env.settle(alice, bob)
    alice.send_message(mto=BOB, mbody="at long last")
    message = await heard.take()
    holder = message["e2e"]["session"] if holds is Role.RESPONDER else e2e(alice).sessions()[0]
    assert holder.assurance is Assurance.VERIFIED
    assert env.in_clear("at long last") == []


async def test_a_minimum_assurance_asks_for_a_verification(env: Env) -> None:
    alice, _ = await env.pair(ask_sas=agrees)
    link = await until(e2e(alice).connect(BOB, require="verified"))
    await until(link.wait_open())
    assert link.assurance is Assurance.VERIFIED


@pytest.mark.parametrize("holds", list(Role))
async def test_a_peer_with_no_user_to_ask_is_refused_at_once(env: Env, holds: Role) -> None:
    """The side that needs the verification hears why, and nothing is sent in plaintext."""
    prompts: dict[str, Any] = {"ask_sas": agrees, "ask_password": lambda peer: says("correct horse"), **UNTRUSTED}
    terms = {ALICE: prompts if holds is Role.INITIATOR else {}, BOB: prompts if holds is Role.RESPONDER else {}}
    alice, bob = await env.client(ALICE, **terms[ALICE]), await env.client(BOB, **terms[BOB])
    failed = Events(alice if holds is Role.INITIATOR else bob, "e2e_session_failed")
    sent = Events(alice, "e2e_send_failed")
    await env.settle(alice, bob)
    alice.send_message(mto=BOB, mbody="never said")
    error = (await failed.take()).error
    assert isinstance(error, VerificationUnavailable)
    assert explain((await sent.take()).error)
    assert env.in_clear("never said") == []


async def test_a_key_that_is_pinned_meanwhile_needs_no_verification(env: Env) -> None:
    """If the peer declines when the session has opened already, it goes on."""
    alice, bob = await env.client(ALICE, ask_sas=agrees, **UNTRUSTED), await env.client(BOB)
    requested, heard = Events(bob, "e2e_verification_requested"), Events(bob, "message")
    await env.settle(alice, bob)
    link = await until(e2e(alice).connect(BOB))
    asked = (await requested.take()).session
    await e2e(alice).trust.pin(BOBS, e2e(bob).fingerprint)
    await until(link.wait_open())
    asked.decline("sas")
    await env.settle(alice, bob)
    alice.send_message(mto=BOB, mbody="still the same session")
    assert (await heard.take())["e2e"]["session"] is asked
    assert link.is_open


async def test_without_a_prompt_an_event_says_what_is_required(env: Env, caplog: pytest.LogCaptureFixture) -> None:
    alice, bob = await env.client(ALICE), await env.client(BOB, ask_sas=agrees)
    held = Events(alice, "e2e_verification_required")
    await env.settle(alice, bob)
    with caplog.at_level(logging.WARNING, "slixmpp_e2e"):
        link = await until(e2e(alice).connect(BOB, require="verified"))
        told = await held.take()
    assert (told.status, told.fingerprint) == ("first", e2e(bob).fingerprint)
    assert f"xmpp-e2e trust pin {BOBS} {e2e(bob).fingerprint}" in told.text
    assert told.text in caplog.text
    await until(link.verify_sas(agrees))
    await until(link.wait_open())
    assert link.assurance is Assurance.VERIFIED


@pytest.mark.parametrize("verb", ["count_failed_attempt", "remember_key"])
async def test_a_store_that_fails_ends_the_session(env: Env, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    alice, bob = await env.client(ALICE), await env.client(BOB, ask_password=lambda peer: says("correct horse"))
    ours, _ = await env.session(alice, bob)

    def fails(*_: object) -> None:
        raise StoreError(e2e(alice)._store.path, "the disk is full")

    monkeypatch.setattr(e2e(alice)._store, verb, fails)
    with pytest.raises(StoreError, match="the disk is full"):
        await until(ours.verify_password("correct horse"))
    assert await until(ours.wait_closed()) is not None


@pytest.mark.parametrize("where", ["setting", "trust file"])
async def test_every_session_is_verified_where_that_is_set(env: Env, tmp_path: Path, where: str) -> None:
    """With ``always``, even a verified key is not enough: the secret must be the same in each session."""
    alone: dict[str, Any] = {"verify_when": "always"}
    if where == "trust file":
        (tmp_path / "trust.toml").write_text(f'["{BOBS}"]\nverify_when = "always"\n')
        alone = {"trust_file": str(tmp_path / "trust.toml")}
    alice, bob = await env.client(ALICE, **alone), await env.client(BOB)
    share(alice, BOBS, "psk", bytes(range(32)))
    share(bob, ALICES, "psk", bytes(range(32)))
    ours, _ = await env.session(alice, bob)
    assert ours.assurance is Assurance.VERIFIED
    await until(ours.close())
    share(bob, ALICES, "psk", bytes(range(1, 33)))
    with pytest.raises(AuthenticationFailed):
        await until(env.session(alice, bob))
