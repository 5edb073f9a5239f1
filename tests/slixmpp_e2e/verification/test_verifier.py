"""The verifier answers prompts, starts verifications and hears how they end, in sessions that the test makes up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from slixmpp_e2e import VerificationDeclined
from slixmpp_e2e.alarms import explain
from slixmpp_e2e.errors import VerificationUnavailable
from slixmpp_e2e.events import E2EEvent
from slixmpp_e2e.prompts import NO_PROMPTS, Prompts
from slixmpp_e2e.store import SQLStore, StoreError
from slixmpp_e2e.trust.trust_file.watcher import TrustFile
from slixmpp_e2e.verification.run_limiter import RunLimiter
from slixmpp_e2e.verification.verifier import Verifier
from tests.slixmpp_e2e.env import ALICE, BOB, until
from tests.slixmpp_e2e.verification.users import of, says
from xmpp_e2e import events
from xmpp_e2e.authenticate.base import MATCH, CompareSas, SecretNeeded
from xmpp_e2e.authenticate.sas_text import SasForm
from xmpp_e2e.errors import E2EError, LocalError
from xmpp_e2e.key_decision import Decision, KeyDecision, KeyStatus
from xmpp_e2e.states import State
from xmpp_e2e.types import Assurance, Fingerprint, Role

KEY = Fingerprint(bytes(32))
TYPED = "correct horse"
SECRET, STRINGS = SecretNeeded("srp"), CompareSas(bytes(8))


class Session:
    """A session as the verifier sees it."""

    def __init__(self, state: State = State.OPEN, *, refuses: E2EError | None = None) -> None:
        self.own_jid, self.peer, self.state, self._refuses = ALICE, BOB, state, refuses
        self.role = Role.INITIATOR
        self.closed: asyncio.Future[E2EError | None] = asyncio.get_running_loop().create_future()
        self.requested: asyncio.Queue[str] = asyncio.Queue()
        self.settled: asyncio.Future[bytes | E2EError] = asyncio.get_running_loop().create_future()
        """The answer to a prompt, or why the session was ended."""

    def request_verification(self, method: str, secret: bytes | None, form: SasForm) -> None:
        if self._refuses is not None:
            raise self._refuses
        self.requested.put_nowait(method)

    def answer_prompt(self, question: object, reply: bytes) -> None:
        self.settled.set_result(reply)

    def abort(self, error: E2EError) -> None:
        self.settled.set_result(error)


class Harness:
    """A verifier with a store, and the events that it emits."""

    def __init__(self, folder: Path) -> None:
        self.store = SQLStore.open(folder / "alice.db")
        self.emitted: list[E2EEvent] = []

    def verifier(self, prompts: Prompts = NO_PROMPTS) -> Any:
        emitter: Any = self
        return Verifier(self.store, TrustFile(None), emitter, prompts, 60.0, RunLimiter(lambda: 0.0, lambda _: True))

    def emit(self, event: E2EEvent) -> None:
        self.emitted.append(event)


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Harness]:
    made = Harness(tmp_path)
    yield made
    made.store.close()


def proved(method: str) -> events.KeyVerified:
    return events.KeyVerified(method, Assurance.VERIFIED, KEY)


def fails(store: SQLStore) -> Callable[..., Any]:
    def fail(*_: object) -> None:
        raise StoreError(store.path, "the disk is full")

    return fail


@pytest.mark.parametrize("declined_first", [False, True])
async def test_the_first_outcome_counts(harness: Harness, declined_first: bool) -> None:
    """A peer who declines what is proved, or proves what they have declined, changes nothing and breaks nothing."""
    verifier, session = harness.verifier(), Session()
    verifying = asyncio.create_task(verifier.verify(session, "srp"))
    await until(session.requested.get())
    told: list[events.Event] = [proved("srp"), events.VerificationDeclined("srp")]
    for event in reversed(told) if declined_first else told:
        verifier.on_session_event(session, event)
    if declined_first:
        with pytest.raises(VerificationDeclined):
            await until(verifying)
    else:
        await until(verifying)


BOTH = Prompts(password=lambda peer: None, sas=lambda prompt: True)


def required(status: KeyStatus, *methods: str) -> events.VerificationRequired:
    decision = KeyDecision(Decision.HOLD, Assurance.VOUCHED, status, KEY, Assurance.VERIFIED, "")
    return events.VerificationRequired(decision, methods)


@pytest.mark.parametrize(("methods", "tried"), [((), ["sas"]), (("srp",), ["sas", "srp"])])
@pytest.mark.parametrize("state", [State.HELLO_CHECKED, State.DONE_RECEIVED, State.OPEN])
async def test_methods_are_tried_until_the_peer_takes_part(
    harness: Harness, methods: tuple[str, ...], tried: list[str], state: State
) -> None:
    verifier, session = harness.verifier(BOTH), Session(state)
    verifier.on_session_event(session, required(KeyStatus.FIRST, *methods))
    for method in tried:
        assert await until(session.requested.get()) == method
        verifier.on_session_event(session, events.VerificationDeclined(method))
    if state is not State.OPEN:
        assert isinstance(await until(session.settled), VerificationUnavailable)
    else:
        await asyncio.gather(*verifier._tasks._tasks)
        assert not session.settled.done()


async def test_a_key_in_place_of_a_verified_one_asks_nobody(harness: Harness) -> None:
    """Such a verification is for the user to begin."""
    verifier = harness.verifier(BOTH)
    verifier.on_session_event(Session(State.HELLO_CHECKED), required(KeyStatus.CHANGED, "srp"))
    assert not verifier._tasks._tasks


async def test_a_verification_that_the_user_began_goes_on(harness: Harness) -> None:
    verifier, session = harness.verifier(BOTH), Session(State.HELLO_CHECKED, refuses=LocalError("it runs already"))
    verifier.on_session_event(session, required(KeyStatus.FIRST))
    await asyncio.gather(*verifier._tasks._tasks)
    assert not session.settled.done()


def breaks(*_: object) -> Awaitable[Any]:
    raise KeyError(TYPED)


@pytest.mark.parametrize("question", [SECRET, STRINGS])
async def test_a_prompt_that_raises_ends_the_session(harness: Harness, question: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Neither side waits for an answer that does not come; the log says where it was raised, and repeats nothing typed."""
    session = Session()
    harness.verifier(Prompts(breaks, breaks)).on_session_event(session, events.PromptRequested(question, SasForm.DECIMAL))
    error = await until(session.settled)
    assert isinstance(error, LocalError)
    assert "KeyError" in str(error)
    assert "in breaks" in caplog.text
    assert TYPED not in caplog.text + explain(error)


async def test_an_error_of_the_store_is_not_hidden(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness.store, "failed_attempts", fails(harness.store))
    session = Session()
    verifier = harness.verifier(Prompts(sas=lambda prompt: True))
    verifier.on_session_event(session, events.PromptRequested(STRINGS, SasForm.DECIMAL))
    assert isinstance(await until(session.settled), StoreError)


@pytest.mark.parametrize(
    ("question", "method", "prompts", "answer"),
    [
        (SECRET, "srp", Prompts(password=lambda peer: says("right")), of("right")),
        (SECRET, "srp", Prompts(password=lambda peer: says(None)), b""),
        (SECRET, "srp", NO_PROMPTS, b""),
        (STRINGS, "sas", Prompts(sas=lambda prompt: True), MATCH),
        (STRINGS, "sas", Prompts(sas=lambda prompt: False), b""),
        (STRINGS, "sas", NO_PROMPTS, b""),
    ],
)
async def test_the_prompt_of_a_verification_goes_before_that_of_the_settings(
    harness: Harness, question: Any, method: str, prompts: Prompts, answer: bytes
) -> None:
    """Without a prompt there is no answer, and neither is there one if the user knows none."""
    settings = Prompts(password=lambda peer: "wrong", sas=lambda prompt: True)
    verifier, session = harness.verifier(settings), Session()
    verifying = asyncio.create_task(verifier.verify(session, method, prompts))
    await until(session.requested.get())
    verifier.on_session_event(session, events.PromptRequested(question, SasForm.DECIMAL))
    assert await until(session.settled) == answer
    session.closed.set_result(None)
    with pytest.raises(E2EError):
        await until(verifying)
