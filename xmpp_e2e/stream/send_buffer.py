"""Our direction of the inner stream until TLS takes it: header, elements, close; what waits here is bounded."""

from __future__ import annotations

from collections import deque
from xml.etree.ElementTree import Element, SubElement

from xmpp_e2e.stream import NS_STREAM, writer

SEND_BUFFER_BYTES = 6 * 1024 * 1024
"""Plaintext that may wait for a slow bytestream: ten minutes of a slow server. A host bounds what all sessions hold together;
this is less than it allows one account, so that a device that reads nothing does not keep the others from it."""
CHUNK_BYTES = 64 * 1024
"""Plaintext that is taken at a time, so that the bytestream's back-pressure reaches us."""
EARLY_STANZA_BYTES = 32 * 1024
"""Stanza bytes that may be sent before the peer's done: a few messages, and half of what a receiver holds."""

ERROR = f"{{{NS_STREAM}}}error"
_NS_CONDITIONS = "urn:ietf:params:xml:ns:xmpp-streams"


class SendBuffer:
    """Writes the stream, and buffers it until it is taken. Stanzas are kept as they are, not copied."""

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._taken = 0
        """Pieces that were taken."""
        self._first_stanza: int | None = None
        """The number of the piece with the first stanza that waits, or None."""
        self.has_left = False
        """True once something was taken."""
        self.started = False
        """True once the header is written."""

    def __len__(self) -> int:
        return self._size

    def header(self, from_: str, to: str, *, id: str | None) -> None:
        """Write the stream header, first of all."""
        self._write(writer.header(from_, to, id=id))
        self.started = True

    def element(self, element: Element) -> None:
        """Write an element that is no stanza."""
        self._write(writer.element(element))

    def stanza(self, data: bytes) -> None:
        """Write a stanza."""
        if self._first_stanza is None:
            self._first_stanza = self._taken + len(self._pieces)
        self._write(data)

    def error(self, condition: str) -> None:
        """Write a stream error (RFC 6120 §4.9)."""
        element = Element(ERROR)
        SubElement(element, f"{{{_NS_CONDITIONS}}}{condition}")
        self.element(element)

    def close_stream(self) -> None:
        """Write ``</stream:stream>``."""
        self._write(writer.CLOSER)

    def drop_stanzas(self) -> None:
        """Drop what waits from the first stanza on: it is not for this peer."""
        if self._first_stanza is not None:
            while self._taken + len(self._pieces) > max(self._first_stanza, self._taken):
                self._size -= len(self._pieces.pop())
            self._first_stanza = None

    def take(self, limit: int | None = CHUNK_BYTES) -> bytes:
        """Take the next bytes, at most ``limit`` (None: all)."""
        taken: list[bytes] = []
        room = self._size if limit is None else limit
        while self._pieces and room:
            piece = self._pieces.popleft()
            if len(piece) > room:
                self._pieces.appendleft(piece[room:])
                piece = piece[:room]
            else:
                self._taken += 1
            room -= len(piece)
            self._size -= len(piece)
            taken.append(piece)
            self.has_left = True
        if not self._pieces:
            self._first_stanza = None
        return b"".join(taken)

    def _write(self, data: bytes) -> None:
        self._pieces.append(data)
        self._size += len(data)
