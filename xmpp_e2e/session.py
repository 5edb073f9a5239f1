"""One session, told in the order in which it happens; the only module that knows every layer.

Negotiate (Jingle), connect (a bytestream that the host carries), secure (TLS 1.3), greet (the hello), prove (an authenticator,
then the trust judge), talk (stanzas), end. It performs no I/O and reads no clock: whatever happens is told to it with ``now``
(seconds of any steady clock); what is to be done is fetched with ``next_event()``, ``jingle_to_send()``, ``data_to_send()``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import ClassVar, Never
from xml.etree.ElementTree import Element

from xmpp_e2e import events
from xmpp_e2e.authenticate import hello as auth
from xmpp_e2e.authenticate.base import Evidence, Proven, convince
from xmpp_e2e.config import AUTHENTICATORS, Config
from xmpp_e2e.errors import (
    AuthenticationFailed,
    E2EError,
    GivenUp,
    JingleError,
    LocalError,
    PeerRefused,
    StreamError,
    TimedOut,
    TLSFailed,
    Truncated,
    UntrustedKey,
)
from xmpp_e2e.identity import Assurance, Fingerprint, Remembered, Role
from xmpp_e2e.negotiate import jingle as signalling
from xmpp_e2e.negotiate.jingle import Action, Jingle, Reason
from xmpp_e2e.negotiate.negotiation import Negotiation
from xmpp_e2e.stages import BEFORE_OPEN, DEADLINES, LATE, PROVING, Input, Stage, successor
from xmpp_e2e.standing import Standing
from xmpp_e2e.stream import outflow, reader, writer
from xmpp_e2e.tls.channel import Channel, Established
from xmpp_e2e.trust.judge import Decision

HELD_BYTES = 64 * 1024
"""Stanza bytes that are held until our own policy is met: twice what an honest peer sends."""
SESSION_BYTES = 2**36
"""After so many bytes a session ends and a new one is negotiated: far inside AES-GCM's bound (RFC 8446 §5.5)."""

_STANZAS = frozenset(f"{{jabber:client}}{name}" for name in ("message", "presence", "iq"))
_UNCONNECTED = frozenset({Stage.OFFERED, Stage.CONNECTING})


class Session:
    """Negotiates, encrypts and authenticates with one full JID; performs no I/O and reads no clock."""

    def __init__(self, role: Role, config: Config, remembered: Remembered) -> None:
        self.role = role
        self.config = config
        self.stage = Stage.IDLE
        self.assurance = Assurance.NONE
        self._standing = Standing(config, remembered)
        self._deadline: float | None = None
        self._events: deque[events.Event] = deque()
        self._jingle: list[Element] = []
        self._negotiation = Negotiation(
            role,
            config.ours,
            config.peer,
            certificate=config.identity.certificate_digest,
            methods=tuple(method.name for method in AUTHENTICATORS),
            block_size=config.block_size,
            random=config.random,
        )
        self._channel: Channel | None = None
        self._reader = reader.Reader()
        self._out = outflow.Outflow()
        self._held: list[Element] = []
        self._held_bytes = 0
        self._proof: Proven | None = None

    # --- what it knows ---------------------------------------------------------------------------------------------

    @property
    def sid(self) -> str:
        """The Jingle session id: 128 random bits, chosen by the initiator; empty before there is one."""
        return self._negotiation.sid

    @property
    def established(self) -> Established | None:
        """What TLS agreed on, once it is up."""
        return self._channel.established if self._channel else None

    @property
    def fingerprint(self) -> Fingerprint | None:
        """The peer's key, once TLS has shown it."""
        return self.established.peer_key if self.established else None

    # --- what the user wants ---------------------------------------------------------------------------------------

    def offer(self, now: float) -> None:
        """Send session-initiate. The TLS object exists from here on, so that its first flight can travel early."""
        self._step(Input.OFFER, now)
        self._channel = self._new_channel()
        self._channel.start()
        flight = self._channel.first_flight() if self.config.fast_open else None
        self._jingle.append(self._negotiation.initiate(flight))

    def accept(self, now: float) -> None:
        """Accept what the peer offers (after ``SessionOffered``)."""
        self._step(Input.ACCEPT, now)
        self._channel = self._new_channel()
        self._guard(self._consent, now)

    def send_stanza(self, stanza: Element) -> None:
        """Send a stanza (in ``jabber:client``); LocalError when stanzas may not flow or there is no room, and then nothing is
        sent. The errors of ``stream.writer.element`` apply."""
        if self.stage not in (Stage.EARLY, Stage.PROVED, Stage.OPEN):
            raise LocalError(f"no stanza can be sent now: the session is {self.stage.value}")
        self._out.stanza(stanza, early=self.stage is not Stage.OPEN)

    def remember(self, remembered: Remembered, now: float) -> None:
        """The host's memory of the peer has changed: the user pinned the key that is held, or raised or refused one in use."""
        self._standing.remembered = remembered
        if self.stage in PROVING or self.stage is Stage.OPEN:
            self._guard(self._judge, now)

    def close(self, now: float, reason: Reason = Reason.SUCCESS) -> None:
        """End the session: an open one by farewells on both sides, any other at once."""
        if self.stage is Stage.OPEN:
            self._step(Input.CLOSE, now)
            self._out.farewell()
        elif self.stage in BEFORE_OPEN:
            given_up = GivenUp("the session was given up here before it was open")
            self._fail(given_up, now, Reason.CANCEL if reason is Reason.SUCCESS else reason)

    def abandon(self, now: float) -> None:
        """Drop an offer in favour of the peer's own (tie-break, XEP-0166 §7.2.16): its TLS object goes, and nothing is sent."""
        self._fail(GivenUp("the peer's own offer took the place of ours"), now, tell=False)

    def release(self) -> None:
        """It is closed and all that it said was fetched: let go of TLS and the parser, some 150 KB, for hosts that still keep
        it to say how a stanza came. LocalError before."""
        if self.stage is not Stage.CLOSED:
            raise LocalError(f"nothing can be let go of: the session is {self.stage.value}")
        self._channel = None
        self._reader = reader.Reader()

    # --- what happened ---------------------------------------------------------------------------------------------

    def receive_jingle(self, element: Element, now: float) -> None:
        """A <jingle/> of an iq from the peer for this session. Returns if the iq is to be answered with a result, and raises
        JingleError if with that error (XEP-0166 §6)."""
        try:
            jingle = signalling.parse(element)
            self._ON_JINGLE.get(jingle.action, Session._on_other)(self, jingle, now)
        except JingleError as error:
            if self.stage is Stage.OFFERED and element.get("action") == Action.SESSION_ACCEPT.value:
                self._fail(error, now)
            raise

    def receive_jingle_error(self, condition: str, now: float) -> None:
        """An iq of ours was answered with a stanza error (RFC 6120 §8.3.3), or not at all."""
        if self.stage in BEFORE_OPEN:
            self._fail(PeerRefused(f"{self.config.peer} answered {condition} to the offer of a session"), now, tell=False)

    def transport_ready(self, now: float) -> None:
        """The bytestream is open."""
        self._step(Input.CONNECTED, now)
        self._guard(self._secure, now)

    def receive_data(self, data: bytes, now: float) -> None:
        """Bytes that the bytestream delivered, in order; ``b""`` is its end."""
        if self.stage not in (Stage.IDLE, Stage.CLOSED):
            self._guard(self._receive, now, data)

    def transport_failed(self, error: E2EError, now: float) -> None:
        """The bytestream broke."""
        self._fail(error, now)

    def handle_timer(self, now: float) -> None:
        """Time has come to ``now``."""
        if self._deadline is None or now < self._deadline:
            return
        if self.stage is Stage.OPEN:
            self.close(now)
        elif self.stage in (Stage.CLOSING, Stage.LEAVING):
            self._fail(Truncated(f"{self.config.peer} did not finish the farewell"), now)
        else:
            self._fail(TimedOut(LATE[self.stage].format(peer=self.config.peer)), now)

    # --- what the host must do -------------------------------------------------------------------------------------

    def next_event(self) -> events.Event | None:
        """The next thing that the host must know, in order; None if there is nothing."""
        return self._events.popleft() if self._events else None

    def jingle_to_send(self) -> list[Element]:
        """<jingle/> payloads, each for an iq of type set to the peer, after all that ``data_to_send()`` has given so far."""
        taken, self._jingle = self._jingle, []
        return taken

    def data_to_send(self) -> bytes:
        """The next bytes for the bytestream; ``b""`` if there are none. Call it while the bytestream has room."""
        if self._channel is None or self.stage in _UNCONNECTED:
            return b""
        if self._out:
            self._channel.send(self._out.take())
        return self._channel.data_to_send()

    def timer(self) -> float | None:
        """When ``handle_timer()`` wants to be called next, on the clock of ``now``; None if never."""
        return self._deadline

    # --- negotiate -------------------------------------------------------------------------------------------------

    def _new_channel(self) -> Channel:
        return Channel(self.role, self.config.identity, require_pq=self.config.require_pq)

    def _on_initiate(self, jingle: Jingle, now: float) -> None:
        self._step(Input.INITIATE, now)
        self._guard(self._consider, now, jingle)

    def _consider(self, now: float, jingle: Jingle) -> None:
        methods = self._negotiation.invited(jingle)
        self._events.append(events.SessionOffered(methods))

    def _on_accept(self, jingle: Jingle, now: float) -> None:
        if successor(self.stage, Input.ACCEPTED) is None:
            self._illegal(Input.ACCEPTED)
        self._guard(self._settle, now, jingle)

    def _settle(self, now: float, jingle: Jingle) -> None:
        self._negotiation.accepted(jingle)
        self._step(Input.ACCEPTED, now)
        self._agreed()

    def _consent(self, now: float) -> None:
        channel = self._agreed()
        self._jingle.append(self._negotiation.accept(channel.data_to_send() or None))

    def _agreed(self) -> Channel:
        """TLS learns which certificate the peer must show, and only then what the peer's wrote ahead in the signalling."""
        assert self._channel is not None
        self._channel.expect(self._negotiation.peer_certificate)
        flight = self._negotiation.peer_flight
        if flight is not None and self.config.fast_open and self._channel.receive(flight):
            raise TLSFailed("the TLS flight in the peer's signalling carries more than a handshake")
        transport = self._negotiation.transport
        self._events.append(events.TransportAgreed(transport.sid, transport.block_size))
        return self._channel

    def _on_terminate(self, jingle: Jingle, now: float) -> None:
        """No more bytes will come. The reason is a hint for the log: a server can forge it."""
        reason = jingle.reason.value if jingle.reason else "no reason"
        if self.stage in BEFORE_OPEN:
            self._fail(PeerRefused(f"{self.config.peer} ended the session before it was open: {reason}"), now, tell=False)
        else:
            self._fail(Truncated(f"the session was cut off ({reason}) without a farewell"), now, tell=False)

    def _on_other(self, jingle: Jingle, now: float) -> None:
        self._jingle += self._negotiation.meanwhile(jingle)

    _ON_JINGLE: ClassVar[dict[Action, Callable[[Session, Jingle, float], None]]] = {
        Action.SESSION_INITIATE: _on_initiate,
        Action.SESSION_ACCEPT: _on_accept,
        Action.SESSION_TERMINATE: _on_terminate,
    }

    # --- secure ----------------------------------------------------------------------------------------------------

    def _receive(self, now: float, data: bytes) -> None:
        assert self._channel is not None
        plaintext = self._channel.receive(data)
        self._secure(now)
        self._read(plaintext, now)
        if self._channel.peer_closed:
            self._end(now)
        elif not data:
            raise Truncated("the bytestream ended without a farewell")
        elif self.stage is Stage.OPEN and self._channel.used > SESSION_BYTES:
            self.close(now)

    def _secure(self, now: float) -> None:
        """TLS is up, perhaps since the signalling, and the bytestream is, too."""
        established = self.established
        if established is None or self.stage is not Stage.HANDSHAKING:
            return
        self._step(Input.SECURE, now)
        key = established.peer_key
        self._events.append(events.Secured(established.protocol, established.cipher, established.group, key))
        shown = Evidence(self.role, self._negotiation.peer_certificate, established.certificate_digest, key)
        self._standing.evidence = convince(AUTHENTICATORS[0], shown)
        if self.role is Role.INITIATOR:
            self._greet()
            self._judge(now)

    # --- greet and prove -------------------------------------------------------------------------------------------

    def _greet(self) -> None:
        """Our stream header and hello: the responder's only after checking the initiator's."""
        self._header()
        self._out.element(auth.build(self._hello()))

    def _header(self) -> None:
        stream_id = self.config.random(16).hex() if self.role is Role.RESPONDER else None
        self._out.header(self.config.ours, self.config.peer, id=stream_id)

    def _hello(self) -> auth.Hello:
        return auth.Hello(
            role=self.role,
            sid=self.sid,
            neg=self._negotiation.neg(),
            require=Assurance.VERIFIED if self._standing.weigh().decision is Decision.HOLD else self.config.minimum,
        )

    def _judge(self, now: float) -> None:
        """May our stanzas flow to the key that was shown, and the peer's to us?"""
        verdict = self._standing.weigh()
        self.assurance = verdict.assurance
        if (news := self._standing.news(verdict)) is not None:
            self._events.append(news)
        # our done cannot be taken back: what would be held now must end
        if verdict.decision is Decision.REJECT or (verdict.decision is Decision.HOLD and self._proof is not None):
            raise UntrustedKey(verdict.reason)
        if verdict.decision is Decision.HOLD:
            self._deadline = now + self.config.deadlines.human
            return
        # a key that is new for a known peer gets no stanza before it has answered with a hello
        early = self.stage is Stage.SECURED and self._out.begun and verdict.kind.expected
        if early or self.stage in (Stage.GREETED, Stage.AWAITED):
            self._prove(now)

    def _prove(self, now: float) -> None:
        proof = self._proof = self._standing.evidence
        assert proof is not None
        self._out.element(Element(auth.DONE))
        if self.stage is Stage.AWAITED:
            self._open(proof, Input.PROOF, now)
        else:
            self._step(Input.PROOF, now)

    def _open(self, proof: Proven, happened: Input, now: float) -> None:
        """The only way into OPEN, and it takes a proof."""
        self._step(happened, now, proof)
        self._events.append(events.SessionStart(self.assurance, proof.key))
        held, self._held, self._held_bytes = self._held, [], 0
        for stanza in held:
            self._deliver(stanza)

    # --- talk ------------------------------------------------------------------------------------------------------

    def _read(self, plaintext: bytes, now: float) -> None:
        self._reader.feed(plaintext)
        while (seen := self._reader.next_event()) is not None:
            if isinstance(seen, reader.Header):
                self._on_header(seen)
            elif isinstance(seen, reader.End):
                self._on_farewell(now)
            elif seen.tag in _STANZAS:
                self._on_stanza(seen, now)
            elif seen.tag in self._ON_ELEMENT:
                self._ON_ELEMENT[seen.tag](self, seen, now)
            else:
                raise StreamError(f"the peer sent an element that has no place here: {seen.tag}", "unsupported-stanza-type")

    def _on_header(self, header: reader.Header) -> None:
        if (header.from_, header.to) != (self.config.peer, self.config.ours):
            raise StreamError("the peer's stream is addressed from or to somebody else", "invalid-from")

    def _on_hello(self, element: Element, now: float) -> None:
        hello = auth.parse(element)
        hello.check(self._hello())
        self._step(Input.HELLO, now)
        self._reader.relax(reader.OPEN)
        if hello.require > Assurance.VOUCHED:
            self._deadline = now + self.config.deadlines.human
        if self.role is Role.RESPONDER:
            self._greet()
        self._judge(now)

    def _on_done(self, element: Element, now: float) -> None:
        if self._proof is not None:
            self._open(self._proof, Input.DONE, now)
        else:
            self._step(Input.DONE, now)

    def _on_abort(self, element: Element, now: float) -> None:
        raise AuthenticationFailed(f"{self.config.peer} gave up on the session inside TLS, which never says why")

    def _on_stream_error(self, element: Element, now: float) -> None:
        condition = element[0].tag.rpartition("}")[2] if len(element) else "undefined-condition"
        raise PeerRefused(f"{self.config.peer} ended the inner stream with the error {condition}")

    _ON_ELEMENT: ClassVar[dict[str, Callable[[Session, Element, float], None]]] = {
        auth.HELLO: _on_hello,
        auth.DONE: _on_done,
        auth.ABORT: _on_abort,
        outflow.ERROR: _on_stream_error,
    }

    def _on_stanza(self, stanza: Element, now: float) -> None:
        self._step(Input.STANZA, now)
        if self.stage is Stage.AWAITED:
            self._held_bytes += len(writer.element(stanza))
            if self._held_bytes > HELD_BYTES:
                raise StreamError("the peer sent more than can be held before our policy is met", "policy-violation")
            self._held.append(stanza)
        else:
            self._deliver(stanza)

    def _deliver(self, stanza: Element) -> None:
        """The session says who talks to whom, never the stanza."""
        stanza.set("from", self.config.peer)
        stanza.set("to", self.config.ours)
        self._events.append(events.StanzaReceived(stanza))

    # --- end -------------------------------------------------------------------------------------------------------

    def _on_farewell(self, now: float) -> None:
        was = self.stage
        self._step(Input.FAREWELL, now)
        if was is Stage.OPEN:
            self._out.farewell()
        self._close_channel()

    def _end(self, now: float) -> None:
        """The peer's close_notify came: clean only if his farewell came before it."""
        if not self._reader.complete:
            raise Truncated("the peer closed TLS without a farewell")
        closer = self.stage is Stage.CLOSING
        self._step(Input.END, now)
        if closer:
            self._terminate(Reason.SUCCESS)
        self._events.append(events.SessionEnd(clean=True, error=None))

    def _fail(self, error: E2EError, now: float, reason: Reason | None = None, *, tell: bool = True) -> None:
        """End here and now. Inside TLS the peer learns that it failed, never why; outside, a coarse Jingle reason."""
        if successor(self.stage, Input.FAIL) is None:
            return
        was = self.stage
        self._step(Input.FAIL, now)
        self._held.clear()
        if was in _UNCONNECTED:
            self._channel = None
        elif self.established and not isinstance(error, TLSFailed):
            if was not in (Stage.CLOSING, Stage.LEAVING):
                self._abort(error)
            self._close_channel()
        self._out.take(None)
        if tell:
            self._terminate(Reason.SECURITY_ERROR if was in PROVING else reason or Reason(error.jingle_reason))
        failed = events.SessionFailed(error) if was in BEFORE_OPEN else events.SessionEnd(clean=False, error=error)
        self._events.append(failed)

    def _abort(self, error: E2EError) -> None:
        if not self._out.begun:
            self._header()
        if isinstance(error, StreamError):
            self._out.error(error.condition)
        else:
            self._out.element(Element(auth.ABORT))
        self._out.farewell()

    def _close_channel(self) -> None:
        assert self._channel is not None
        if self._out:
            self._channel.send(self._out.take(None))
        self._channel.close()

    def _terminate(self, reason: Reason) -> None:
        self._jingle.append(signalling.build(Jingle(action=Action.SESSION_TERMINATE, sid=self.sid, reason=reason)))

    # --- the table -------------------------------------------------------------------------------------------------

    def _guard(self, act: Callable[..., None], now: float, *args: bytes | Jingle) -> None:
        """Whatever breaks a rule in here ends the session."""
        try:
            act(now, *args)
        except E2EError as error:
            self._fail(error, now)

    def _step(self, happened: Input, now: float, proof: Proven | None = None) -> None:
        after = successor(self.stage, happened)
        if after is None:
            self._illegal(happened)
        if after is Stage.OPEN and self.stage is not Stage.OPEN and proof is None:
            raise AssertionError("OPEN takes a proof")
        if after is not self.stage and not (after in PROVING and self.stage in PROVING):
            self._deadline = now + self.config.deadlines.of(after) if after in DEADLINES else None
        self.stage = after

    def _illegal(self, happened: Input) -> Never:
        if happened in (Input.INITIATE, Input.ACCEPTED):
            raise JingleError(f"no {happened.value} is due", "unexpected-request", "out-of-order", type="wait")
        if happened in (Input.OFFER, Input.ACCEPT, Input.CONNECTED, Input.PROOF, Input.SECURE):
            raise LocalError(f"{happened.value} is not possible: the session is {self.stage.value}")
        raise StreamError(f"the peer's {happened.value} came when the session was {self.stage.value}", "policy-violation")
