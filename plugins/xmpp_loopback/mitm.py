"""A man in the middle of two real clients. It terminates Jingle, the bytestream and TLS on both sides.

To Alice's client it is Bob, to Bob's it is Alice, with one key of its own. It passes on what it reads. It works with any
server that shows it each stanza and lets it inject others.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any, TypeAlias
from xml.etree.ElementTree import Element, SubElement

from xmpp_e2e import events
from xmpp_e2e.authenticate.base import CompareSas, Prompt
from xmpp_e2e.config import Config
from xmpp_e2e.errors import BytestreamFailed, E2EError, JingleError
from xmpp_e2e.negotiate.jingle import NS_JINGLE
from xmpp_e2e.session import Session
from xmpp_e2e.states import State
from xmpp_e2e.tls.certificate import OwnKey
from xmpp_e2e.transport.ibb import IBB, sid_of
from xmpp_e2e.types import Fingerprint, KnownKeys, Role

Inject: TypeAlias = Callable[[str, Element], None]
"""``inject(to, stanza)`` sends a stanza to a victim (full JID), from any claimed sender, as `LoopbackServer.inject`
does."""

IQ = "{jabber:client}iq"
NOW = 0.0
"""Its clock stands still, so no deadline ever passes."""


class MitmSide:
    """One of its two connections: it talks to ``victim`` in the name of ``claimed``. ``terms`` go into its Config."""

    def __init__(self, inject: Inject, role: Role, claimed: str, victim: str, identity: OwnKey, **terms: Any) -> None:
        self._inject, self._role, self.claimed, self.victim = inject, role, claimed, victim
        self.session = Session(role, Config(claimed, victim, identity, os.urandom, **terms), KnownKeys())
        self._ibb: IBB | None = None
        self._replied: dict[str, Callable[[bool], None]] = {}
        self.other: MitmSide | None = None
        self.failure: E2EError | None = None
        self._unsaid: list[Element] = []
        self.heard: list[str] = []
        """The texts of the victim's messages."""
        self.shown: list[bytes] = []
        """The codes of the short strings on this side. The victim sees the same ones."""

    def takes(self, iq: Element) -> bool:
        """Handle an iq from the victim to ``claimed``; return whether it belongs to this attack."""
        kind = iq.get("type")
        if kind in ("result", "error"):
            replied = self._replied.pop(iq.get("id", ""), None)
            if replied is not None:
                replied(kind == "result")
                self.pump()
            return replied is not None
        payload = iq[0] if len(iq) else Element("nothing")
        if payload.tag == f"{{{NS_JINGLE}}}jingle":
            if not self._concerns(payload):
                return False
            self._jingle(iq, payload)
        elif self._ibb is not None and sid_of(payload) == self._ibb.sid:
            self._block(iq, payload, self._ibb)
        else:
            return False
        self.pump()
        return True

    def pump(self) -> None:
        """Process all events, and send what is waiting."""
        while self._events() or self._sent():
            pass

    def hand_on(self) -> None:
        """Send on the other side what was read here and not sent yet."""
        assert self.other is not None
        if self.other.session.state is State.OPEN:
            waiting, self._unsaid = self._unsaid, []
            for stanza in waiting:
                self.other.session.send_stanza(deepcopy(stanza))
            if waiting:
                self.other.pump()

    def show(self) -> None:
        """Start a comparison of short strings on this side too, if none has begun: both users expect one."""
        if not self.shown and self.session.state is State.OPEN and not self.session.is_verifying:
            self.session.request_verification("sas", NOW)
            self.pump()

    def _events(self) -> bool:
        event = self.session.next_event()
        match event:
            case events.SessionOffered():
                self.session.accept_offer(NOW)
            case events.TransportAgreed(sid=sid, block_size=block_size):
                self._ibb = IBB(self._role, sid, block_size)
                if self._role is Role.INITIATOR:
                    self._ibb.open()
                    self.session.bytestream_ready(NOW)
            case events.PromptRequested(question):
                self._asked(question)
            case events.ComputationRequested(computation):
                self.session.answer_prompt(computation.run(), NOW)
            case events.StanzaReceived(stanza):
                self.heard.append(stanza.findtext("{jabber:client}body") or "")
                self._unsaid.append(stanza)
                self.hand_on()
            case events.SessionOpened():
                assert self.other is not None
                self.other.hand_on()
            case events.SessionFailed(error=error) | events.SessionClosed(error=error):
                self.failure = error
        return event is not None

    def _asked(self, question: Prompt) -> None:
        """Accept every prompt: any attempt is welcome, and all short strings match."""
        if self.session.pending_prompt is question:
            self.session.answer_prompt(b"match", NOW)
        if isinstance(question, CompareSas):
            self.shown.append(question.code)
            assert self.other is not None
            self.other.show()

    def _sent(self) -> bool:
        sent = False
        if self._ibb is not None:
            while self._ibb.writable and (data := self.session.data_to_send()):
                self._ibb.send(data)
            for tag, payload in self._ibb.stanzas_to_send():
                self._request(payload, lambda good, tag=tag: self._answered(tag, good))  # type: ignore[misc]
                sent = True
        for element in self.session.jingle_to_send():
            self._request(element, self._heeded)
            sent = True
        return sent

    def _heeded(self, good: bool) -> None:
        if not good:
            self.session.receive_jingle_error("an error", NOW)

    def _answered(self, tag: int, good: bool) -> None:
        assert self._ibb is not None
        try:
            if good:
                self._ibb.acknowledged(tag)
            else:
                self._ibb.failed(tag, "item-not-found")
        except BytestreamFailed as error:
            self.session.bytestream_failed(error, NOW)

    def _concerns(self, jingle: Element) -> bool:
        """Return whether a Jingle stanza belongs to this session. The end of an earlier one may still be on its way."""
        if self.session.state is State.IDLE:
            return jingle.get("action") == "session-initiate"
        return jingle.get("sid") == self.session.sid

    def _jingle(self, iq: Element, jingle: Element) -> None:
        try:
            self.session.receive_jingle(jingle, NOW)
        except JingleError:
            self._reply(iq, "error")
        else:
            self._reply(iq, "result")

    def _block(self, iq: Element, payload: Element, ibb: IBB) -> None:
        opens = self.session.state is State.CONNECTING
        ibb.receive(payload)
        if opens:
            self.session.bytestream_ready(NOW)
        if data := ibb.read():
            self.session.receive_data(data, NOW)
        for _ in ibb.acknowledgements_due():
            self._reply(iq, "result")

    def _request(self, payload: Element, replied: Callable[[bool], None]) -> None:
        iq_id = os.urandom(8).hex()
        self._replied[iq_id] = replied
        iq = Element(IQ, {"type": "set", "id": iq_id, "from": self.claimed, "to": self.victim})
        iq.append(payload)
        self._inject(self.victim, iq)

    def _reply(self, request: Element, kind: str) -> None:
        iq = Element(IQ, {"type": kind, "id": request.get("id", ""), "from": self.claimed, "to": self.victim})
        if kind == "error":
            error = SubElement(iq, "{jabber:client}error", {"type": "cancel"})
            SubElement(error, "{urn:ietf:params:xml:ns:xmpp-stanzas}item-not-found")
        self._inject(self.victim, iq)


class Mitm:
    """Intercepts the next session that Alice's client offers to Bob's (full JIDs).

    It is a `Hook`: ``server.hooks.append(Mitm(server.inject, alice, bob))``. ``terms`` go into the Configs of both sides.
    With ``secrets`` of its own it takes part in ``psk`` and ``srp``, with ``asks=frozenset({"sas"})`` in comparisons.
    """

    def __init__(self, inject: Inject, alice: str, bob: str, **terms: Any) -> None:
        identity = OwnKey.create(datetime.now(UTC))
        self.near = MitmSide(inject, Role.RESPONDER, bob, alice, identity, **terms)
        """The side that is Bob to Alice."""
        self.far = MitmSide(inject, Role.INITIATOR, alice, bob, identity, **terms)
        """The side that is Alice to Bob."""
        self.near.other, self.far.other = self.far, self.near
        self.fingerprint: Fingerprint = identity.fingerprint
        """The fingerprint of the key that both victims see."""

    def __call__(self, stanza: Element, sender: str) -> Element | None:
        for end in (self.near, self.far):
            if stanza.tag == IQ and sender == end.victim and stanza.get("to") == end.claimed:
                return None if self._taken(end, stanza) else stanza
        return stanza

    def _taken(self, end: MitmSide, iq: Element) -> bool:
        if end is self.near and iq.find(f"{{{NS_JINGLE}}}jingle[@action='session-initiate']") is not None:
            if self.far.session.state is not State.IDLE:
                return False
            self.far.session.offer(NOW)
            self.far.pump()
        return end.takes(iq)
