"""Long computations take their turns, and one that raises ends its session at once."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from slixmpp_e2e.verification.tasks import COMPUTATIONS, SessionTasks
from tests.slixmpp_e2e.env import turns, until
from xmpp_e2e.authenticate.base import Computation
from xmpp_e2e.errors import LocalError


class Session:
    """A session that gets a result, or ends."""

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.ended: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def answer_prompt(self, computation: Computation, result: bytes) -> None:
        self.ended.set_result(result)

    def abort(self, error: Exception) -> None:
        self.ended.set_exception(error)


class Counting:
    """A computation that notes how many go on beside it, in all and of its account, until the test lets them end."""

    def __init__(self) -> None:
        self.running: list[str] = []
        self.most, self.most_of_one = 0, 0
        self.full, self.may_end = threading.Event(), threading.Event()
        self._lock = threading.Lock()

    def of(self, account: str) -> Computation:
        def run() -> bytes:
            with self._lock:
                self.running.append(account)
                self.most = max(self.most, len(self.running))
                self.most_of_one = max(self.most_of_one, self.running.count(account))
                if len(self.running) == COMPUTATIONS:
                    self.full.set()
            self.may_end.wait(10)
            with self._lock:
                self.running.remove(account)
            return account.encode()

        return Computation(run)


async def test_so_many_compute_at_once_and_one_of_each_account() -> None:
    tasks, counting = SessionTasks(), Counting()
    peers = [f"{name}@localhost/{device}" for device in "12345" for name in ("bob", "carol", "dave", "eve")]
    sessions: list[Any] = [Session(peer) for peer in peers]
    for session in sessions:
        tasks.compute(session, counting.of(session.peer.partition("/")[0]))
    assert await asyncio.to_thread(counting.full.wait, 10)
    counting.may_end.set()
    results = [await until(session.ended) for session in sessions]
    assert results == [peer.partition("/")[0].encode() for peer in peers]
    assert (counting.most, counting.most_of_one) == (COMPUTATIONS, 1)
    await turns()
    assert not tasks._tasks


async def test_a_session_that_ends_keeps_its_turn_until_its_thread_has_ended() -> None:
    """Whoever cuts off each session has no more threads than turns."""
    tasks, counting = SessionTasks(), Counting()
    cut: list[Any] = [Session(f"{name}@localhost/1") for name in ("bob", "carol")]
    last: Any = Session("dave@localhost/1")
    for session in (*cut, last):
        tasks.compute(session, counting.of(session.peer))
    assert await asyncio.to_thread(counting.full.wait, 10)
    begun = list(tasks._tasks)
    for session in cut:
        tasks.cancel(session)
    await turns()
    assert len(counting.running) == COMPUTATIONS
    assert tasks._turns.locked()
    counting.may_end.set()
    assert await until(last.ended) == last.peer.encode()
    await until(asyncio.wait(begun))
    assert counting.most == COMPUTATIONS
    assert not any(session.ended.done() for session in cut)
    assert not tasks._tasks


async def test_a_computation_that_raises_ends_its_session(caplog: pytest.LogCaptureFixture) -> None:
    """At once, and what it says stays secret: it may be of a password."""

    def run() -> bytes:
        raise ZeroDivisionError("hunter2")

    tasks, session = SessionTasks(), Session("bob@localhost/1")
    any_session: Any = session
    tasks.compute(any_session, Computation(run))
    with pytest.raises(LocalError, match="ZeroDivisionError"):
        await until(session.ended)
    assert "ZeroDivisionError" in caplog.text
    assert "hunter2" not in caplog.text
