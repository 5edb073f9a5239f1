"""Iqs that travel inside a session: a request that went inside is answered inside, and so is one that came inside.

slixmpp's matcher takes a reply to an iq from the peer's full JID, his bare JID and his *domain*: without this, a plain result
that a server makes up would answer a question that was asked in confidence.
"""

from __future__ import annotations

from slixmpp import Iq

from slixmpp_e2e.link import Link

_REQUESTS = frozenset({"get", "set"})
OWED_BOUND = 1024
"""Requests of one session that may wait for our answer: a handler that never answers must not cost memory for ever."""


class InsideIqs:
    """What was asked inside, on either side, and is not answered yet."""

    def __init__(self) -> None:
        self._asked: dict[str, Iq] = {}
        self._owed: dict[Link, dict[str, None]] = {}

    def asks(self, iq: Iq) -> None:
        """A request of ours goes inside, now or as soon as there is a session."""
        if iq.xml.get("type") in _REQUESTS:
            self._asked[iq.xml.get("id", "")] = iq

    def forged(self, iq: Iq) -> bool:
        """A reply came outside: does it claim to answer what was asked inside?"""
        return iq.xml.get("type") not in _REQUESTS and iq.xml.get("id", "") in self._asked

    def came(self, iq: Iq, link: Link) -> None:
        """An iq came inside: a reply settles what we asked, a request is owed an answer through the same session."""
        iq_id = iq.xml.get("id", "")
        if iq.xml.get("type") in _REQUESTS:
            owed = self._owed.setdefault(link, {})
            owed[iq_id] = None
            if len(owed) > OWED_BOUND:
                del owed[next(iter(owed))]
        elif (asked := self._asked.get(iq_id)) is not None and asked.xml.get("to") == link.peer:
            del self._asked[iq_id]

    def owes(self, iq: Iq) -> Link | None:
        """An answer of ours leaves: the session through which it must go, None if the request came outside."""
        iq_id, to = iq.xml.get("id", ""), iq.xml.get("to", "")
        for link, owed in self._owed.items():
            if link.peer == to and iq_id in owed:
                del owed[iq_id]
                return link
        return None

    def not_asked(self, iq: Iq) -> bool:
        """The request failed here. True if it was one that somebody waits for."""
        return self._asked.pop(iq.xml.get("id", ""), None) is not None

    def unanswered(self, link: Link) -> list[Iq]:
        """A session is over: the requests that went to its peer and will not be answered any more."""
        return [iq for iq in self._asked.values() if iq.xml.get("to") == link.peer]

    def forget(self, link: Link) -> None:
        """The session is gone altogether, and with it what its peer had asked."""
        self._owed.pop(link, None)
