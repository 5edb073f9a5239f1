"""The gate before stanzas: it opens with our done, which takes a proof, and the peer's done, in either order."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from xmpp_e2e import events
from xmpp_e2e.authenticate.base import Proof
from xmpp_e2e.errors import StreamError
from xmpp_e2e.inner import elements
from xmpp_e2e.inner.context import Context
from xmpp_e2e.inner.key_assessment import KeyAssessment
from xmpp_e2e.inner.stream_management import StreamManagement
from xmpp_e2e.key_decision import Decision, KeyDecision, KeyStatus
from xmpp_e2e.states import AWAITING_OUR_DONE, HELLOS_CHECKED, State, Trigger
from xmpp_e2e.stream import acks
from xmpp_e2e.types import Assurance

EARLY_BUFFER_BYTES = 64 * 1024
"""Stanza bytes that are buffered until our own policy is met: twice what an honest peer sends."""


class Gate:
    """Decides whether stanzas may flow, and buffers those that come early."""

    def __init__(self, context: Context, key: KeyAssessment, management: StreamManagement) -> None:
        self.key, self._management = key, management
        self.assurance = Assurance.NONE
        self.peer_methods: tuple[str, ...] = ()
        """Methods with a secret that the peer's hello names."""
        self._context = context
        self._done: Proof | None = None
        """The proof for which our done was sent."""
        self._early: list[Element] = []
        self._early_bytes = 0
        self.memory = 0
        """Bytes of memory that the buffered stanzas take."""

    def assess(self, now: float, *, verifying: bool, incomplete: bool) -> None:
        """Send done if the key is good enough by now, or wait for the user. UntrustedKey if it never will be.

        ``verifying``: a proof is on its way. ``incomplete``: one that we require is missing.
        """
        decision = self.key.assess()
        self.assurance = decision.assurance
        unexpected = decision.status in (KeyStatus.NEW, KeyStatus.CHANGED)
        if unexpected and self._context.machine.state is State.SECURED:
            return  # the peer's hello may say that this key took the place of one that is known
        self.tell_change(decision)
        if incomplete and decision.status is not KeyStatus.BLOCKED:
            return  # its outcome decides
        # our done cannot be taken back: a key that would have to wait now must end the session
        if decision.decision is Decision.REJECT or (decision.decision is Decision.HOLD and self._done is not None):
            raise self.key.refusal(decision)
        if decision.decision is Decision.HOLD:
            self._await_user(decision, now, verifying)
        elif self._may_send_done(decision):
            self._send_done(now)

    def tell_change(self, decision: KeyDecision) -> None:
        """Tell the user, once, if the key is a surprise."""
        if (changed := self.key.changed_event(decision)) is not None:
            self._context.events.append(changed)

    def receive_done(self, now: float) -> None:
        """Handle the peer's done."""
        if self._done is not None:
            self._open(self._done, Trigger.DONE, now)
        else:
            self._context.machine.transition(Trigger.DONE, now)

    def receive(self, element: Element, size: int, now: float, memory: int = 0) -> None:
        """Deliver a stanza, or handle an acknowledgement, of ``size`` bytes on the wire and ``memory`` bytes here; or buffer it
        until our policy is met."""
        machine = self._context.machine
        machine.transition(Trigger.STANZA, now)
        if machine.state is not State.DONE_RECEIVED:
            self._handle(element, now)
            return
        self._early_bytes += size
        if self._early_bytes > EARLY_BUFFER_BYTES:
            raise StreamError("the peer sent more than is buffered before our policy is met", "policy-violation")
        self._early.append(element)
        self.memory += memory

    def release(self) -> None:
        """Drop the buffered stanzas: the session is closed."""
        self._early.clear()
        self.memory = 0

    def _may_send_done(self, decision: KeyDecision) -> bool:
        """Return whether our done is due. It goes out before the peer's hello only for a key that is no surprise."""
        state = self._context.machine.state
        if state is State.SECURED:
            return self._context.out.started and decision.status.is_expected
        return state in AWAITING_OUR_DONE

    def _send_done(self, now: float) -> None:
        proof = self._done = self.key.strongest
        self._context.out.element(Element(elements.DONE))
        machine = self._context.machine
        if machine.state is State.DONE_RECEIVED:
            self._open(proof, Trigger.POLICY_MET, now)
        else:
            machine.transition(Trigger.POLICY_MET, now)

    def _open(self, proof: Proof, trigger: Trigger, now: float) -> None:
        """Enter OPEN; there is no other way into it, and it takes a proof."""
        self._context.machine.transition(trigger, now, proof)
        self._context.events.append(events.SessionOpened(self.assurance, proof.key))
        self._management.opened()
        early, self._early, self.memory = self._early, [], 0
        for element in early:
            self._handle(element, now)

    def _await_user(self, decision: KeyDecision, now: float, verifying: bool) -> None:
        """Wait until the user or a proof acts; say so if both hellos are checked and no proof is on its way."""
        self._context.machine.extend_for_user(now)
        if self._context.machine.state in HELLOS_CHECKED and not verifying:
            required = self.key.required_event(decision, self.peer_methods)
            if required is not None:
                self._context.events.append(required)

    def _handle(self, element: Element, now: float) -> None:
        if element.tag in acks.ELEMENTS:
            self._management.receive(element, now)
            return
        self._management.count(now)
        # those that the stanza claims do not count
        config = self._context.config
        element.set("from", config.peer_jid)
        element.set("to", config.own_jid)
        self._context.events.append(events.StanzaReceived(element))
