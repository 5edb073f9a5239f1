"""Asks devices whether they have encryption, when their presence comes or a stanza is for them, and does not wait for long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count

from slixmpp import JID, Presence
from slixmpp.basexmpp import BaseXMPP

from slixmpp_e2e.bounded import keep_newest
from slixmpp_e2e.jids import bare
from slixmpp_e2e.routing_events import Waiting
from slixmpp_e2e.xmpp import discovery
from slixmpp_e2e.xmpp.emitter import Emitter

QUESTIONS = 4096
"""Devices whose answers are kept, some 500 bytes each; the oldest goes first, and would be asked again."""
AHEAD = 64
"""Questions under way at which no more are asked ahead: after a login presence comes of all contacts at once."""
FRESH_SECONDS = 60.0
"""Seconds for which an answer is kept: whoever changes it sends presence, as a rule, and is asked then."""
TELL_SECONDS = 1.0
"""Seconds of waiting after which the user is told of it: most answers come within a fraction of one."""

_Key = tuple[str, str]
"""(own bare JID, the peer's full JID)"""
_CAPS = "{http://jabber.org/protocol/caps}c"


@dataclass
class _Question:
    own_jid: str
    """Who asks."""
    number: int
    since: float
    """When it was asked."""
    task: asyncio.Task[bool | None]
    is_silent: bool
    """Whether it was waited for in vain. Nobody waits for this device again until it has answered, or is offline."""
    answered: float = 0.0

    @property
    def answer(self) -> bool | None:
        return self.task.result() if self.task.done() and not self.task.cancelled() else None


class SupportQuestions:
    """The questions to devices, and their answers."""

    def __init__(self, xmpp: BaseXMPP, emitter: Emitter, seconds: float, on_late: Callable[[str], None]) -> None:
        """``seconds``: how long a stanza waits for an answer. ``on_late`` is told of an account of which a device has answered
        when nobody waited any more."""
        self._xmpp, self._emitter, self.seconds, self._on_late = xmpp, emitter, seconds, on_late
        self._questions: dict[_Key, _Question] = {}
        self._numbers = count()
        self._pending = 0
        self._last_answered, self._last_answer = -1, 0.0
        """The newest question that is answered, and when that was."""

    async def query(self, own_jid: str, jids: list[str], to: str) -> dict[str, bool | None]:
        """Return of each full JID whether it has encryption; None if it does not say in time. ``to``: what a stanza is for."""
        if not jids:
            return {}
        questions = {jid: self._question(own_jid, jid) for jid in jids}
        timer = self._xmpp.loop.call_later(min(TELL_SECONDS, self.seconds / 2), self._tell, questions, to)
        try:
            await asyncio.gather(*map(self._wait, questions.values()))
        finally:
            timer.cancel()
        return {jid: question.answer for jid, question in questions.items()}

    def on_presence(self, own_account: str, presence: Presence, *, is_contact: bool) -> None:
        """Presence of a device came: what it said before may not hold. One of a contact, or of one to whom we have written, is
        asked at once; slixmpp does so itself if there is a hash of what it can do (XEP-0115)."""
        peer = presence["from"].full
        old = self._questions.pop((own_account, peer), None)
        is_silent = old is not None and old.is_silent
        is_online = presence.xml.get("type") is None
        if is_online and (is_silent or (is_contact and presence.xml.find(_CAPS) is None)) and self._pending < AHEAD:
            own_jid = old.own_jid if old is not None else "" if self._xmpp.is_component else self._xmpp.boundjid.full
            if own_jid not in ("", peer):
                self._ask(own_jid, peer, is_silent=is_silent)

    def clear(self) -> None:
        """The stream is over."""
        for question in self._questions.values():
            question.task.cancel()
        self._questions.clear()

    def _question(self, own_jid: str, peer: str) -> _Question:
        question = self._questions.get((bare(own_jid), peer))
        if question is None:
            return self._ask(own_jid, peer, is_silent=False)
        stale = question.answer is None or question.answered + FRESH_SECONDS < self._xmpp.loop.time()
        return self._ask(own_jid, peer, is_silent=question.is_silent) if question.task.done() and stale else question

    def _ask(self, own_jid: str, peer: str, *, is_silent: bool) -> _Question:
        key = (bare(own_jid), peer)
        task = self._xmpp.loop.create_task(discovery.supports(self._xmpp, JID(own_jid), JID(peer)))
        question = _Question(own_jid, next(self._numbers), self._xmpp.loop.time(), task, is_silent)
        self._questions.pop(key, None)
        keep_newest(self._questions, key, question, QUESTIONS)
        self._pending += 1
        task.add_done_callback(partial(self._on_done, key, question))
        return question

    def _on_done(self, key: _Key, question: _Question, task: asyncio.Task[bool | None]) -> None:
        self._pending -= 1
        if task.cancelled() or task.exception() is not None or task.result() is None:
            return
        question.answered = self._xmpp.loop.time()
        if question.number > self._last_answered:
            self._last_answered, self._last_answer = question.number, question.answered
        if question.is_silent:
            question.is_silent = False
            if self._questions.get(key) is question:
                self._on_late(bare(key[1]))

    async def _wait(self, question: _Question) -> None:
        """Wait for an answer, unless that was in vain before. The time does not run while answers to earlier questions still
        come: a server that limits us lets them out one after the other."""
        while not question.task.done() and not question.is_silent:
            behind = question.number > self._last_answered
            since = max(question.since, self._last_answer) if behind else question.since
            left = since + self.seconds - self._xmpp.loop.time()
            if left <= 0:
                question.is_silent = True
            else:
                await asyncio.wait({question.task}, timeout=left)

    def _tell(self, questions: dict[str, _Question], to: str) -> None:
        waited_for = [jid for jid, question in questions.items() if not question.task.done() and not question.is_silent]
        if waited_for:
            self._emitter.emit(Waiting(to, f"{', '.join(waited_for)} to say whether they have end-to-end encryption"))
