"""Our own iqs: sent past every filter that could alter, delay or lose them; their replies never reach other handlers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from secrets import token_hex
from types import MappingProxyType
from xml.etree.ElementTree import Element

from slixmpp.basexmpp import BaseXMPP

from slixmpp_e2e.xmpp.namespaces import of_client, of_stream
from slixmpp_e2e.xmpp.send_window import SendWindow
from slixmpp_e2e.xmpp.turn_writer import TurnWriter
from slixmpp_e2e.xmpp.unavailable_reply import UnavailableReply, stanza_error
from xmpp_e2e.errors import JingleError
from xmpp_e2e.negotiate.jingle import NS_ERRORS


class Refusal(str):
    """The condition of a stanza error (RFC 6120 §8.3.3)."""

    may_pass = False
    """Whether to try again: the error says so (type ``wait``, §8.3.2), or a server on the way is not there now."""


OnReply = Callable[[Refusal | None], None]
"""Called once: with None for a result, or with the error."""

PROBE_SECONDS = 1.0
"""After so long without a reply our server is asked whether it has read what left: most peers answer sooner."""
_TURN = 4 * 1024
"""Bytes that leave in a turn, as a rule: an offer, or a block."""
_TAG = 150
"""Bytes of an element, but for its text, as a rule."""
_PING = "{urn:xmpp:ping}ping"
_NONE: Mapping[str, str] = MappingProxyType({})
_RequestKey = tuple[str, str, str]
"""(own JID, peer's JID, id)"""
_STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"
_SERVER_AWAY = ("remote-server-not-found", "remote-server-timeout")
"""What our server says of one that is starting again, as type ``cancel`` too."""


class StrangerRefused(JingleError):
    """Refuses whoever may not open sessions: they get the server's own error for a resource that does not exist.

    A component is its own server, and answers ``service-unavailable`` itself.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message, "service-unavailable")


@dataclass(eq=False)
class _Request:
    """A request of ours that waits for its reply."""

    key: _RequestKey
    on_reply: Callable[[Element], None]
    owner: object
    number: int = 0
    """Higher than those of all that left before; 0 before it has left."""


class IqChannel:
    """Sends our requests and answers, from one of our JIDs; those of one owner in the order in which they are given.

    Owners take turns, and no more is on its way than our server reads within a few seconds: any reply to a request shows that
    it has read all that left before. Where none comes for a while, we ask the server itself (XEP-0199). A component
    has nobody to ask, and peers who say nothing must not keep others from sending: it is not limited, as by servers it rarely
    is. Answers, which are short, do not wait.

    The windows of our bytestreams bound how much waits here.
    """

    def __init__(self, xmpp: BaseXMPP) -> None:
        self._xmpp = xmpp
        self._pending: dict[_RequestKey, _Request] = {}
        self._by_owner: dict[object, dict[_Request, None]] = {}
        self._lanes: dict[object, deque[tuple[_Request, Element]]] = {}
        """By owner, what may not leave yet; whose turn it is comes first."""
        self._window = SendWindow()
        self._probing = False
        """True while our server is asked whether it has read what left before."""
        self._timer: asyncio.TimerHandle | None = None
        self.on_left: Callable[[object], None] = lambda owner: None
        """Is told the owner of each request that leaves."""
        self.writer = TurnWriter(xmpp)
        """Writes what leaves."""
        self._unavailable = UnavailableReply(self._request_unavailable, self._answer)
        self._left = 0
        """Requests that have left so far."""
        self.replies = 0
        """Requests that were answered so far."""
        self.newest_answered = 0
        """The highest number of those."""

    def request(self, own_jid: str, peer: str, payload: Element, on_reply: OnReply, owner: object = None) -> None:
        """Send an iq of type set when it is its owner's turn.

        A reply counts only from ``peer`` (a full JID), until ``forget_requests(owner)``.
        """
        self._request(self._new("set", payload), own_jid, peer, lambda reply: on_reply(_refusal(reply)), owner)

    def result(self, request: Element, *, late: bool = False) -> None:
        """Answer a request with an empty result. ``late``: its sender says nothing more until they hear something."""
        self._answer(request, (), late=late)

    def error(self, request: Element, error: JingleError) -> None:
        """Answer a request with an error, and add the Jingle condition if there is one (XEP-0166 §10)."""
        if isinstance(error, StrangerRefused) and not self._xmpp.is_component:
            self._unavailable.answer(request, self._xmpp.boundjid.bare)
            return
        element = stanza_error(error.condition, error.type)
        if error.jingle_condition is not None:
            element.append(Element(f"{{{NS_ERRORS}}}{error.jingle_condition}"))
        self._answer(request, (element,))

    def take_reply(self, iq: Element) -> bool:
        """Return whether this is a reply to a request of ours; if so, it has been handled."""
        if iq.get("type") not in ("result", "error"):
            return False
        key = (self.own_jid(iq.get("to", "")), iq.get("from", ""), iq.get("id", ""))
        pending = self._pending.pop(key, None)
        if pending is None:
            return False
        self.replies, self.newest_answered = self.replies + 1, max(self.newest_answered, pending.number)
        requests = self._by_owner[pending.owner]
        del requests[pending]
        if not requests:
            del self._by_owner[pending.owner]
        self._window.read(pending.number, self._now)
        pending.on_reply(iq)
        self._pump()
        return True

    def oldest_of(self, owner: object) -> int | None:
        """Return the number of the oldest request of ``owner`` that is not answered: above all others, if it has not left."""
        oldest = next(iter(self._by_owner.get(owner, ())), None)
        return None if oldest is None else oldest.number or self._left + 1

    def is_unread(self, owner: object) -> bool:
        """Return whether something of ``owner`` waits here, or our server may not have read it."""
        newest = next(reversed(self._by_owner.get(owner, {})), None)
        if newest is None:
            return False
        return newest.number == 0 or (not self._xmpp.is_component and newest.number > self.newest_answered)

    @property
    def silence(self) -> float:
        """For how many seconds our server has read nothing, though something is on its way; 0 if that cannot be known."""
        return 0.0 if self._xmpp.is_component else self._window.silence(self._now)

    @property
    def delay(self) -> float:
        """Seconds until our server has read what somebody sends now who has not sent anything yet."""
        return self._window.seconds_for(_TURN * len(self._lanes))

    def own_jid(self, stamped: str) -> str:
        """Return the JID of ours that a stanza is from or to. A component has many, so there the ``stamped`` address counts."""
        xmpp = self._xmpp
        return stamped if xmpp.is_component and stamped else str(xmpp.boundjid.full)

    def forget_requests(self, owner: object) -> None:
        """Forget the requests of ``owner``, so that a reply that never comes does not keep it in memory."""
        for request in self._by_owner.pop(owner, ()):
            del self._pending[request.key]

    def drop_requests(self, owner: object) -> None:
        """Forget them, and do not send those that wait."""
        self.forget_requests(owner)
        self._lanes.pop(owner, None)

    @property
    def paused(self) -> bool:
        """True while there is no connection."""
        return self.writer.paused

    def pause(self) -> None:
        """Stop sending: the connection is gone. The stream may be resumed."""
        self.writer.pause()

    def resume(self) -> None:
        """Send what waits: the stream is up, and slixmpp has resent what was not acknowledged."""
        self.writer.resume()
        self._window.begin_again(self._now)
        self._pump()

    def clear(self) -> None:
        """Forget everything: the client stream is gone, and all replies with it."""
        self._pending.clear()
        self._by_owner.clear()
        self._lanes.clear()
        self.writer.clear()
        self._unavailable.clear()
        self._window, self._probing = SendWindow(), False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def _now(self) -> float:
        return self._xmpp.loop.time()

    def _request(self, iq: Element, own_jid: str, peer: str, on_reply: Callable[[Element], None], owner: object) -> None:
        request = _Request((own_jid, peer, iq.get("id", "")), on_reply, owner)
        self._pending[request.key] = request
        self._by_owner.setdefault(owner, {})[request] = None
        self._address(iq, own_jid, peer)
        self._lanes.setdefault(owner, deque()).append((request, iq))
        self._pump()

    def _pump(self) -> None:
        """Let leave what may, by turns."""
        while self._lanes and not self.paused and (self._window.has_room or self._xmpp.is_component):
            owner, lane = next(iter(self._lanes.items()))
            request, iq = lane.popleft()
            del self._lanes[owner]
            if lane:
                self._lanes[owner] = lane
            self._let_leave(request, iq)
        if self._window.in_flight and self._timer is None and not self._xmpp.is_component:
            self._timer = self._xmpp.loop.call_later(PROBE_SECONDS, self._probe)

    def _let_leave(self, request: _Request, iq: Element) -> None:
        self._left += 1
        request.number = self._left
        self._window.sent(request.number, _size(iq), self._now)
        self.writer.put(iq)
        self.on_left(request.owner)

    def _probe(self) -> None:
        """Ask our own server whether it has read everything, if nothing has shown that for a while."""
        self._timer = None
        if self._window.oldest_age(self._now) >= PROBE_SECONDS and not self._probing and not self.paused:
            self._probing = True
            iq = self._new("get", Element(_PING))
            own_jid, server = self._xmpp.boundjid.full, self._xmpp.boundjid.domain
            request = _Request((own_jid, server, iq.get("id", "")), self._on_probed, self)
            self._pending[request.key] = request
            self._by_owner[self] = {request: None}
            self._address(iq, own_jid, server)
            self._let_leave(request, iq)
        self._pump()

    def _on_probed(self, reply: Element) -> None:
        self._probing = False

    def _request_unavailable(
        self, peer: str, payload: Element, attributes: dict[str, str], on_reply: Callable[[Element], None]
    ) -> None:
        iq = self._new("set", payload)
        iq.attrib.update(attributes)
        self._request(iq, self._xmpp.boundjid.full, peer, on_reply, None)

    def _answer(
        self,
        request: Element,
        children: tuple[Element, ...],
        attributes: Mapping[str, str] = _NONE,
        *,
        late: bool = False,
    ) -> None:
        """Send an error if there are children, else a result."""
        iq = self._new("error" if children else "result", *children, id=request.get("id", ""))
        iq.attrib.update(attributes)
        self._address(iq, request.get("to", ""), request.get("from", ""))
        if late:
            self.writer.put_late(iq)
        else:
            self.writer.put(iq)

    def _new(self, type: str, *children: Element, id: str | None = None) -> Element:
        iq = Element(f"{{{self._xmpp.default_ns}}}iq", {"id": token_hex(8) if id is None else id, "type": type})
        iq.extend(children)
        return iq

    def _address(self, iq: Element, own_jid: str, peer: str) -> None:
        iq.set("to", peer)
        if self._xmpp.is_component:
            iq.set("from", own_jid)
            for child in iq:
                of_stream(child, self._xmpp.default_ns)


def _size(iq: Element) -> int:
    """Return about how many bytes it takes as text."""
    return sum(_TAG + len(each.text or "") for each in iq.iter())


def _refusal(iq: Element) -> Refusal | None:
    if iq.get("type") == "result":
        return None
    refusal = Refusal("undefined-condition")
    for error in of_client(iq).findall("{jabber:client}error"):
        for child in error:
            if child.tag.startswith(f"{{{_STANZAS}}}") and not child.tag.endswith("}text"):
                refusal = Refusal(child.tag.rpartition("}")[2])
                break
        waits = error.get("type") == "wait" and refusal != "unexpected-request"  # that is of another order (XEP-0166 §10)
        refusal.may_pass = waits or refusal in _SERVER_AWAY
    return refusal
