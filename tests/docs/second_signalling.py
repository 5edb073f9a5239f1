"""§1 and §2 of docs/protocol.md for the other implementation: iqs, the negotiation, and the bytestream under it."""

from __future__ import annotations

import base64
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from xml.etree.ElementTree import Element, SubElement

from tests.docs.second_proofs import labelled, lv

CLIENT, STANZAS = "jabber:client", "urn:ietf:params:xml:ns:xmpp-stanzas"
JINGLE, JINGLE_ERRORS = "urn:xmpp:jingle:1", "urn:xmpp:jingle:errors:1"
XMLSTREAM, IBB_TRANSPORT = "urn:xmpp:jingle:apps:xmlstream:0", "urn:xmpp:jingle:transports:ibb:1"
IBB, DTLS = "http://jabber.org/protocol/ibb", "urn:xmpp:jingle:apps:dtls:0"
SECURITY = "urn:x-xmpp-e2e:security:0"
METHODS = ("fingerprint", "psk", "srp", "sas")
FEATURES = (JINGLE, XMLSTREAM, IBB_TRANSPORT, SECURITY)
ALPN = b"xmpp-e2e/1"
WINDOW = 12

Act = Callable[[], None]
"""What follows an iq once it is answered."""


class Refused(Exception):
    """How an iq is to be answered."""

    def __init__(self, condition: str, jingle: str = "", type: str = "cancel") -> None:
        super().__init__(condition)
        self.condition, self.jingle, self.type = condition, jingle, type


class Signalling(ABC):
    """Give it iqs by ``receive``, take those that leave from ``iqs``."""

    def __init__(self, ours: str, peer: str, *, flights: bool, certificate: bytes) -> None:
        self.ours, self.peer = ours, peer
        self._flights = flights
        self._shown = certificate
        """SHA-256 of our certificate."""
        self._expected = b""
        """The same of the peer's, as it was signalled."""
        self._ahead = b""
        """The ClientHello that travelled in the signalling."""
        self.iqs: list[Element] = []
        self.ended: str = ""
        """``clean``, or what went wrong."""
        self.open = False
        self.initiator = False
        self._sid = ""
        self._halves: dict[bool, bytes] = {}
        """The two halves of neg, by: is it the initiator's?"""
        # the bytestream
        self._stream, self._block, self._flowing = "", 4096, False
        self._queue = bytearray()
        self._sent = self._received = 0
        self._unanswered: dict[str, str] = {}
        self._after: list[Element] = []

    @abstractmethod
    def _begin_tls(self) -> None: ...

    @abstractmethod
    def _written(self) -> bytes:
        """What TLS wants to say."""

    @abstractmethod
    def _take(self, data: bytes) -> None:
        """Bytes of the bytestream."""

    def offer(self) -> None:
        """Be the initiator."""
        self.initiator = True
        self._sid, self._stream = os.urandom(16).hex(), os.urandom(16).hex()
        if self._flights:
            self._begin_tls()
            self._ahead = self._written()
        self._request(self._negotiate("session-initiate", "e2e", self._ahead))

    def _over(self, how: str) -> None:
        self.ended = self.ended or how
        self.open = False

    # --- iqs -------------------------------------------------------------------------------------------------------

    def receive(self, iq: Element) -> None:
        """An iq came, stamped by the server."""
        if iq.get("type") in ("result", "error"):
            kind = self._unanswered.pop(iq.get("id", ""), None) if iq.get("from") == self.peer else None
            if kind is not None and iq.get("type") == "error" and not self.ended:
                self._over(f"the peer answered {kind} with an error")
            self._pump()
            return
        try:
            act = self._receive_set(iq)
        except Refused as refused:
            self._answer(iq, refused)
            if iq[0].tag.startswith(f"{{{IBB}}}") and refused.condition != "item-not-found":
                self._over(f"the bytestream was misused: {refused.condition}")
            return
        self._answer(iq, None)
        act()
        self._pump()

    def _receive_set(self, iq: Element) -> Act:
        payload = iq[0]
        if iq.get("from") != self.peer:
            raise Refused("service-unavailable" if payload.tag == f"{{{JINGLE}}}jingle" else "item-not-found")
        if payload.tag == f"{{{JINGLE}}}jingle":
            return self._receive_jingle(payload)
        if payload.get("sid") != self._stream or not self._stream or self.ended:
            raise Refused("item-not-found")
        return self._receive_block(payload)

    def _request(self, payload: Element) -> None:
        iq = Element(f"{{{CLIENT}}}iq", {"type": "set", "id": os.urandom(8).hex(), "from": self.ours, "to": self.peer})
        iq.append(payload)
        self._unanswered[iq.attrib["id"]] = payload.get("action") or payload.tag.rpartition("}")[2]
        self.iqs.append(iq)

    def _answer(self, request: Element, refused: Refused | None) -> None:
        attributes = {"id": request.get("id", ""), "from": self.ours, "to": request.get("from", "")}
        answer = Element(f"{{{CLIENT}}}iq", {"type": "error" if refused else "result", **attributes})
        if refused:
            error = SubElement(answer, f"{{{CLIENT}}}error", {"type": refused.type})
            SubElement(error, f"{{{STANZAS}}}{refused.condition}")
            if refused.jingle:
                SubElement(error, f"{{{JINGLE_ERRORS}}}{refused.jingle}")
        self.iqs.append(answer)

    # --- §1: negotiation -------------------------------------------------------------------------------------------

    def _negotiate(self, action: str, name: str, flight: bytes) -> Element:
        nonce, digest = os.urandom(16), self._shown
        jingle = Element(f"{{{JINGLE}}}jingle", {"action": action, "sid": self._sid})
        content = SubElement(jingle, f"{{{JINGLE}}}content", {"creator": "initiator", "name": name})
        SubElement(content, f"{{{XMLSTREAM}}}description")
        SubElement(content, f"{{{IBB_TRANSPORT}}}transport", {"sid": self._stream, "block-size": str(self._block)})
        encoded = base64.b64encode(nonce).decode()
        security = SubElement(content, f"{{{SECURITY}}}security", {"version": "1", "nonce": encoded})
        SubElement(security, f"{{{DTLS}}}fingerprint", {"hash": "sha-256"}).text = digest.hex(":").upper()
        for method in METHODS:
            SubElement(security, f"{{{SECURITY}}}method", {"name": method})
        if flight:
            SubElement(security, f"{{{SECURITY}}}flight").text = base64.b64encode(flight).decode()
        self._halves[self.initiator] = self._half(self.ours, self.peer, name, digest, ",".join(METHODS), nonce, "")
        return jingle

    def _half(self, from_: str, to: str, name: str, digest: bytes, methods: str, nonce: bytes, assertion: str) -> bytes:
        texts = ("1", self._sid, from_, to, name, XMLSTREAM, "sha-256")
        return lv(*(text.encode() for text in texts), digest, methods.encode(), ALPN, nonce, assertion.encode())

    def _neg(self) -> bytes:
        return labelled("neg", self._halves[True], self._halves[False])

    def _receive_jingle(self, jingle: Element) -> Act:
        action, sid = jingle.get("action"), jingle.get("sid", "")
        if action == "session-initiate":
            return self._invited(jingle, sid)
        if sid != self._sid:
            raise Refused("item-not-found", "unknown-session")
        if action == "session-accept":
            return self._accepted(jingle)
        if action == "session-terminate":
            return lambda: self._over("cut")
        if action == "session-info":
            if len(jingle):
                raise Refused("feature-not-implemented", "unsupported-info")
            return lambda: None
        raise Refused("unexpected-request", "out-of-order", "wait")

    def _invited(self, jingle: Element, sid: str) -> Act:
        """A session-initiate; crossed ones are settled by the lower sid."""
        crossed = self.initiator and not self._flowing
        if (self._sid and not crossed) or sid == self._sid:
            raise Refused("unexpected-request", "out-of-order", "wait")
        if crossed and self._sid.encode() < sid.encode():
            raise Refused("conflict", "tie-break")
        offered, self._sid, self.initiator = self._parse(jingle, sid), sid, False
        self._unanswered.clear()

        def accept() -> None:
            self._stream, self._block = offered[1], min(offered[2], 4096)
            self._begin_tls()
            if self._flights and offered[3]:
                self._take(offered[3])
            if not self.ended:
                self._request(self._negotiate("session-accept", offered[0], self._written()))

        return accept

    def _accepted(self, jingle: Element) -> Act:
        if not self.initiator or self._flowing:
            raise Refused("unexpected-request", "out-of-order", "wait")
        if jingle.find(f".//{{{SECURITY}}}security") is None:
            return lambda: self._give_up("security-error")
        name, stream, block, flight = self._parse(jingle, self._sid)
        if name != "e2e" or stream != self._stream or block > self._block or (flight and not self._flights):
            return lambda: self._give_up("security-error")

        def connect() -> None:
            self._block, self._flowing = block, True
            attributes = {"sid": self._stream, "block-size": str(block), "stanza": "iq"}
            self._request(Element(f"{{{IBB}}}open", attributes))
            if not self._flights:
                self._begin_tls()
            elif flight:
                self._take(flight)
            else:
                self._queue += self._ahead

        return connect

    def _parse(self, jingle: Element, sid: str) -> tuple[str, str, int, bytes]:
        """Content name, stream sid, block size and flight; the half and the fingerprint are put down."""
        try:
            (content,) = jingle.findall(f"{{{JINGLE}}}content")
            (security,) = content.findall(f"{{{SECURITY}}}security")
            (fingerprint,) = security.findall(f"{{{DTLS}}}fingerprint")
            (transport,) = content.findall(f"{{{IBB_TRANSPORT}}}transport")
            digest = bytes.fromhex((fingerprint.text or "").replace(":", "").strip())
            nonce = base64.b64decode(security.attrib["nonce"], validate=True)
            block = int(transport.attrib["block-size"])
            if (security.get("version"), len(nonce), len(digest), fingerprint.get("hash")) != ("1", 16, 32, "sha-256"):
                raise ValueError
            methods = [method.attrib["name"] for method in security.findall(f"{{{SECURITY}}}method")]
            assertion = (security.findtext(f"{{{SECURITY}}}assertion") or "").strip()
            flight = base64.b64decode((security.findtext(f"{{{SECURITY}}}flight") or "").strip(), validate=True)
            name, stream = content.attrib["name"], transport.attrib["sid"]
        except (ValueError, KeyError):
            raise Refused("bad-request") from None
        self._sid, self._expected = sid, digest
        theirs = self._half(self.peer, self.ours, name, digest, ",".join(methods), nonce, assertion)
        self._halves[jingle.get("action") == "session-initiate"] = theirs
        return name, stream, block, flight

    def _give_up(self, reason: str) -> None:
        self._terminate(reason)
        self._over(reason)

    def _terminate(self, reason: str) -> None:
        jingle = Element(f"{{{JINGLE}}}jingle", {"action": "session-terminate", "sid": self._sid})
        SubElement(SubElement(jingle, f"{{{JINGLE}}}reason"), f"{{{JINGLE}}}{reason}")
        self._after.append(jingle)

    # --- §2: the bytestream ----------------------------------------------------------------------------------------

    def _receive_block(self, payload: Element) -> Act:
        if payload.tag == f"{{{IBB}}}open":
            if self.initiator or self._flowing:
                raise Refused("unexpected-request")
            size = payload.get("block-size", "")
            if not (size.isascii() and size.isdecimal()):
                raise Refused("bad-request")
            if payload.get("stanza", "iq") != "iq" or int(size) < 256:
                raise Refused("not-acceptable")
            if int(size) > self._block:
                raise Refused("resource-constraint")
            self._block, self._flowing = int(size), True
            return lambda: None
        if not self._flowing:
            raise Refused("unexpected-request")
        if payload.tag == f"{{{IBB}}}close":
            return lambda: self._over("cut")
        data = base64.b64decode(payload.text or "")
        strict = base64.b64encode(data).decode() == payload.text
        if payload.get("seq") != str(self._received) or not strict or not 0 < len(data) <= self._block:
            raise Refused("unexpected-request")
        self._received = (self._received + 1) % 65536
        return lambda: self._take(data)

    def _pump(self) -> None:
        """What the window allows, and behind the last block what ends the session."""
        self._queue += self._written()
        while self._flowing and self._queue and len(self._unanswered) < WINDOW:
            data = Element(f"{{{IBB}}}data", {"sid": self._stream, "seq": str(self._sent)})
            data.text = base64.b64encode(self._queue[: self._block]).decode()
            del self._queue[: self._block]
            self._sent = (self._sent + 1) % 65536
            self._request(data)
        if not self._queue and not self._unanswered:
            for payload in self._after:
                self._request(payload)
            self._after.clear()
