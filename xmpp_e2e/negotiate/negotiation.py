"""Both halves of one negotiation: what we signalled, what the peer signalled, and the digest over the two (XEP-0166 §6)."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree.ElementTree import Element

from xmpp_e2e.errors import Code, JingleError, PeerIncompatible
from xmpp_e2e.negotiate import digest
from xmpp_e2e.negotiate import jingle as signalling
from xmpp_e2e.negotiate.jingle import Action, Content, IBBTransport, Jingle, Reason, Security
from xmpp_e2e.types import Role

_NAME = "e2e"
"""The name of our one content."""
MAX_CONTENT_REJECTS = 16
"""Offers of more content that we answer by content-reject, each an iq whose answer the host awaits; more are noise."""


class Negotiation:
    """Makes our half of the negotiation and takes the peer's."""

    def __init__(
        self,
        role: Role,
        own_jid: str,
        peer_jid: str,
        *,
        certificate_digest: bytes,
        methods: tuple[str, ...],
        block_size: int,
        random: Callable[[int], bytes],
    ) -> None:
        self._role, self._own_jid, self._peer_jid = role, own_jid, peer_jid
        self._certificate_digest, self._methods = certificate_digest, methods
        self._block_size, self._random = block_size, random
        self._halves: dict[Role, digest.SignalledHalf] = {}
        self._rejected = 0
        self._flight_sent = False
        self.sid = ""
        """The Jingle session id; empty before there is one."""
        self.transport = IBBTransport("", block_size)
        """The bytestream that is offered, then agreed."""
        self.peer_flight: bytes | None = None
        """The TLS bytes that came with the peer's half, ahead of the bytestream."""

    @property
    def peer_certificate_digest(self) -> bytes:
        """SHA-256 of the certificate that the peer announced, 32 bytes."""
        return self._halves[self._role.other].fingerprint

    def digest(self) -> bytes:
        """The digest over both halves, 32 bytes: equal on both sides unless somebody edited one of them."""
        return digest.negotiation_digest(self._halves[Role.INITIATOR], self._halves[Role.RESPONDER])

    def build_offer(self, flight: bytes | None) -> Element:
        """Our session-initiate, with our first TLS bytes if they may travel in it."""
        self.sid = self._random(16).hex()
        self.transport = IBBTransport(self._random(16).hex(), self._block_size)
        self._flight_sent = flight is not None
        return self._half(Action.SESSION_INITIATE, _NAME, flight)

    def receive_offer(self, jingle: Jingle) -> tuple[str, ...]:
        """Take the peer's session-initiate; return the methods that it allows. PeerIncompatible if we share no ground."""
        self.sid = jingle.sid
        security, transport = self._take(jingle)
        self.transport = IBBTransport(transport.sid, min(transport.block_size, self._block_size))
        return security.methods

    def build_accept(self, flight: bytes | None) -> Element:
        """Our session-accept, with all that our TLS wrote in answer to the peer's flight."""
        return self._half(Action.SESSION_ACCEPT, self._halves[self._role.other].content_name, flight)

    def receive_accept(self, jingle: Jingle) -> None:
        """Take the peer's session-accept. PeerIncompatible if we share no ground, JingleError if it answers something else."""
        security, transport = self._take(jingle)
        if security.flight is not None and not self._flight_sent:
            raise JingleError("the accept carries a TLS flight that was not asked for", "bad-request")
        if transport.sid != self.transport.sid or jingle.contents[0].name != _NAME:
            raise JingleError("the accept answers something that was not offered", "bad-request")
        if transport.block_size > self.transport.block_size:
            raise JingleError("the accept raises the block size", "bad-request")
        self.transport = transport

    def handle_other(self, jingle: Jingle) -> list[Element]:
        """Handle a message that changes nothing; return what to send beside the answer. JingleError if it is refused."""
        if jingle.action is Action.CONTENT_ADD:
            if self._rejected >= MAX_CONTENT_REJECTS:
                raise JingleError("enough content was offered and rejected", "resource-constraint", type="wait")
            self._rejected += 1
            named = tuple(Content(content.name, content.creator, application=None) for content in jingle.contents)
            return [signalling.build(Jingle(Action.CONTENT_REJECT, self.sid, named, Reason.DECLINE))]
        if jingle.action is not Action.SESSION_INFO:
            raise JingleError(f"{jingle.action.value} has no place here", "unexpected-request", "out-of-order", type="wait")
        if jingle.payload is not None:
            raise JingleError("no session-info is understood here", "feature-not-implemented", "unsupported-info")
        return []

    def _half(self, action: Action, name: str, flight: bytes | None) -> Element:
        security = Security(self._certificate_digest, self._methods, self._random(16), flight=flight)
        content = Content(name=name, transport=self.transport, security=security)
        jingle = Jingle(action=action, sid=self.sid, contents=(content,))
        self._halves[self._role] = digest.signalled_half(jingle, self._own_jid, self._peer_jid)
        return signalling.build(jingle)

    def _take(self, jingle: Jingle) -> tuple[Security, IBBTransport]:
        content = jingle.secured
        # no test fails without the second part, which is for mypy: `Jingle.secured` has <security/>
        if content is None or content.security is None:
            if any(other.application == signalling.NS_XMLSTREAM for other in jingle.contents):
                raise PeerIncompatible(
                    f"{self._peer_jid} signalled an XML stream without our <security/>", Code.SECURITY_STRIPPED
                )
            raise PeerIncompatible(f"{self._peer_jid} signals other applications than XML streams")
        if content.transport is None:
            raise PeerIncompatible(f"{self._peer_jid} offers no in-band bytestream", Code.UNSUPPORTED_TRANSPORT)
        digest.common_methods(self._methods, content.security.methods)
        self._halves[self._role.other] = digest.signalled_half(jingle, self._peer_jid, self._own_jid)
        self.peer_flight = content.security.flight
        return content.security, content.transport
