"""The proofs of one conversation, both ways: those that a hello requires, and those that a user asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar
from xml.etree.ElementTree import Element

from xmpp_e2e import events
from xmpp_e2e.authenticate.base import MATCH, AskHost, ChannelBinding, CompareSas, Computation, Prompt, SecretNeeded, Send
from xmpp_e2e.authenticate.sas_text import SasForm
from xmpp_e2e.errors import AuthenticationFailed, Code, LocalError, StreamError
from xmpp_e2e.inner import elements
from xmpp_e2e.inner.context import Context
from xmpp_e2e.inner.gate import Gate
from xmpp_e2e.inner.proof_queue import ProofQueue
from xmpp_e2e.inner.verification_requests import VerificationRequest, VerificationRequests
from xmpp_e2e.negotiate.jingle import MAX_METHOD_NAME
from xmpp_e2e.states import AUTHENTICATING, HELLOS_CHECKED_OR_OPEN, State, Trigger
from xmpp_e2e.types import Role

MAX_PROOF_MESSAGES = 32
"""Steps and other elements about proofs that a peer may send in a session. We answer most of them; all proofs together take
five steps."""



class Verifications:
    """Runs the proofs, and hands each to the gate."""

    def __init__(self, context: Context, gate: Gate, binding: ChannelBinding, need: tuple[str, ...]) -> None:
        """``need``: the methods that our own hello requires."""
        self._context, self._gate, self._need = context, gate, need
        self._proofs = ProofQueue(binding, context.config.authenticators)
        self._requests = VerificationRequests()
        self._secrets = dict(context.config.shared_secrets)
        self._messages = 0

    @property
    def is_active(self) -> bool:
        """Return whether a method runs or waits for its turn."""
        return self._proofs.is_active

    @property
    def method(self) -> str:
        """The method that runs now, or ran last."""
        return self._proofs.method

    @property
    def pending_prompt(self) -> Prompt | None:
        """The prompt that our side has not answered; none once a side has closed its stream."""
        state = self._context.machine.state
        ask = self._proofs.pending_prompt if state in AUTHENTICATING or state is State.OPEN else None
        return ask.prompt if ask else None

    def add(self, methods: Iterable[str]) -> None:
        """Queue the methods that a hello requires."""
        self._proofs.add(methods)

    def run(self, now: float) -> None:
        """Let the proofs go as far as they can, then assess the key."""
        while (due := self._proofs.run()) is not None:
            match due:
                case Send(payload):
                    self._send_step(self._proofs.method, payload)
                case AskHost(SecretNeeded(method)) if method in self._secrets:
                    self._proofs.answer_prompt(self._secrets[method])
                case AskHost(Computation() as computation):
                    self._emit(events.ComputationRequested(computation))
                case AskHost(prompt):
                    self._context.machine.extend_for_user(now)
                    self._requests.sas_shown |= isinstance(prompt, CompareSas)
                    self._emit(events.PromptRequested(prompt, self._requests.form(self._proofs.method)))
                case _:
                    self._gate.key.add_proof(due)
                    self._emit(events.KeyVerified(due.method, due.assurance, due.key))
        self.update_deadline(now)
        self.assess(now)

    def assess(self, now: float) -> None:
        """Let the gate assess the key."""
        self._gate.assess(now, verifying=self._proofs.is_active, incomplete=self._proofs.still_needs(self._need))
        self.update_deadline(now)

    def update_deadline(self, now: float) -> None:
        """Give a proof in the open session its own time: while it runs, is asked for, or users compare."""
        if self._context.machine.state is State.OPEN:
            asked = any(self._proofs.is_unused(method) for method in self._requests.methods)
            self._context.machine.extend_for_verification(now, self._proofs.is_active or asked or self._requests.is_comparing)

    def interrupt(self) -> None:
        """Tell the user if a comparison ends before both users have answered: a man in the middle would cut it off."""
        if self._requests.is_comparing:
            self._requests.sas_shown = False
            self._emit(events.SasInterrupted("sas"))

    def release(self) -> None:
        """Drop all proofs: the session is closed."""
        self._proofs.clear()

    # --- our side --------------------------------------------------------------------------------------------------

    def request(self, method: str, now: float, secret: bytes | None, form: SasForm) -> None:
        """Run ``method``, or ask the initiator to start it. If the peer has asked for it, this agrees, and the form is the
        peer's. LocalError if it cannot run."""
        state = self._context.machine.state
        if state not in HELLOS_CHECKED_OR_OPEN:
            raise LocalError(f"{method} cannot run now: the session is {state.value}")
        if not self._proofs.supports(method) or not self._proofs.is_unused(method):
            raise LocalError(f"{method} cannot run: it has run in this session, or there is no such method")
        if secret is not None:
            self._secrets[method] = secret
        theirs = self._requests.get(method)
        if theirs is not None and not theirs.agreed:
            self._start(method, theirs.form, theirs.first_step, now)
        elif self._context.role is Role.INITIATOR:
            self._start(method, form, None, now)
        elif theirs is None:
            self._requests.add(method, VerificationRequest(form, agreed=True))
            self._context.out.element(elements.build_verification(elements.REQUEST, method, form))
            self.update_deadline(now)

    def decline(self, method: str, now: float) -> None:
        """Decline what the peer has asked for; does nothing if the session is closing. LocalError if there is no request."""
        if self._context.machine.state not in HELLOS_CHECKED_OR_OPEN:
            return
        if method not in self._requests.pending:
            raise LocalError(f"{method} was not asked for")
        self._requests.drop(method)
        self._context.out.element(elements.build_verification(elements.DECLINE, method))
        self.update_deadline(now)

    def answer_prompt(self, reply: bytes, now: float) -> None:
        """Answer ``pending_prompt``; the peer hears what our user says of a SAS."""
        if isinstance(self.pending_prompt, CompareSas):
            match = self._requests.sas_answers[True] = reply == MATCH
            self._context.out.element(elements.build_verification(elements.RESULT, "sas", match=str(match).lower()))
            if not match:
                self._emit(events.KeyDoubted(self._gate.key.fingerprint))
        self._proofs.answer_prompt(reply)
        self.run(now)

    def _start(self, method: str, form: SasForm, step: bytes | None, now: float) -> None:
        """Start a method that both sides want, as far as we know. ``step``: the peer's first, if the peer is the initiator."""
        self._requests.add(method, VerificationRequest(form, agreed=True))
        self._proofs.add((method,))
        if step is not None:
            self._proofs.receive(method, step)
        try:
            self.run(now)
        except LocalError:
            if step is not None:
                self._context.out.element(elements.build_verification(elements.DECLINE, method))
            self.update_deadline(now)
            raise

    def _send_step(self, method: str, payload: bytes) -> None:
        """Send a step; the initiator's first says how the SAS is shown."""
        request, form = self._requests.get(method), SasForm.DECIMAL
        if request is not None and self._context.role is Role.INITIATOR and not request.form_sent:
            request.form_sent, form = True, request.form
        self._context.out.element(elements.build_step(method, payload, form))

    # --- the peer --------------------------------------------------------------------------------------------------

    def receive(self, element: Element, now: float) -> None:
        """Handle an element about proofs, one of ``elements.OF_PROOFS``."""
        self._messages += 1
        if self._messages > MAX_PROOF_MESSAGES:
            raise StreamError(f"the peer sent more than {MAX_PROOF_MESSAGES} steps", "policy-violation")
        if len(element.get("method", "")) > MAX_METHOD_NAME:  # we might have to repeat it, to decline it
            raise StreamError(f"the peer named a method in more than {MAX_METHOD_NAME} characters", "policy-violation")
        self._ON_ELEMENT[element.tag](self, element, now)

    def _on_step(self, element: Element, now: float) -> None:
        machine = self._context.machine
        machine.transition(Trigger.STEP, now)
        if machine.state is State.CLOSING:
            return
        method, payload = elements.parse_step(element)
        if self._context.role is Role.RESPONDER and self._proofs.is_unused(method):
            if self._requests.pending:
                raise StreamError(f"the peer began {method} when its last request was not answered", "policy-violation")
            self._on_peer_request(method, elements.parse_sas_form(element), payload, now)
        else:
            self._proofs.receive(method, payload)
            self.run(now)

    def _on_request(self, element: Element, now: float) -> None:
        """Handle the responder's request for a method; ignore it if both sides have asked at once."""
        method = element.get("method", "")
        if self._context.role is not Role.INITIATOR:
            self._context.machine.reject(Trigger.STEP)
        if not self._applies() or self._proofs.still_needs((method,)) or method in self._requests.pending:
            return
        self._on_peer_request(method, elements.parse_sas_form(element), None, now)

    def _on_peer_request(self, method: str, form: SasForm | None, step: bytes | None, now: float) -> None:
        """Start what the peer wants, or wait for our user. ``step``: the first, if the peer is the initiator."""
        if form is None or not self._proofs.supports(method) or not self._proofs.is_unused(method):
            self._context.out.element(elements.build_verification(elements.DECLINE, method))
            return
        can_start = self._can_start(method)
        if method not in self._requests:
            self._emit(events.VerificationRequested(method, form.value, started=can_start))
        if can_start:
            self._start(method, form, step, now)
        else:
            self._requests.add(method, VerificationRequest(form, agreed=False, first_step=step))
            self.update_deadline(now)

    def _on_decline(self, element: Element, now: float) -> None:
        method = element.get("method", "")
        if not self._applies():
            return
        if self._context.machine.state is not State.OPEN and method not in self._requests:
            self._context.machine.reject(Trigger.STEP)  # a method that a hello requires cannot be declined
        if self._requests.get(method) is None:
            return
        if method == self._proofs.method:
            self.interrupt()
        self._proofs.cancel(method)
        self._requests.drop(method)
        self._emit(events.VerificationDeclined(method))
        self.run(now)

    def _on_result(self, element: Element, now: float) -> None:
        """Take what the peer's user says of the SAS. Our own user's answer verifies the key; if either says that the strings
        differ, it is verified no more. That counts while the session is closing, too."""
        applies = self._applies()
        if not self._requests.sas_shown:
            if applies and self._context.machine.state is not State.OPEN:
                self._context.machine.reject(Trigger.STEP)
            return
        match = element.get("match") if element.get("method") == "sas" else None
        if applies and match not in ("true", "false"):
            raise StreamError("the peer's result is malformed", "bad-format")
        if False in self._requests.sas_answers or not (applies or match == "false"):
            return
        self._requests.sas_answers[False] = match == "true"
        self._emit(events.PeerSasResult("sas", match == "true"))
        if match == "false":
            self._emit(events.KeyDoubted(self._gate.key.fingerprint))
            if not applies:
                return
            raise AuthenticationFailed(
                f"the user of {self._context.config.peer_jid} says that the strings are not the same", Code.SAS_MISMATCH
            )
        self.update_deadline(now)

    _ON_ELEMENT: ClassVar[dict[str, Callable[[Verifications, Element, float], None]]] = {
        elements.STEP: _on_step,
        elements.REQUEST: _on_request,
        elements.DECLINE: _on_decline,
        elements.RESULT: _on_result,
    }

    def _applies(self) -> bool:
        """Return whether verification messages apply now. Before the hellos: protocol error. While closing: ignore."""
        state = self._context.machine.state
        if state not in HELLOS_CHECKED_OR_OPEN and state is not State.CLOSING:
            self._context.machine.reject(Trigger.STEP)
        return state in HELLOS_CHECKED_OR_OPEN

    def _can_start(self, method: str) -> bool:
        """Return whether a method may start without asking our user first."""
        config = self._context.config
        return method in config.methods or method in config.promptable_methods or method in self._requests

    def _emit(self, event: events.Event) -> None:
        self._context.events.append(event)
