"""What one session knows of its stanzas, both ways: how many came, and which of ours the peer has not acknowledged (XEP-0198).

Stanzas count from 1, each way. A state outlives its session: the next one with the same two keys settles what it left.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from xmpp_e2e.errors import StreamError

NS_SM = "urn:xmpp:sm:3"
R, A, RESUME, RESUMED = (f"{{{NS_SM}}}{name}" for name in ("r", "a", "resume", "resumed"))
ELEMENTS = frozenset({R, A, RESUME, RESUMED})
"""Those of XEP-0198 that are spoken inside, once the sender's done is said."""

_MAX_DIGITS = 19
"""Digits of a number of stanzas: more than any session sends, and few to parse."""
_MAX_ID = 128
"""Characters of a Jingle sid: ours have 32."""


@dataclass(slots=True, eq=False)
class SentStanza:
    """A stanza that the peer has not acknowledged."""

    data: bytes = field(repr=False)
    """Its bytes in the stream; empty once its sender has been told that it is not sent again."""
    tag: object = field(repr=False)
    """The host's own; None once it is given up, so that nothing of it is kept with the number."""
    size: int
    """Bytes that it takes, given up or not."""

    def give_up(self) -> None:
        """Do not send it again. It may have arrived all the same."""
        self.data, self.tag = b"", None


@dataclass(eq=False)
class AckState:
    """The stanzas of one session."""

    sid: str
    """The session's Jingle sid."""
    jids: tuple[str, str]
    """Our own full JID in it, and the peer's."""
    handled: int = 0
    """Stanzas of the peer that were delivered."""
    taken: int = 0
    """Those of them that the host has taken: not what waits for it, which ends with the program."""
    sent: int = 0
    """Stanzas of ours that were sent."""
    unacknowledged: deque[SentStanza] = field(default_factory=deque, repr=False)
    """Those of them that the peer has not acknowledged: the last ones, in order."""
    size: int = 0
    """Their bytes."""
    confirmed: bool = False
    """True once the peer's hello has said that it can acknowledge."""
    live: bool = True
    """True until the session ends."""
    superseded: bool = False
    """True once another session has taken its place: nothing that comes in this one counts any more."""
    recalled: bool = False
    """True if it was never here: nothing is known of what was sent in it. Another program has counted what came, or nobody."""
    ended: float = 0.0
    """When it ended, on the clock of ``now``."""

    @property
    def is_settled(self) -> bool:
        """Return whether nothing is left that was not acknowledged."""
        return not any(stanza.data for stanza in self.unacknowledged)

    @property
    def memory(self) -> int:
        """Return how many bytes are kept to be sent again."""
        return sum(len(stanza.data) for stanza in self.unacknowledged)

    def add(self, stanza: SentStanza) -> None:
        """Keep a stanza that is sent."""
        self.sent += 1
        self.size += stanza.size
        self.unacknowledged.append(stanza)

    def acknowledge(self, h: int) -> list[SentStanza]:
        """Let go of the stanzas up to the number ``h``, and return them. StreamError if so many were never sent."""
        if h > self.sent:
            raise StreamError(f"the peer acknowledges {h} stanzas; {self.sent} were sent", "policy-violation")
        return self._take(len(self.unacknowledged) - (self.sent - h))

    def take_unacknowledged(self) -> list[SentStanza]:
        """Let go of all, and return them."""
        return self._take(len(self.unacknowledged))

    def _take(self, count: int) -> list[SentStanza]:
        taken = [self.unacknowledged.popleft() for _ in range(count)]
        self.size -= sum(stanza.size for stanza in taken)
        return taken


def build_request() -> Element:
    """The element that asks for an acknowledgement."""
    return Element(R)


def build_answer(h: int) -> Element:
    """The element that acknowledges ``h`` stanzas."""
    return Element(A, {"h": str(h)})


def build_resume(tag: str, previd: str, h: int | None) -> Element:
    """The element that asks (RESUME) or says (RESUMED) what became of an earlier session. No ``h``: nothing is known of it."""
    return Element(tag, {"previd": previd} if h is None else {"previd": previd, "h": str(h)})


def parse_h(element: Element) -> int:
    """The number of stanzas that it acknowledges; StreamError ``bad-format``."""
    h = element.get("h", "")
    if len(element) or not (h.isascii() and h.isdigit() and len(h) <= _MAX_DIGITS):
        raise StreamError("the peer's acknowledgement is malformed", "bad-format")
    return int(h)


def parse_resume(element: Element) -> tuple[str, int | None]:
    """The earlier session's sid, and how many stanzas of it were handled; StreamError ``bad-format``."""
    previd = element.get("previd", "")
    if len(element) or not 0 < len(previd) <= _MAX_ID or (element.tag == RESUME and "h" not in element.attrib):
        raise StreamError("the peer's resumption is malformed", "bad-format")
    return previd, parse_h(element) if "h" in element.attrib else None
