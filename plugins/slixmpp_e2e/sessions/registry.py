"""Every live session of a client: found by (own JID, peer's full JID, sid), opened, admitted, tie-broken, and ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Never, Protocol

from slixmpp import Iq

from slixmpp_e2e.errors import TooManySessions
from slixmpp_e2e.sessions.admission.limits import Capacity, Limits, Refused
from slixmpp_e2e.sessions.driver import Link
from slixmpp_e2e.xmpp.iq_channel import NobodyHere, OwnIqs
from xmpp_e2e.errors import JingleError
from xmpp_e2e.identity import Assurance, Role
from xmpp_e2e.negotiate.jingle import NS_JINGLE, NS_SECURITY, NS_XMLSTREAM, Action, Jingle, Reason, parse
from xmpp_e2e.negotiate.offer import tie_break
from xmpp_e2e.session import Session
from xmpp_e2e.stages import BEFORE_OPEN, Stage
from xmpp_e2e.transport.ibb import NS_IBB, sid_of

_REMEMBER_ENDED = 256
"""Sessions, and as many bytestreams, that ended here just now: what the peer says of them is still on its way."""

Key = tuple[str, str, str]
_JINGLE = f"{{{NS_JINGLE}}}jingle"
_OURS = (f".//{{{NS_SECURITY}}}security", f".//{{{NS_XMLSTREAM}}}description")


class Host(Protocol):
    """What the registry needs of the plugin."""

    def new_session(self, role: Role, ours: str, peer: str, minimum: Assurance) -> Session:
        """A core session between two full JIDs, on the terms of the day."""

    def new_link(self, session: Session) -> Link:
        """What carries it."""

    def admits(self, peer: str) -> bool:
        """Do the policies agree?"""


class Callers(Protocol):
    """Who may open sessions with us."""

    def is_listed(self, peer: str) -> bool:
        """May this full JID, by ``accept_from``? Costs no look-up in the store."""

    def is_contact(self, peer: str) -> bool:
        """Is it one of whom the user has said so? Costs no look-up in the store."""

    def is_acquainted(self, peer: str) -> bool:
        """Is it, or has this account ever had encryption?"""


class Sessions:
    """The registry."""

    def __init__(self, host: Host, callers: Callers, iqs: OwnIqs, clock: Callable[[], float], limits: Limits) -> None:
        self._host, self._callers, self._iqs, self._clock = host, callers, iqs, clock
        self._links: dict[Key, Link] = {}
        self._accounts: dict[str, dict[Link, None]] = {}
        self._open: dict[tuple[str, str], Link] = {}
        self._streams: dict[Key, Link] = {}
        self._stream_of: dict[Link, Key] = {}
        self._ended: dict[Key, None] = {}
        self._ended_streams: dict[Key, None] = {}
        self.capacity: Capacity[Link] = Capacity(limits)

    def __iter__(self) -> Iterator[Link]:
        return iter(tuple(self._links.values()))

    def of(self, bare: str) -> tuple[Link, ...]:
        """The sessions with one account."""
        return tuple(self._accounts.get(bare, ()))

    def between(self, ours: str, peer: str) -> Link | None:
        """The session to send through: the open one that opened last, or else the one that may open next."""
        if (link := self._open.get((ours, peer))) is not None and link.is_open:
            return link
        return next((link for link in self._half_open(peer) if (link.ours, link.peer) == (ours, peer)), None)

    def ensure(self, ours: str, peer: str, minimum: Assurance = Assurance.NONE) -> Link:
        """The session between two full JIDs; a new one with ``minimum`` as its terms is offered if there is none, or if the
        open one falls short of it: what is sent from now on waits for the new one. TooManySessions."""
        link = self.between(ours, peer)
        if link is not None and link.is_open and link.assurance < minimum:
            link.end()
            link = None
        if link is None:
            if len(self._links) - len(self.capacity) >= (bound := self.capacity.limits.sessions):
                raise TooManySessions(f"{bound} sessions that we have opened are there already")
            link = self._host.new_link(self._host.new_session(Role.INITIATOR, ours, peer, minimum))
            link.offer()
            self._add(link)
        return link

    # --- what the link tells ---------------------------------------------------------------------------------------

    def connected(self, link: Link, stream: str) -> None:
        """Its bytestream has this sid (XEP-0047)."""
        self._stream_of[link] = key = (link.ours, link.peer, stream)
        self._streams[key] = link

    def opened(self, link: Link) -> None:
        """The newest open session is the one to send through; an older one with the same peer has had its day."""
        self.capacity.arrive(link)
        older = self._open.get((link.ours, link.peer))
        self._open[link.ours, link.peer] = link
        if older is not None and older is not link:
            older.end()

    def ended(self, link: Link) -> None:
        """Nothing can be sent through it any more."""
        self.capacity.arrive(link)
        if self._open.get((link.ours, link.peer)) is link:
            del self._open[link.ours, link.peer]

    def finished(self, link: Link) -> None:
        """Nothing is left to do for it."""
        self.ended(link)
        self.capacity.leave(link)
        stream = self._stream_of.pop(link, None)
        if stream is not None and self._streams.get(stream) is link:
            del self._streams[stream]
            _remember(self._ended_streams, stream)
        key = (link.ours, link.peer, link.sid)
        if self._links.get(key) is link:
            del self._links[key]
            _remember(self._ended, key)
            account = _bare(link.peer)
            del self._accounts[account][link]
            if not self._accounts[account]:
                del self._accounts[account]

    # --- what comes in ---------------------------------------------------------------------------------------------

    def takes_jingle(self, iq: Iq, ours: str, *, others: bool) -> bool:
        """Deal with a Jingle iq; False if it is not for us (``others``: another Jingle plugin is loaded)."""
        jingle = iq.xml.find(_JINGLE)
        if jingle is None:
            return False
        key = (ours, iq.xml.get("from", ""), jingle.get("sid", ""))
        link = self._links.get(key)
        starts = jingle.get("action") == Action.SESSION_INITIATE.value
        terminates = jingle.get("action") == Action.SESSION_TERMINATE.value
        is_ours = any(jingle.find(path) is not None for path in _OURS) if starts else key in self._ended
        if link is None and others and not is_ours:
            return False
        try:
            if link is None and not (terminates and self._has_ended(key)):
                self._look_into(key[1], free=starts and self._crosses(key))
                link = self._invited(key, parse(jingle)) if starts else self._unknown()
            if link is not None:
                link.receive_jingle(jingle)
        except JingleError as error:
            self._iqs.error(iq, error)
            if link is not None and key not in self._links:
                self.capacity.leave(link)
        else:
            self._iqs.result(iq)
            if link is not None and key not in self._links:
                self._add(link)
        if link is not None and link.stage is not Stage.IDLE:
            link.pump()
        return True

    def takes_block(self, iq: Iq, ours: str, *, others: bool) -> bool:
        """Deal with an IBB iq; False if it is not for us (``others``: another IBB plugin is loaded)."""
        payload = iq.xml[0] if len(iq.xml) else None
        if payload is None or not payload.tag.startswith(f"{{{NS_IBB}}}"):
            return False
        key = (ours, iq.xml.get("from", ""), sid_of(payload) or "")
        link = self._streams.get(key)
        is_ours = link is not None or not others or key in self._ended_streams
        if link is not None:
            link.receive_block(iq, payload)
        elif is_ours:
            try:
                if key not in self._ended_streams:  # he could not know
                    self._look_into(key[1])
                raise JingleError("no such bytestream", "item-not-found")
            except JingleError as error:
                self._iqs.error(iq, error)
        return is_ours

    def _look_into(self, peer: str, *, free: bool = False) -> None:
        """An iq came that belongs to no session. What is cheapest to find out comes first: a flood must end here."""
        nobody = NobodyHere("no session is accepted from this JID")
        if not self._callers.is_listed(peer):
            raise nobody
        if not free and not self.capacity.listens(peer, self._clock(), contact=self._callers.is_contact(peer)):
            raise Refused("too many sessions are asked for")
        if not self._host.admits(peer):
            raise nobody

    def _invited(self, key: Key, jingle: Jingle) -> Link:
        """Somebody who may wants a session: is ours on the way to him too, and is there room?"""
        ours, peer, sid = key
        mine = self._offered(ours, peer) if jingle.secured is not None else None
        if mine is not None:
            if tie_break(mine.sid, sid):
                raise JingleError("our own offer has precedence", "conflict", "tie-break")
            mine.abandon()  # and no room is made: his offer takes the place of ours, and counts as ours
            return self._host.new_link(self._host.new_session(Role.RESPONDER, ours, peer, Assurance.NONE))
        acquainted = self._callers.is_acquainted(peer)
        if (given_up := self.capacity.make_room(peer, acquainted=acquainted)) is not None:
            given_up.end(Reason.BUSY)
        link = self._host.new_link(self._host.new_session(Role.RESPONDER, ours, peer, Assurance.NONE))
        self.capacity.enter(link, peer, acquainted=acquainted)
        return link

    def _add(self, link: Link) -> None:
        self._links[link.ours, link.peer, link.sid] = link
        self._accounts.setdefault(_bare(link.peer), {})[link] = None

    def _unknown(self) -> Never:
        raise JingleError("no such session", "item-not-found", "unknown-session")

    def _has_ended(self, key: Key) -> bool:
        """Did this session end just now? Said once: the peer's own session-terminate, and no flood of them."""
        ended = key in self._ended
        self._ended.pop(key, None)
        return ended

    def _offered(self, ours: str, peer: str) -> Link | None:
        """Our own offer to this full JID, if it is on its way."""
        offered = (link for link in self._half_open(peer) if link.stage is Stage.OFFERED)
        return next((link for link in offered if (link.ours, link.peer) == (ours, peer)), None)

    def _crosses(self, key: Key) -> bool:
        """Does this offer cross one of ours? Whoever refused it for its rate would lose both. Each of ours lets one through, so
        how many there can be is up to us."""
        mine = self._offered(*key[:2])
        if mine is None or mine.crossed:
            return False
        mine.crossed = True
        return True

    def _half_open(self, peer: str) -> Iterator[Link]:
        return (link for link in self.of(_bare(peer)) if link.stage in BEFORE_OPEN)


def _remember(ended: dict[Key, None], key: Key) -> None:
    ended[key] = None
    if len(ended) > _REMEMBER_ENDED:
        del ended[next(iter(ended))]


def _bare(jid: str) -> str:
    return jid.partition("/")[0]
