"""Another implementation of docs/protocol.md, written from its text alone: it shares no line with ours and imports none of it.

It is as small as it can be: one session between two full JIDs; any key is believed that was signalled, unless a secret is
needed to prove it. It takes iqs and gives iqs, so a test can put it on any wire.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from xml.etree.ElementTree import Element, SubElement, XMLPullParser
from xml.sax.saxutils import quoteattr

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from OpenSSL import SSL, crypto

from tests.docs.second_proofs import AUTH, Broken, Runs, labelled, lv

CLIENT, STREAMS, STANZAS = "jabber:client", "http://etherx.jabber.org/streams", "urn:ietf:params:xml:ns:xmpp-stanzas"
JINGLE, JINGLE_ERRORS = "urn:xmpp:jingle:1", "urn:xmpp:jingle:errors:1"
XMLSTREAM, IBB_TRANSPORT = "urn:xmpp:jingle:apps:xmlstream:0", "urn:xmpp:jingle:transports:ibb:1"
IBB, DTLS = "http://jabber.org/protocol/ibb", "urn:xmpp:jingle:apps:dtls:0"
SECURITY = "urn:x-xmpp-e2e:security:0"
METHODS = ("fingerprint", "psk", "srp", "sas")
FEATURES = (JINGLE, XMLSTREAM, IBB_TRANSPORT, SECURITY)
ALPN = b"xmpp-e2e/1"
WINDOW = 12
CLOSER = b"</stream:stream>"

Act = Callable[[], None]
"""What follows an iq once it is answered."""


_LATE = {f"{{{AUTH}}}{name}" for name in ("request", "decline", "result")}


class Refused(Exception):
    """How an iq is to be answered."""

    def __init__(self, condition: str, jingle: str = "", type: str = "cancel") -> None:
        super().__init__(condition)
        self.condition, self.jingle, self.type = condition, jingle, type


class Endpoint:
    """One side of one session. Give it iqs by ``receive``, take those that leave from ``iqs``."""

    def __init__(
        self,
        ours: str,
        peer: str,
        *,
        flights: bool,
        secrets: dict[str, bytes] | None = None,
        need: tuple[str, ...] = (),
        compares: bool = False,
    ) -> None:
        self.ours, self.peer = ours, peer
        self._secrets, self._need, self._compares = secrets or {}, list(need), compares
        self._flights = flights
        self._ahead = b""
        """The ClientHello that travelled in the signalling."""
        self.iqs: list[Element] = []
        self.stanzas: list[Element] = []
        self.ended: str = ""
        """``clean``, or what went wrong."""
        self.open = False
        self.initiator = False
        self._sid = ""
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = self._make_certificate()
        self._halves: dict[bool, bytes] = {}
        """The two halves of neg, by: is it the initiator's?"""
        self._expected = b""
        # the bytestream
        self._stream, self._block, self._flowing = "", 4096, False
        self._queue = bytearray()
        self._sent = self._received = 0
        self._unanswered: dict[str, str] = {}
        self._after: list[Element] = []
        # TLS and the stream inside
        self._tls: SSL.Connection | None = None
        self._secure = self._greeted = self._checked = self._said_farewell = self._heard_farewell = False
        self._done = self._peer_done = False
        self.runs = Runs(True, {}, False)
        self._parser: XMLPullParser[Any] = XMLPullParser(["start-ns", "start", "end"])
        self._namespaces: dict[str, str] = {}
        self._depth = 0
        self._root: Element | None = None

    # --- what its user wants ---------------------------------------------------------------------------------------

    def offer(self) -> None:
        """Be the initiator."""
        self.initiator = True
        self._sid, self._stream = os.urandom(16).hex(), os.urandom(16).hex()
        if self._flights:
            self._begin_tls()
            self._ahead = self._written()
        self._request(self._negotiate("session-initiate", "e2e", self._ahead))

    def send(self, stanza: bytes) -> None:
        """A stanza in ``jabber:client``, once both sides are done."""
        assert self.open
        self._write(stanza)

    def want(self, method: str) -> None:
        """Let a method run in the open session."""
        self.runs.want(method)
        self._flush()

    def compared(self, same: bool) -> None:
        """What our user says of the code."""
        assert self._tls is not None
        if same:
            self.runs.proven.append("sas")
        else:
            self._abort(self._tls, "")

    def close(self) -> None:
        """§7."""
        self._said_farewell = True
        self._write(CLOSER)

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
        nonce, digest = os.urandom(16), hashlib.sha256(self._certificate.public_bytes(Encoding.DER)).digest()
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

    # --- §3: TLS ---------------------------------------------------------------------------------------------------

    def _make_certificate(self) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "xmpp-e2e")])
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(self._key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1))
        return builder.sign(self._key, hashes.SHA256())

    def _begin_tls(self) -> None:
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
        context.set_options(SSL.OP_NO_TICKET)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._verify)
        context.use_certificate(self._certificate)
        context.use_privatekey(self._key)
        if self.initiator:
            context.set_alpn_protos([ALPN])
            self._tls = SSL.Connection(context)
            self._tls.set_connect_state()
            self._take(b"")
        else:
            context.set_alpn_select_callback(lambda _, offered: ALPN if ALPN in offered else SSL.NO_OVERLAPPING_PROTOCOLS)
            self._tls = SSL.Connection(context)
            self._tls.set_accept_state()

    def _written(self) -> bytes:
        """What TLS wants to say."""
        written = bytearray()
        try:
            while self._tls is not None:
                written += self._tls.bio_read(65536)
        except SSL.WantReadError:
            pass
        return bytes(written)

    def _verify(self, connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
        shown = certificate.to_cryptography().public_bytes(Encoding.DER)
        return depth == 0 and hmac.compare_digest(hashlib.sha256(shown).digest(), self._expected)

    def _check_tls(self, tls: SSL.Connection) -> None:
        certificate = tls.get_peer_certificate()
        if tls.get_protocol_version_name() != "TLSv1.3" or tls.get_alpn_proto_negotiated() != ALPN or certificate is None:
            raise SSL.Error("not what was agreed")
        key = certificate.to_cryptography().public_key()
        spki = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if key.public_bytes(*spki) == self._key.public_key().public_bytes(*spki):
            raise SSL.Error("our own key")

    def _take(self, data: bytes) -> None:
        """Bytes of the bytestream."""
        tls = self._tls
        assert tls is not None
        if data:
            tls.bio_write(data)
        try:
            if not self._secure:
                tls.do_handshake()
                self._check_tls(tls)
                self._secure = True
                self._bind(tls)
                if self.initiator:
                    self._greet()
                    self.runs.add(self._need)
                    self._flush()
            while not self.ended:
                self._read(tls.recv(65536))
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self._on_close_notify(tls)
        except SSL.Error as error:
            self._pump()  # the alert
            self._give_up("security-error")
            self.ended = f"TLS failed: {error}"
        except Broken as broken:
            self._abort(tls, str(broken))

    # --- §4 to §6: the stream inside ------------------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        assert self._tls is not None
        for start in range(0, len(data), 4000):
            self._tls.send(data[start : start + 4000])
        self._pump()

    def _greet(self) -> None:
        self._header()
        role = "initiator" if self.initiator else "responder"
        neg = base64.b64encode(self._neg()).decode()
        lists = f"methods='{' '.join(self._secrets)}' need='{' '.join(self._need)}'"
        hello = f"role='{role}' sid={quoteattr(self._sid)} neg='{neg}' {lists} require='vouched'"
        self._write(f"<hello xmlns='{AUTH}' {hello}/>".encode())

    def _bind(self, tls: SSL.Connection) -> None:
        """§6: exporter and ctx."""
        self.runs = Runs(self.initiator, self._secrets, self._compares)
        mine = (self.ours.encode(), hashlib.sha256(self._certificate.public_bytes(Encoding.DER)).digest())
        sides = (mine, (self.peer.encode(), self._expected)) if self.initiator else ((self.peer.encode(), self._expected), mine)
        exporter = tls.export_keying_material(b"EXPORTER-Channel-Binding", 32)
        (jid_i, fp_i), (jid_r, fp_r) = sides
        self.runs.bind(exporter, labelled("context", exporter, jid_i, jid_r, self._sid.encode(), fp_i, fp_r, self._neg()))

    def _flush(self) -> None:
        """What the methods have to say, and done as soon as those that we need have proved the peer."""
        said, self.runs.said = self.runs.said, []
        met = (self.initiator or self._checked) and set(self._need) <= set(self.runs.proven)
        if met and not self._done:
            self._done = True
            said.append(f"<done xmlns='{AUTH}'/>")
        self.open = self._done and self._peer_done
        if said:
            self._write("".join(said).encode())

    def _header(self) -> None:
        self._greeted = True
        id_ = "" if self.initiator else f" id='{os.urandom(8).hex()}'"
        addresses = f"from={quoteattr(self.ours)} to={quoteattr(self.peer)} version='1.0'{id_}"
        self._write(f"<stream:stream xmlns='{CLIENT}' xmlns:stream='{STREAMS}' {addresses}>".encode())

    def _read(self, plaintext: bytes) -> None:
        self._parser.feed(plaintext)
        for event, seen in cast(Iterator[tuple[str, Any]], self._parser.read_events()):
            if event == "start-ns":
                if self._depth == 0:
                    self._namespaces.update([seen])
            elif event == "start":
                self._depth += 1
                if self._depth == 1:
                    self._on_header(seen)
            else:
                self._depth -= 1
                if self._depth == 1:
                    self._on_element(seen)
                    assert self._root is not None
                    self._root.clear()
                elif self._depth == 0:
                    self._on_farewell()

    def _on_header(self, root: Element) -> None:
        self._root = root
        if root.tag != f"{{{STREAMS}}}stream" or self._namespaces.get("") != CLIENT:
            raise Broken("invalid-namespace")
        if not (root.get("version") or "").startswith("1."):
            raise Broken("unsupported-version")
        if (root.get("from"), root.get("to")) != (self.peer, self.ours):
            raise Broken("invalid-from")

    def _on_element(self, element: Element) -> None:
        tag = element.tag
        if tag == f"{{{AUTH}}}hello" and not self._checked:
            self._check_hello(element)
        elif tag == f"{{{AUTH}}}done" and self._checked and not self._peer_done:
            self._peer_done = True
            self._flush()
        elif tag == f"{{{AUTH}}}step" and self._checked:
            if not self._said_farewell:
                self.runs.step(element, self.open)
                self._flush()
        elif tag in _LATE and self._done and self._peer_done:
            if not self._said_farewell:
                self._on_late(tag, element.get("method", ""))
        elif tag in (f"{{{AUTH}}}abort", f"{{{STREAMS}}}error"):
            raise Broken("")
        elif tag.startswith(f"{{{CLIENT}}}") and self._peer_done:
            element.set("from", self.peer)
            element.set("to", self.ours)
            self.stanzas.append(element)
        else:
            known = tag.startswith((f"{{{CLIENT}}}", f"{{{AUTH}}}"))
            raise Broken("policy-violation" if known else "unsupported-stanza-type")

    def _on_late(self, tag: str, method: str) -> None:
        if tag == f"{{{AUTH}}}request":
            self.runs.requested(method)
        elif tag == f"{{{AUTH}}}decline":
            self.runs.refused(method)
        self._flush()

    def _check_hello(self, hello: Element) -> None:
        theirs = "responder" if self.initiator else "initiator"
        methods, need = (hello.get(name, "").split() for name in ("methods", "need"))
        if not set(need) <= set(methods) or max(len(methods), len(need)) > 16 or len(hello):
            raise Broken("bad-format")
        mirrored = hello.get("role") == theirs and hello.get("sid") == self._sid
        neg = base64.b64encode(self._neg())
        if not mirrored or not hmac.compare_digest(hello.get("neg", "").encode(), neg) or not set(need) <= set(self._secrets):
            raise Broken("")
        self._checked = True
        if self.initiator:
            self.runs.add(need)
        else:
            self._greet()
            self.runs.add(need)
            self.runs.add(self._need)
        self._flush()

    # --- §7: the end -----------------------------------------------------------------------------------------------

    def _on_farewell(self) -> None:
        self._heard_farewell = True
        if not self._said_farewell:
            self._write(CLOSER)
        assert self._tls is not None
        self._tls.shutdown()

    def _on_close_notify(self, tls: SSL.Connection) -> None:
        if not self._heard_farewell:
            self._abort(tls, "")
            return
        if self._said_farewell:
            self._terminate("success")
        self._over("clean")

    def _abort(self, tls: SSL.Connection, condition: str) -> None:
        if not self._greeted:
            self._header()
        conditions = "urn:ietf:params:xml:ns:xmpp-streams"
        error = f"<stream:error><{condition} xmlns='{conditions}'/></stream:error>"
        self._write((error if condition else f"<abort xmlns='{AUTH}'/>").encode() + CLOSER)
        tls.shutdown()
        self._give_up("security-error")

    def _over(self, how: str) -> None:
        self.ended = self.ended or how
        self.open = False
