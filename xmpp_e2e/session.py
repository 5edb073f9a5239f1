"""One session, told in the order in which it happens; the only module that knows every layer.

Negotiate (Jingle), connect (a bytestream that the host carries), secure (TLS 1.3), talk (hello, proofs, stanzas), close. It
performs no I/O and reads no clock: a host tells it what happens, with ``now`` (seconds of any steady clock), and fetches what
there is to do with ``next_event()``, ``data_to_send()``, ``jingle_to_send()``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import ClassVar
from xml.etree.ElementTree import Element

from xmpp_e2e import events
from xmpp_e2e.authenticate.base import ChannelBinding, Prompt
from xmpp_e2e.authenticate.sas_text import SasForm
from xmpp_e2e.config import Config
from xmpp_e2e.encoding import labelled_hash
from xmpp_e2e.errors import (
    E2EError,
    JingleError,
    LocalError,
    PeerBusy,
    PeerRefused,
    SessionCancelled,
    StreamError,
    Timeout,
    TLSFailed,
    UncleanClose,
    UntrustedKey,
)
from xmpp_e2e.inner.context import Context
from xmpp_e2e.inner.conversation import Conversation
from xmpp_e2e.inner.resumption import Link, Resumptions
from xmpp_e2e.inner.stream_management import StreamManagement
from xmpp_e2e.key_decision import OnKeyChange
from xmpp_e2e.negotiate import jingle as signalling
from xmpp_e2e.negotiate.jingle import Action, Jingle, Reason
from xmpp_e2e.negotiate.negotiation import Negotiation
from xmpp_e2e.state_machine import StateMachine
from xmpp_e2e.states import AUTHENTICATING, FAREWELL, NOT_YET_OPEN, TIMEOUT_MESSAGES, State, Trigger, next_state
from xmpp_e2e.stream.acks import SentStanza
from xmpp_e2e.tls.connection import HandshakeResult, TLSConnection
from xmpp_e2e.tls.rotation import Rotation
from xmpp_e2e.types import Assurance, Fingerprint, KnownKeys, Role, TrustModel

SESSION_BYTES = 2**36
"""TLS bytes after which a session closes, so that a new one is negotiated: far inside AES-GCM's bound (RFC 8446 §5.5)."""

_BUSY = (Reason.BUSY, Reason.TIMEOUT)
"""With these a peer ends a session that may come to be when it is tried again."""
_UNCONNECTED = frozenset({State.OFFER_SENT, State.CONNECTING})


class Session:
    """Negotiates, encrypts and authenticates with one full JID; performs no I/O and reads no clock."""

    def __init__(
        self, role: Role, config: Config, known_keys: KnownKeys, resumptions: Resumptions | None = None
    ) -> None:
        """``known_keys``: the peer's keys that the host knows. ``resumptions``: one for all sessions of the host."""
        self.role = role
        self.config = config
        self._known_keys = known_keys
        self._resumptions = resumptions or Resumptions()
        self._machine = StateMachine(config.timeouts)
        self._events: deque[events.Event] = deque()
        self._jingle: list[Element] = []
        self._negotiation = Negotiation(
            role,
            config.own_jid,
            config.peer_jid,
            certificate_digest=config.own_key.certificate_digest,
            methods=tuple(method.name for method in config.authenticators),
            block_size=config.block_size,
            random=config.random,
        )
        self._tls: TLSConnection | None = None
        self._conversation: Conversation | None = None
        """Once TLS is up."""

    # --- state ----------------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """The state that the session is in."""
        return self._machine.state

    @property
    def assurance(self) -> Assurance:
        """The level of the peer's key."""
        return self._conversation.assurance if self._conversation else Assurance.NONE

    @property
    def memory(self) -> int:
        """Bytes that are held for the peer, beyond what each session takes: not taken by them, or not delivered to us."""
        if self._conversation is None or self._tls is None:
            return 0  # a handshake has bounds of its own
        return self._tls.waiting + self._conversation.memory

    @property
    def unacknowledged(self) -> tuple[SentStanza, ...]:
        """What was sent in this session, or resent, and neither acknowledged nor given up."""
        if self._conversation is None:
            return ()
        return self._conversation.management.unacknowledged

    @property
    def awaited(self) -> int:
        """Bytes of stanzas that the peer has not acknowledged; not 0 either while it has yet to answer a resumption."""
        return self._conversation.management.awaited if self._conversation is not None else 0

    def uncount_stanza(self) -> None:
        """A stanza that has just come (``StanzaReceived``) is dropped: the peer does not hear that it arrived. LocalError."""
        self._talk("no stanza has come").management.uncount()

    @property
    def is_verifying(self) -> bool:
        """Return whether an authenticator runs or waits for its turn; its outcome decides about the key."""
        return self._conversation is not None and self._conversation.is_verifying

    @property
    def sid(self) -> str:
        """The Jingle session id: 128 random bits, chosen by the initiator; empty before there is one."""
        return self._negotiation.sid

    @property
    def handshake_result(self) -> HandshakeResult | None:
        """The outcome of the TLS handshake, once it is over."""
        return self._tls.handshake_result if self._tls else None

    @property
    def fingerprint(self) -> Fingerprint | None:
        """The peer's key, once TLS is up."""
        return self.handshake_result.peer_key if self.handshake_result else None

    @property
    def pending_prompt(self) -> Prompt | None:
        """The prompt that our side has not answered (see ``events.PromptRequested``)."""
        return self._conversation.pending_prompt if self._conversation else None

    # --- our side -------------------------------------------------------------------------------------------------

    def offer(self, now: float) -> None:
        """Send session-initiate. TLS starts here, so that its first flight can travel in the signalling. LocalError unless the
        session is new."""
        self._machine.transition(Trigger.OFFER, now)
        self._tls = self._new_tls()
        self._tls.start()
        flight = self._tls.flight_for_signalling() if self.config.fast_open else None
        self._jingle.append(self._negotiation.build_offer(flight))

    def accept_offer(self, now: float) -> None:
        """Accept the peer's offer (after ``SessionOffered``). LocalError if none waits."""
        self._machine.transition(Trigger.ACCEPT, now)
        self._tls = self._new_tls()
        with self._fail_on_error(now):
            tls = self._start_tls()
            self._jingle.append(self._negotiation.build_accept(tls.data_to_send() or None))

    def send_stanza(self, stanza: Element, tag: object = None) -> SentStanza:
        """Send a stanza (in ``jabber:client``). LocalError when stanzas may not flow or there is no room; nothing is sent then.
        The errors of ``stream.writer.element`` apply.

        What is returned, with this ``tag``, comes again in ``StanzasAcknowledged``; or the next session with the same two keys
        sends it again, unless it is given up.
        """
        return self._talk("no stanza can be sent").send_stanza(stanza, tag)

    def request_acknowledgement(self) -> None:
        """Ask the peer to acknowledge at once what was sent. LocalError before TLS is up."""
        self._talk("no acknowledgement can be asked for").management.request()

    def update_known_keys(self, known_keys: KnownKeys, now: float) -> None:
        """Assess the peer's key again: the host knows other keys now, since its user has pinned or refused one, say."""
        self._known_keys = known_keys
        if self._conversation is not None:
            with self._fail_on_error(now):
                self._conversation.update_known_keys(known_keys, now)

    def update_terms(self, trust_model: TrustModel, on_key_change: OnKeyChange, min_assurance: Assurance, now: float) -> None:
        """Assess the peer's key again, by other terms than those in the config so far: the session waits, goes on or ends."""
        self.config = replace(self.config, trust_model=trust_model, on_key_change=on_key_change, min_assurance=min_assurance)
        if self._conversation is not None:
            with self._fail_on_error(now):
                self._conversation.update_config(self.config, now)

    def update_promptable_methods(self, methods: frozenset[str]) -> None:
        """Take part in these methods from now on, for which the user can be asked. What our hello has said of them stays."""
        self.config = replace(self.config, promptable_methods=methods)
        if self._conversation is not None:
            self._conversation.update_promptable_methods(methods)

    def request_verification(
        self, method: str, now: float, secret: bytes | None = None, form: SasForm = SasForm.DECIMAL
    ) -> None:
        """Run an authenticator that no hello requires, or agree to the peer's request (``VerificationRequested``).

        ``secret``: instead of the one in the config. ``form``: how the SAS is shown, if we are the first to ask. LocalError if
        it cannot run; the session is unharmed.
        """
        with self._fail_on_error(now, LocalError):
            self._talk(f"{method} cannot run").request_verification(method, now, secret, form)

    def decline_verification(self, method: str, now: float) -> None:
        """Decline the peer's request (``VerificationRequested``). LocalError if there is none."""
        if self._conversation is not None:
            self._conversation.decline_verification(method, now)

    def answer_prompt(self, reply: bytes, now: float) -> None:
        """Answer ``pending_prompt``. LocalError if there is none."""
        if self._conversation is None or self._conversation.pending_prompt is None:
            raise LocalError("nothing was asked")
        with self._fail_on_error(now):
            self._conversation.answer_prompt(reply, now)

    def close(self, now: float, reason: Reason = Reason.SUCCESS) -> None:
        """End the session: an open one by a stream close on both sides, any other at once."""
        # no test fails without the first part, which is for mypy: an open session has a conversation
        if self._conversation is not None and self.state is State.OPEN:
            self._conversation.close(now)
        elif self.state in NOT_YET_OPEN:
            cancelled = SessionCancelled("the session was given up here before it was open")
            self._fail(cancelled, now, Reason.CANCEL if reason is Reason.SUCCESS else reason)

    def announce_rotation(self, rotations: tuple[Rotation, ...], now: float) -> None:
        """Tell the peer of an open session, inside, that another key has taken the place of ours, and close. LocalError unless
        it is open."""
        self._talk("no rotation can be announced").announce_rotation(rotations, now)

    def discard(self, now: float) -> None:
        """Drop an offer in favour of the peer's own (tie-break, XEP-0166 §7.2.16): its TLS object goes, and nothing is sent."""
        self._fail(SessionCancelled("the peer's own offer took the place of ours"), now, tell=False)

    def free(self) -> None:
        """Free TLS and the parser, some 150 KB, for hosts that keep a closed session to look up how a stanza came. Fetch first
        what it has to say. LocalError unless it is closed."""
        if self.state is not State.CLOSED:
            raise LocalError(f"nothing can be freed: the session is {self.state.value}")
        self._tls = None
        if self._conversation is not None:
            self._conversation.release()

    # --- input ----------------------------------------------------------------------------------------------------

    def receive_jingle(self, element: Element, now: float) -> None:
        """Handle the <jingle/> of an iq from the peer for this session. Answer the iq with a result, or, if this raises
        JingleError, with that error (XEP-0166 §6)."""
        try:
            jingle = signalling.parse(element)
            self._ON_JINGLE.get(jingle.action, Session._on_other)(self, jingle, now)
        except JingleError as error:
            if self.state is State.OFFER_SENT and element.get("action") == Action.SESSION_ACCEPT.value:
                self._fail(error, now)
            raise

    def receive_jingle_error(self, condition: str, now: float, *, try_again: bool = False) -> None:
        """Handle a stanza error (RFC 6120 §8.3.3) in answer to an iq of ours, or no answer at all.

        ``try_again``: the error says that it may pass (type ``wait``, §8.3.2).
        """
        if self.state in NOT_YET_OPEN:
            refused = PeerBusy if try_again else PeerRefused
            self._fail(refused(f"{self.config.peer_jid} answered {condition} to the offer of a session"), now, tell=False)

    def bytestream_ready(self, now: float) -> None:
        """Start to use the bytestream, which is open (after ``TransportAgreed``). LocalError if none is due."""
        self._machine.transition(Trigger.CONNECTED, now)
        with self._fail_on_error(now):
            self._start_conversation(now)

    def receive_data(self, data: bytes, now: float) -> None:
        """Handle bytes of the bytestream, in order; ``b""`` is its end."""
        if self.state not in (State.IDLE, State.CLOSED):
            with self._fail_on_error(now):
                self._receive(now, data)

    def bytestream_failed(self, error: E2EError, now: float) -> None:
        """End over a broken bytestream."""
        self._fail(error, now)

    def handle_timer(self, now: float) -> None:
        """Handle the time, if ``timer()`` is due."""
        if self._conversation is not None:
            self._conversation.management.handle_timer(now)
        due = self._machine.timer
        if due is None or now < due:
            return
        if due == self._machine.verification_deadline:
            self._fail(Timeout(f"a proof with {self.config.peer_jid} was begun in the open session and not finished"), now)
        elif self.state is State.OPEN:
            self.close(now)
        elif self.state in FAREWELL:
            self._fail(UncleanClose(f"{self.config.peer_jid} did not finish the farewell"), now)
        else:
            self._fail(Timeout(TIMEOUT_MESSAGES[self.state].format(peer=self.config.peer_jid)), now)

    # --- output -----------------------------------------------------------------------------------------------------

    def next_event(self) -> events.Event | None:
        """Return the next event for the host, in order, or None."""
        event = self._events.popleft() if self._events else None
        if isinstance(event, events.StanzaReceived):
            self._talk("no stanza has come").management.note_taken()
        return event

    def jingle_to_send(self) -> list[Element]:
        """Return <jingle/> payloads, each for an iq-set to the peer, to send after all that ``data_to_send()`` gave so far."""
        taken, self._jingle = self._jingle, []
        return taken

    def data_to_send(self) -> bytes:
        """Return the next bytes for the bytestream, or ``b""``. Call it while the bytestream has room."""
        if self._tls is None or self.state in _UNCONNECTED:
            return b""
        if self._conversation is not None:
            self._conversation.management.write()
            if self._conversation.out:
                self._tls.send(self._conversation.out.take())
        return self._tls.data_to_send()

    def timer(self) -> float | None:
        """Return when to call ``handle_timer()``, on the clock of ``now``, or None."""
        due = self._conversation.management.due if self._conversation is not None else None
        return min((each for each in (self._machine.timer, due) if each is not None), default=None)

    # --- negotiate -------------------------------------------------------------------------------------------------

    def _new_tls(self) -> TLSConnection:
        return TLSConnection(self.role, self.config.own_key, require_post_quantum=self.config.require_post_quantum)

    def _on_initiate(self, jingle: Jingle, now: float) -> None:
        self._machine.transition(Trigger.INITIATE, now)
        with self._fail_on_error(now):
            methods = self._negotiation.receive_offer(jingle)
            self._events.append(events.SessionOffered(methods))

    def _on_accept(self, jingle: Jingle, now: float) -> None:
        if next_state(self.state, Trigger.ACCEPTED) is None:
            self._machine.reject(Trigger.ACCEPTED)
        with self._fail_on_error(now):
            self._negotiation.receive_accept(jingle)
            self._machine.transition(Trigger.ACCEPTED, now)
            self._start_tls()

    def _start_tls(self) -> TLSConnection:
        """Tell TLS which certificate the peer must show, and only then give it the peer's TLS bytes from the signalling."""
        assert self._tls is not None
        self._tls.expect_certificate(self._negotiation.peer_certificate_digest)
        flight = self._negotiation.peer_flight
        if flight is not None and self.config.fast_open and self._tls.receive(flight):
            raise TLSFailed("the TLS flight in the peer's signalling carries more than a handshake")
        transport = self._negotiation.transport
        self._events.append(events.TransportAgreed(transport.sid, transport.block_size))
        return self._tls

    def _on_terminate(self, jingle: Jingle, now: float) -> None:
        """No more bytes will come. The reason is only a hint: a server can forge it."""
        reason = jingle.reason.value if jingle.reason else "no reason"
        if self.state in NOT_YET_OPEN:
            refused = PeerBusy if jingle.reason in _BUSY else PeerRefused
            error: E2EError = refused(f"{self.config.peer_jid} ended the session before it was open: {reason}")
        else:
            error = UncleanClose(f"the session was cut off ({reason}) without a farewell")
        self._fail(error, now, tell=False)

    def _on_other(self, jingle: Jingle, now: float) -> None:
        self._jingle += self._negotiation.handle_other(jingle)

    _ON_JINGLE: ClassVar[dict[Action, Callable[[Session, Jingle, float], None]]] = {
        Action.SESSION_INITIATE: _on_initiate,
        Action.SESSION_ACCEPT: _on_accept,
        Action.SESSION_TERMINATE: _on_terminate,
    }

    # --- talk ------------------------------------------------------------------------------------------------------

    def _talk(self, what: str) -> Conversation:
        """Return the conversation; LocalError, saying what cannot be done, before TLS is up."""
        if self._conversation is None:
            raise LocalError(f"{what} now: the session is {self.state.value}")
        return self._conversation

    def _receive(self, now: float, data: bytes) -> None:
        assert self._tls is not None
        self._machine.extend_farewell(now)
        plaintext = self._tls.receive(data)
        self._start_conversation(now)
        if self._conversation is not None:
            self._conversation.receive(plaintext, now)
            if self._conversation.peer_closed:
                self._close_tls(self._conversation)
        elif plaintext:
            raise StreamError("the peer talks before the bytestream is open", "policy-violation")
        if self._tls.peer_closed:
            self._end(now)
        elif self._tls.truncated:
            raise UncleanClose("the bytestream ended without a farewell")
        elif self.state is State.OPEN and self._tls.bytes_used > SESSION_BYTES:
            self.close(now)

    def _start_conversation(self, now: float) -> None:
        """Begin to talk as soon as both TLS, which may be up since the signalling, and the bytestream are there."""
        result = self.handshake_result
        if result is None or self.state is not State.HANDSHAKING:
            return
        self._machine.transition(Trigger.TLS_UP, now)
        self._events.append(events.TLSEstablished(result.protocol, result.cipher, result.group, result.peer_key))
        self._conversation = self._new_conversation(result, now)
        self._conversation.start(now)

    def _new_conversation(self, result: HandshakeResult, now: float) -> Conversation:
        config, sid = self.config, self.sid
        context = Context(self.role, config, self._machine, self._events)
        own, peer = (jid.partition("/")[0] for jid in (config.own_jid, config.peer_jid))
        link = Link(own, peer, config.own_key.fingerprint, result.peer_key)
        management = StreamManagement(context, self._resumptions, link, sid, now)
        digest = self._negotiation.digest()
        return Conversation(context, self._known_keys, self._channel_binding(result), sid, digest, management)

    def _channel_binding(self, result: HandshakeResult) -> ChannelBinding:
        """Collect what proofs are bound to. The certificates are named, since the exporter does not cover the client's."""
        own = (self.config.own_jid, self.config.own_key.certificate_digest)
        peer = (self.config.peer_jid, result.certificate_digest)
        (jid_i, digest_i), (jid_r, digest_r) = (own, peer) if self.role is Role.INITIATOR else (peer, own)
        jids = (jid_i.encode(), jid_r.encode())
        bound = (result.exporter, *jids, self.sid.encode(), digest_i, digest_r, self._negotiation.digest())
        return ChannelBinding(
            role=self.role,
            signalled_digest=self._negotiation.peer_certificate_digest,
            certificate_digest=result.certificate_digest,
            key=result.peer_key,
            exporter=result.exporter,
            context=labelled_hash("context", *bound),
            random=self.config.random,
        )

    # --- close -----------------------------------------------------------------------------------------------------

    def _end(self, now: float) -> None:
        """End after the peer's close_notify: cleanly only if the peer closed its stream before."""
        if self._conversation is None or not self._conversation.peer_closed:
            raise UncleanClose("the peer closed TLS without a farewell")
        closer = self.state is State.CLOSING
        self._machine.transition(Trigger.END, now)
        self._conversation.management.end(now, clean=True)
        if closer:
            self._terminate(Reason.SUCCESS)
        self._events.append(events.SessionClosed(clean=True, error=None))

    def _fail(self, error: E2EError, now: float, reason: Reason | None = None, *, tell: bool = True) -> None:
        """End at once. Inside TLS the peer learns that the session failed, never why; outside, a coarse Jingle reason."""
        if next_state(self.state, Trigger.FAIL) is None:
            return
        was = self.state
        closing = was in FAREWELL
        if self._conversation is not None and not closing:
            self._conversation.note_failure(error)
        self._machine.transition(Trigger.FAIL, now)
        if was in _UNCONNECTED:
            self._tls = None
        if self._conversation is not None:
            if not isinstance(error, TLSFailed):
                if isinstance(error, UntrustedKey):
                    self._conversation.out.drop_stanzas()  # what waits is not for this key
                if not closing:
                    self._conversation.send_abort(error)
                # after our own farewell, close_notify says that we have read theirs
                self._close_tls(self._conversation, notify=not closing or self._conversation.peer_closed)
            self._conversation.out.take(None)
            self._conversation.management.end(now, clean=False)
            self._conversation.release()
        if tell and was is not State.IDLE:
            self._terminate(Reason.SECURITY_ERROR if was in AUTHENTICATING else reason or Reason(error.jingle_reason))
        failed = events.SessionFailed(error) if was in NOT_YET_OPEN else events.SessionClosed(clean=False, error=error)
        self._events.append(failed)

    def _close_tls(self, conversation: Conversation, *, notify: bool = True) -> None:
        assert self._tls is not None
        if conversation.out:
            self._tls.send(conversation.out.take(None))
        if notify:
            self._tls.close()

    def _terminate(self, reason: Reason) -> None:
        self._jingle.append(signalling.build(Jingle(action=Action.SESSION_TERMINATE, sid=self.sid, reason=reason)))

    @contextmanager
    def _fail_on_error(self, now: float, *unharmed: type[E2EError]) -> Iterator[None]:
        """End the session over any error of ours inside, except those that leave it ``unharmed``."""
        try:
            yield
        except unharmed:
            raise
        except E2EError as error:
            self._fail(error, now)
