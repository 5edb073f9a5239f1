"""Answers the prompts of authenticators, from the store or by the user; starts verifications, and hears how they end."""

from __future__ import annotations

import asyncio
import inspect
import logging
import traceback
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from slixmpp_e2e.errors import TooManyRuns, VerificationDeclined, VerificationUnavailable, end_of_session
from slixmpp_e2e.events import VerificationRequested
from slixmpp_e2e.jids import bare
from slixmpp_e2e.prompts import NO_PROMPTS, Prompts, SasPrompt
from slixmpp_e2e.sessions.driver import DriverEvent, SessionDriver
from slixmpp_e2e.store import SQLStore
from slixmpp_e2e.trust.passwords import derive_srp_secret
from slixmpp_e2e.trust.secrets import stored_secret
from slixmpp_e2e.trust.trust_file.watcher import PasswordKey, TrustFile
from slixmpp_e2e.verification.attempt_limiter import AttemptLimiter
from slixmpp_e2e.verification.run_limiter import RunLimiter
from slixmpp_e2e.verification.tasks import SessionTasks
from slixmpp_e2e.xmpp.emitter import Emitter
from xmpp_e2e import events
from xmpp_e2e.authenticate.base import (
    MATCH,
    AttemptStarted,
    AttemptSucceeded,
    CompareSas,
    Computation,
    Prompt,
    SecretNeeded,
)
from xmpp_e2e.authenticate.sas_text import SasForm
from xmpp_e2e.errors import E2EError, LocalError
from xmpp_e2e.key_decision import KeyStatus
from xmpp_e2e.states import AWAITING_OUR_DONE

log = logging.getLogger("slixmpp_e2e")

_T = TypeVar("_T")

DECLINE_AFTER = 0.8
"""Part of the time for users after which a verification request is declined that nobody has answered: while the peer waits."""


@dataclass(frozen=True)
class _Verification:
    """A verification that our user started, or agreed to."""

    prompts: Prompts
    """For this one time."""
    done: asyncio.Future[None]


class Verifier:
    """The verifications of all sessions of one client."""

    def __init__(
        self,
        store: SQLStore,
        trust_file: TrustFile,
        emitter: Emitter,
        prompts: Prompts,
        user_seconds: float,
        runs: RunLimiter,
    ) -> None:
        """``user_seconds``: how long the other side waits for our user."""
        self._store, self._trust_file = store, trust_file
        self._emitter, self.prompts, self._user_seconds = emitter, prompts, user_seconds
        self._tasks = SessionTasks()
        self._attempts = AttemptLimiter(store, self._tasks.start)
        self._runs = runs
        self._running: dict[tuple[SessionDriver, str], _Verification] = {}
        """By session and method."""

    def shared_secrets(self, account: str, own_account: str) -> dict[str, bytes]:
        """Return what is shared with an account by an account of ours, by method: in the trust file, or else in the store.

        Each must prove the peer before a stanza flows. Empty: a password that must be derived first. PasswordLocked.
        """
        declared, stored = self._trust_file.secrets(account, own_account), self._store.secret_kinds(account, own_account)
        found: dict[str, bytes] = {}
        for method in ("psk", "srp"):
            if method in declared:
                found[method] = declared[method]
            elif method in stored and (secret := stored_secret(self._store, account, method, own_account)) is not None:
                found[method] = secret
        if "srp" in found:
            self._attempts.check(account, own_account)
        return found

    def promptable_methods(self, account: str, own_account: str) -> frozenset[str]:
        """Return the methods for which our user can be asked about an account, for an account of ours."""
        methods = {"sas"} if self.prompts.sas else set()
        if self.prompts.password and not self._attempts.is_locked(account, own_account):
            methods.add("srp")
        return frozenset(methods)

    async def verify(
        self,
        session: SessionDriver,
        method: str,
        prompts: Prompts = NO_PROMPTS,
        *,
        form: SasForm = SasForm.DECIMAL,
        secret: bytes | None = None,
    ) -> None:
        """Prove the peer's key by ``method``; return when that has succeeded here.

        ``secret`` takes the place of what is set up. Raises VerificationDeclined, PasswordLocked, LocalError if the method
        cannot run, or what made the session end.
        """
        if method == "srp":
            self._attempts.check(bare(session.peer), bare(session.own_jid))
        key, verification = (session, method), _Verification(prompts, asyncio.get_running_loop().create_future())
        if key in self._running:
            raise LocalError(f"{method} runs with {session.peer} already")
        self._running[key] = verification
        try:
            session.request_verification(method, secret, form)
            await asyncio.wait((verification.done, session.closed), return_when=asyncio.FIRST_COMPLETED)
            if not verification.done.done():
                raise end_of_session(session.peer, session.closed.result())
            verification.done.result()
        finally:
            del self._running[key]

    # --- what sessions tell ----------------------------------------------------------------------------------------

    def on_session_event(self, driver: SessionDriver, event: DriverEvent) -> None:
        """Answer what authenticators ask, and end what has run. StoreError."""
        match event:
            case events.PromptRequested(question, form):
                self._on_prompt(driver, question, form)
            case events.ComputationRequested(computation):
                self._compute(driver, computation)
            case events.KeyVerified(method):
                if method == "srp":
                    self._runs.succeeded(driver)
                if (running := self._unfinished(driver, method)) is not None:
                    running.done.set_result(None)
            case events.VerificationDeclined(method):
                if (running := self._unfinished(driver, method)) is not None:
                    running.done.set_exception(VerificationDeclined(f"{driver.peer} takes no part in {method}"))
            case events.VerificationRequested(method, _, False):
                self._on_request(driver, method)
            case events.VerificationRequired():
                self._on_required(driver, event)
            case events.SessionClosed() | events.SessionFailed():
                self._attempts.finished(driver)
                self._runs.finished(driver)
                self._tasks.cancel(driver)

    def _unfinished(self, driver: SessionDriver, method: str) -> _Verification | None:
        running = self._running.get((driver, method))
        return running if running is not None and not running.done.done() else None

    def _compute(self, driver: SessionDriver, computation: Computation) -> None:
        try:
            self._runs.begin(driver)
        except TooManyRuns as error:
            driver.abort(error)
        else:
            self._tasks.compute(driver, computation)

    def _on_prompt(self, driver: SessionDriver, question: Prompt, form: SasForm) -> None:
        match question:
            case AttemptStarted():
                self._attempts.started(driver, question)
            case AttemptSucceeded():
                self._attempts.succeeded(driver, question)
            case SecretNeeded(method) if key := self._declared(driver, method):
                self._tasks.start(driver, self._derive(driver, question, key))
            case SecretNeeded() | CompareSas():
                self._tasks.start(driver, self._prompt(driver, question, form))

    def _on_request(self, driver: SessionDriver, method: str) -> None:
        """The peer asks for a verification. If nobody here answers, it is declined, so that the peer does not wait in vain."""
        if self._emitter.has_handler(VerificationRequested):
            self._tasks.start(driver, self._decline_later(driver, method))
            return
        setup = "nobody can be asked: there is no ask_sas or ask_password, and no handler of e2e_verification_requested"
        log.warning("%s asks for a verification by %s, which is declined: %s", driver.peer, method, setup)
        driver.decline_verification(method)

    async def _decline_later(self, driver: SessionDriver, method: str) -> None:
        await asyncio.sleep(DECLINE_AFTER * self._user_seconds)
        with suppress(LocalError):  # the user has answered
            driver.decline_verification(method)
            log.warning("%s asks for a verification by %s; nobody has answered, so it is declined", driver.peer, method)

    # --- prompts ---------------------------------------------------------------------------------------------------

    def _on_required(self, driver: SessionDriver, event: events.VerificationRequired) -> None:
        """Prompt the user by what is set up; but not about a key in place of a verified one: that is for the user to begin."""
        if event.status == KeyStatus.CHANGED.value:
            return
        able = self.promptable_methods(bare(driver.peer), bare(driver.own_jid))
        methods = [method for method in ("sas", "srp") if method in able and (method == "sas" or method in event.methods)]
        if methods:
            self._tasks.start(driver, self._verify_by_any(driver, methods))

    async def _verify_by_any(self, driver: SessionDriver, methods: Sequence[str]) -> None:
        """Verify by the first of these in which the peer takes part; if there is none, end the session."""
        for method in methods:
            try:
                await self.verify(driver, method, self.prompts)
            except VerificationDeclined:
                continue
            except E2EError:
                pass  # it is over, and an event tells so; or the user has begun it themselves
            return
        if driver.state in AWAITING_OUR_DONE:  # and not pinned meanwhile
            tried = ", ".join(methods)
            unavailable = f"the key of {driver.peer} must be verified, and they take no part in what could: {tried}"
            driver.abort(VerificationUnavailable(unavailable))

    async def _prompt(self, driver: SessionDriver, question: SecretNeeded | CompareSas, form: SasForm) -> None:
        try:
            driver.answer_prompt(question, await self._ask_user(driver, question, form))
        except E2EError as error:
            driver.abort(error)
        except Exception as error:  # of the program's own prompt: the peer does not wait for it until the deadline
            # its text may hold what was typed
            where = "".join(traceback.format_tb(error.__traceback__))
            log.warning("a prompt about %s raised %s\n%s", driver.peer, type(error).__name__, where)
            driver.abort(LocalError(f"the user could not be asked: the prompt raised {type(error).__name__}"))

    def _declared(self, driver: SessionDriver, method: str) -> PasswordKey | None:
        """Return the password of the trust file for this peer."""
        return self._trust_file.password(bare(driver.peer), bare(driver.own_jid)) if method == "srp" else None

    async def _derive(self, driver: SessionDriver, question: SecretNeeded, key: PasswordKey) -> None:
        try:
            self._runs.begin(driver)
            derived = await self._tasks.in_turn(key.peer, lambda: self._trust_file.derive(key))
        except Exception as error:  # as for any computation, the peer must not wait until the deadline
            failed = LocalError(f"a password could not be derived: {type(error).__name__}")
            driver.abort(error if isinstance(error, E2EError) else failed)
        else:
            self._trust_file.keep(key, derived)
            driver.answer_prompt(question, derived)

    async def _ask_user(self, driver: SessionDriver, question: SecretNeeded | CompareSas, form: SasForm) -> bytes:
        method = "sas" if isinstance(question, CompareSas) else question.method
        running = self._running.get((driver, method))
        prompts = running.prompts if running is not None else self.prompts
        account, own_account = bare(driver.peer), bare(driver.own_jid)
        if isinstance(question, CompareSas):
            interrupted = self._store.failed_attempts(account, "sas", own_account)
            prompt = SasPrompt(driver.peer, question.code, form.value, interrupted, driver.own_jid)
            matches = prompts.sas is not None and await _answer(prompts.sas(prompt))
            return MATCH if matches is True else b""
        if prompts.password is None:
            return b""
        accounts = (account,) if self._store.component is None else (account, own_account)
        self._runs.begin(driver)  # before the user is disturbed
        if not (password := await _answer(prompts.password(*accounts))):
            return b""
        try:
            return await self._tasks.in_turn(account, lambda: derive_srp_secret(password, own_account, account))
        except LocalError as error:  # else the peer would wait for it until the deadline
            log.warning("a password for %s cannot be used: %s", account, error)
            return b""


async def _answer(answer: Awaitable[_T] | _T) -> _T:
    """Return a user's answer, now or when it comes."""
    return await answer if inspect.isawaitable(answer) else answer
