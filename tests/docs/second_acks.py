"""What the other implementation knows of its stanzas: docs/protocol.md §5, Acknowledgements and Resumption, from its text."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element
from xml.sax.saxutils import quoteattr

from tests.docs.second_proofs import Broken

SM = "urn:xmpp:sm:3"
WORDS = {f"{{{SM}}}{name}" for name in ("r", "a", "resume", "resumed")}


@dataclass
class Numbers:
    """The stanzas of one session."""

    handled: int = 0
    sent: int = 0
    left: list[bytes] = field(default_factory=list)
    """The last of those that were sent: the ones that the peer has not acknowledged."""
    over: bool = False
    frozen: bool = False
    """Nothing that comes there counts any more."""

    def acknowledged(self, h: int) -> None:
        """So many of ours were handled."""
        if h > self.sent:
            raise Broken("policy-violation")
        del self.left[: max(0, len(self.left) - (self.sent - h))]


class Ledger:
    """The numbers of all sessions with the same two keys and accounts, and what this one says of them."""

    def __init__(self, known: dict[str, Numbers], sid: str, write: Callable[[str | bytes], None]) -> None:
        if sid in known:
            raise Broken("")
        self.known = known
        self.mine = known[sid] = Numbers()
        self._sid, self._write = sid, write
        self._told = 0
        self._asked: set[str] = set()
        self._later: list[bytes] = []
        self.speaks = False
        """Does the peer?"""

    def begin(self) -> None:
        """Our done is said, and the peer's hello is here."""
        for sid, numbers in self.known.items():
            if self.speaks and numbers is not self.mine and numbers.left:
                numbers.frozen = True
                self._asked.add(sid)
                self._write(f"<resume xmlns='{SM}' previd={quoteattr(sid)} h='{numbers.handled}'/>")

    def send(self, stanza: bytes) -> None:
        """A new stanza: not before all that is left is settled."""
        if self._asked:
            self._later.append(stanza)
            return
        self.mine.sent += 1
        if self.speaks:
            self.mine.left.append(stanza)
        self._write(stanza)

    def count(self) -> None:
        """A stanza is delivered."""
        if self.mine.frozen:
            raise Broken("")
        self.mine.handled += 1

    def acknowledge(self) -> None:
        """Tell of what is new."""
        if self.speaks and self.mine.handled > self._told:
            self._answer()

    def _answer(self) -> None:
        self._told = self.mine.handled
        self._write(f"<a xmlns='{SM}' h='{self._told}'/>")

    def receive(self, element: Element) -> None:
        """One of WORDS."""
        if not self.speaks:
            raise Broken("policy-violation")
        if self.mine.frozen:
            return
        name = element.tag.rpartition("}")[2]
        h = element.get("h")
        if name == "r":
            self._answer()
            return
        absent = h is None and name == "resumed"
        if len(element) or not (absent or re.fullmatch("[0-9]{1,19}", h or "")):
            raise Broken("bad-format")
        if name == "a":
            self.mine.acknowledged(int(h or ""))
            return
        previd = element.get("previd", "")
        if not 1 <= len(previd) <= 128:
            raise Broken("bad-format")
        if name == "resume":
            self._on_resume(previd, int(h or ""))
        elif previd in self._asked:
            self._settle(previd, None if h is None else int(h))

    def _on_resume(self, previd: str, h: int) -> None:
        if previd == self._sid:
            raise Broken("policy-violation")
        there = self.known.get(previd)
        numbers = self.known.setdefault(previd, Numbers(over=True))
        numbers.frozen = True
        mine = "" if there is None else f" h='{there.handled}'"
        self._write(f"<resumed xmlns='{SM}' previd={quoteattr(previd)}{mine}/>")
        self._settle(previd, h if there is not None else None)

    def _settle(self, previd: str, h: int | None) -> None:
        self._asked.discard(previd)
        numbers = self.known[previd]
        if h is not None:
            numbers.acknowledged(h)
        again, numbers.left = numbers.left, []
        for stanza in again:
            self.mine.sent += 1
            self.mine.left.append(stanza)
            self._write(stanza)
        if not self._asked:
            later, self._later = self._later, []
            for stanza in later:
                self.send(stanza)

    def end(self, *, clean: bool) -> None:
        """The session is over."""
        self.mine.over = True
        if clean and not self.mine.frozen:
            self.mine.left.clear()
