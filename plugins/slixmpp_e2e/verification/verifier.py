"""What authenticators ask is answered here, from the store or by the user; what they prove is remembered."""

from __future__ import annotations

import asyncio
import inspect
import logging
import shlex
import time
import traceback
from collections import deque
from collections.abc import Awaitable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from slixmpp import JID

from slixmpp_e2e.errors import SessionGone, Unproved
from slixmpp_e2e.events import VerifyCut
from slixmpp_e2e.prompts import NOBODY, Compare, Prompts
from slixmpp_e2e.sessions.driver import Link
from slixmpp_e2e.store.errors import StoreError
from slixmpp_e2e.trust.passwords import stretched
from slixmpp_e2e.trust.trust_file.watcher import Declared
from xmpp_e2e import events
from xmpp_e2e.authenticate.base import MATCH, Computation, GuessReturned, GuessSpent, Question, SecretWanted, StringsShown
from xmpp_e2e.authenticate.strings import Form
from xmpp_e2e.errors import E2EError, LocalError
from xmpp_e2e.stages import Stage
from xmpp_e2e.trust.judge import KeyKind
from xmpp_e2e.trust.store import TrustStore

log = logging.getLogger("slixmpp_e2e")

_T = TypeVar("_T")

GUESSES = 5
"""Wrong passwords in a row, of either side, after which none is tried any more until the user has unlocked it."""


class PeerDeclined(E2EError):
    """The peer does not take part in a proof."""

    likely = "His program has nobody to ask, or no password for you, or the method has run in this session already."
    remedy = "Ask him to set it up, or compare fingerprints."


class Locked(E2EError):
    """Too many wrong passwords were tried with this peer."""

    likely = "The password was mistyped, here or there, or one of you has changed it."
    attack = "Somebody who poses as the peer guesses your password, one guess a session."
    remedy = "Agree on a new password by another way, and unlock it then."


@dataclass(frozen=True)
class _Wish:
    prompts: Prompts
    """Of this one time."""
    fulfilled: asyncio.Future[None]


class Host(Protocol):
    """What this needs of the plugin."""

    loop: asyncio.AbstractEventLoop

    def verify_cut(self, report: VerifyCut) -> None:
        """A comparison ended before both users had spoken."""

    def store_failed(self, error: StoreError) -> None:
        """It could not be counted."""


class Proofs:
    """The proofs of all sessions of one client."""

    def __init__(self, host: Host, store: TrustStore, declared: Declared, prompts: Prompts) -> None:
        self._host, self._store, self._declared, self._prompts = host, store, declared, prompts
        self._asked_for: dict[tuple[Link, str], _Wish] = {}
        """What the user wants proved beyond what is set up."""
        self._guesses: dict[str, deque[tuple[Link, GuessSpent]]] = {}
        """By account: the guess that is under way, and those that wait for its outcome. One at a time, for of those that are
        made at once none would know of the others."""
        self._tasks: dict[asyncio.Task[None], Link] = {}
        """Each for a session: what it computes, or asks the user."""

    def secrets(self, bare: str, ours: str) -> dict[str, bytes]:
        """What is set up for a peer of this account of ours, by method, in the trust file or else in the store; each must prove
        him before a stanza flows. Locked."""
        declared = self._declared.secrets(bare, ours)
        found = {}
        for method in ("psk", "srp"):
            ids = self._store.secret_ids(bare, method)[-1:] if method not in declared else ()
            for secret in (declared.get(method), *(self._store.secret(bare, method, key_id) for key_id in ids)):
                if secret is not None:
                    found[method] = secret
        if "srp" in found and self.is_locked(bare):
            raise _locked(bare)
        return found

    def asks(self, bare: str) -> frozenset[str]:
        """Methods for which the user can be asked."""
        methods = {"sas"} if self._prompts.sas else set()
        if self._prompts.password and not self.is_locked(bare):
            methods.add("srp")
        return frozenset(methods)

    def is_locked(self, bare: str) -> bool:
        """Were too many guesses wrong?"""
        return self._store.failures(bare, "srp") >= GUESSES

    async def verify(
        self,
        link: Link,
        method: str,
        prompts: Prompts = NOBODY,
        *,
        form: Form = Form.DECIMAL,
        secret: bytes | None = None,
    ) -> None:
        """Let ``method`` prove the peer's key; returns when it has, here. What makes the session end otherwise is raised, or
        PeerDeclined, or Locked, or LocalError if it cannot run. ``secret``: in place of what is set up."""
        bare = JID(link.peer).bare
        if method == "srp" and self.is_locked(bare):
            raise _locked(bare)
        key, wish = (link, method), _Wish(prompts, self._host.loop.create_future())
        if key in self._asked_for:
            raise LocalError(f"{method} runs with {link.peer} already")
        self._asked_for[key] = wish
        ended = asyncio.ensure_future(link.ended())
        try:
            link.request(method, secret, form)
            await asyncio.wait((wish.fulfilled, ended), return_when=asyncio.FIRST_COMPLETED)
            if not wish.fulfilled.done():
                raise ended.result() or SessionGone(f"the session with {link.peer} has ended")
            wish.fulfilled.result()
        finally:
            ended.cancel()
            del self._asked_for[key]

    # --- what links tell -------------------------------------------------------------------------------------------

    def happened(self, link: Link, event: events.Event) -> None:
        """What concerns a proof. StoreError if it cannot be counted, or remembered."""
        match event:
            case events.Asked(question, form):
                self._asked(link, question, form)
            case events.Proved():
                self._proved(link, event)
            case events.Declined(method):
                if (wish := self._asked_for.get((link, method))) is not None and not wish.fulfilled.done():
                    wish.fulfilled.set_exception(PeerDeclined(f"{link.peer} takes no part in {method}"))
            case events.VerifyCut(method):
                self._cut(link, method)
            case events.KeyHeld():
                self._held(link, event)
            case events.SessionEnd() | events.SessionFailed():
                self._guessed(link)
                self._forget(link)

    def _asked(self, link: Link, question: Question, form: Form) -> None:
        """Answer, now or when the user has."""
        match question:
            case GuessSpent():
                waiting = self._guesses.setdefault(JID(link.peer).bare, deque())
                waiting.append((link, question))
                if len(waiting) == 1:
                    self._guess(link, question)
            case GuessReturned(method):
                self._store.clear_failures(JID(link.peer).bare, method)
                link.answer(question, b"")
                self._guessed(link)
            case SecretWanted() | StringsShown():
                self._spawn(link, self._ask(link, question, form))

    def expect(self, link: Link, method: str, seconds: float) -> None:
        """The user has heard that the peer wants a proof: if he neither agrees nor declines in time, it is declined."""
        self._spawn(link, self._decline(link, method, seconds))

    async def _decline(self, link: Link, method: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        with suppress(LocalError):  # he has answered
            link.decline(method)
            log.warning("%s wants a proof by %s, and nobody has answered him: it is declined", link.peer, method)

    def compute(self, link: Link, computation: Computation) -> None:
        """In a thread: powers of 4096 bits would hold up the loop."""
        self._spawn(link, self._compute(link, computation))

    async def _compute(self, link: Link, computation: Computation) -> None:
        link.answer(computation, await asyncio.to_thread(computation.run))

    def _guess(self, link: Link, question: GuessSpent) -> None:
        """Counted before anybody learns whether it is right: of all processes together there are no more than five."""
        bare = JID(link.peer).bare
        try:
            count = self._store.count_failure(bare, question.method)
        except StoreError as error:
            link.fail(error)
            return
        if count > GUESSES:
            link.fail(_locked(bare))
        else:
            link.answer(question, b"")

    def _guessed(self, link: Link) -> None:
        """Its guess was right, or it is over: the next, if it is still wanted."""
        bare = JID(link.peer).bare
        waiting = self._guesses.get(bare, deque())
        was_first = bool(waiting) and waiting[0][0] is link
        for entry in [entry for entry in waiting if entry[0] is link]:
            waiting.remove(entry)
        if not waiting:
            self._guesses.pop(bare, None)
        elif was_first:
            self._guess(*waiting[0])

    def _proved(self, link: Link, event: events.Proved) -> None:
        """Remember whose key it is, and how that was found out: in an open session now, else when it opens."""
        bare = JID(link.peer).bare
        if event.method == "sas":
            self._store.clear_failures(bare, "sas")
        if link.is_open:
            self._store.accept(bare, event.fingerprint, event.assurance, event.method, time.time())
        else:
            link.proved = event
        if (wish := self._asked_for.get((link, event.method))) is not None and not wish.fulfilled.done():
            wish.fulfilled.set_result(None)

    def _cut(self, link: Link, method: str) -> None:
        try:
            self._host.verify_cut(VerifyCut(link.peer, self._store.count_failure(JID(link.peer).bare, method)))
        except StoreError as error:
            self._host.store_failed(error)

    def _held(self, link: Link, event: events.KeyHeld) -> None:
        """Whom we can ask, we ask; but not about a key in the place of one that was verified: that is for the user to begin."""
        if event.kind == KeyKind.CHANGED.value:
            return
        able = self.asks(JID(link.peer).bare)
        methods = [method for method in ("sas", "srp") if method in able and (method == "sas" or method in event.methods)]
        if methods:
            self._spawn(link, self._prove(link, methods))

    async def _prove(self, link: Link, methods: Sequence[str]) -> None:
        """By the first of these in which the peer takes part; if he does in none, nothing is waited for."""
        for method in methods:
            try:
                await self.verify(link, method, self._prompts)
            except PeerDeclined:
                continue
            except E2EError:
                pass  # it is over, and that is told; or the user has begun it himself
            return
        if link.stage in (Stage.GREETED, Stage.AWAITED):  # and not pinned meanwhile
            tried = ", ".join(methods)
            link.fail(Unproved(f"the key of {link.peer} must be verified, and he takes no part in what could: {tried}"))

    async def _ask(self, link: Link, question: SecretWanted | StringsShown, form: Form) -> None:
        try:
            link.answer(question, await self._answer(link, question, form))
        except E2EError as error:
            link.fail(error)
        except Exception as error:  # of the program's own prompt: the peer does not wait for it until the deadline
            # its text may hold what was typed
            where = "".join(traceback.format_tb(error.__traceback__))
            log.warning("what %s asks could not be answered: the prompt raised %s\n%s", link.peer, type(error).__name__, where)
            link.fail(LocalError(f"the user could not be asked: the prompt raised {type(error).__name__}"))

    async def _answer(self, link: Link, question: SecretWanted | StringsShown, form: Form) -> bytes:
        """Of the user."""
        method = "sas" if isinstance(question, StringsShown) else question.method
        wish = self._asked_for.get((link, method))
        prompts = wish.prompts if wish is not None else self._prompts
        peer, ours = JID(link.peer).bare, JID(link.ours).bare
        if isinstance(question, StringsShown):
            compare = Compare(link.peer, question.code, form.value, self._store.failures(peer, "sas"))
            matches = prompts.sas is not None and await _said(prompts.sas(compare))
            return MATCH if matches is True else b""
        password = await _said(prompts.password(peer)) if prompts.password is not None else None
        try:
            return await asyncio.to_thread(stretched, password, ours, peer) if password else b""
        except LocalError as error:  # else it would be waited for until the deadline
            log.warning("a password for %s cannot be used: %s", peer, error)
            return b""

    def _spawn(self, link: Link, work: Coroutine[Any, Any, None]) -> None:
        task = self._host.loop.create_task(work)
        self._tasks[task] = link
        task.add_done_callback(self._tasks.pop)

    def _forget(self, link: Link) -> None:
        """Its session is over: nobody is asked for it any more."""
        for task in [task for task, its in self._tasks.items() if its is link]:
            task.cancel()


def _locked(bare: str) -> Locked:
    wrong = f"the password that you share with {bare} is locked after {GUESSES} wrong guesses"
    return Locked(f"{wrong}; this unlocks it: xmpp-e2e trust unlock {shlex.quote(bare)}")


async def _said(answer: Awaitable[_T] | _T) -> _T:
    """A user's answer, now or when it comes."""
    return await answer if inspect.isawaitable(answer) else answer
