"""Counts guesses of a shared password before anybody learns whether they are right, one at a time for each account."""

from __future__ import annotations

import asyncio
import shlex
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from slixmpp_e2e.errors import PasswordLocked
from slixmpp_e2e.jids import bare
from slixmpp_e2e.sessions.driver import SessionDriver
from slixmpp_e2e.store import SQLStore
from slixmpp_e2e.store.errors import StoreError
from xmpp_e2e.authenticate.base import AttemptStarted, AttemptSucceeded

MAX_PASSWORD_ATTEMPTS = 5
"""Wrong passwords in a row, of either side, after which none is tried any more until the user has unlocked it.

They are counted for each account by each of ours: to guess at one address of a component locks no other.
"""
MAX_ATTEMPTS_AT_ALL_ADDRESSES = 20
"""Wrong passwords of one account at all addresses of a component together, since the right one at each. A trust file may share
one password for all of them, and who guesses can write to any number. Four locked addresses come to that."""

_Attempt = tuple[SessionDriver, AttemptStarted]


class AttemptLimiter:
    """Lets one attempt of an account run at a time: of those made at once none would know of the others."""

    def __init__(self, store: SQLStore, start: Callable[[SessionDriver, Coroutine[Any, Any, None]], None]) -> None:
        """``start`` runs a coroutine beside the event loop's handlers, while a session lasts."""
        self._store, self._start = store, start
        self._attempts: dict[str, deque[_Attempt]] = {}
        """By account: the attempt under way, and those that wait for its outcome."""

    def is_locked(self, account: str, own_account: str) -> bool:
        """Return whether too many passwords were wrong, between an account and one of ours or all of them."""
        here = self._store.failed_attempts(account, "srp", own_account)
        return here >= MAX_PASSWORD_ATTEMPTS or self._everywhere(account) >= MAX_ATTEMPTS_AT_ALL_ADDRESSES

    def check(self, account: str, own_account: str) -> None:
        """Raise PasswordLocked if too many passwords were wrong."""
        if self.is_locked(account, own_account):
            raise self._locked(account, own_account)

    def started(self, session: SessionDriver, question: AttemptStarted) -> None:
        """An attempt is about to be decided: count it, now or after those before it."""
        attempts = self._attempts.setdefault(bare(session.peer), deque())
        attempts.append((session, question))
        if len(attempts) == 1:
            self._start(session, self._count(session, question))

    def succeeded(self, session: SessionDriver, question: AttemptSucceeded) -> None:
        """The password was right: say so, and forget the count before the next attempt."""
        session.answer_prompt(question, b"")
        account, own_account = bare(session.peer), bare(session.own_jid)
        clearing = self._store.run(self._store.clear_failed_attempts, account, question.method, own_account)
        attempts = self._attempts.get(account)
        self._start(session, self._clear(session, clearing, attempts[0] if attempts else None))

    def finished(self, session: SessionDriver) -> None:
        """The session's attempt is decided, or the session is over: the next attempt is counted."""
        self._remove(bare(session.peer), lambda attempt: attempt[0] is session)

    def _remove(self, account: str, is_over: Callable[[_Attempt], bool]) -> None:
        attempts = self._attempts.get(account, deque())
        was_first = bool(attempts) and is_over(attempts[0])
        for attempt in [attempt for attempt in attempts if is_over(attempt)]:
            attempts.remove(attempt)
        if not attempts:
            self._attempts.pop(account, None)
        elif was_first:
            self._start(attempts[0][0], self._count(*attempts[0]))

    async def _clear(self, session: SessionDriver, clearing: asyncio.Future[None], decided: _Attempt | None) -> None:
        try:
            await clearing
        except StoreError as error:
            session.abort(error)
        else:  # the session may have begun another attempt meanwhile
            self._remove(bare(session.peer), lambda attempt: attempt is decided)

    async def _count(self, session: SessionDriver, question: AttemptStarted) -> None:
        """Count it durably: all processes together have no more than MAX_PASSWORD_ATTEMPTS."""
        account, own_account = bare(session.peer), bare(session.own_jid)
        try:
            count = await self._store.run(self._store.count_failed_attempt, account, question.method, own_account)
            everywhere = self._everywhere(account)
        except StoreError as error:
            session.abort(error)
            return
        if count > MAX_PASSWORD_ATTEMPTS or everywhere > MAX_ATTEMPTS_AT_ALL_ADDRESSES:
            session.abort(self._locked(account, own_account))
        else:
            session.answer_prompt(question, b"")

    def _everywhere(self, account: str) -> int:
        return self._store.failed_attempts(account, "srp")

    def _locked(self, account: str, own_account: str) -> PasswordLocked:
        ours, limits = "you share", f"{MAX_PASSWORD_ATTEMPTS} wrong attempts"
        if self._store.component is not None:
            ours, limits = f"{own_account} shares", f"{limits}, or {MAX_ATTEMPTS_AT_ALL_ADDRESSES} at all your addresses"
        wrong = f"the password that {ours} with {account} is locked after {limits}"
        return PasswordLocked(f"{wrong}; this unlocks it: xmpp-e2e trust unlock {shlex.quote(account)}")
