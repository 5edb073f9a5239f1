"""For the outbox: sessions, routes and time that are what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any
from xml.etree.ElementTree import Element

from slixmpp import Message
from slixmpp.xmlstream.stanzabase import StanzaBase

from slixmpp_e2e.messages.queue import Outbox, Route, Target
from slixmpp_e2e.sessions.driver import Link
from tests.slixmpp_e2e.world import ALICE, turns
from xmpp_e2e.errors import E2EError, NoRoom, UnsendableStanza

BARE, ONE, TWO = "bob@localhost", "bob@localhost/1", "bob@localhost/2"
CAROL = "carol@localhost"
CLEAR = Route(clear=True)
LARGE = "too large for this peer"
"""Only his session knows that."""


def to(*peers: str, ours: str = ALICE) -> Route:
    """The way to these."""
    return Route(clear=False, targets=tuple((ours, peer) for peer in peers))


class Peer(Link):
    """A session of which the outbox sees no more than this."""

    def __init__(self, peer: str, *, is_open: bool = True, room: int = 100, ours: str = ALICE) -> None:
        self._ends = ours, peer
        self.now_open, self.room, self.writable = is_open, room, True
        self.took: list[str] = []

    @property
    def ours(self) -> str:
        return self._ends[0]

    @property
    def peer(self) -> str:
        return self._ends[1]

    @property
    def is_open(self) -> bool:
        return self.now_open

    @property
    def is_writable(self) -> bool:
        return self.writable

    def send(self, stanza: Element) -> None:
        body = stanza.findtext("{jabber:client}body", "")
        if "\0" in body or body == LARGE:
            raise UnsendableStanza("U+0000")
        if not self.room:
            raise NoRoom("full")
        self.room -= 1
        self.took.append(body)


class Timer:
    """What is to be done later, unless it is cancelled."""

    def __init__(self, call: Callable[..., None], words: tuple[Any, ...]) -> None:
        self._call: Callable[[], None] | None = lambda: call(*words)

    def cancel(self) -> None:
        self._call = None

    def fire(self) -> None:
        """Its time has come."""
        if self._call is not None:
            self._call()


class Desk:
    """The plugin, as the outbox knows it, and the loop with a time of its own."""

    hold_seconds, hold_bytes = 300.0, 10_000

    def __init__(self, *links: Peer) -> None:
        self.loop: Any = self
        self.now = 0.0
        self.timers: list[Timer] = []
        self.links: dict[Target, Peer | E2EError] = {(link.ours, link.peer): link for link in links}
        self.routes: dict[str, Route | E2EError] = {BARE: to(*(link.peer for link in links)), CAROL: CLEAR}
        self.asked: list[str] = []
        self.clear: list[str] = []
        self.through: list[tuple[str, str]] = []
        self.failed: list[tuple[str, E2EError]] = []
        self.on_failure: Callable[[], object] = lambda: None
        self.answers = asyncio.Event()
        self.answers.set()
        self.box = Outbox(self)

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, call: Callable[..., None], *words: Any) -> Timer:
        assert seconds == self.hold_seconds
        self.timers.append(Timer(call, words))
        return self.timers[-1]

    def create_task(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(coroutine)

    async def find_route(self, ours: str, to: str) -> Route:
        self.asked.append(to)
        await self.answers.wait()
        route = self.routes[to]
        if isinstance(route, E2EError):
            raise route
        return route

    def link_to(self, target: Target) -> Link:
        link = self.links[target]
        if isinstance(link, E2EError):
            raise link
        return link

    def went(self, stanza: StanzaBase, link: Link) -> None:
        self.through.append((stanza["body"], link.peer))

    def send_clear(self, stanza: StanzaBase) -> None:
        self.clear.append(stanza["body"])

    def send_failed(self, stanza: StanzaBase, error: E2EError) -> None:
        self.failed.append((stanza["body"], error))
        self.on_failure()

    async def say(self, body: str, to: str = BARE, ours: str = ALICE) -> None:
        """Send a message, and let its way be found out."""
        self.box.send(say(body), ours, to)
        await turns(3)

    def fire(self) -> None:
        """All deadlines have come."""
        for timer in self.timers:
            timer.fire()

    def is_empty(self) -> bool:
        """Does nothing wait?"""
        box = self.box
        return not (box._held or any(box._queues.values()) or box._unrouted or box._finding or box._stale or box._early) and (
            box._held_in_all == (0, 0)
        )


def say(body: str) -> Message:
    message = Message()
    message["body"] = body
    return message
