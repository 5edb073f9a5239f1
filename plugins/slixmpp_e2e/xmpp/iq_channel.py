"""Our own iqs: sent past every filter that could alter, delay or lose them, and their replies taken before any other handler
sees them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType
from xml.etree.ElementTree import Element

from slixmpp import Iq
from slixmpp.basexmpp import BaseXMPP
from slixmpp.xmlstream.stanzabase import StanzaBase

from slixmpp_e2e.xmpp.namespaces import of_client, of_stream
from slixmpp_e2e.xmpp.unavailable_reply import Absent, bare_error
from xmpp_e2e.errors import JingleError
from xmpp_e2e.negotiate.jingle import NS_ERRORS

Replied = Callable[[str | None], None]
"""Called once with None for a result, or with the stanza error condition (RFC 6120 §8.3.3)."""

_NONE: Mapping[str, str] = MappingProxyType({})
_Request = tuple[str, str, str]
"""(own JID, peer's JID, id)"""
_STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"


class NobodyHere(JingleError):
    """He who asks is no concern of ours: he is answered as by our server for a resource that is not there. (A component is its
    own server.)"""

    def __init__(self, message: str) -> None:
        super().__init__(message, "service-unavailable")


class OwnIq(Iq):
    """In slixmpp's queue, whichever it is, it is the turn of the next of our iqs."""


class OwnIqs:
    """Sends requests and answers of ours, from one of our JIDs, in the order in which they are given.

    They wait here, and only their turns in slixmpp's queue: what comes out of that queue without a connection is lost, and on
    a resumption of the stream (XEP-0198) slixmpp sends what was not acknowledged *after* what it was given meanwhile. A block
    that is lost, or overtakes another, ends a bytestream. What waits is bounded by the windows of our bytestreams.
    """

    def __init__(self, xmpp: BaseXMPP) -> None:
        self._xmpp = xmpp
        self._waiting: dict[_Request, tuple[Callable[[Iq], None], object]] = {}
        self._asked_by: dict[object, dict[_Request, None]] = {}
        self._ready: deque[OwnIq] = deque()
        self._absent = Absent(self._ask, self._answer)
        self.paused = False
        """Is there no connection?"""

    def request(self, ours: str, peer: str, payload: Element, replied: Replied, owner: object = None) -> None:
        """Send an iq of type set. The reply counts only if it comes from ``peer``, a full JID, before ``owner`` is gone."""
        iq = self._new("set")
        iq.append(payload)
        self._await((ours, peer, iq["id"]), lambda reply: replied(_condition(reply)), owner)
        self._send(iq, ours, peer)

    def result(self, request: StanzaBase) -> None:
        """Answer a request with an empty result."""
        self._answer(request, ())

    def error(self, request: StanzaBase, error: JingleError) -> None:
        """Answer a request with an error, and the Jingle error beside it if there is one (XEP-0166 §10)."""
        if isinstance(error, NobodyHere) and not self._xmpp.is_component:
            self._absent.answer(request, self._xmpp.boundjid.bare)
            return
        element = bare_error(error.condition, error.type)
        if error.jingle_condition is not None:
            element.append(Element(f"{{{NS_ERRORS}}}{error.jingle_condition}"))
        self._answer(request, (element,))

    def takes(self, iq: Iq) -> bool:
        """Is this a reply to a request of ours? Then it has been dealt with."""
        if iq.xml.get("type") not in ("result", "error"):
            return False
        ours = iq.xml.get("to", "") if self._xmpp.is_component else self._xmpp.boundjid.full
        key = (ours, iq.xml.get("from", ""), iq.xml.get("id", ""))
        waiting = self._waiting.pop(key, None)
        if waiting is None:
            return False
        replied, owner = waiting
        asked = self._asked_by[owner]
        del asked[key]
        if not asked:
            del self._asked_by[owner]
        replied(iq)
        return True

    def turn(self) -> OwnIq | None:
        """A turn has come: the iq to write now."""
        return self._ready.popleft() if self._ready and not self.paused else None

    def gone(self, owner: object) -> None:
        """Who asked is gone, and needs no replies any more; one that never comes must not keep him."""
        for key in self._asked_by.pop(owner, ()):
            del self._waiting[key]

    def pause(self) -> None:
        """The connection is gone; the stream may be resumed."""
        self.paused = True

    def go_on(self) -> None:
        """The stream is up, and what was not acknowledged is on its way."""
        self.paused = False
        for iq in self._ready:
            self._xmpp.send(iq)

    def clear(self) -> None:
        """The client stream is gone, and all replies with it."""
        self._waiting.clear()
        self._asked_by.clear()
        self._ready.clear()
        self._absent.clear()

    def _await(self, request: _Request, replied: Callable[[Iq], None], owner: object) -> None:
        self._waiting[request] = (replied, owner)
        self._asked_by.setdefault(owner, {})[request] = None

    def _ask(self, peer: str, payload: Element, attributes: dict[str, str], replied: Callable[[Iq], None]) -> None:
        iq = self._new("set")
        iq.xml.attrib.update(attributes)
        iq.append(payload)
        ours = self._xmpp.boundjid.full
        self._await((ours, peer, iq["id"]), replied, None)
        self._send(iq, ours, peer)

    def _answer(self, request: StanzaBase, children: tuple[Element, ...], attributes: Mapping[str, str] = _NONE) -> None:
        """An answer with children is an error."""
        iq = self._new("error" if children else "result")
        iq["id"] = request["id"]
        iq.xml.attrib.update(attributes)
        for child in children:
            iq.xml.append(child)
        self._send(iq, request.xml.get("to", ""), request.xml.get("from", ""))

    def _new(self, type: str) -> OwnIq:
        iq: OwnIq = OwnIq(self._xmpp)  # type: ignore[no-untyped-call]
        iq["type"] = type
        return iq

    def _send(self, iq: OwnIq, ours: str, peer: str) -> None:
        iq["to"] = peer
        if self._xmpp.is_component:
            iq["from"] = ours
            for child in iq.xml:
                of_stream(child, self._xmpp.default_ns)
        self._ready.append(iq)
        if not self.paused:
            self._xmpp.send(iq)


def _condition(iq: Iq) -> str | None:
    if iq.xml.get("type") == "result":
        return None
    for child in of_client(iq.xml).findall("{jabber:client}error/*"):
        if child.tag.startswith(f"{{{_STANZAS}}}") and not child.tag.endswith("}text"):
            return str(child.tag.rpartition("}")[2])
    return "undefined-condition"
