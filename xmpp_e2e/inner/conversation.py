"""The conversation inside TLS, in order: header, hello, proofs, done, stanzas, close (docs/protocol.md §4 to §7).

The session builds it when TLS is up, and gives it what comes out of TLS. What it says waits in ``out``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar
from xml.etree.ElementTree import Element

from xmpp_e2e.authenticate.base import ChannelBinding, Prompt, run_to_end
from xmpp_e2e.authenticate.sas_text import SasForm
from xmpp_e2e.config import Config, VerifyWhen
from xmpp_e2e.errors import AuthenticationFailed, Code, E2EError, LocalError, PeerRefused, SessionCancelled, StreamError, quoted
from xmpp_e2e.inner import elements
from xmpp_e2e.inner.context import Context
from xmpp_e2e.inner.gate import Gate
from xmpp_e2e.inner.key_assessment import KeyAssessment
from xmpp_e2e.inner.stream_management import StreamManagement
from xmpp_e2e.inner.verifications import Verifications
from xmpp_e2e.key_decision import Decision, KeyStatus
from xmpp_e2e.states import AUTHENTICATING, WRITABLE, State, Trigger
from xmpp_e2e.stream import NS_CLIENT, acks, reader, send_buffer, writer
from xmpp_e2e.stream.acks import SentStanza
from xmpp_e2e.tls.rotation import Rotation
from xmpp_e2e.types import Assurance, KnownKeys, Role

_STANZAS = frozenset(f"{{{NS_CLIENT}}}{name}" for name in ("message", "presence", "iq"))


class Conversation:
    """The inner stream of one session, both ways."""

    def __init__(
        self,
        context: Context,
        known_keys: KnownKeys,
        binding: ChannelBinding,
        sid: str,
        digest: bytes,
        management: StreamManagement,
    ) -> None:
        """``digest``: over the negotiation. TLSFailed if TLS has shown another certificate than was signalled."""
        config = context.config
        self.out = context.out
        self.management = management
        self._context = context
        key = KeyAssessment(config, known_keys, run_to_end(config.authenticators[0], binding))
        self._gate = Gate(context, key, management)
        # a verified key needs no new proof, unless the user wants one in each session
        verified = self._gate.key.assess().assurance is Assurance.VERIFIED
        need = () if verified and config.verify_when is VerifyWhen.FIRST else config.required_methods
        self._verifications = Verifications(context, self._gate, binding, need)
        self._reader = reader.Reader()
        self._hello = elements.Hello(
            context.role, sid, digest, methods=config.methods, need=need, rotations=config.rotations, acknowledges=True
        )
        """Our hello, apart from ``require``."""
        self._peer_knows_rotations = False
        self._rotation_received = False

    @property
    def assurance(self) -> Assurance:
        """The level of the peer's key."""
        return self._gate.assurance

    @property
    def memory(self) -> int:
        """Bytes that wait to be sent, or to be delivered."""
        return max(len(self.out), self.management.memory) + self._reader.memory + self._gate.memory

    @property
    def peer_closed(self) -> bool:
        """Return whether the peer has closed its stream."""
        return self._reader.closed

    @property
    def is_verifying(self) -> bool:
        """Return whether an authenticator runs or waits for its turn."""
        return self._verifications.is_active

    @property
    def pending_prompt(self) -> Prompt | None:
        """The prompt that our side has not answered."""
        return self._verifications.pending_prompt

    # --- our side --------------------------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Say hello, as the initiator. The responder's hello follows the initiator's, and also says that the responder has
        accepted our certificate, which our TLS cannot know."""
        if self._context.role is Role.INITIATOR:
            self._send_hello()
            blocked = self._gate.key.assess().status is KeyStatus.BLOCKED
            self._verifications.add(() if blocked else self._hello.need)
            self._verifications.run(now)

    def update_known_keys(self, known_keys: KnownKeys, now: float) -> None:
        """Assess the key again: the host knows other keys of the peer now."""
        self._gate.key.known_keys = known_keys
        self._assess_again(now)

    def update_config(self, config: Config, now: float) -> None:
        """Assess the key again: the host demands something else of it now."""
        self._context.config = self._gate.key.config = config
        self._assess_again(now)

    def update_promptable_methods(self, methods: frozenset[str]) -> None:
        """Take part in these methods, for which the user can be asked."""
        self._context.config = self._gate.key.config = replace(self._context.config, promptable_methods=methods)

    def _assess_again(self, now: float) -> None:
        state = self._context.machine.state
        if state is State.OPEN and self._gate.key.is_retired:
            self._verifications.interrupt()
            self.close(now)  # as stanzas are on their way
        elif state in AUTHENTICATING or state is State.OPEN:
            self._verifications.assess(now)

    def close(self, now: float) -> None:
        """Say farewell in an open session."""
        self._context.machine.transition(Trigger.CLOSE, now)
        self._close_stream()

    def announce_rotation(self, rotations: tuple[Rotation, ...], now: float) -> None:
        """Tell the peer that another key has taken the place of ours, if they can take it, and close. LocalError."""
        state = self._context.machine.state
        if state is not State.OPEN:
            raise LocalError(f"no rotation can be announced now: the session is {state.value}")
        if self._peer_knows_rotations:
            self.out.element(elements.build_rotation(rotations))
        self._verifications.interrupt()
        self.close(now)

    def send_stanza(self, stanza: Element, tag: object) -> SentStanza:
        """Send a stanza. LocalError when stanzas may not flow or there is no room."""
        state = self._context.machine.state
        if state not in WRITABLE:
            raise LocalError(f"no stanza can be sent now: the session is {state.value}")
        return self.management.send(writer.element(stanza), tag)

    def request_verification(self, method: str, now: float, secret: bytes | None, form: SasForm) -> None:
        """Let ``method`` run beyond what the hellos require, or agree to the peer's request. LocalError if it cannot run."""
        self._verifications.request(method, now, secret, form)

    def decline_verification(self, method: str, now: float) -> None:
        """Decline the peer's request. LocalError if there is none."""
        self._verifications.decline(method, now)

    def answer_prompt(self, reply: bytes, now: float) -> None:
        """Answer ``pending_prompt``."""
        self._verifications.answer_prompt(reply, now)

    def note_failure(self, error: E2EError) -> None:
        """The session ends over ``error``: tell the user if that interrupts a comparison."""
        if not isinstance(error, SessionCancelled):
            self._verifications.interrupt()
        if self._context.role is Role.INITIATOR and self._context.machine.state is State.SECURED:
            self._gate.tell_change(self._gate.key.assess())

    def send_abort(self, error: E2EError) -> None:
        """Say that the session failed, never why; only a fault in the stream is named, since that gives no secret away."""
        if not self.out.started:
            self._send_header()
        if isinstance(error, StreamError):
            self.out.error(error.condition)
        else:
            self.out.element(Element(elements.ABORT))
        self.out.close_stream()

    def release(self) -> None:
        """Drop the parser and everything that waits: nothing more is said or delivered."""
        self._gate.release()
        self._verifications.release()
        self._reader = reader.Reader()

    def _send_hello(self) -> None:
        self._send_header()
        self.out.element(elements.build_hello(self._our_hello()))

    def _send_header(self) -> None:
        config = self._context.config
        stream_id = config.random(12).hex() if self._context.role is Role.RESPONDER else None
        self.out.header(config.own_jid, config.peer_jid, id=stream_id)

    def _our_hello(self) -> elements.Hello:
        held = self._gate.key.assess().decision is Decision.HOLD
        return replace(self._hello, require=Assurance.VERIFIED if held else self._context.config.needed_assurance)

    # --- the peer --------------------------------------------------------------------------------------------------

    def receive(self, plaintext: bytes, now: float) -> None:
        """Handle what came out of TLS, cut anywhere."""
        self._reader.feed(plaintext)
        while (item := self._reader.next_event()) is not None:
            if isinstance(item, reader.Header):
                self._on_header(item)
            elif isinstance(item, reader.End):
                self._on_stream_close(now)
            elif item.tag in _STANZAS or item.tag in acks.ELEMENTS:
                self._check_may_speak()
                self._gate.receive(item, self._reader.size, now, self._reader.element_memory)
            elif item.tag in elements.OF_PROOFS:
                self._verifications.receive(item, now)
            elif item.tag in self._ON_ELEMENT:
                self._ON_ELEMENT[item.tag](self, item, now)
            else:
                what = quoted(item.tag)
                raise StreamError(f"the peer sent an element that has no place here: {what}", "unsupported-stanza-type")

    def _check_may_speak(self) -> None:
        """Raise StreamError or UntrustedKey if the peer may only say farewell: no key is judged any more after ours."""
        if self._rotation_received:
            raise StreamError("the peer has given up this key, and sends stanzas all the same", "policy-violation")
        key = self._gate.key
        if self._context.machine.state is not State.CLOSING or key.is_retired:
            return
        if (decision := key.assess()).status is KeyStatus.BLOCKED:
            raise key.refusal(decision)

    def _on_header(self, header: reader.Header) -> None:
        if (header.from_, header.to) != (self._context.config.peer_jid, self._context.config.own_jid):
            raise StreamError("the peer's stream is addressed from or to somebody else", "invalid-from")

    def _on_hello(self, element: Element, now: float) -> None:
        hello = elements.parse_hello(element)
        ours = self._our_hello()
        hello.verify_matches(ours)
        self._context.machine.transition(Trigger.HELLO, now)
        self._reader.raise_limits(reader.OPEN)
        if hello.require > Assurance.VOUCHED or hello.need or self._hello.need:  # a user may have to type a password
            self._context.machine.extend_for_user(now)
        self._gate.peer_methods = hello.methods
        self.management.note_hello(supported=hello.acknowledges)
        self._peer_knows_rotations = hello.rotations is not None
        self._note_rotation(hello.rotations or ())
        first, second = ours, hello
        if self._context.role is Role.RESPONDER:
            self._send_hello()  # so that the initiator, too, sees which method is missing
            first, second = second, first
        hello.check_methods(ours)
        self._verifications.add(first.need)
        self._verifications.add(second.need)
        self._verifications.run(now)

    def _on_done(self, element: Element, now: float) -> None:
        self._gate.receive_done(now)
        self._verifications.update_deadline(now)

    def _on_rotation(self, element: Element, now: float) -> None:
        """The peer gives up the key of this session, and says farewell next."""
        state = self._context.machine.state
        if state not in (State.OPEN, State.CLOSING) or self._rotation_received:
            raise StreamError(f"the peer's rotation came when the session was {state.value}", "policy-violation")
        self._rotation_received = True
        self._note_rotation(elements.parse_rotation(element))
        self._assess_again(now)

    def _note_rotation(self, rotations: tuple[Rotation, ...]) -> None:
        if (rotated := self._gate.key.rotate(rotations)) is not None:
            self._context.events.append(rotated)

    def _on_abort(self, element: Element, now: float) -> None:
        peer = self._context.config.peer_jid
        if self.is_verifying:
            method = self._verifications.method
            raise AuthenticationFailed(
                f"{peer} gave up on the proof by {method} inside TLS, which never says why", Code.PROOF_FAILED
            )
        raise AuthenticationFailed(f"{peer} gave up on the session inside TLS, which never says why")

    def _on_stream_error(self, element: Element, now: float) -> None:
        condition = element[0].tag.rpartition("}")[2] if len(element) else "undefined-condition"
        raise PeerRefused(f"{self._context.config.peer_jid} ended the inner stream with the error {condition}")

    _ON_ELEMENT: ClassVar[dict[str, Callable[[Conversation, Element, float], None]]] = {
        elements.HELLO: _on_hello,
        elements.DONE: _on_done,
        elements.ROTATION: _on_rotation,
        elements.ABORT: _on_abort,
        send_buffer.ERROR: _on_stream_error,
    }

    def _on_stream_close(self, now: float) -> None:
        was = self._context.machine.state
        self._context.machine.transition(Trigger.PEER_CLOSED, now)
        if was is State.OPEN:
            self._verifications.interrupt()
            self._close_stream()

    def _close_stream(self) -> None:
        self.management.acknowledge()
        self.out.close_stream()
