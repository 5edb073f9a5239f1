"""Runs that have not succeeded are counted by account and in all; strangers and other domains keep no contact out."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from slixmpp_e2e.alarms import explain
from slixmpp_e2e.errors import TooManyRuns
from slixmpp_e2e.verification.run_limiter import RUNS, RUNS_OF_CONTACTS, RUNS_OF_STRANGERS, RunLimiter
from xmpp_e2e.types import Role


class Session:
    """A session with a device."""

    def __init__(self, account: str, role: Role = Role.RESPONDER) -> None:
        self.peer, self.role = f"{account}/device", role


class Runs:
    """A limiter with a clock that the test sets. Accounts of strangers.example are strangers."""

    def __init__(self) -> None:
        self.now = 0.0
        self.limiter: Any = RunLimiter(lambda: self.now, lambda account: not account.endswith("@strangers.example"))

    def cut(self, account: str, role: Role = Role.RESPONDER) -> bool:
        """A run begins and is cut off. Return whether it was allowed to begin."""
        session = Session(account, role)
        try:
            self.limiter.begin(session)
        except TooManyRuns:
            return False
        self.limiter.finished(session)
        return True

    def cuts(self, domain: str) -> int:
        """Runs of ever other accounts of a domain are cut off, until none may begin. Return how many have."""
        return next(number for number in count() if not self.cut(f"{number}@{domain}"))


@pytest.mark.parametrize("role", Role)
def test_an_account_has_a_few_and_then_one_now_and_then(role: Role) -> None:
    """Also in sessions that we open, which its server cuts."""
    runs = Runs()
    assert [runs.cut("bob@localhost", role) for _ in range(RUNS.burst + 1)] == [True] * RUNS.burst + [False]
    assert runs.cut("carol@localhost", role)
    runs.now = 1 / RUNS.per_second + 0.001
    assert [runs.cut("bob@localhost", role) for _ in range(2)] == [True, False]
    with pytest.raises(TooManyRuns) as caught:
        runs.limiter.begin(Session("bob@localhost", role))
    told = explain(caught.value)
    assert "bob@localhost" in told
    assert "cuts each one off" in told
    assert "Wait half a minute" in told


def test_runs_that_succeed_cost_nothing() -> None:
    """However many devices there are; what is counted of a session is counted once."""
    runs = Runs()
    for account in ("bob@localhost", "1@strangers.example"):
        for _ in range(3 * RUNS_OF_CONTACTS.burst):
            session = Session(account)
            for _ in range(2):
                runs.limiter.begin(session)
            runs.limiter.succeeded(session)
            runs.limiter.finished(session)
    assert not runs.limiter._begun
    assert runs.cuts("strangers.example") == RUNS_OF_STRANGERS.burst


def test_strangers_keep_no_contact_out() -> None:
    runs = Runs()
    assert runs.cuts("strangers.example") == RUNS_OF_STRANGERS.burst
    assert runs.cut("bob@localhost")
    assert runs.cut("new@strangers.example", Role.INITIATOR)  # whom we write to


def test_a_server_keeps_out_no_contact_of_another() -> None:
    runs = Runs()
    assert runs.cuts("evil.example") == RUNS_OF_CONTACTS.burst
    assert runs.cut("bob@localhost")
    assert runs.cut("new@evil.example", Role.INITIATOR)
    assert runs.cuts("strangers.example") == RUNS_OF_STRANGERS.burst
