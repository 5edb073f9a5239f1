"""The proofs of a client, told what happens by the test: what is remembered, who is asked, and what becomes of errors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from slixmpp_e2e.errors import Unproved
from slixmpp_e2e.plugin import E2E
from slixmpp_e2e.prompts import NOBODY, Prompts
from slixmpp_e2e.store.errors import StoreError
from slixmpp_e2e.verification.verifier import PeerDeclined, _Wish
from tests.slixmpp_e2e.verification.test_verifier import BOBS, of, says
from tests.slixmpp_e2e.world import ALICE, BOB, Heard, World, e2e
from xmpp_e2e import events
from xmpp_e2e.authenticate.base import MATCH, GuessSpent, SecretWanted, StringsShown
from xmpp_e2e.authenticate.strings import Form
from xmpp_e2e.errors import E2EError, LocalError, TransportFailed
from xmpp_e2e.identity import Assurance, Fingerprint
from xmpp_e2e.stages import Stage

KEY = Fingerprint(bytes(32))
TYPED = "correct horse"
SECRET, STRINGS = SecretWanted("srp"), StringsShown(bytes(8))


class Session:
    """As the proofs see it."""

    def __init__(self, stage: Stage = Stage.OPEN) -> None:
        self.ours, self.peer, self.stage = ALICE, BOB, stage
        self.proved: events.Proved | None = None
        self.answers: list[bytes] = []
        self.failure: E2EError | None = None

    @property
    def is_open(self) -> bool:
        return self.stage is Stage.OPEN

    def answer(self, question: object, reply: bytes) -> None:
        self.answers.append(reply)

    def fail(self, error: E2EError) -> None:
        self.failure = error


@pytest.fixture
def plugin(world: World) -> E2E:
    """Alice's, with nobody at her keyboard."""
    return e2e(world.make(ALICE))


def full(path: object) -> Callable[..., Any]:
    """A verb of a store that is full."""

    def fails(*_: object) -> None:
        raise StoreError(path, "the disk is full")

    return fails


def proved(method: str) -> events.Proved:
    return events.Proved(method, Assurance.VERIFIED, KEY)


async def test_the_first_outcome_counts(plugin: E2E) -> None:
    """A peer who declines what is proved already, or proves what he has declined, changes nothing, and breaks nothing."""
    proofs, declined = plugin.switchboard.proofs, events.Declined("srp")
    for told in ((proved("srp"), declined), (declined, proved("srp"))):
        link: Any = Session()
        wish = proofs._asked_for[link, "srp"] = _Wish(NOBODY, asyncio.get_running_loop().create_future())
        for event in told:
            proofs.happened(link, event)
        assert isinstance(wish.fulfilled.exception(), PeerDeclined if told[0] is declined else type(None))


async def test_a_key_is_remembered_when_the_session_is_open(plugin: E2E) -> None:
    """Until then it is kept by the session: what does not open leaves nothing."""
    held: Any = Session(Stage.GREETED)
    plugin.switchboard.proofs.happened(held, proved("srp"))
    assert held.proved == proved("srp")
    assert plugin.memory.remembered(BOBS).key(KEY) is None
    opened: Any = Session()
    plugin.switchboard.proofs.happened(opened, proved("srp"))
    remembered = plugin.memory.remembered(BOBS).key(KEY)
    assert remembered is not None
    assert remembered.assurance is Assurance.VERIFIED


async def test_only_a_comparison_ends_the_count_of_those_that_were_cut(plugin: E2E) -> None:
    """A password says nothing of who cut them."""
    link: Any = Session()
    plugin.memory.count_failure(BOBS, "sas")
    plugin.switchboard.proofs.happened(link, proved("srp"))
    assert plugin.memory.failures(BOBS, "sas") == 1
    plugin.switchboard.proofs.happened(link, proved("sas"))
    assert plugin.memory.failures(BOBS, "sas") == 0


async def test_a_guess_that_waited_is_told_that_it_cannot_be_counted(plugin: E2E, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not the one whose end lets it go on, who is told."""
    first, second = Session(), Session()
    proofs: Any = plugin.switchboard.proofs
    for link in (first, second):
        proofs.happened(link, events.Asked(GuessSpent("srp")))
    monkeypatch.setattr(plugin.memory, "count_failure", full(plugin.memory.path))
    proofs.happened(first, events.SessionFailed(TransportFailed("x")))
    assert (first.answers, first.failure) == ([b""], None)
    assert (second.answers, type(second.failure)) == ([], StoreError)


async def test_a_cut_that_cannot_be_counted_is_told(plugin: E2E, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session is over anyhow."""
    told, link = Heard(plugin.xmpp, "e2e_store_failed"), Session()
    monkeypatch.setattr(plugin.memory, "count_failure", full(plugin.memory.path))
    proofs: Any = plugin.switchboard.proofs
    proofs.happened(link, events.VerifyCut("sas"))
    assert isinstance((await told.take()).error, StoreError)
    assert link.failure is None


@pytest.mark.parametrize(
    ("kind", "methods", "tried"),
    [("first", (), ["sas"]), ("first", ("srp",), ["sas", "srp"]), ("changed", ("srp",), None)],
)
async def test_what_is_held_is_asked_about(world: World, kind: str, methods: tuple[str, ...], tried: list[str] | None) -> None:
    """By what there is on both sides; never by itself about a key in the place of a verified one."""
    proofs: Any = e2e(world.make(ALICE, sas=lambda shown: True, password=lambda peer: None)).switchboard.proofs
    asked: list[list[str]] = []

    async def prove(link: object, methods: list[str]) -> None:
        asked.append(methods)

    proofs._prove = prove
    proofs.happened(Session(Stage.GREETED), events.KeyHeld(kind, KEY, frozenset(methods), "a reason"))
    await asyncio.gather(*proofs._tasks)
    assert asked == ([tried] if tried else [])


@pytest.mark.parametrize("stage", [Stage.GREETED, Stage.AWAITED, Stage.OPEN])
@pytest.mark.parametrize("error", [PeerDeclined("x"), LocalError("he has begun it himself")])
async def test_what_nobody_proves_ends(plugin: E2E, stage: Stage, error: E2EError) -> None:
    """If it is held still, and the peer takes no part in anything; any other end is told by itself."""
    proofs: Any = plugin.switchboard.proofs

    async def verify(*_: object) -> None:
        raise error

    proofs.verify = verify
    link = Session(stage)
    await proofs._prove(link, ["sas"])
    unproved = isinstance(error, PeerDeclined) and stage is not Stage.OPEN
    assert isinstance(link.failure, Unproved if unproved else type(None))


def breaks(*_: object) -> Awaitable[Any]:
    """A prompt with a bug."""
    raise KeyError(TYPED)


@pytest.mark.parametrize("question", [SECRET, STRINGS])
async def test_a_prompt_that_breaks_ends_the_session(world: World, question: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Neither side is left to wait for an answer that does not come; the log says where, and repeats nothing."""
    proofs: Any = e2e(world.make(ALICE, sas=breaks, password=breaks)).switchboard.proofs
    link = Session()
    await proofs._ask(link, question, Form.DECIMAL)
    assert isinstance(link.failure, LocalError)
    assert "KeyError" in str(link.failure)
    assert "in breaks" in caplog.text
    assert TYPED not in caplog.text + link.failure.explain()


async def test_what_our_own_store_says_is_not_hidden(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that names its cause stays what it is."""
    plugin = e2e(world.make(ALICE, sas=lambda shown: True))
    monkeypatch.setattr(plugin.memory, "failures", full(plugin.memory.path))
    link = Session()
    proofs: Any = plugin.switchboard.proofs
    await proofs._ask(link, STRINGS, Form.DECIMAL)
    assert isinstance(link.failure, StoreError)


async def test_who_is_asked(plugin: E2E, caplog: pytest.LogCaptureFixture) -> None:
    """The prompt of this one time, before the one of the settings; of nobody there is no answer, nor of whoever knows none."""
    proofs, link = plugin.switchboard.proofs, Session()
    here: Any = link

    def wished(method: str, prompts: Prompts) -> None:
        proofs._asked_for[here, method] = _Wish(prompts, asyncio.get_running_loop().create_future())

    wished("srp", Prompts(password=lambda peer: says("right")))
    wished("sas", Prompts(sas=lambda shown: True))
    answers = [await proofs._answer(here, question, Form.DECIMAL) for question in (SECRET, STRINGS)]
    assert answers == [of("right"), MATCH]
    wished("srp", Prompts(password=lambda peer: says(None)))
    assert await proofs._answer(here, SECRET, Form.DECIMAL) == b""
    assert "cannot be used" not in caplog.text
    for method in ("srp", "sas"):
        wished(method, NOBODY)
    assert [await proofs._answer(here, question, Form.DECIMAL) for question in (SECRET, STRINGS)] == [b"", b""]
