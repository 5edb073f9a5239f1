"""Our own iqs: sent past every filter that could alter, delay or lose them; their replies never reach other handlers."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType
from xml.etree.ElementTree import Element

from slixmpp import Iq
from slixmpp.basexmpp import BaseXMPP
from slixmpp.xmlstream.stanzabase import StanzaBase

from slixmpp_e2e.xmpp.namespaces import of_client, of_stream
from slixmpp_e2e.xmpp.unavailable_reply import UnavailableReply, stanza_error
from xmpp_e2e.errors import JingleError
from xmpp_e2e.negotiate.jingle import NS_ERRORS


class Refusal(str):
    """The condition of a stanza error (RFC 6120 §8.3.3)."""

    may_pass = False
    """Whether to try again: the error says so (type ``wait``, §8.3.2), or a server on the way is not there now."""


OnReply = Callable[[Refusal | None], None]
"""Called once: with None for a result, or with the error."""

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


class QueuedIq(Iq):
    """Placeholder in slixmpp's send queue. When it is popped, the oldest pending iq of ours is sent."""


class IqChannel:
    """Sends our requests and answers, from one of our JIDs, in the order in which they are given.

    They wait here; slixmpp's queue holds placeholders only. What slixmpp pops without a connection is lost, and after a
    resumption (XEP-0198) slixmpp resends what was not acknowledged *after* what it was given meanwhile. A block that is lost,
    or overtakes another, ends a bytestream. The windows of our bytestreams bound how much waits here.
    """

    def __init__(self, xmpp: BaseXMPP) -> None:
        self._xmpp = xmpp
        self._pending: dict[_RequestKey, tuple[Callable[[Iq], None], object, int]] = {}
        self._by_owner: dict[object, dict[_RequestKey, None]] = {}
        self._to_send: deque[QueuedIq] = deque()
        self._unavailable = UnavailableReply(self._request_unavailable, self._answer)
        self.paused = False
        """True while there is no connection."""
        self._requests = itertools.count(1)
        self.replies = 0
        """Requests that were answered so far."""
        self.newest_answered = 0
        """The highest number of those."""

    def request(self, own_jid: str, peer: str, payload: Element, on_reply: OnReply, owner: object = None) -> int:
        """Send an iq of type set; return its number, which is higher than those of all before it.

        A reply counts only from ``peer`` (a full JID), until ``forget_requests(owner)``.
        """
        iq = self._new("set")
        iq.append(payload)
        number = self._expect_reply((own_jid, peer, iq["id"]), lambda reply: on_reply(_refusal(reply)), owner)
        self._send(iq, own_jid, peer)
        return number

    def result(self, request: StanzaBase) -> None:
        """Answer a request with an empty result."""
        self._answer(request, ())

    def error(self, request: StanzaBase, error: JingleError) -> None:
        """Answer a request with an error, and add the Jingle condition if there is one (XEP-0166 §10)."""
        if isinstance(error, StrangerRefused) and not self._xmpp.is_component:
            self._unavailable.answer(request, self._xmpp.boundjid.bare)
            return
        element = stanza_error(error.condition, error.type)
        if error.jingle_condition is not None:
            element.append(Element(f"{{{NS_ERRORS}}}{error.jingle_condition}"))
        self._answer(request, (element,))

    def take_reply(self, iq: Iq) -> bool:
        """Return whether this is a reply to a request of ours; if so, it has been handled."""
        if iq.xml.get("type") not in ("result", "error"):
            return False
        key = (self.own_jid(iq.xml.get("to", "")), iq.xml.get("from", ""), iq.xml.get("id", ""))
        pending = self._pending.pop(key, None)
        if pending is None:
            return False
        on_reply, owner, number = pending
        self.replies, self.newest_answered = self.replies + 1, max(self.newest_answered, number)
        requests = self._by_owner[owner]
        del requests[key]
        if not requests:
            del self._by_owner[owner]
        on_reply(iq)
        return True

    def own_jid(self, stamped: str) -> str:
        """Return the JID of ours that a stanza is from or to. A component has many, so there the ``stamped`` address counts."""
        xmpp = self._xmpp
        return stamped if xmpp.is_component and stamped else str(xmpp.boundjid.full)

    def next_to_send(self) -> QueuedIq | None:
        """Return the iq to write now that slixmpp has popped a placeholder; None if there is none, or no connection."""
        return self._to_send.popleft() if self._to_send and not self.paused else None

    def forget_requests(self, owner: object) -> None:
        """Forget the requests of ``owner``, so that a reply that never comes does not keep it in memory."""
        for key in self._by_owner.pop(owner, ()):
            del self._pending[key]

    def pause(self) -> None:
        """Stop sending: the connection is gone. The stream may be resumed."""
        self.paused = True

    def resume(self) -> None:
        """Send what waits: the stream is up, and slixmpp has resent what was not acknowledged."""
        self.paused = False
        for iq in self._to_send:
            self._xmpp.send(iq)

    def clear(self) -> None:
        """Forget everything: the client stream is gone, and all replies with it."""
        self._pending.clear()
        self._by_owner.clear()
        self._to_send.clear()
        self._unavailable.clear()

    def _expect_reply(self, key: _RequestKey, on_reply: Callable[[Iq], None], owner: object) -> int:
        number = next(self._requests)
        self._pending[key] = (on_reply, owner, number)
        self._by_owner.setdefault(owner, {})[key] = None
        return number

    def _request_unavailable(
        self, peer: str, payload: Element, attributes: dict[str, str], on_reply: Callable[[Iq], None]
    ) -> None:
        iq = self._new("set")
        iq.xml.attrib.update(attributes)
        iq.append(payload)
        own_jid = self._xmpp.boundjid.full
        self._expect_reply((own_jid, peer, iq["id"]), on_reply, None)
        self._send(iq, own_jid, peer)

    def _answer(self, request: StanzaBase, children: tuple[Element, ...], attributes: Mapping[str, str] = _NONE) -> None:
        """Send an error if there are children, else a result."""
        iq = self._new("error" if children else "result")
        iq["id"] = request["id"]
        iq.xml.attrib.update(attributes)
        for child in children:
            iq.xml.append(child)
        self._send(iq, request.xml.get("to", ""), request.xml.get("from", ""))

    def _new(self, type: str) -> QueuedIq:
        iq: QueuedIq = QueuedIq(self._xmpp)  # type: ignore[no-untyped-call]
        iq["type"] = type
        return iq

    def _send(self, iq: QueuedIq, own_jid: str, peer: str) -> None:
        iq["to"] = peer
        if self._xmpp.is_component:
            iq["from"] = own_jid
            for child in iq.xml:
                of_stream(child, self._xmpp.default_ns)
        self._to_send.append(iq)
        if not self.paused:
            self._xmpp.send(iq)


def _refusal(iq: Iq) -> Refusal | None:
    if iq.xml.get("type") == "result":
        return None
    refusal = Refusal("undefined-condition")
    for error in of_client(iq.xml).findall("{jabber:client}error"):
        for child in error:
            if child.tag.startswith(f"{{{_STANZAS}}}") and not child.tag.endswith("}text"):
                refusal = Refusal(child.tag.rpartition("}")[2])
                break
        waits = error.get("type") == "wait" and refusal != "unexpected-request"  # that is of another order (XEP-0166 §10)
        refusal.may_pass = waits or refusal in _SERVER_AWAY
    return refusal
