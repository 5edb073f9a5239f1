"""Bounds what it costs to begin runs of ``srp`` that never succeed.

A peer who cuts a run before the first tag learns nothing, so it is no guess; yet it has made us compute. So each run takes a
token when it begins, and gives it back when it succeeds.
"""

from __future__ import annotations

from collections.abc import Callable

from slixmpp_e2e.errors import TooManyRuns
from slixmpp_e2e.jids import account_and_domain
from slixmpp_e2e.sessions.admission.rate_limit import Rate, TokenBuckets, take_all
from slixmpp_e2e.sessions.driver import SessionDriver
from xmpp_e2e.types import Role

RUNS = Rate(1 / 30, 8)
"""Runs of one bare JID that have not succeeded: a few devices that start together on a network that breaks, then two a minute.
A run takes 20 ms of a core, and where the password is asked for, 140 ms and 64 MiB more."""
RUNS_OF_STRANGERS = Rate(1, 16)
"""The same for all strangers, in sessions that they have opened: 2 % of a core, or 16 % where passwords are asked for."""
RUNS_OF_CONTACTS = Rate(8, 64)
"""The same for the contacts of one domain, so that its server keeps out nobody of another: 64 runs take a core about a second,
for which others wait."""


class RunLimiter:
    """Counts the runs of one client.

    Those in sessions that we have opened count for the account alone: nobody keeps us from verifying whom we write to.
    """

    def __init__(self, clock: Callable[[], float], is_contact: Callable[[str], bool]) -> None:
        """``clock`` gives seconds; ``is_contact`` says whether an account has a place before strangers."""
        self._clock, self._is_contact = clock, is_contact
        self._accounts, self._contacts, self._strangers = (
            TokenBuckets(rate) for rate in (RUNS, RUNS_OF_CONTACTS, RUNS_OF_STRANGERS)
        )
        self._begun: dict[SessionDriver, tuple[tuple[TokenBuckets, str], ...]] = {}
        """Where the run of a session is counted."""

    def begin(self, session: SessionDriver) -> None:
        """Count the session's run, once. TooManyRuns."""
        if session in self._begun:
            return
        account, domain = account_and_domain(session.peer)
        counted = [(self._accounts, account)]
        if session.role is Role.RESPONDER:
            counted.append((self._contacts, domain) if self._is_contact(account) else (self._strangers, ""))
        if not take_all(self._clock(), *counted):
            raise TooManyRuns(f"too many proofs by password were begun and have not succeeded: no other with {account} now")
        self._begun[session] = tuple(counted)

    def succeeded(self, session: SessionDriver) -> None:
        """The run cost no more than an honest one."""
        for buckets, name in self._begun.pop(session, ()):
            buckets.put_back(name, self._clock())

    def finished(self, session: SessionDriver) -> None:
        """The session is over."""
        self._begun.pop(session, None)
