"""In-band bytestreams by iqs only (XEP-0047): window, sequence and bounds.

Carriers only move stanzas: they send what ``stanzas_to_send()`` gives, report each answer by its tag, hand over the
peer's payloads, answer those that ``acknowledgements_due()`` names, and write everything in the order in which they
take it. Nothing here protects the bytes: TLS does, and finds out what a strict reader cannot.
"""

from __future__ import annotations

import enum
from binascii import a2b_base64, b2a_base64
from typing import NewType, NoReturn
from xml.etree.ElementTree import Element

from xmpp_e2e.errors import BytestreamFailed, BytestreamViolation, LocalError
from xmpp_e2e.types import MAX_BLOCK_SIZE, MIN_BLOCK_SIZE, Role

NS_IBB = "http://jabber.org/protocol/ibb"
OPEN, DATA, CLOSE = (f"{{{NS_IBB}}}{name}" for name in ("open", "data", "close"))

RECEIVE_QUEUE = 128 * 1024
"""Unread bytes beyond which blocks are not acknowledged, and the most that we have on its way unacknowledged.

Our largest window of default blocks (32 of 4 KiB). A sender that keeps to it never has more than twice as much in a
receiver that nobody reads: one queue acknowledged and one on its way. Beyond that a peer ignores back-pressure.
"""
RECEIVE_BLOCKS = 256
"""Received blocks that may wait for their acknowledgement: eight of our own largest windows. The carrier keeps an iq id
for each, so that blocks of one byte must not be bounded by their bytes alone."""

FIRST_WINDOW = 12
"""Stanzas without an answer at the beginning: about 48 KiB, what a server takes without a pause."""
LAST_WINDOW = 32
"""Stanzas without an answer at most: a longer queue in a server adds delay and no speed."""

HIGH_WATER = 256 * 1024
"""Bytes of backlog from which a host stops pulling from its session: one full flight on its way, another ready.

A bytestream takes whatever it is given (a TLS record that is left out would break everything after it), so its queue is
bounded by this and by what the session hands out in one pull.
"""

_SEQUENCE = 1 << 16

Receipt = NewType("Receipt", int)
"""Names one payload of the peer that has to be answered with an iq result, once it is due."""


class _Incoming(enum.Enum):
    UNOPENED = enum.auto()
    FLOWING = enum.auto()
    ENDED = enum.auto()


_LEGAL = {(OPEN, _Incoming.UNOPENED), (DATA, _Incoming.FLOWING), (CLOSE, _Incoming.FLOWING)}
"""The payloads that may come in each state; anything else is an unexpected-request."""


def sid_of(payload: Element) -> str | None:
    """The bytestream that an element belongs to, to route it by (with the sender's full JID).

    None if it is none of XEP-0047's elements or names no bytestream. The answer to None, to a sid that nobody holds and
    to one of another sender is item-not-found.
    """
    return payload.get("sid") if payload.tag in (OPEN, DATA, CLOSE) else None


class IBB:
    """One side of one in-band bytestream.

    The window grows by one for each full window of answers that came while more was waiting. It never shrinks: nothing
    is sent twice here, so that an error, even one of type *wait*, is the end; and a peer or a server that is slow holds
    its answers back, which slows us down by itself.
    """

    def __init__(self, role: Role, sid: str, block_size: int) -> None:
        """``block_size``: raw bytes, as agreed in the negotiation, MIN_BLOCK_SIZE to MAX_BLOCK_SIZE (LocalError)."""
        if not MIN_BLOCK_SIZE <= block_size <= MAX_BLOCK_SIZE:
            raise LocalError(f"an in-band block has {MIN_BLOCK_SIZE} to {MAX_BLOCK_SIZE} bytes, not {block_size}")
        self.sid = sid
        self.failure: BytestreamFailed | None = None
        """The failure that ended the bytestream, if any."""
        self._role = role
        self._block_size = block_size
        # outgoing
        self._queue = bytearray()
        self._announcing = False
        self._closing = False
        self._close_tag: int | None = None
        self._outstanding: dict[int, int] = {}
        self._in_flight = 0
        self.answered = 0
        """Bytes that the peer has acknowledged."""
        self._tags = 0
        self._next_sent = 0
        self._window = FIRST_WINDOW
        self._answers = 0
        self._held_up = False
        # incoming
        self._incoming = _Incoming.UNOPENED
        self._unread = bytearray()
        self._next_received = 0
        self._receipts = 0
        self._answered = 0
        self._close_receipt: int | None = None

    # outgoing

    def open(self) -> None:
        """Queue the <open/> (initiator only, once: LocalError). Data may follow without waiting for its answer."""
        if self._role is not Role.INITIATOR:
            raise LocalError("only the initiator opens an in-band bytestream")
        if self._announcing or self._incoming is not _Incoming.UNOPENED or self.failure:
            raise LocalError("this in-band bytestream was opened before")
        self._announcing = True

    @property
    def writable(self) -> bool:
        """Return whether ``send()`` may be called: not after ``close()``, the answer to the peer's <close/>, or a failure."""
        return not (self._closing or self.failure or self._over)

    def send(self, data: bytes) -> None:
        """Queue bytes; those of a responder wait there for the peer's <open/>. LocalError unless ``writable``.

        Never refused for their number: the host pauses while ``backlog`` is at ``HIGH_WATER``.
        """
        if not self.writable:
            raise LocalError("the bytestream is closed; nothing can be sent over it any more")
        self._queue += data

    def close(self) -> None:
        """Send what is queued and <close/> after it. Nothing follows the answer to the peer's own <close/>."""
        self._closing = True

    @property
    def backlog(self) -> int:
        """Bytes that are queued or unacknowledged."""
        return len(self._queue) + self._in_flight

    @property
    def drained(self) -> bool:
        """Return whether nothing is queued or without an answer: no data, no <open/> and no <close/>."""
        return not (self._queue or self._outstanding or self._announcing or self._close_pending)

    def stanzas_to_send(self) -> list[tuple[int, Element]]:
        """The payloads that the window allows now, each for an iq of type set, with the tag to report its answer by."""
        stanzas = []
        while (element := self._next_payload()) is not None:
            stanzas.append((self._tags, element))
            self._tags += 1
        return stanzas

    def acknowledged(self, tag: int) -> None:
        """The iq with this tag was answered by a result. An unknown tag, or one of a dead bytestream, is ignored."""
        size = self._outstanding.pop(tag, None)
        if size is None:
            return
        self._in_flight -= size
        self.answered += size
        if tag == self._close_tag:
            # XEP-0047 §2.3: with this answer both directions are closed, whatever the peer may still have wanted to say
            self._incoming = _Incoming.ENDED
        if self._held_up and self._window < LAST_WINDOW:
            self._answers += 1
            if self._answers >= self._window:
                self._window, self._answers = self._window + 1, 0

    def failed(self, tag: int, condition: str, *, try_again: bool = False) -> None:
        """The iq with this tag was answered by an error (RFC 6120 §8.3.3), or not at all. ``try_again``: it may pass.

        Ends the bytestream and raises BytestreamFailed; reports after the first one are ignored. A peer that no longer
        knows the bytestream which we are closing has closed it: no failure (XEP-0047 §2.3).
        """
        if tag not in self._outstanding:
            return
        if tag == self._close_tag and condition == "item-not-found":
            self.acknowledged(tag)
            return
        failure = BytestreamFailed(f"a stanza of the bytestream was refused by the peer or a server: {condition}")
        failure.may_pass = try_again
        self._die(failure)

    # incoming

    def receive(self, payload: Element) -> Receipt:
        """Take one of the peer's payloads, which the host has routed here by ``sid_of()`` and the sender's full JID.

        Returns the receipt to answer it by, when ``acknowledgements_due()`` names it. Raises BytestreamViolation with the
        condition to answer with: the bytestream is dead then, and nothing of this payload or after it is delivered.
        """
        if sid_of(payload) != self.sid:
            raise LocalError("a stanza of another bytestream was brought to this one")
        if self.failure:
            raise BytestreamViolation("a stanza came for a bytestream that has failed", "item-not-found")
        if (payload.tag, self._incoming) not in _LEGAL:
            self._misused(f"<{payload.tag.rpartition('}')[2]}/> came on a bytestream that {self._story}")
        if self._receipts - self._answered >= RECEIVE_BLOCKS:
            self._misused("the peer does not wait for acknowledgements", "resource-constraint")
        if payload.tag == DATA:
            self._receive_data(payload)
        elif payload.tag == OPEN:
            self._receive_open(payload)
        else:
            self._incoming = _Incoming.ENDED
            self._close_receipt = self._receipts
        self._receipts += 1
        return Receipt(self._receipts - 1)

    def read(self) -> bytes:
        """Return the bytes that have arrived in order since the last call; ``b""`` if none have."""
        data = bytes(self._unread)
        self._unread.clear()
        return data

    @property
    def ended(self) -> bool:
        """Return whether <close/> came, ours was answered, or the bytestream failed: nothing follows what ``read()`` holds."""
        return self._incoming is _Incoming.ENDED or self.failure is not None

    def acknowledgements_due(self) -> list[Receipt]:
        """The receipts to be answered with a result now, each once and in order; ask again after every other call.

        None while more than RECEIVE_QUEUE is unread; that of <close/> only when our own queue is empty (XEP-0047 §2.3).
        """
        if len(self._unread) > RECEIVE_QUEUE and not self.failure:
            return []
        due = range(self._answered, self._receipts)
        if self._close_receipt is not None and self._queue:
            due = range(self._answered, self._close_receipt)
        self._answered = due.stop
        return [Receipt(number) for number in due]

    # inside

    @property
    def _over(self) -> bool:
        """Return whether the peer's <close/> is answered."""
        return self._close_receipt is not None and self._answered > self._close_receipt

    @property
    def _close_pending(self) -> bool:
        """Return whether our own <close/> is still to be sent: not if the bytestream is not open, or the peer has closed it."""
        return self._closing and self._close_tag is None and self._incoming is _Incoming.FLOWING and self.failure is None

    @property
    def _story(self) -> str:
        if self._incoming is _Incoming.ENDED:
            return "is closed"
        return "is open" if self._incoming is _Incoming.FLOWING else "is not open"

    def _next_payload(self) -> Element | None:
        """The next payload that may leave, put down as outstanding; None if there is none or the window is full."""
        if self._incoming is _Incoming.UNOPENED and not self._announcing:
            return None
        size = min(len(self._queue), self._block_size)
        full = len(self._outstanding) >= self._window
        self._held_up = full and size > 0
        if full or self._in_flight + size > RECEIVE_QUEUE:
            return None
        if self._announcing:
            self._announcing, size = False, 0
            self._incoming = _Incoming.FLOWING  # the peer may speak from here on
            element = Element(OPEN, {"sid": self.sid, "block-size": str(self._block_size), "stanza": "iq"})
        elif size:
            element = Element(DATA, {"sid": self.sid, "seq": str(self._next_sent)})
            element.text = b2a_base64(self._queue[:size], newline=False).decode("ascii")
            del self._queue[:size]
            self._next_sent = (self._next_sent + 1) % _SEQUENCE
            self._in_flight += size
        elif self._close_pending:
            element = Element(CLOSE, {"sid": self.sid})
            self._close_tag = self._tags
        else:
            return None
        self._outstanding[self._tags] = size
        return element

    def _receive_open(self, payload: Element) -> None:
        if self._role is not Role.RESPONDER:
            self._misused("the responder sent <open/>, which is the initiator's to send")
        if payload.get("stanza", "iq") != "iq":
            self._misused("the peer wants to send its blocks in messages, which nobody acknowledges", "not-acceptable")
        word = payload.get("block-size", "")
        if not (word.isascii() and word.isdecimal() and len(word) <= 5):
            self._misused("the peer's <open/> names no block size", "bad-request")
        size = int(word)
        if size > self._block_size:
            self._misused(f"blocks of {self._block_size} bytes were agreed, not of {size}", "resource-constraint")
        if size < MIN_BLOCK_SIZE:
            self._misused(f"blocks of {size} bytes are too small to make sense", "not-acceptable")
        self._block_size = size
        self._incoming = _Incoming.FLOWING

    def _receive_data(self, payload: Element) -> None:
        """Everything is checked before a byte is kept (XEP-0047 §2.2, RFC 4648 §4)."""
        # as strings: there is one way to write each number
        if payload.get("seq") != str(self._next_received):
            self._misused(f"block {self._next_received} was to come, but another one came")
        text = payload.text or ""
        try:
            block = a2b_base64(text)
        except ValueError:
            self._misused("a block is not base64")
        if len(block) > self._block_size:
            self._misused("a block is larger than agreed")
        if not block:
            self._misused("a block is empty")
        # the decoder overlooks much; encoding again finds white space, strange characters, bad padding and stray bits
        if len(payload) or b2a_base64(block, newline=False) != text.encode():
            self._misused("a block is not written in strict base64")
        if len(self._unread) + len(block) > 2 * RECEIVE_QUEUE:
            self._misused("the peer does not wait for acknowledgements", "resource-constraint")
        self._unread += block
        self._next_received = (self._next_received + 1) % _SEQUENCE

    def _misused(self, message: str, condition: str = "unexpected-request") -> NoReturn:
        self._die(BytestreamViolation(message, condition))

    def _die(self, failure: BytestreamFailed) -> NoReturn:
        """Nothing leaves any more and nothing arrives; what had arrived in order stays readable."""
        self.failure = failure
        self._queue.clear()
        self._outstanding.clear()
        self._in_flight = 0
        self._announcing = False
        raise failure
