"""Another implementation of docs/protocol.md, written from its text alone: it shares no line with ours and imports none of it.

It is as small as it can be: one session between two full JIDs; any key is believed that was signalled, unless a secret is
needed to prove it. It takes iqs and gives iqs, so a test can put it on any wire.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from xml.etree.ElementTree import Element, XMLPullParser
from xml.sax.saxutils import quoteattr

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from OpenSSL import SSL, crypto

from tests.docs.second_acks import WORDS, Ledger, Numbers
from tests.docs.second_proofs import AUTH, Broken, Runs, labelled
from tests.docs.second_signalling import ALPN, CLIENT, Signalling

STREAMS = "http://etherx.jabber.org/streams"
CLOSER = b"</stream:stream>"
_LATE = {f"{{{AUTH}}}{name}" for name in ("request", "decline", "result")}


class Endpoint(Signalling):
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
        acknowledges: bool = True,
        after: Endpoint | None = None,
    ) -> None:
        """``after``: an earlier session, with the same key of ours, whose stanzas this one may resume."""
        self._key: ec.EllipticCurvePrivateKey = ec.generate_private_key(ec.SECP256R1()) if after is None else after._key
        self._certificate: x509.Certificate = self._make_certificate() if after is None else after._certificate
        self._known: dict[str, Numbers] = {} if after is None else after._known
        self._acknowledges = acknowledges
        self._ledger: Ledger | None = None
        self._held: list[Element] = []
        digest = hashlib.sha256(self._certificate.public_bytes(Encoding.DER)).digest()
        super().__init__(ours, peer, flights=flights, certificate=digest)
        self._secrets, self._need, self._compares = secrets or {}, list(need), compares
        self.stanzas: list[Element] = []
        self._tls: SSL.Connection | None = None
        self._secure = self._greeted = self._checked = self._said_farewell = self._heard_farewell = False
        self._done = self._peer_done = self._began = False
        self.runs = Runs(True, {}, False)
        self._parser: XMLPullParser[Any] = XMLPullParser(["start-ns", "start", "end"])
        self._namespaces: dict[str, str] = {}
        self._depth = 0
        self._root: Element | None = None

    # --- what its user wants ---------------------------------------------------------------------------------------

    def send(self, stanza: bytes) -> None:
        """A stanza in ``jabber:client``, once both sides are done."""
        assert self.open
        self._numbers.send(stanza)

    def want(self, method: str) -> None:
        """Let a method run in the open session."""
        self.runs.want(method)
        self._flush()

    def compared(self, same: bool) -> None:
        """What our user says of the code."""
        assert self._tls is not None
        self._write(f"<result xmlns='{AUTH}' method='sas' match='{str(same).lower()}'/>".encode())
        if same:
            self.runs.proven.append("sas")
        else:
            self._abort(self._tls, "")

    def close(self) -> None:
        """§7."""
        self._numbers.acknowledge()
        self._said_farewell = True
        self._write(CLOSER)

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
                self._ledger = Ledger(self._known, self._sid, self._write)
                if self.initiator:
                    self._greet()
                    self.runs.add(self._need)
                    self._flush()
            while not self.ended:
                self._read(tls.recv(65536))
                if self.open and not self._said_farewell and not self._heard_farewell:
                    self._numbers.acknowledge()
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

    @property
    def _numbers(self) -> Ledger:
        assert self._ledger is not None
        return self._ledger

    def _write(self, said: str | bytes) -> None:
        assert self._tls is not None
        data = said.encode() if isinstance(said, str) else said
        for start in range(0, len(data), 4000):
            self._tls.send(data[start : start + 4000])
        self._pump()

    def _greet(self) -> None:
        self._header()
        role = "initiator" if self.initiator else "responder"
        neg = base64.b64encode(self._neg()).decode()
        lists = f"methods='{' '.join(self._secrets)}' need='{' '.join(self._need)}'"
        hello = f"role='{role}' sid={quoteattr(self._sid)} neg='{neg}' {lists} require='vouched'"
        sm = " sm='3'" if self._acknowledges else ""
        self._write(f"<hello xmlns='{AUTH}' {hello}{sm}/>")

    def _bind(self, tls: SSL.Connection) -> None:
        """§6: exporter and ctx."""
        self.runs = Runs(self.initiator, self._secrets, self._compares)
        mine = (self.ours.encode(), self._shown)
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
        if said:
            self._write("".join(said))
        if self._done and self._checked and not self._began:
            self._began = True
            self._numbers.begin()
        if self._done and self._peer_done and not self.open:
            self.open = True
            for element in self._held:
                self._on_counted(element)

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
                self.runs.step(element)
                self._flush()
        elif tag in _LATE and self._checked:
            if not self._said_farewell:
                self._on_late(tag, element)
        elif tag in (f"{{{AUTH}}}abort", f"{{{STREAMS}}}error"):
            raise Broken("")
        elif (tag.startswith(f"{{{CLIENT}}}") or tag in WORDS) and self._peer_done:
            if self.open:
                self._on_counted(element)
            else:
                self._held.append(deepcopy(element))
        else:
            known = tag.startswith((f"{{{CLIENT}}}", f"{{{AUTH}}}")) or tag in WORDS
            raise Broken("policy-violation" if known else "unsupported-stanza-type")

    def _on_counted(self, element: Element) -> None:
        """A stanza, or a word about stanzas, in the open session."""
        if element.tag not in WORDS:
            self._numbers.count()
            element.set("from", self.peer)
            element.set("to", self.ours)
            self.stanzas.append(element)
        elif not self._said_farewell or element.tag.endswith("}a"):
            self._numbers.receive(element)

    def _on_late(self, tag: str, element: Element) -> None:
        method = element.get("method", "")
        if tag == f"{{{AUTH}}}request":
            self.runs.requested(method)
        elif tag == f"{{{AUTH}}}decline":
            self.runs.refused(method)
        elif method == "sas" and element.get("match") == "false":
            raise Broken("")
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
        self._numbers.speaks = self._acknowledges and hello.get("sm") == "3"
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
            self._numbers.acknowledge()
            self._write(CLOSER)
        assert self._tls is not None
        self._tls.shutdown()

    def _on_close_notify(self, tls: SSL.Connection) -> None:
        if not self._heard_farewell:
            self._abort(tls, "")
            return
        if self._said_farewell:
            self._terminate("success")
        self._numbers.end(clean=True)
        self._over("clean")

    def _abort(self, tls: SSL.Connection, condition: str) -> None:
        if not self._greeted:
            self._header()
        conditions = "urn:ietf:params:xml:ns:xmpp-streams"
        error = f"<stream:error><{condition} xmlns='{conditions}'/></stream:error>"
        self._write((error if condition else f"<abort xmlns='{AUTH}'/>").encode() + CLOSER)
        tls.shutdown()
        self._give_up("security-error")
