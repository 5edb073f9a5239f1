"""Iqs that travel inside a session: a request that went inside is answered inside, and so is one that came inside.

slixmpp's matcher takes a reply to an iq from the peer's full JID, his bare JID and his *domain*: without this, a plain result
that a server makes up would answer a question that was asked in confidence.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from slixmpp import JID, Iq

from slixmpp_e2e.sessions.driver import Link

_REQUESTS = frozenset({"get", "set"})
ASKED_BOUND = 4096
"""Requests of ours that may wait for their answers: as many as may wait for one session, and a timeout is 120 s."""
OWED_BOUND = 1024
"""Requests of one session that may wait for our answer: a handler that never answers must not cost memory for ever."""
OUTSIDE_BOUND = 4096
"""Requests that came in clear and may wait for our answer, in all."""
ID_BOUND = 1024
"""Bytes of an id that is remembered; people's programs use some forty. Who sends a longer one gets no answer."""


@dataclass
class Asked:
    """A request of ours; the stanza itself is the caller's, who may change it and send it again."""

    id: str
    ours: str
    """Our own JID, where we have many."""
    to: str
    link: Link | None = None
    """The session that it went through; None while it waits for one."""


class InsideIqs:
    """What was asked inside, on either side, and is not answered yet."""

    def __init__(self) -> None:
        self._asked: OrderedDict[str, Asked] = OrderedDict()
        self._owed: dict[str, dict[Link, dict[str, None]]] = {}
        """By the peer's full JID."""
        self._outside: OrderedDict[tuple[str, str], None] = OrderedDict()

    # --- what we ask -----------------------------------------------------------------------------------------------

    def asks(self, iq: Iq) -> Asked | None:
        """A request of ours goes inside, as soon as there is a session. Returns the oldest one if there are too many: it is
        forgotten here, so that nobody must be left to wait for its answer."""
        if is_request(iq):
            asked = Asked(iq.xml.get("id", ""), iq.xml.get("from", ""), iq.xml.get("to", ""))
            self._asked[asked.id] = asked
        return self._asked.popitem(last=False)[1] if len(self._asked) > ASKED_BOUND else None

    def went(self, iq: Iq, link: Link) -> None:
        """The request goes through this session, and its answer may come through no other."""
        if is_request(iq) and (asked := self._asked.get(iq.xml.get("id", ""))) is not None:
            asked.link = link

    def forged(self, iq: Iq) -> bool:
        """A reply came outside: does it claim to answer what was asked inside?"""
        return not is_request(iq) and iq.xml.get("id", "") in self._asked

    def not_asked(self, iq: Iq) -> Asked | None:
        """The request did not go inside after all. None if it is none that somebody waits for."""
        return self._asked.pop(iq.xml.get("id", ""), None) if is_request(iq) else None

    def unanswered(self, link: Link) -> list[Asked]:
        """A session is over: the requests that went through it and will not be answered any more, forgotten here."""
        over = [asked for asked in self._asked.values() if asked.link is link]
        for asked in over:
            del self._asked[asked.id]
        return over

    # --- what comes ------------------------------------------------------------------------------------------------

    def came(self, iq: Iq, link: Link) -> bool:
        """An iq came through a session: a request is owed an answer through the same one, a reply settles what was asked
        there. False if it is a reply to what was asked somewhere else."""
        iq_id = iq.xml.get("id", "")
        if is_request(iq):
            if len(iq_id) > ID_BOUND:
                return True
            owed = self._owed.setdefault(link.peer, {}).setdefault(link, {})
            owed[iq_id] = None
            if len(owed) > OWED_BOUND:
                del owed[next(iter(owed))]
        elif (asked := self._asked.get(iq_id)) is not None:
            if asked.link is not link:
                return False
            del self._asked[iq_id]
        return True

    def owes(self, iq: Iq) -> Link | None:
        """An answer of ours leaves: the session through which it must go, None if the request came outside."""
        iq_id, to = iq.xml.get("id", ""), iq["to"].full
        for link, owed in self._owed.get(to, {}).items():
            if iq_id in owed:
                del owed[iq_id]
                return link
        return None

    def came_outside(self, iq: Iq) -> None:
        """A request came in clear, and handlers get it."""
        key = (iq["from"].full, iq.xml.get("id", ""))
        if is_request(iq) and len(key[1]) <= ID_BOUND:
            self._outside[key] = None
            if len(self._outside) > OUTSIDE_BOUND:
                self._outside.popitem(last=False)

    def may_go_outside(self, iq: Iq) -> bool:
        """An answer of ours leaves that is owed to no session: is it known that its request came in clear? What is not, any
        more, may have been asked inside. (Who has no resource is no client: he asks outside only.)"""
        to: JID = iq["to"]
        key = (to.full, iq.xml.get("id", ""))
        return not to.resource or self._outside.pop(key, self) is None

    def forget(self, link: Link) -> None:
        """The session is over; what its peer had asked can be answered by no other way."""
        links = self._owed.get(link.peer, {})
        links.pop(link, None)
        if not links:
            self._owed.pop(link.peer, None)


def is_request(iq: Iq) -> bool:
    """Is it of type get or set?"""
    return iq.xml.get("type") in _REQUESTS
