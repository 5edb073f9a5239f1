"""What the server has seen: every stanza as text on the wire, in the order in which it came or went."""

from __future__ import annotations

import asyncio
import base64
import enum
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias
from xml.etree.ElementTree import Element

from .wire import escaped, parse

RECORD_LIMIT = 512 * 1024 * 1024
"""Characters kept in `Record.seen`: a long file transfer fits, a run without end does not eat the machine."""


class Way(enum.Enum):
    """Seen from the server."""

    RECEIVED = "received"
    SENT = "sent"


@dataclass(frozen=True)
class Handled:
    """One stanza that passed the server's hands."""

    way: Way
    client: str
    """Full JID of the client that sent it, or that it was sent to."""
    text: str
    """As it was on the wire."""

    @cached_property
    def element(self) -> Element:
        """The text, parsed; changing it changes nothing else."""
        return parse(self.text)


Tap: TypeAlias = Callable[[Handled], None]
Predicate: TypeAlias = Callable[[Handled], bool]


class Record:
    """The list of everything handled, callbacks to follow it, and a way to wait for something in it."""

    def __init__(self) -> None:
        self.seen: list[Handled] = []
        self.taps: list[Tap] = []
        self.enabled = True
        """False keeps nothing: for benchmarks and for demonstrations that run for days."""
        self._size = 0
        self._forgotten = 0
        self._waiting: list[tuple[Predicate, asyncio.Future[Handled]]] = []

    def add(self, way: Way, client: str, text: str) -> None:
        """Note one stanza; does nothing when not `enabled`."""
        if not self.enabled:
            return
        handled = Handled(way, client, text)
        self.seen.append(handled)
        self._size += len(text)
        if self._size > RECORD_LIMIT:
            self._forget_the_older_half()
        for tap in self.taps:
            tap(handled)
        for predicate, future in list(self._waiting):
            if not future.done() and predicate(handled):
                future.set_result(handled)

    async def saw(self, predicate: Predicate) -> Handled:
        """The first stanza, past or to come, for which ``predicate`` is true; it waits without end: use a timeout."""
        for handled in self.seen:
            if predicate(handled):
                return handled
        future: asyncio.Future[Handled] = asyncio.get_running_loop().create_future()
        waiting = (predicate, future)
        self._waiting.append(waiting)
        try:
            return await future
        finally:
            self._waiting.remove(waiting)

    def mentions(self, word: str) -> list[Handled]:
        """Every stanza in which ``word`` can be read: as it is, escaped as XML, or inside base64.

        RuntimeError if some of the record was not kept, for then no answer would be honest.
        """
        if self._forgotten or not self.enabled:
            raise RuntimeError(f"the record has gaps: enabled={self.enabled}, {self._forgotten} stanzas forgotten")
        plain, encoded = {word, escaped(word)}, _in_base64(word.encode())
        short = len(word) < _SHORTEST_WORD

        def tells(text: str) -> bool:
            readable = _CIPHERTEXT.sub(" ", text) if short else text
            return any(needle in readable for needle in plain) or any(needle in text for needle in encoded)

        return [handled for handled in self.seen if tells(handled.text)]

    def _forget_the_older_half(self) -> None:
        count = (len(self.seen) + 1) // 2
        self._size -= sum(len(handled.text) for handled in self.seen[:count])
        self._forgotten += count
        del self.seen[:count]


def _in_base64(data: bytes) -> set[str]:
    """How ``data`` looks inside a longer base64 text: one spelling per alignment, without the shared end characters."""
    spellings = set()
    for offset in range(3):
        text = base64.b64encode(bytes(offset) + data).decode().rstrip("=")
        whole = (offset + len(data)) * 8 // 6
        spelling = text[(offset * 8 + 5) // 6 : whole]
        if len(spelling) >= _SHORTEST_SPELLING:
            spellings.add(spelling)
    return spellings


_SHORTEST_WORD = 8
"""Letters of a word that is searched for in base64 as it is: shorter ones turn up there by chance."""
_CIPHERTEXT = re.compile(r"[A-Za-z0-9+/]{24,}")
"""Runs that no human wrote: base64, and random ids."""
_SHORTEST_SPELLING = 6
"""Shorter pieces of base64 turn up by chance in any ciphertext: 36 bits do not."""
