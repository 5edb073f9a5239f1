"""Proofs that users ask for while they talk, or that a held session asks for by itself: who is asked, and who hears what."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from slixmpp_e2e import client as switchboard
from slixmpp_e2e.errors import Unproved
from slixmpp_e2e.events import VerifyCut
from slixmpp_e2e.prompts import Compare
from slixmpp_e2e.sessions.driver import Happened, Link
from slixmpp_e2e.store.errors import StoreError
from slixmpp_e2e.verification.verifier import GUESSES, Locked, PeerDeclined, Proofs
from tests.slixmpp_e2e.verification.test_verifier import ALICES, BOBS, agrees, of, says, share
from tests.slixmpp_e2e.world import ALICE, BOB, Heard, World, e2e, until
from xmpp_e2e import events
from xmpp_e2e.authenticate.base import GuessReturned, GuessSpent
from xmpp_e2e.authenticate.sas import StringsDiffer
from xmpp_e2e.authenticate.strings import Form
from xmpp_e2e.errors import AuthenticationFailed, LocalError, TransportFailed
from xmpp_e2e.identity import Assurance, Role

ASKS = pytest.mark.parametrize("asks", list(Role))
UNTRUSTED = {"trust_model": "server-untrusted"}


class Looks:
    """A user who looks, and answers when the test says so."""

    def __init__(self, same: bool = True, *, at_once: bool = True) -> None:
        self.seen: asyncio.Queue[Compare] = asyncio.Queue()
        self.same, self.decides = same, asyncio.Event()
        if at_once:
            self.decides.set()

    async def __call__(self, shown: Compare) -> bool:
        self.seen.put_nowait(shown)
        await self.decides.wait()
        return self.same


async def sides(world: World, asks: Role, **bob: Any) -> tuple[Any, Any, Link, Link]:
    """The client who asks, and the other with these settings, and the session as each sees it; either may have opened it."""
    one, other = await world.client(ALICE), await world.client(BOB, **bob)
    if asks is Role.INITIATOR:
        ours, theirs = await world.session(one, other)
    else:
        theirs, ours = await world.session(other, one)
    return one, other, ours, theirs


# --- asked for -------------------------------------------------------------------------------------------------------


@ASKS
@pytest.mark.parametrize("form", list(Form))
async def test_both_see_the_form_of_who_asks(world: World, asks: Role, form: Form) -> None:
    """The prompt of the settings shows it, and the event says so."""
    mine, his = Looks(), Looks()
    _, other, ours, theirs = await sides(world, asks, sas=his)
    requested = Heard(other, "e2e_verify_request")
    await until(ours.verify_sas(mine, form=form.value))
    shown = [await until(user.seen.get()) for user in (mine, his)]
    assert [compare.form for compare in shown] == [form.value] * 2
    assert shown[0].text == shown[1].text == getattr(shown[0], form.value)
    told: Happened = await requested.take()
    assert (told.peer, told.session, told.detail) == (ALICE, theirs, events.VerifyRequest("sas", form.value, begun=True))


@ASKS
async def test_a_handler_answers(world: World, asks: Role) -> None:
    """Without any setting: whoever handles the event agrees by the same call, when he likes, and declines as simply."""
    one, other, ours, theirs = await sides(world, asks)

    async def answers(happened: Any) -> None:
        if happened.detail.method == "sas":
            await happened.session.verify_sas(agrees)
        else:
            happened.session.decline(happened.detail.method)

    other.add_event_handler("e2e_verify_request", answers)
    with pytest.raises(PeerDeclined):
        await until(ours.verify_password("correct horse"))
    results = Heard(one, "e2e_verify_result")
    await until(ours.verify_sas(agrees))
    assert (await results.take()).detail.match is True
    assert ours.is_open
    assert ours.assurance is theirs.assurance is Assurance.VERIFIED


async def test_a_handler_that_only_looks_costs_no_session(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When most of the time for people is over, what it has not answered is declined; what it has agreed to is not."""
    _, other, ours, theirs = await sides(world, Role.INITIATOR)
    requested = Heard(other, "e2e_verify_request")
    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING, "slixmpp_e2e"):
        patched.setattr(switchboard, "_ANSWERED", 0.0)
        with pytest.raises(PeerDeclined):
            await until(ours.verify_password("correct horse"))
    assert "nobody has answered" in caplog.text
    mine, his = Looks(), Looks(at_once=False)
    both = [asyncio.ensure_future(ours.verify_sas(mine))]
    for _ in range(2):
        await requested.take()
    both.append(asyncio.ensure_future(theirs.verify_sas(his)))
    await until(his.seen.get())
    await e2e(other).switchboard.proofs._decline(theirs, "sas", 0.0)
    his.decides.set()
    await until(asyncio.gather(*both))
    assert ours.assurance is theirs.assurance is Assurance.VERIFIED


async def test_where_nobody_can_be_asked_both_are_told(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The one by the error, the other by his log, which says what to set up."""
    alice, bob = await world.pair()
    ours, _ = await world.session(alice, bob)
    with caplog.at_level(logging.WARNING, "slixmpp_e2e"), pytest.raises(PeerDeclined):
        await until(ours.verify_sas(agrees))
    [line] = [record.getMessage() for record in caplog.records if "declined" in record.getMessage()]
    assert ALICE in line
    assert "`sas`" in line
    assert "e2e_verify_request" in line


# --- what the users say ----------------------------------------------------------------------------------------------


@ASKS
async def test_strings_that_differ_for_the_peer(world: World, asks: Role) -> None:
    """Our user had said that they match: he hears of it, and the session ends."""
    his = Looks(same=False, at_once=False)
    one, _, ours, _ = await sides(world, asks, sas=his)
    results, ends = Heard(one, "e2e_verify_result"), Heard(one, "e2e_session_end")
    await until(ours.verify_sas(agrees))
    his.decides.set()
    assert (await results.take()).detail == events.VerifyResult("sas", match=False)
    assert isinstance((await ends.take()).detail.error, StringsDiffer)


@pytest.mark.parametrize("unloaded", [False, True], ids=["it ends", "the plugin ends"])
async def test_a_question_ends_with_its_session(world: World, unloaded: bool) -> None:
    """Nobody is left in front of a prompt whose answer is of no use; a question of another session stays."""
    asked, gone = asyncio.Event(), asyncio.Event()

    async def hesitates(shown: Compare) -> bool:
        asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            gone.set()
            raise
        return False

    _, other, ours, theirs = await sides(world, Role.INITIATOR, sas=hesitates)
    proving = asyncio.ensure_future(ours.verify_sas(Looks(at_once=False)))
    await until(asked.wait())
    proofs = e2e(other).switchboard.proofs
    elsewhere = asyncio.Event()
    bystander: Any = object()
    proofs._spawn(bystander, elsewhere.wait())
    questions = [task for task, link in proofs._tasks.items() if link is theirs]
    if unloaded:
        world.unload(other)
    else:
        await until(theirs.close())
    await until(gone.wait())
    await until(asyncio.wait(questions))
    assert list(proofs._tasks.values()) == [bystander]
    elsewhere.set()
    proving.cancel()
    await asyncio.gather(proving, return_exceptions=True)


async def test_a_proof_is_asked_for_once_at_a_time(world: World) -> None:
    """The second call is refused, and the first one goes on; when it has ended nothing is left of it."""
    mine, his = Looks(at_once=False), Looks()
    _, _, ours, _ = await sides(world, Role.INITIATOR, sas=his)
    before = asyncio.all_tasks()
    first = asyncio.ensure_future(ours.verify_sas(mine))
    await until(mine.seen.get())
    with pytest.raises(LocalError, match="runs with bob@localhost/b already"):
        await until(ours.verify_sas(agrees))
    mine.decides.set()
    await until(first)
    await until(_none_but(before))


async def _none_but(tasks: set[Any]) -> None:
    """Until no other task runs than these and this."""
    while left := asyncio.all_tasks() - tasks - {asyncio.current_task()}:
        await asyncio.wait(left)


async def test_strings_are_compared_though_guesses_are_locked(world: World) -> None:
    """What locks a password locks nothing else."""
    one, _, ours, _ = await sides(world, Role.INITIATOR, sas=Looks())
    for _ in range(GUESSES):
        e2e(one).switchboard._store.count_failure(BOBS, "srp")
    await until(ours.verify_sas(agrees))
    assert ours.assurance is Assurance.VERIFIED


async def test_a_comparison_that_is_cut_is_counted(world: World) -> None:
    """Across restarts, and shown with the next one; a late "the same" pins nothing; one that succeeds ends the count."""
    mine, his = Looks(at_once=False), Looks()
    alice, bob = await world.client(ALICE), await world.client(BOB, sas=his)
    for count in (1, 2):
        cuts = Heard(alice, "e2e_verify_cut")
        ours, _ = await world.session(alice, bob)
        verifying = asyncio.ensure_future(ours.verify_sas(mine))
        assert (await until(mine.seen.get())).cut == count - 1
        ours.cut(TransportFailed("in the middle"))
        with pytest.raises(TransportFailed):
            await until(verifying)
        report = await cuts.take()
        assert report == VerifyCut(BOB, count)
        assert f"so often: {count}" in str(report)
        mine.decides.set()
        await world.settle(alice, bob)
        assert not e2e(alice).trust.show(BOBS).any_verified
        assert e2e(alice).memory.failures(BOBS, "sas") == count
        world.unload(alice)
        world.load(alice)
        mine.decides.clear()
    mine.decides.set()
    ours, _ = await world.session(alice, bob)
    await until(ours.verify_sas(mine))
    assert e2e(alice).memory.failures(BOBS, "sas") == 0


# --- what is held ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("holds", list(Role))
@pytest.mark.parametrize("prompts", [{"sas": agrees}, {"password": lambda _: says("correct horse")}], ids=["sas", "password"])
async def test_what_is_held_asks_by_itself(world: World, holds: Role, prompts: dict[str, Any]) -> None:
    """Whoever holds the key, both users are asked, and the message that waited comes as from somebody verified."""
    terms = {ALICE: prompts, BOB: prompts}
    terms[ALICE if holds is Role.INITIATOR else BOB] = {**prompts, **UNTRUSTED}
    alice, bob = await world.client(ALICE, **terms[ALICE]), await world.client(BOB, **terms[BOB])
    heard = Heard(bob, "message")
    await world.settle(alice, bob)
    alice.send_message(mto=BOB, mbody="at long last")
    message = await heard.take()
    holder = message["e2e"]["session"] if holds is Role.RESPONDER else e2e(alice).sessions()[0]
    assert holder.assurance is Assurance.VERIFIED
    assert world.in_clear("at long last") == []


async def test_a_minimum_asks_by_itself(world: World) -> None:
    """``connect(require="verified")`` is as good a reason."""
    alice, bob = await world.client(ALICE, sas=agrees), await world.client(BOB, sas=agrees)
    await world.settle(alice, bob)
    link = await until(e2e(alice).connect(BOB, require="verified"))
    await until(link.opened())
    assert link.assurance is Assurance.VERIFIED


@pytest.mark.parametrize("holds", list(Role))
async def test_a_peer_with_nobody_to_ask_is_refused_at_once(world: World, holds: Role) -> None:
    """Nothing is waited for: whoever holds his key hears why, the other that it was given up."""
    prompts: dict[str, Any] = {"sas": agrees, "password": lambda peer: says("correct horse"), **UNTRUSTED}
    terms = {ALICE: prompts if holds is Role.INITIATOR else {}, BOB: prompts if holds is Role.RESPONDER else {}}
    alice, bob = await world.client(ALICE, **terms[ALICE]), await world.client(BOB, **terms[BOB])
    failed = Heard(alice if holds is Role.INITIATOR else bob, "e2e_session_failed")
    sent = Heard(alice, "e2e_send_failed")
    await world.settle(alice, bob)
    alice.send_message(mto=BOB, mbody="never said")
    error = (await failed.take()).detail.error
    assert isinstance(error, Unproved)
    assert "takes no part in what could: sas" in str(error)
    assert (await sent.take()).error.explain()
    assert world.in_clear("never said") == []


async def test_what_is_pinned_meanwhile_needs_no_proof(world: World) -> None:
    """The peer declines when the session has opened already: it goes on."""
    alice, bob = await world.client(ALICE, sas=agrees, **UNTRUSTED), await world.client(BOB)
    requested, heard = Heard(bob, "e2e_verify_request"), Heard(bob, "message")
    await world.settle(alice, bob)
    link = await until(e2e(alice).connect(BOB))
    asked = (await requested.take()).session
    await e2e(alice).trust.pin(BOBS, e2e(bob).fingerprint)
    await until(link.opened())
    asked.decline("sas")
    await world.settle(alice, bob)
    alice.send_message(mto=BOB, mbody="still the same session")
    assert (await heard.take())["e2e"]["session"] is asked
    assert link.is_open


async def test_without_a_prompt_it_is_told_at_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """With the command that resolves it; and the program that has the session may still have it proved."""
    alice, bob = await world.client(ALICE), await world.client(BOB, sas=agrees)
    held = Heard(alice, "e2e_key_held")
    await world.settle(alice, bob)
    with caplog.at_level(logging.WARNING, "slixmpp_e2e"):
        link = await until(e2e(alice).connect(BOB, require="verified"))
        told = (await held.take()).detail
    assert (told.kind, told.fingerprint) == ("first", e2e(bob).fingerprint)
    assert f"xmpp-e2e trust pin {BOBS} {e2e(bob).fingerprint}" in told.text
    assert told.text in caplog.text
    await until(link.verify_sas(agrees))
    await until(link.opened())
    assert link.assurance is Assurance.VERIFIED


# --- guesses ---------------------------------------------------------------------------------------------------------


class Run:
    """A session in which a guess is about to be made, as the proofs see it."""

    ours, peer = ALICE, BOB

    def __init__(self, resource: str) -> None:
        self.peer = f"{BOBS}/{resource}"
        self.guess = GuessSpent("srp")
        self.outcome: list[Any] = []

    def answer(self, question: object, reply: bytes) -> None:
        self.outcome.append("goes on")

    def fail(self, error: Exception) -> None:
        self.outcome.append(type(error))

    def asks(self, proofs: Proofs) -> None:
        """Its guess is to be counted."""
        proofs.happened(self, events.Asked(self.guess))

    def ends(self, proofs: Proofs) -> None:
        """It is over."""
        proofs.happened(self, events.SessionFailed(TransportFailed("x")))


@pytest.mark.parametrize("processes", [1, 2])
async def test_sessions_at_once_share_the_guesses(world: World, processes: int) -> None:
    """With one guess left, of two devices one makes it; the other waits for how it ends, or, in another process, is refused."""
    plugins = [e2e(world.make(ALICE)) for _ in range(processes)]
    first, last = plugins[0].switchboard.proofs, plugins[-1].switchboard.proofs
    for _ in range(GUESSES - 1):
        plugins[0].memory.count_failure(BOBS, "srp")
    one, two = Run("one"), Run("two")
    one.asks(first)
    two.asks(last)
    assert one.outcome == ["goes on"]
    assert two.outcome == ([] if processes == 1 else [Locked])
    one.ends(first)
    assert two.outcome == [Locked]


async def test_who_is_right_lets_the_next_one_guess(world: World) -> None:
    """However many honest devices come at once, none of them is locked out; one that left meanwhile costs nothing."""
    plugin = e2e(world.make(ALICE))
    proofs, runs = plugin.switchboard.proofs, [Run(str(number)) for number in range(2 * GUESSES)]
    for run in runs:
        run.asks(proofs)
    runs[1].ends(proofs)
    for run in runs:
        if run is not runs[1]:
            assert run.outcome == ["goes on"]
            assert plugin.memory.failures(BOBS, "srp") == 1
            proofs.happened(run, events.Asked(GuessReturned("srp")))
    assert runs[1].outcome == []
    assert plugin.memory.failures(BOBS, "srp") == 0
    assert not proofs._guesses


@pytest.mark.parametrize("verb", ["count_failure", "accept"])
async def test_a_store_that_fails_ends_the_session(world: World, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    """What is not counted must not be tried, and what is not remembered is not known: nobody waits, and the error says why."""
    alice, bob = await world.client(ALICE), await world.client(BOB, password=lambda peer: says("correct horse"))
    ours, _ = await world.session(alice, bob)

    def fails(*_: object) -> None:
        raise StoreError(e2e(alice).memory.path, "the disk is full")

    monkeypatch.setattr(e2e(alice).memory, verb, fails)
    with pytest.raises(StoreError, match="the disk is full"):
        await until(ours.verify_password("correct horse"))
    assert await until(ours.ended()) is not None


@pytest.mark.parametrize("where", ["setting", "trust file"])
async def test_each_session_proves_where_that_is_wanted(world: World, tmp_path: Path, where: str) -> None:
    """The key is verified, and yet the secret must be there, and be the same."""
    alone: dict[str, Any] = {"each": "always"}
    if where == "trust file":
        (tmp_path / "trust.toml").write_text(f'["{BOBS}"]\neach = "always"\n')
        alone = {"trust_file": str(tmp_path / "trust.toml")}
    alice, bob = await world.client(ALICE, **alone), await world.client(BOB)
    share(alice, BOBS, "psk", bytes(range(32)))
    share(bob, ALICES, "psk", bytes(range(32)))
    ours, _ = await world.session(alice, bob)
    assert ours.assurance is Assurance.VERIFIED
    await until(ours.close())
    share(bob, ALICES, "psk", bytes(range(1, 33)))
    with pytest.raises(AuthenticationFailed):
        await until(world.session(alice, bob))


async def test_a_wrong_password_that_was_right_before_is_counted_anew(world: World) -> None:
    """Both sides take their count back when the password is right."""
    alice, bob = await world.pair()
    for client, peer in ((alice, BOBS), (bob, ALICES)):
        share(client, peer, "srp", of("correct horse"))
        for _ in range(GUESSES - 1):
            e2e(client).memory.count_failure(peer, "srp")
    await world.session(alice, bob)
    await world.settle(alice, bob)
    assert [e2e(alice).memory.failures(BOBS, "srp"), e2e(bob).memory.failures(ALICES, "srp")] == [0, 0]
