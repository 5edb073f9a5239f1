"""Log every stanza that the server handles, as text on the wire, in order."""

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

LOG_LIMIT = 512 * 1024 * 1024
"""Maximum number of characters in `StanzaLog.stanzas`: enough for a long file transfer."""


class Direction(enum.Enum):
    """The direction of a stanza, seen from the server."""

    RECEIVED = "received"
    SENT = "sent"


@dataclass(frozen=True)
class HandledStanza:
    """A stanza that the server received or sent."""

    direction: Direction
    client: str
    """The full JID of the client that sent or received it."""
    text: str
    """The text on the wire."""

    @cached_property
    def element(self) -> Element:
        """The text, parsed. A change to it changes nothing else."""
        return parse(self.text)


Observer: TypeAlias = Callable[[HandledStanza], None]
Predicate: TypeAlias = Callable[[HandledStanza], bool]


class StanzaLog:
    """All handled stanzas, callbacks for new ones, and a way to wait for one."""

    def __init__(self) -> None:
        self.stanzas: list[HandledStanza] = []
        self.observers: list[Observer] = []
        self.enabled = True
        """False keeps nothing: for benchmarks and long demonstrations."""
        self._size = 0
        self._forgotten = 0
        self._waiting: list[tuple[Predicate, asyncio.Future[HandledStanza]]] = []

    def add(self, direction: Direction, client: str, text: str) -> None:
        """Log a stanza, if the log is enabled."""
        if not self.enabled:
            return
        handled = HandledStanza(direction, client, text)
        self.stanzas.append(handled)
        self._size += len(text)
        if self._size > LOG_LIMIT:
            self._forget_the_older_half()
        for observer in self.observers:
            observer(handled)
        for predicate, future in list(self._waiting):
            if not future.done() and predicate(handled):
                future.set_result(handled)

    async def wait_for(self, predicate: Predicate) -> HandledStanza:
        """Return the first stanza, past or future, for which ``predicate`` is true. It has no timeout of its own."""
        for handled in self.stanzas:
            if predicate(handled):
                return handled
        future: asyncio.Future[HandledStanza] = asyncio.get_running_loop().create_future()
        waiting = (predicate, future)
        self._waiting.append(waiting)
        try:
            return await future
        finally:
            self._waiting.remove(waiting)

    def find_text(self, word: str) -> list[HandledStanza]:
        """Return every stanza in which ``word`` can be read: plain, escaped as XML, or in base64.

        Raises RuntimeError if the log is incomplete, because then no answer would be honest.
        """
        if self._forgotten or not self.enabled:
            raise RuntimeError(f"the record has gaps: enabled={self.enabled}, {self._forgotten} stanzas forgotten")
        plain, encoded = {word, escaped(word)}, _in_base64(word.encode())
        short = len(word) < _SHORTEST_WORD

        def tells(text: str) -> bool:
            readable = _CIPHERTEXT.sub(" ", text) if short else text
            return any(needle in readable for needle in plain) or any(needle in text for needle in encoded)

        return [handled for handled in self.stanzas if tells(handled.text)]

    def _forget_the_older_half(self) -> None:
        count = (len(self.stanzas) + 1) // 2
        self._size -= sum(len(handled.text) for handled in self.stanzas[:count])
        self._forgotten += count
        del self.stanzas[:count]


def _in_base64(data: bytes) -> set[str]:
    """Return the spellings of ``data`` inside a longer base64 text, one for each alignment, without the characters that
    it shares with its neighbours."""
    spellings = set()
    for offset in range(3):
        text = base64.b64encode(bytes(offset) + data).decode().rstrip("=")
        whole = (offset + len(data)) * 8 // 6
        spelling = text[(offset * 8 + 5) // 6 : whole]
        if len(spelling) >= _SHORTEST_SPELLING:
            spellings.add(spelling)
    return spellings


_SHORTEST_WORD = 8
"""Minimum length of a word that is searched for inside base64 text. Shorter ones turn up by chance."""
_CIPHERTEXT = re.compile(r"[A-Za-z0-9+/]{24,}")
"""Long runs of base64 characters, which no human wrote."""
_SHORTEST_SPELLING = 6
"""Minimum length of a base64 spelling. Shorter ones turn up in ciphertext by chance; 36 bits do not."""
