"""One TCP connection: from the stream header to a bound or resumed session (RFC 6120 §4, §6, §7; XEP-0198 §3, §5), or to
an authenticated component (XEP-0114)."""

from __future__ import annotations

import asyncio
import base64
import binascii
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, TypeAlias, cast
from xml.etree.ElementTree import Element

from slixmpp import JID, InvalidJID

from .acks import Acks
from .component import COMPONENT, HANDSHAKE, STANZAS_OF_COMPONENT, check_handshake, to_client_namespace
from .paths import Write
from .sasl import Accepted, Exchange, Refused
from .session import ClientSession
from .shaper import Shaper
from .stanzas import IQ, STANZAS, error, payload_of, result
from .wire import (
    BIND,
    CLIENT,
    SASL,
    SM,
    STANZA_ERRORS,
    STREAM_ERRORS,
    STREAMS,
    Closed,
    Opened,
    Received,
    StreamReader,
    to_text,
)

if TYPE_CHECKING:
    from .server import LoopbackServer

_ATTEMPTS = 5
"""Maximum number of failed logins on one connection. slixmpp tries each mechanism once."""
_WRITE_LIMIT = 64 * 1024 * 1024
"""Maximum number of bytes that a client may leave unread. Beyond that the server cuts the connection."""
_LINGER = 1.0
"""Seconds for the client to read a stream error and close. An immediate close could lose the error in a TCP reset."""


Rule: TypeAlias = Callable[["Connection", Element, str], None]


class Connection(asyncio.Protocol):
    """The server's side of one client's stream. `_RULES` say which element is allowed when; others end the stream."""

    def __init__(self, server: LoopbackServer) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._write: Write = self._to_socket
        self._reader = StreamReader()
        self._rules = self._BEFORE_LOGIN
        self._exchange: Exchange | None = None
        self._attempts = 0
        self._bare = ""
        self._stream = ""
        self._component = ""
        """The domain that a component claims."""
        self._joined = False
        self.session: ClientSession | None = None
        self._opened = False
        self._ending = False
        self._orderly = False
        self._linger: asyncio.TimerHandle | None = None
        self._shaper: Shaper | None = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._write = self._server.path(self._to_socket)
        self._server.opened(self)

    def data_received(self, data: bytes) -> None:
        if self.session is not None and self._shaper is None and self._server.limit is not None:
            self._shaper = Shaper(self._server.limit, self._read)
        if self._shaper is not None:
            self._shaper.take(data)
        else:
            self._read(data)

    def _read(self, data: bytes) -> None:
        if self._ending:
            return
        reader = self._reader
        for event in reader.feed(data):
            if isinstance(event, Received):
                self._received(event)
            elif isinstance(event, Opened):
                self._open(event.attributes)
            elif isinstance(event, Closed):
                self.close()
            else:
                self.fail(event.condition)
            if self._ending or self._reader is not reader:
                return  # a login restarts the stream; the client sends nothing before it knows the result

    def connection_lost(self, exc: Exception | None) -> None:
        self._ending = True
        self._transport = None
        if self._linger is not None:
            self._linger.cancel()
        if self._shaper is not None:
            self._shaper.stop()
        if self._exchange is not None:
            self._exchange.close()
        self._release()
        self._server.closed(self)

    # used by the server

    def write(self, text: str) -> None:
        """Send text now. A client that does not read is cut off."""
        if self._transport is None or self._ending:
            return
        self.write_raw(text.encode())

    def write_raw(self, data: bytes) -> None:
        """Send any bytes."""
        if data:
            self._write(data)

    def _to_socket(self, data: bytes) -> None:
        """Write bytes that have passed the path; ``b""`` ends the stream."""
        if self._transport is None or self._transport.is_closing():
            return
        if not data:
            self._transport.write_eof()
            return
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > _WRITE_LIMIT:
            self._transport.abort()

    def fail(self, condition: str) -> None:
        """End the stream with an error (RFC 6120 §4.9), and the session with it."""
        if not self._opened:
            self._send_header()
        error_text = f"<stream:error><{condition} xmlns='{STREAM_ERRORS}'/></stream:error>"
        self._end(error_text)

    def close(self) -> None:
        """Close the stream (RFC 6120 §4.4), and the session with it."""
        self._end("")

    def cut(self) -> None:
        """Cut the TCP connection without closing the stream. The client may resume the session."""
        if self._transport is not None:
            self._transport.abort()

    def _end(self, last_words: str) -> None:
        if self._ending or self._transport is None:
            return
        self.write(last_words + "</stream:stream>")
        self._ending = self._orderly = True
        self._write(b"")
        self._linger = asyncio.get_running_loop().call_later(_LINGER, self._transport.abort)
        self._release()

    def _release(self) -> None:
        session, self.session = self.session, None
        if session is not None:
            self._server.lost(self, session, orderly=self._orderly)
        joined, self._joined = self._joined, False
        if joined:
            self._server.parted(self._component)

    # the stream

    def _open(self, attributes: dict[str, str]) -> None:
        to = attributes.get("to", self._server.domain)
        if to in self._server.components and not self._bare:
            self._component = to
            self._rules = self._BEFORE_HANDSHAKE
            self._send_header()
            return
        if to != self._server.domain:
            self.fail("host-unknown")
            return
        self._send_header()
        if self._bare:
            management = f"<sm xmlns='{SM}'/>"
            self._features(f"<bind xmlns='{BIND}'/>{management}")
        else:
            names = "".join(f"<mechanism>{name}</mechanism>" for name in self._server.mechanisms)
            self._features(f"<mechanisms xmlns='{SASL}'>{names}</mechanisms>")

    def _send_header(self) -> None:
        self._opened = True
        self._stream = secrets.token_hex(8)
        namespace, version = (COMPONENT, "") if self._component else (CLIENT, " version='1.0'")
        self.write(
            f"<?xml version='1.0'?><stream:stream xmlns='{namespace}' xmlns:stream='{STREAMS}'{version} "
            f"id='{self._stream}' from='{self._component or self._server.domain}'>"
        )

    def _features(self, features: str) -> None:
        self.write(f"<stream:features>{features}</stream:features>")

    def _received(self, event: Received) -> None:
        rule = self._rules.get(event.element.tag)
        if rule is not None:
            rule(self, event.element, event.text)
        else:
            self.fail("unsupported-stanza-type" if self.session is not None or self._joined else "not-authorized")

    # RFC 6120 §6: SASL

    def _auth(self, element: Element, text: str) -> None:
        begin = self._server.mechanisms.get(element.get("mechanism", ""))
        if begin is None:
            self._refuse("invalid-mechanism")
            return
        self._exchange = begin()
        next(self._exchange)
        if element.text:
            self._respond(element.text)
        else:
            self.write(f"<challenge xmlns='{SASL}'/>")

    def _response(self, element: Element, text: str) -> None:
        if self._exchange is None:
            self._refuse("not-authorized")
        else:
            self._respond(element.text or "")

    def _abort(self, element: Element, text: str) -> None:
        self._refuse("aborted")

    def _respond(self, encoded: str) -> None:
        assert self._exchange is not None
        try:
            data = b"" if encoded == "=" else base64.b64decode(encoded, validate=True)
            challenge = self._exchange.send(data)
        except binascii.Error:
            self._refuse("incorrect-encoding")
        except Refused as refusal:
            self._refuse(str(refusal))
        except StopIteration as done:
            self._accept(cast(Accepted, done.value))
        else:
            self.write(f"<challenge xmlns='{SASL}'>{base64.b64encode(challenge).decode()}</challenge>")

    def _accept(self, accepted: Accepted) -> None:
        self._exchange = None
        try:
            self._bare = self._server.admit(accepted.user)
        except InvalidJID:
            self._refuse("not-authorized")
            return
        self._rules = self._BEFORE_BINDING
        self._reader = StreamReader()
        self.write(f"<success xmlns='{SASL}'>{base64.b64encode(accepted.final).decode()}</success>")

    def _refuse(self, condition: str) -> None:
        self._exchange = None
        self._attempts += 1
        self.write(f"<failure xmlns='{SASL}'><{condition}/></failure>")
        if self._attempts >= _ATTEMPTS:
            self.fail("policy-violation")

    # RFC 6120 §7: resource binding

    def _bind(self, iq: Element, text: str) -> None:
        request = payload_of(iq)
        if iq.get("type") != "set" or request is None or request.tag != f"{{{BIND}}}bind":
            self.fail("not-authorized")
            return
        resource = request.findtext(f"{{{BIND}}}resource") or secrets.token_hex(8)
        try:
            jid = JID(f"{self._bare}/{resource}").full
        except InvalidJID:
            refusal = error(iq, "jid-malformed")
            assert refusal is not None  # every request is answered
            self.write(to_text(refusal))
            return
        self.session = self._server.bind(self, jid)
        self._rules = self._BOUND
        bound = Element(f"{{{BIND}}}bind")
        address = Element(f"{{{BIND}}}jid")
        address.text = jid
        bound.append(address)
        self.write(to_text(result(iq, bound)))

    # XEP-0198: stream management

    def _resume(self, element: Element, text: str) -> None:
        session = self._server.resume(self, self._bare, element.get("previd", ""))
        if session is None or session.acks is None:
            self.write(f"<failed xmlns='{SM}'><item-not-found xmlns='{STANZA_ERRORS}'/></failed>")
            return
        self.session = session
        self._rules = self._BOUND
        acks = session.acks
        self.write(f"<resumed xmlns='{SM}' previd='{acks.token}' h='{acks.handled}'/>")
        self._ack(element, text)
        for missed in acks.unacknowledged():
            self.write(missed)

    def _enable(self, element: Element, text: str) -> None:
        assert self.session is not None
        if self.session.acks is not None:
            self.write(f"<failed xmlns='{SM}'><unexpected-request xmlns='{STANZA_ERRORS}'/></failed>")
            return
        resumable = self._server.resumable and element.get("resume") in ("true", "1")
        token = secrets.token_urlsafe(16)
        offer = f" id='{token}' resume='true'" if resumable else ""
        self.write(f"<enabled xmlns='{SM}'{offer}/>")
        self.session.acks = Acks(token, resumable)

    def _ack(self, element: Element, text: str) -> None:
        assert self.session is not None
        try:
            if self.session.acks is not None:
                self.session.acks.acknowledged(int(element.get("h", "")))
        except ValueError:
            self.fail("undefined-condition")

    def _ask(self, element: Element, text: str) -> None:
        assert self.session is not None
        if self.session.acks is not None:
            self.write(f"<a xmlns='{SM}' h='{self.session.acks.handled}'/>")

    def _stanza(self, element: Element, text: str) -> None:
        assert self.session is not None
        if self.session.acks is not None:
            self.session.acks.received()
        self._server.handle(self.session, element, text)

    # XEP-0114: components

    def _handshake(self, element: Element, text: str) -> None:
        if not check_handshake(element.text, self._stream, self._server.components[self._component]):
            self.fail("not-authorized")
        elif not self._server.joined(self, self._component):
            self.fail("conflict")
        else:
            self._joined = True
            self._rules = self._JOINED
            self.write("<handshake/>")

    def _of_component(self, element: Element, text: str) -> None:
        if not self._server.arrive(self._component, to_client_namespace(element), text):
            self.fail("invalid-from")

    _BEFORE_HANDSHAKE: ClassVar[dict[str, Rule]] = {HANDSHAKE: _handshake}
    _JOINED: ClassVar[dict[str, Rule]] = dict.fromkeys(STANZAS_OF_COMPONENT, _of_component)
    _BEFORE_LOGIN: ClassVar[dict[str, Rule]] = {
        f"{{{SASL}}}auth": _auth,
        f"{{{SASL}}}response": _response,
        f"{{{SASL}}}abort": _abort,
    }
    _BEFORE_BINDING: ClassVar[dict[str, Rule]] = {IQ: _bind, f"{{{SM}}}resume": _resume}
    _BOUND: ClassVar[dict[str, Rule]] = {
        **dict.fromkeys(STANZAS, _stanza),
        f"{{{SM}}}enable": _enable,
        f"{{{SM}}}a": _ack,
        f"{{{SM}}}r": _ask,
    }
