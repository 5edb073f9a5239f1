"""One session, told in the order in which it happens; the only module that knows every layer.

Negotiate (Jingle), connect (a bytestream that the host carries), secure (TLS 1.3), greet (the hello), prove (an authenticator,
then the trust judge), talk (stanzas), end. It performs no I/O and reads no clock: whatever happens is told to it with ``now``
(seconds of any steady clock); what is to be done is fetched with ``next_event()``, ``jingle_to_send()``, ``data_to_send()``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar
from xml.etree.ElementTree import Element

from xmpp_e2e import events
from xmpp_e2e.authenticate.base import Evidence, Question
from xmpp_e2e.authenticate.strings import Form
from xmpp_e2e.config import Config
from xmpp_e2e.encoding import labelled_hash
from xmpp_e2e.errors import (
    E2EError,
    GivenUp,
    JingleError,
    LocalError,
    PeerRefused,
    TimedOut,
    TLSFailed,
    Truncated,
)
from xmpp_e2e.identity import Assurance, Fingerprint, Remembered, Role
from xmpp_e2e.inner import Inner
from xmpp_e2e.negotiate import jingle as signalling
from xmpp_e2e.negotiate.jingle import Action, Jingle, Reason
from xmpp_e2e.negotiate.negotiation import Negotiation
from xmpp_e2e.progress import Progress
from xmpp_e2e.stages import BEFORE_OPEN, LATE, PROVING, Input, Stage, successor
from xmpp_e2e.tls.channel import Channel, Established

SESSION_BYTES = 2**36
"""After so many bytes a session ends and a new one is negotiated: far inside AES-GCM's bound (RFC 8446 §5.5)."""

_UNCONNECTED = frozenset({Stage.OFFERED, Stage.CONNECTING})


class Session:
    """Negotiates, encrypts and authenticates with one full JID; performs no I/O and reads no clock."""

    def __init__(self, role: Role, config: Config, remembered: Remembered) -> None:
        self.role = role
        self.config = config
        self._progress = Progress(config.deadlines)
        self._events: deque[events.Event] = deque()
        self._jingle: list[Element] = []
        self._negotiation = Negotiation(
            role,
            config.ours,
            config.peer,
            certificate=config.identity.certificate_digest,
            methods=tuple(method.name for method in config.authenticators),
            block_size=config.block_size,
            random=config.random,
        )
        self._channel: Channel | None = None
        self._inner = Inner(role, config, remembered, self._progress, self._events)

    # --- what it knows ---------------------------------------------------------------------------------------------

    @property
    def stage(self) -> Stage:
        """Where it is."""
        return self._progress.stage

    @property
    def assurance(self) -> Assurance:
        """How sure it is of the peer's key."""
        return self._inner.assurance

    @property
    def proving(self) -> bool:
        """Does an authenticator run, or wait for its turn? What the key is worth is not known before it is through."""
        return self._inner.proving

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

    @property
    def question(self) -> Question | None:
        """What an authenticator has asked our side and waits for (``events.Asked`` told it)."""
        return self._inner.question

    # --- what the user wants ---------------------------------------------------------------------------------------

    def offer(self, now: float) -> None:
        """Send session-initiate. The TLS object exists from here on, so that its first flight can travel early."""
        self._progress.step(Input.OFFER, now)
        self._channel = self._new_channel()
        self._channel.start()
        flight = self._channel.first_flight() if self.config.fast_open else None
        self._jingle.append(self._negotiation.initiate(flight))

    def accept(self, now: float) -> None:
        """Accept what the peer offers (after ``SessionOffered``)."""
        self._progress.step(Input.ACCEPT, now)
        self._channel = self._new_channel()
        with self._guarded(now):
            self._consent(now)

    def send_stanza(self, stanza: Element) -> None:
        """Send a stanza (in ``jabber:client``); LocalError when stanzas may not flow or there is no room, and then nothing is
        sent. The errors of ``stream.writer.element`` apply."""
        self._inner.send_stanza(stanza)

    def remember(self, remembered: Remembered, now: float) -> None:
        """The host's memory of the peer has changed: the user pinned the key that is held, or raised or refused one in use."""
        with self._guarded(now):
            self._inner.remember(remembered, now)

    def request(self, method: str, now: float, secret: bytes | None = None, form: Form = Form.DECIMAL) -> None:
        """Let an authenticator run beyond what the hellos need, for more assurance, or agree to what the peer has asked for
        (``VerifyRequest``). ``secret``: in place of the one of the terms; ``form``: how strings are shown, if we are the first
        to ask. LocalError if it cannot run, which leaves the session unharmed."""
        with self._guarded(now, LocalError):
            self._inner.request(method, now, secret, form)

    def decline(self, method: str, now: float) -> None:
        """To a ``VerifyRequest`` of the peer's. LocalError if there is none."""
        self._inner.decline(method, now)

    def answer(self, reply: bytes, now: float) -> None:
        """To ``question``; LocalError if nothing was asked."""
        if self.question is None:
            raise LocalError("nothing was asked")
        with self._guarded(now):
            self._inner.answer(reply, now)

    def close(self, now: float, reason: Reason = Reason.SUCCESS) -> None:
        """End the session: an open one by farewells on both sides, any other at once."""
        if self.stage is Stage.OPEN:
            self._progress.step(Input.CLOSE, now)
            self._inner.out.farewell()
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
        self._inner.forget()

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
        self._progress.step(Input.CONNECTED, now)
        with self._guarded(now):
            self._secure(now)

    def receive_data(self, data: bytes, now: float) -> None:
        """Bytes that the bytestream delivered, in order; ``b""`` is its end."""
        if self.stage not in (Stage.IDLE, Stage.CLOSED):
            with self._guarded(now):
                self._receive(now, data)

    def transport_failed(self, error: E2EError, now: float) -> None:
        """The bytestream broke."""
        self._fail(error, now)

    def handle_timer(self, now: float) -> None:
        """Time has come to ``now``."""
        due = self._progress.timer
        if due is None or now < due:
            return
        if due == self._progress.proof_deadline:
            self._fail(TimedOut(f"a proof with {self.config.peer} was begun in the open session and not finished"), now)
        elif self.stage is Stage.OPEN:
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
        if self._inner.out:
            self._channel.send(self._inner.out.take())
        return self._channel.data_to_send()

    def timer(self) -> float | None:
        """When ``handle_timer()`` wants to be called next, on the clock of ``now``; None if never."""
        return self._progress.timer

    # --- negotiate -------------------------------------------------------------------------------------------------

    def _new_channel(self) -> Channel:
        return Channel(self.role, self.config.identity, require_pq=self.config.require_pq)

    def _on_initiate(self, jingle: Jingle, now: float) -> None:
        self._progress.step(Input.INITIATE, now)
        with self._guarded(now):
            self._consider(now, jingle)

    def _consider(self, now: float, jingle: Jingle) -> None:
        methods = self._negotiation.invited(jingle)
        self._events.append(events.SessionOffered(methods))

    def _on_accept(self, jingle: Jingle, now: float) -> None:
        if successor(self.stage, Input.ACCEPTED) is None:
            self._progress.refuse(Input.ACCEPTED)
        with self._guarded(now):
            self._settle(now, jingle)

    def _settle(self, now: float, jingle: Jingle) -> None:
        self._negotiation.accepted(jingle)
        self._progress.step(Input.ACCEPTED, now)
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
        self._inner.receive(plaintext, now)
        if self._inner.complete:
            self._close_channel()
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
        self._progress.step(Input.SECURE, now)
        key = established.peer_key
        self._events.append(events.Secured(established.protocol, established.cipher, established.group, key))
        self._inner.begin(self._evidence(established), self.sid, self._negotiation.neg(), now)

    def _evidence(self, established: Established) -> Evidence:
        """What proofs are bound to. The certificates are named, since the exporter does not cover the client's."""
        ours, theirs = (
            (self.config.ours, self.config.identity.certificate_digest),
            (self.config.peer, established.certificate_digest),
        )
        (jid_i, digest_i), (jid_r, digest_r) = (ours, theirs) if self.role is Role.INITIATOR else (theirs, ours)
        jids = (jid_i.encode(), jid_r.encode())
        bound = (established.exporter, *jids, self.sid.encode(), digest_i, digest_r, self._negotiation.neg())
        return Evidence(
            role=self.role,
            signalled=self._negotiation.peer_certificate,
            certificate=established.certificate_digest,
            key=established.peer_key,
            exporter=established.exporter,
            context=labelled_hash("context", *bound),
            random=self.config.random,
        )

    # --- end -------------------------------------------------------------------------------------------------------

    def _end(self, now: float) -> None:
        """The peer's close_notify came: clean only if his farewell came before it."""
        if not self._inner.complete:
            raise Truncated("the peer closed TLS without a farewell")
        closer = self.stage is Stage.CLOSING
        self._progress.step(Input.END, now)
        if closer:
            self._terminate(Reason.SUCCESS)
        self._events.append(events.SessionEnd(clean=True, error=None))

    def _fail(self, error: E2EError, now: float, reason: Reason | None = None, *, tell: bool = True) -> None:
        """End here and now. Inside TLS the peer learns that it failed, never why; outside, a coarse Jingle reason."""
        if successor(self.stage, Input.FAIL) is None:
            return
        was = self.stage
        if was not in (Stage.CLOSING, Stage.LEAVING):
            self._inner.end(error)
        self._progress.step(Input.FAIL, now)
        if was in _UNCONNECTED:
            self._channel = None
        elif self.established and not isinstance(error, TLSFailed):
            if was not in (Stage.CLOSING, Stage.LEAVING):
                self._inner.abort(error)
            self._close_channel()
        self._inner.out.take(None)
        self._inner.forget()
        if tell:
            self._terminate(Reason.SECURITY_ERROR if was in PROVING else reason or Reason(error.jingle_reason))
        failed = events.SessionFailed(error) if was in BEFORE_OPEN else events.SessionEnd(clean=False, error=error)
        self._events.append(failed)

    def _close_channel(self) -> None:
        assert self._channel is not None
        if self._inner.out:
            self._channel.send(self._inner.out.take(None))
        self._channel.close()

    def _terminate(self, reason: Reason) -> None:
        self._jingle.append(signalling.build(Jingle(action=Action.SESSION_TERMINATE, sid=self.sid, reason=reason)))

    @contextmanager
    def _guarded(self, now: float, *unharmed: type[E2EError]) -> Iterator[None]:
        """Whatever breaks a rule in here ends the session, but for what leaves it ``unharmed``."""
        try:
            yield
        except unharmed:
            raise
        except E2EError as error:
            self._fail(error, now)
