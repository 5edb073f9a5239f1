"""A password was right, and before that is stored its session ends, or begins another attempt."""

from __future__ import annotations

import threading
from typing import Any

from slixmpp_e2e.store import SQLStore
from slixmpp_e2e.verification.attempt_limiter import AttemptLimiter
from slixmpp_e2e.verification.tasks import SessionTasks
from tests.slixmpp_e2e.env import turns, until
from tests.slixmpp_e2e.verification.test_attempt_limiter import Attempt
from tests.slixmpp_e2e.verification.users import BOBS
from xmpp_e2e.authenticate.base import AttemptStarted, AttemptSucceeded

PATIENT_TURNS = 2


async def written(store: SQLStore) -> None:
    """Wait until all that was to be written is, and whoever waited for it has heard."""
    for _ in range(PATIENT_TURNS):
        await until(store.run(int))
        await turns()


async def test_the_count_is_cleared_though_the_session_ends(store: SQLStore) -> None:
    """It ends in the very turn in which the password was found to be right: that was no guess."""
    tasks = SessionTasks()
    limiter: Any = AttemptLimiter(store, tasks.start)
    session: Any = Attempt("one")
    limiter.started(session, AttemptStarted("srp"))
    await written(store)
    assert session.outcome == ["goes on"]
    assert store.failed_attempts(BOBS, "srp") == 1
    limiter.succeeded(session, AttemptSucceeded("srp"))
    limiter.finished(session)
    tasks.cancel(session)
    await written(store)
    assert store.failed_attempts(BOBS, "srp") == 0
    assert not limiter._attempts


async def test_an_attempt_that_begins_while_the_count_is_cleared_is_answered(store: SQLStore) -> None:
    """So is one of another session behind it, in its turn."""
    tasks = SessionTasks()
    limiter: Any = AttemptLimiter(store, tasks.start)
    session, other, stored = Attempt("one"), Attempt("two"), threading.Event()
    limiter.started(session, AttemptStarted("srp"))
    await written(store)
    waiting = store.run(stored.wait)
    limiter.succeeded(session, AttemptSucceeded("srp"))
    assert session.outcome == ["goes on"] * 2
    limiter.started(session, AttemptStarted("srp"))
    limiter.started(other, AttemptStarted("srp"))
    await turns()
    assert session.outcome == ["goes on"] * 2
    stored.set()
    await until(waiting)
    await written(store)
    assert session.outcome == ["goes on"] * 3
    assert other.outcome == []
    assert store.failed_attempts(BOBS, "srp") == 1
    limiter.succeeded(session, AttemptSucceeded("srp"))
    await written(store)
    assert other.outcome == ["goes on"]
    limiter.finished(session)
    limiter.finished(other)
    assert not limiter._attempts
