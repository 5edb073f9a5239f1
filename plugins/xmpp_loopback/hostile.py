"""Ready-made hooks for `LoopbackServer.hooks`: the attacks of a hostile server.

A hook acts on every stanza that matches. `only(sender, hook)` narrows it to one client, `where(matches, hook)` to some
stanzas. `Hold`, `Recorder` and `Delay` are objects that the test controls. `paths` act on bytes below the stanzas;
`LoopbackServer.inject` sends invented stanzas.
"""

from __future__ import annotations

import asyncio
import base64
import copy
import heapq
from collections import deque
from collections.abc import Callable, Collection
from typing import TypeAlias
from xml.etree.ElementTree import Element

from slixmpp import JID

from .hooks import Hook
from .server import LoopbackServer
from .wire import DISCO_INFO

Matches: TypeAlias = Callable[[Element, str], bool]
"""``matches(stanza, sender)``."""

CAPS = "http://jabber.org/protocol/caps"
JINGLE = "urn:xmpp:jingle:1"
FINGERPRINT = "urn:xmpp:jingle:apps:dtls:0"
IBB = "http://jabber.org/protocol/ibb"

HELD_LIMIT = 10_000
"""Maximum number of stanzas in `Hold` and `Recorder`. More is a mistake in the test, not an attack."""


def only(sender: str, hook: Hook) -> Hook:
    """Apply ``hook`` to the stanzas of one sender only: a full JID, or a bare JID for all its resources."""

    def narrowed(stanza: Element, origin: str) -> Element | list[Element] | None:
        return hook(stanza, origin) if origin == sender or JID(origin).bare == sender else stanza

    return narrowed


def where(matches: Matches, hook: Hook) -> Hook:
    """Apply ``hook`` to the stanzas that match."""

    def narrowed(stanza: Element, origin: str) -> Element | list[Element] | None:
        return hook(stanza, origin) if matches(stanza, origin) else stanza

    return narrowed


def drop(matches: Matches) -> Hook:
    """Drop every stanza that matches."""

    def hook(stanza: Element, sender: str) -> Element | None:
        return None if matches(stanza, sender) else stanza

    return hook


def duplicate(matches: Matches) -> Hook:
    """Deliver every stanza that matches twice."""

    def hook(stanza: Element, sender: str) -> list[Element]:
        return [stanza, copy.deepcopy(stanza)] if matches(stanza, sender) else [stanza]

    return hook


def reorder(matches: Matches, count: int = 2) -> Hook:
    """Deliver every ``count`` matching stanzas in reverse order. Other stanzas overtake those that wait."""
    waiting: list[Element] = []

    def hook(stanza: Element, sender: str) -> list[Element]:
        if not matches(stanza, sender):
            return [stanza]
        waiting.append(stanza)
        if len(waiting) < count:
            return []
        passed = waiting[::-1]
        waiting.clear()
        return passed

    return hook


def impersonate(sender: str) -> Hook:
    """Stamp another sender, any JID, on each stanza."""

    def hook(stanza: Element, origin: str) -> Element:
        stanza.set("from", sender)
        return stanza

    return hook


def strip_attribute(tag: str, name: str) -> Hook:
    """Remove the attribute ``name`` from every element with this tag, ``{namespace}name``, the stanza included."""

    def hook(stanza: Element, sender: str) -> Element:
        for element in stanza.iter(tag):
            element.attrib.pop(name, None)
        return stanza

    return hook


def strip_element(tag: str) -> Hook:
    """Remove every element with this tag, ``{namespace}name``, at any depth below the stanza."""

    def hook(stanza: Element, sender: str) -> Element:
        for parent in list(stanza.iter()):
            for child in parent.findall(tag):
                parent.remove(child)
        return stanza

    return hook


def strip_feature(feature: str) -> Hook:
    """Make every client look as if it lacked ``feature``.

    This removes the feature from every disco#info result, and `<c/>` (XEP-0115) from every presence. With the hash, a peer
    would use its cache and never ask, or would notice that the answer does not match. Without a hash there is nothing to
    compare: the client looks like one without entity capabilities.
    """
    without_caps = strip_element(f"{{{CAPS}}}c")

    def hook(stanza: Element, sender: str) -> Element | list[Element] | None:
        for query in stanza.findall(f"{{{DISCO_INFO}}}query"):
            for item in query.findall(f"{{{DISCO_INFO}}}feature"):
                if item.get("var") == feature:
                    query.remove(item)
        return without_caps(stanza, sender) if stanza.tag.endswith("}presence") else stanza

    return hook


def swap_fingerprint(fingerprint: str, actions: Collection[str] = ("session-initiate", "session-accept")) -> Hook:
    """Put another certificate's fingerprint (the text of XEP-0320's element) into Jingle stanzas with these actions."""

    def hook(stanza: Element, sender: str) -> Element:
        for jingle in stanza.findall(f"{{{JINGLE}}}jingle"):
            if jingle.get("action") in actions:
                for element in jingle.iter(f"{{{FINGERPRINT}}}fingerprint"):
                    element.text = fingerprint
        return stanza

    return hook


def flip_ibb_block(number: int = 0, byte: int = 0) -> Hook:
    """Flip one bit in the ``number``-th block of in-band data (XEP-0047), counted from 0."""
    passed = 0

    def hook(stanza: Element, sender: str) -> Element:
        nonlocal passed
        for data in stanza.findall(f"{{{IBB}}}data"):
            if passed == number:
                block = bytearray(base64.b64decode(data.text or ""))
                block[byte % len(block)] ^= 1
                data.text = base64.b64encode(block).decode()
            passed += 1
        return stanza

    return hook


class Hold:
    """A hook that holds matching stanzas back until the test releases them. Nothing happens by time."""

    def __init__(self, server: LoopbackServer, matches: Matches) -> None:
        self._server = server
        self._matches = matches
        self._held: deque[tuple[Element, str]] = deque()
        self._change = asyncio.Event()
        self.open = False
        """True lets everything pass from now on."""

    def __call__(self, stanza: Element, sender: str) -> Element | None:
        if self.open or not self._matches(stanza, sender):
            return stanza
        if len(self._held) >= HELD_LIMIT:
            raise OverflowError(f"more than {HELD_LIMIT} stanzas are held")
        self._held.append((stanza, sender))
        self._change.set()
        return None

    def __len__(self) -> int:
        return len(self._held)

    async def caught(self, count: int = 1) -> None:
        """Wait until at least ``count`` stanzas are held."""
        while len(self._held) < count:
            self._change.clear()
            await self._change.wait()

    def release(self, count: int | None = None) -> None:
        """Deliver the oldest ``count`` stanzas. None delivers all and holds no more. Later hooks do not see them."""
        if count is None:
            self.open = True
            count = len(self._held)
        for _ in range(min(count, len(self._held))):
            stanza, sender = self._held.popleft()
            self._server.route(stanza, sender)

    def release_reversed(self) -> None:
        """Deliver all held stanzas, newest first, and hold no more."""
        self._held.reverse()
        self.release()

    def discard(self) -> None:
        """Drop all held stanzas."""
        self._held.clear()


class Recorder:
    """A hook that copies matching stanzas, to replay them later. Everything passes."""

    def __init__(self, server: LoopbackServer, matches: Matches) -> None:
        self._server = server
        self._matches = matches
        self.taken: list[tuple[Element, str]] = []
        """Stanzas and their senders, in order."""

    def __call__(self, stanza: Element, sender: str) -> Element:
        if self._matches(stanza, sender):
            if len(self.taken) >= HELD_LIMIT:
                raise OverflowError(f"more than {HELD_LIMIT} stanzas are recorded")
            self.taken.append((copy.deepcopy(stanza), sender))
        return stanza

    def replay(self, index: int | None = None) -> None:
        """Deliver one recorded stanza again, or all in order, exactly as they were."""
        for stanza, sender in self.taken if index is None else [self.taken[index]]:
            self._server.route(copy.deepcopy(stanza), sender)


class Delay:
    """A hook that delays stanzas between clients, by a clock that only the test moves.

    ``seconds(sender, to)`` takes full JIDs and covers one direction, and each direction keeps its order. Stanzas to a
    server take no time, nor does the work of the clients.
    """

    def __init__(self, server: LoopbackServer, seconds: Callable[[str, str], float] = lambda sender, to: 1.0) -> None:
        self._server = server
        self._seconds = seconds
        self._waiting: list[tuple[float, int, Element, str]] = []
        self._passed = 0
        self.now = 0.0
        """Seconds since the start. With the default delay, this is the number of one-way trips."""

    def __call__(self, stanza: Element, sender: str) -> Element | None:
        to = stanza.get("to", "")
        if "@" not in to or JID(to).bare == JID(sender).bare:
            return stanza
        if len(self._waiting) >= HELD_LIMIT:
            raise OverflowError(f"more than {HELD_LIMIT} stanzas are on their way")
        self._passed += 1
        heapq.heappush(self._waiting, (self.now + self._seconds(sender, to), self._passed, stanza, sender))
        return None

    def __len__(self) -> int:
        return len(self._waiting)

    def advance(self) -> None:
        """Move the clock to the next arrival, and deliver all that arrives then. Raises IndexError if nothing is on its
        way."""
        self.now = self._waiting[0][0]
        while self._waiting and self._waiting[0][0] <= self.now:
            _, _, stanza, sender = heapq.heappop(self._waiting)
            self._server.route(stanza, sender)
