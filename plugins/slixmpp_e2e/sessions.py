"""Every live session of a client: found by (own JID, peer's full JID, sid), opened, admitted, tie-broken, and ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from slixmpp import Iq

from slixmpp_e2e.iqs import OwnIqs
from slixmpp_e2e.link import Link
from xmpp_e2e.errors import JingleError
from xmpp_e2e.identity import Assurance, Role
from xmpp_e2e.negotiate.jingle import NS_JINGLE, NS_SECURITY, NS_XMLSTREAM, Action, Jingle, parse
from xmpp_e2e.negotiate.offer import tie_break
from xmpp_e2e.session import Session
from xmpp_e2e.stages import BEFORE_OPEN, Stage
from xmpp_e2e.transport.ibb import NS_IBB, sid_of

HALF_OPEN_PER_PEER = 4
"""Sessions of one bare JID that may be on their way at once: a few devices that start together."""
HALF_OPEN = 64
"""The same in all: each costs about 115 KB, so some 7 MB."""
SESSIONS_PER_PEER = 64
"""Sessions of one bare JID in all, those included that are over and wait for their last blocks to be answered: 7 MB."""
SESSIONS = 10_000
"""Open sessions in all."""
_REMEMBER_ENDED = 256
"""Sids of sessions that ended here just now: the peer's own session-terminate for them is still on its way."""

Key = tuple[str, str, str]
NewSession = Callable[[Role, str, str, Assurance], Session]
"""(role, own full JID, peer's full JID, minimum) to a core session."""

_JINGLE = f"{{{NS_JINGLE}}}jingle"
_OURS = (f".//{{{NS_SECURITY}}}security", f".//{{{NS_XMLSTREAM}}}description")


class Sessions:
    """The registry. ``new_session`` makes a core session on the terms of the day; ``admits`` is the user's accept_from."""

    def __init__(
        self, iqs: OwnIqs, new_session: NewSession, make_link: Callable[[Session], Link], admits: Callable[[str], bool]
    ) -> None:
        self._iqs, self._new_session, self._make_link, self._admits = iqs, new_session, make_link, admits
        self._links: dict[Key, Link] = {}
        self._open: dict[tuple[str, str], Link] = {}
        self._streams: dict[Key, Link] = {}
        self._ended: deque[Key] = deque(maxlen=_REMEMBER_ENDED)

    def __iter__(self) -> Iterator[Link]:
        return iter(tuple(self._links.values()))

    def between(self, ours: str, peer: str) -> Link | None:
        """The session to send through: the open one that opened last, or else the one that may open next."""
        if (link := self._open.get((ours, peer))) is not None and link.is_open:
            return link
        return next((link for link in self._half_open() if (link.ours, link.peer) == (ours, peer)), None)

    def ensure(self, ours: str, peer: str, minimum: Assurance = Assurance.NONE) -> Link:
        """The session between two full JIDs; a new one with ``minimum`` as its terms is offered if there is none, or if the
        open one falls short of it: what is sent from now on waits for the new one."""
        link = self.between(ours, peer)
        if link is not None and link.is_open and link.assurance < minimum:
            link.end()
            link = None
        if link is None:
            link = self._make_link(self._new_session(Role.INITIATOR, ours, peer, minimum))
            link.offer()
            self._links[ours, peer, link.sid] = link
        return link

    # --- what the link tells ---------------------------------------------------------------------------------------

    def connected(self, link: Link, stream: str) -> None:
        """Its bytestream has this sid (XEP-0047)."""
        self._streams[link.ours, link.peer, stream] = link

    def opened(self, link: Link) -> None:
        """The newest open session is the one to send through; an older one with the same peer has had its day."""
        older = self._open.get((link.ours, link.peer))
        self._open[link.ours, link.peer] = link
        if older is not None and older is not link:
            older.end()

    def ended(self, link: Link) -> None:
        """Nothing can be sent through it any more."""
        if self._open.get((link.ours, link.peer)) is link:
            del self._open[link.ours, link.peer]

    def finished(self, link: Link) -> None:
        """Nothing is left to do for it."""
        self.ended(link)
        self._streams = {key: other for key, other in self._streams.items() if other is not link}
        key = (link.ours, link.peer, link.sid)
        if self._links.get(key) is link:
            del self._links[key]
            self._ended.append(key)

    # --- what comes in ---------------------------------------------------------------------------------------------

    def takes_jingle(self, iq: Iq, ours: str, *, others: bool) -> bool:
        """Deal with a Jingle iq; False if it is not for us (``others``: another Jingle plugin is loaded)."""
        jingle = iq.xml.find(_JINGLE)
        if jingle is None:
            return False
        key = (ours, iq.xml.get("from", ""), jingle.get("sid", ""))
        link = self._links.get(key)
        starts = jingle.get("action") == Action.SESSION_INITIATE.value
        if link is None and others and not (starts and any(jingle.find(path) is not None for path in _OURS)):
            return False
        try:
            if link is None and not self._admits(key[1]):
                raise JingleError("no session is accepted from this JID", "service-unavailable")
            if link is None and starts:
                link = self._invited(key, parse(jingle))
            elif link is None:
                self._unknown(key, jingle.get("action"))
            if link is not None:
                link.receive_jingle(jingle)
        except JingleError as error:
            self._iqs.error(iq, error)
        else:
            self._iqs.result(iq)
            if link is not None:
                self._links[key] = link
        if link is not None and link.stage is not Stage.IDLE:
            link.pump()
        return True

    def takes_block(self, iq: Iq, ours: str, *, others: bool) -> bool:
        """Deal with an IBB iq; False if it is not for us (``others``: another IBB plugin is loaded)."""
        payload = iq.xml[0] if len(iq.xml) else None
        if payload is None or not payload.tag.startswith(f"{{{NS_IBB}}}"):
            return False
        link = self._streams.get((ours, iq.xml.get("from", ""), sid_of(payload) or ""))
        if link is not None:
            link.receive_block(iq, payload)
        elif not others:
            told = "item-not-found" if self._admits(iq.xml.get("from", "")) else "service-unavailable"
            self._iqs.error(iq, JingleError("no such bytestream", told))
        return link is not None or not others

    def _invited(self, key: Key, jingle: Jingle) -> Link:
        """Somebody who may wants a session: is ours on the way to him too, and is there room?"""
        ours, peer, sid = key
        offered = (link for link in self._half_open() if link.stage is Stage.OFFERED)
        mine = next((link for link in offered if (link.ours, link.peer) == (ours, peer)), None)
        crossed = mine is not None and jingle.secured is not None
        if mine is not None and crossed and tie_break(mine.sid, sid):
            raise JingleError("our own offer has precedence", "conflict", "tie-break")
        self._make_room(peer, free=int(crossed))
        if mine is not None and crossed:
            mine.abandon()
        return self._make_link(self._new_session(Role.RESPONDER, ours, peer, Assurance.NONE))

    def _make_room(self, peer: str, *, free: int) -> None:
        """``free``: as many of ours go when this one comes."""
        half_open = list(self._half_open())
        bare = peer.partition("/")[0]
        of_peer = sum(link.peer.partition("/")[0] == bare for link in half_open)
        full = of_peer - free >= HALF_OPEN_PER_PEER or len(half_open) - free >= HALF_OPEN
        full = full or sum(link.peer.partition("/")[0] == bare for link in self) - free >= SESSIONS_PER_PEER
        if full or len(self._links) - free >= SESSIONS:
            raise JingleError("too many sessions are on their way", "resource-constraint", type="wait")

    def _unknown(self, key: Key, action: str | None) -> None:
        if action != Action.SESSION_TERMINATE.value or key not in self._ended:
            raise JingleError("no such session", "item-not-found", "unknown-session")

    def _half_open(self) -> Iterator[Link]:
        return (link for link in self if link.stage in BEFORE_OPEN)
