"""Attempts of a password are counted before their outcome is known, one at a time for each account."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from slixmpp_e2e.errors import PasswordLocked
from slixmpp_e2e.store import SQLStore, StoreError
from slixmpp_e2e.verification.attempt_limiter import MAX_ATTEMPTS_AT_ALL_ADDRESSES, MAX_PASSWORD_ATTEMPTS, AttemptLimiter
from tests.slixmpp_e2e.env import ALICE, BOTS, until
from tests.slixmpp_e2e.verification.users import BOBS
from xmpp_e2e.authenticate.base import AttemptStarted, AttemptSucceeded


class Attempt:
    """A session in which an attempt is about to be made, and what became of it."""

    def __init__(self, resource: str, own_jid: str = ALICE) -> None:
        self.own_jid, self.peer = own_jid, f"{BOBS}/{resource}"
        self.outcome: list[Any] = []

    def answer_prompt(self, question: object, reply: bytes) -> None:
        self.outcome.append("goes on")

    def abort(self, error: Exception) -> None:
        self.outcome.append(type(error))


class Tasks:
    """The tasks that the limiter starts."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, _: object, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

    async def done(self) -> None:
        while self._tasks:
            await until(self._tasks.pop())


@pytest.fixture
def tasks() -> Tasks:
    return Tasks()


def start(limiter: Any, attempt: Attempt) -> None:
    limiter.started(attempt, AttemptStarted("srp"))


@pytest.mark.parametrize("processes", [1, 2])
async def test_sessions_at_once_share_the_attempts(tmp_path: Path, tasks: Tasks, processes: int) -> None:
    """One attempt is left for two devices: the second waits for the first or, in another process, is refused."""
    stores = [SQLStore.open(tmp_path / "alice.db") for _ in range(processes)]
    limiters: list[Any] = [AttemptLimiter(store, tasks.start) for store in stores]
    for _ in range(MAX_PASSWORD_ATTEMPTS - 1):
        stores[0].count_failed_attempt(BOBS, "srp")
    one, two = Attempt("one"), Attempt("two")
    start(limiters[0], one)
    if processes == 2:  # whichever comes first has it
        await tasks.done()
    start(limiters[-1], two)
    await tasks.done()
    assert one.outcome == ["goes on"]
    assert two.outcome == ([] if processes == 1 else [PasswordLocked])
    limiters[0].finished(one)
    await tasks.done()
    assert two.outcome == [PasswordLocked]
    for store in stores:
        store.close()


async def test_the_addresses_of_a_component_share_the_last_attempts(tmp_path: Path, tasks: Tasks) -> None:
    """Two processes have one attempt left at all addresses together, and each has tried at none of these two."""
    stores = [SQLStore.open(tmp_path / "bots.db") for _ in range(2)]
    for store in stores:
        store.component = BOTS
    for number in range(MAX_ATTEMPTS_AT_ALL_ADDRESSES - 1):
        stores[0].count_failed_attempt(BOBS, "srp", f"{number}@{BOTS}")
    one, two = (Attempt("b", f"{name}@{BOTS}/bot") for name in ("echo", "help"))
    for store, attempt in zip(stores, (one, two), strict=True):
        limiter: Any = AttemptLimiter(store, tasks.start)
        start(limiter, attempt)
        await tasks.done()
        store.close()
    assert (one.outcome, two.outcome) == (["goes on"], [PasswordLocked])


async def test_a_right_password_lets_the_next_attempt_begin(tmp_path: Path, tasks: Tasks) -> None:
    """However many honest devices come at once, none is locked out, and one that left meanwhile costs nothing."""
    with SQLStore.open(tmp_path / "alice.db") as store:
        limiter: Any = AttemptLimiter(store, tasks.start)
        attempts = [Attempt(str(number)) for number in range(2 * MAX_PASSWORD_ATTEMPTS)]
        for attempt in attempts:
            start(limiter, attempt)
        limiter.finished(attempts[1])
        await tasks.done()
        for attempt in attempts:
            if attempt is not attempts[1]:
                assert attempt.outcome == ["goes on"]
                assert store.failed_attempts(BOBS, "srp") == 1
                limiter.succeeded(attempt, AttemptSucceeded("srp"))
                await tasks.done()
        assert attempts[1].outcome == []
        assert store.failed_attempts(BOBS, "srp") == 0
        assert not limiter._attempts


async def test_an_attempt_that_cannot_be_counted_is_not_made(
    tmp_path: Path, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the store fails, the session that waited hears of it, and not the one whose end let it go on."""
    with SQLStore.open(tmp_path / "alice.db") as store:
        limiter: Any = AttemptLimiter(store, tasks.start)
        first, second = Attempt("one"), Attempt("two")
        for attempt in (first, second):
            start(limiter, attempt)
        await tasks.done()

        def fails(*_: object) -> None:
            raise StoreError(store.path, "the disk is full")

        monkeypatch.setattr(store, "count_failed_attempt", fails)
        limiter.finished(first)
        await tasks.done()
        assert (first.outcome, second.outcome) == (["goes on"], [StoreError])
