"""Messages that wait until whoever sent them has said whether it is a room."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from xml.etree.ElementTree import tostring

from slixmpp import JID, Message
from slixmpp.basexmpp import BaseXMPP

from slixmpp_e2e.bounded import keep_newest
from slixmpp_e2e.jids import account_and_domain
from slixmpp_e2e.messages.rooms import ROOMS, MucRooms, comes_from_rooms
from slixmpp_e2e.sessions.admission.rate_limit import Rate, TokenBuckets, take_all
from slixmpp_e2e.store.errors import StoreError
from slixmpp_e2e.xmpp import adapter

log = logging.getLogger("slixmpp_e2e")

QUESTIONS_PER_DOMAIN = Rate(0.5, 64)
"""Questions at the will of one domain: all rooms of a service at once, where a program was in them before; then few."""
QUESTIONS = Rate(2, 256)
"""The same of all domains."""
HELD_PER_ROOM = 64
"""Messages that wait for one answer: what a busy room says until it comes."""
HELD_BYTES_PER_DOMAIN = 1024 * 1024
"""Bytes of messages that wait for the answers of one domain: a quarter of all."""
HELD_BYTES = 4 * HELD_BYTES_PER_DOMAIN
"""The same of all domains."""
NO_SECONDS = 60.0
"""Seconds for which somebody who has not said that it is a room is not asked again for a message that comes."""


@dataclass
class _Question:
    domain: str
    task: asyncio.Task[None] | None = None
    held: list[Message] = field(default_factory=list)
    size: int = 0


class RoomQuestions:
    """Asks senders whether they are rooms, where encryption is required and nobody has written to them yet.

    Anybody can make us ask, so it is bounded how often, and how much waits. What does not wait is refused, and told.
    """

    def __init__(
        self,
        xmpp: BaseXMPP,
        rooms: MucRooms,
        own_jid: Callable[[str], str],
        loop: Callable[[], asyncio.AbstractEventLoop],
    ) -> None:
        """``own_jid`` returns the address of ours to which a stanza came, from what stands in its ``to``."""
        self._xmpp, self._rooms, self._own_jid, self._loop = xmpp, rooms, own_jid, loop
        self._questions: dict[str, _Question] = {}
        self._sizes: dict[str, int] = {}
        """Bytes that wait, by domain."""
        self._size = 0
        """The same of all."""
        self._no: dict[str, float] = {}
        """Whoever has not said so, and until when."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._domains, self._all = TokenBuckets(QUESTIONS_PER_DOMAIN), TokenBuckets(QUESTIONS)

    def hold(self, message: Message, sender: JID) -> bool:
        """Keep a message until its sender has said whether it is a room, and hand it to the filters again then. Return False if
        the answer is there, could change nothing, or cannot be waited for."""
        account, domain = account_and_domain(sender.full)
        if not sender.local or not comes_from_rooms(message, sender) or not self._rooms.may_ask(account):
            return False
        question = self._questions.get(account)
        if question is None and not self._may_question(account, domain):
            return False
        size = len(tostring(message.xml))
        if self._sizes.get(domain, 0) + size > HELD_BYTES_PER_DOMAIN or self._size + size > HELD_BYTES:
            return False
        if question is None:
            question = self._questions[account] = _Question(domain)
            own_jid = self._own_jid(message.xml.get("to", ""))
            question.task = self._loop().create_task(self._ask(own_jid, account), name=f"asking whether {account} is a room")
        elif len(question.held) >= HELD_PER_ROOM:
            return False
        question.held.append(message)
        question.size += size
        self._count(domain, size)
        return True

    def resolve(self, own_jid: str, account: str, act: Callable[[bool], None]) -> None:
        """Call ``act`` with whether an account is a room: at once if it need not be asked. Whoever calls limits the rate."""
        if not self._rooms.may_ask(account):
            act(self._rooms.may_be(account))
            return
        task = self._loop().create_task(self._resolve(own_jid, account, act), name=f"asking whether {account} is a room")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _resolve(self, own_jid: str, account: str, act: Callable[[bool], None]) -> None:
        act(await self._is_room(own_jid, account))

    async def _is_room(self, own_jid: str, account: str) -> bool:
        try:
            return await self._rooms.ask(own_jid, account)
        except StoreError as error:  # no stanza is lost with it: what comes next looks into the store, too
            log.warning("it was not found out whether %s is a room: %s", account, error)
            return False

    def end(self) -> None:
        """The plugin goes: whoever was asked is no room, and what waits is judged so."""
        for task in self._tasks:
            task.cancel()
        for account, question in tuple(self._questions.items()):
            if question.task is not None:
                question.task.cancel()
            self._release(account, is_room=False)

    def _may_question(self, account: str, domain: str) -> bool:
        now = self._loop().time()
        return self._no.get(account, now) <= now and take_all(now, (self._domains, domain), (self._all, ""))

    async def _ask(self, own_jid: str, account: str) -> None:
        is_room = False
        try:
            is_room = await self._is_room(own_jid, account)
        finally:
            self._release(account, is_room=is_room)

    def _release(self, account: str, *, is_room: bool) -> None:
        """Judge what has waited, in order."""
        question = self._questions.pop(account, None)
        if question is None:
            return
        if not is_room:
            self._no.pop(account, None)
            keep_newest(self._no, account, self._loop().time() + NO_SECONDS, ROOMS)
        self._count(question.domain, -question.size)
        for message in question.held:
            adapter.inject(self._xmpp, message)

    def _count(self, domain: str, size: int) -> None:
        self._size += size
        self._sizes[domain] = self._sizes.get(domain, 0) + size
        if not self._sizes[domain]:
            del self._sizes[domain]
