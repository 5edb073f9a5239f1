"""Our direction of the inner stream until TLS takes it: header, elements, close; what waits here is bounded."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement

from xmpp_e2e.errors import SendBufferFull
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
    """Writes the stream, and buffers it until it is taken."""

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._stanza_bytes = 0  # in all
        self._first_stanza: int | None = None  # where the first that waits begins
        self.started = False
        """True once the header is written."""

    def __len__(self) -> int:
        return len(self._waiting)

    def header(self, from_: str, to: str, *, id: str | None) -> None:
        """Write the stream header, first of all."""
        self._waiting += writer.header(from_, to, id=id)
        self.started = True

    def element(self, element: Element) -> None:
        """Write an element that is no stanza."""
        self._waiting += writer.element(element)

    def stanza(self, stanza: Element, *, early: bool) -> None:
        """Write a stanza. SendBufferFull if too much waits, or (``early``) if the peer's done must come first; the writer's
        errors apply."""
        data = writer.element(stanza)
        room = EARLY_STANZA_BYTES - self._stanza_bytes if early else SEND_BUFFER_BYTES - len(self._waiting)
        if len(data) > room:
            raise SendBufferFull(f"{len(data)} bytes do not fit: {room} are free until the peer has taken what was sent before")
        self._stanza_bytes += len(data)
        if self._first_stanza is None:
            self._first_stanza = len(self._waiting)
        self._waiting += data

    def error(self, condition: str) -> None:
        """Write a stream error (RFC 6120 §4.9)."""
        element = Element(ERROR)
        SubElement(element, f"{{{_NS_CONDITIONS}}}{condition}")
        self.element(element)

    def close_stream(self) -> None:
        """Write ``</stream:stream>``."""
        self._waiting += writer.CLOSER

    def drop_stanzas(self) -> None:
        """Drop what waits from the first stanza on: it is not for this peer."""
        if self._first_stanza is not None:
            del self._waiting[self._first_stanza :]
            self._first_stanza = None

    def take(self, limit: int | None = CHUNK_BYTES) -> bytes:
        """Take the next bytes, at most ``limit`` (None: all)."""
        piece = bytes(self._waiting[:limit])
        del self._waiting[:limit]
        if self._first_stanza is not None:
            self._first_stanza = max(0, self._first_stanza - len(piece)) if self._waiting else None
        return piece
