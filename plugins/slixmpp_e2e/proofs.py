"""What authenticators ask is answered here, from the store or by the user; what they prove is remembered."""

from __future__ import annotations

import asyncio
import inspect
import logging
import shlex
import time
from collections.abc import Awaitable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from slixmpp import JID

from slixmpp_e2e.declared import Declared
from slixmpp_e2e.errors import SessionGone
from slixmpp_e2e.link import Link
from slixmpp_e2e.passwords import stretched
from slixmpp_e2e.prompts import NOBODY, Compare, Prompts
from xmpp_e2e import events
from xmpp_e2e.authenticate.base import Computation, GuessReturned, GuessSpent, Question, SecretWanted, StringsShown
from xmpp_e2e.authenticate.strings import Form
from xmpp_e2e.errors import E2EError, LocalError
from xmpp_e2e.trust.store import TrustStore

log = logging.getLogger("slixmpp_e2e")

_T = TypeVar("_T")

GUESSES = 5
"""Wrong passwords in a row, of either side, after which none is tried any more until the user has unlocked it."""

KEY_ID = "1"
"""In the store, of what is set up with a peer: one secret of each kind."""


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
    form: Form
    fulfilled: asyncio.Future[None]


class Proofs:
    """The proofs of all sessions of one client."""

    def __init__(
        self, store: TrustStore, declared: Declared, prompts: Prompts, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._store, self._declared, self._prompts, self._loop = store, declared, prompts, loop
        self._asked_for: dict[tuple[Link, str], _Wish] = {}
        """What the user wants proved in a session that is open."""
        self._tasks: set[asyncio.Task[None]] = set()

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
        """Let ``method`` prove the peer's key in the open session; returns when it has. What makes the session end otherwise is
        raised, or PeerDeclined, or Locked, or LocalError if it cannot run. ``secret``: in place of what is set up."""
        bare = JID(link.peer).bare
        if method == "srp" and self.is_locked(bare):
            raise _locked(bare)
        key, wish = (link, method), _Wish(prompts, form, self._loop.create_future())
        if key in self._asked_for:
            raise LocalError(f"{method} runs with {link.peer} already")
        self._asked_for[key] = wish
        try:
            link.request(method, secret)
            ended = asyncio.ensure_future(link.ended())
            await asyncio.wait((wish.fulfilled, ended), return_when=asyncio.FIRST_COMPLETED)
            if wish.fulfilled.done():
                ended.cancel()
                wish.fulfilled.result()
            else:
                raise ended.result() or SessionGone(f"the session with {link.peer} has ended")
        finally:
            del self._asked_for[key]

    def declined(self, link: Link, method: str) -> None:
        """The peer takes no part in it."""
        if (wish := self._asked_for.get((link, method))) is not None and not wish.fulfilled.done():
            wish.fulfilled.set_exception(PeerDeclined(f"{link.peer} takes no part in {method}"))

    def asked(self, link: Link, question: Question) -> None:
        """Answer, now or when the user has."""
        bare = JID(link.peer).bare
        match question:
            case GuessSpent(method):
                self._store.count_failure(bare, method)
                link.answer(question, b"")
            case GuessReturned(method):
                self._store.clear_failures(bare, method)
                link.answer(question, b"")
            case SecretWanted() | StringsShown():
                self._spawn(self._ask(link, question))

    def compute(self, link: Link, computation: Computation) -> None:
        """In a thread: powers of 4096 bits would hold up the loop."""
        self._spawn(self._compute(link, computation))

    async def _compute(self, link: Link, computation: Computation) -> None:
        link.answer(computation, await asyncio.to_thread(computation.run))

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def proved(self, link: Link, event: events.Proved) -> None:
        """Remember whose key it is, and how that was found out: in an open session now, else when it opens."""
        if link.is_open:
            self._store.accept(JID(link.peer).bare, event.fingerprint, event.assurance, event.method, time.time())
        else:
            link.proved = event
        if (wish := self._asked_for.get((link, event.method))) is not None and not wish.fulfilled.done():
            wish.fulfilled.set_result(None)

    async def _ask(self, link: Link, question: SecretWanted | StringsShown) -> None:
        method = "sas" if isinstance(question, StringsShown) else question.method
        wish = self._asked_for.get((link, method))
        prompts, form = (wish.prompts, wish.form) if wish is not None else (self._prompts, Form.DECIMAL)
        if isinstance(question, StringsShown):
            matches = prompts.sas is not None and await _said(prompts.sas(Compare(link.peer, question.code, form.value)))
            link.answer(question, b"match" if matches is True else b"")
            return
        peer, ours = JID(link.peer).bare, JID(link.ours).bare
        password = await _said(prompts.password(peer)) if prompts.password is not None else None
        try:
            reply = await asyncio.to_thread(stretched, password, ours, peer) if password else b""
        except LocalError as error:  # else it would be waited for until the deadline
            log.warning("a password for %s cannot be used: %s", peer, error)
            reply = b""
        link.answer(question, reply)


def _locked(bare: str) -> Locked:
    wrong = f"the password that you share with {bare} is locked after {GUESSES} wrong guesses"
    return Locked(f"{wrong}; this unlocks it: xmpp-e2e trust unlock {shlex.quote(bare)}")


async def _said(answer: Awaitable[_T] | _T) -> _T:
    """A user's answer, now or when it comes."""
    return await answer if inspect.isawaitable(answer) else answer
