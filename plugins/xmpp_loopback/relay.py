"""A man in the middle of two real clients, for a server that attacks: he ends Jingle, bytestream and TLS on both sides.

To Alice's client he is Bob, to Bob's he is Alice, under one key of his own; what he reads on one side he says on the other.
He needs no server of ours: one function that puts a stanza on the way to a victim, and to be shown what passes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any, TypeAlias
from xml.etree.ElementTree import Element, SubElement

from xmpp_e2e import events
from xmpp_e2e.authenticate.base import Question, StringsShown
from xmpp_e2e.config import Config
from xmpp_e2e.errors import E2EError, JingleError, TransportFailed
from xmpp_e2e.identity import Fingerprint, Remembered, Role
from xmpp_e2e.negotiate.jingle import NS_JINGLE
from xmpp_e2e.session import Session
from xmpp_e2e.stages import Stage
from xmpp_e2e.tls.certificate import Identity
from xmpp_e2e.transport.ibb import IBB, sid_of

Inject: TypeAlias = Callable[[str, Element], None]
"""``inject(to, stanza)`` sends a victim (full JID) a stanza, whomever it claims to be from: `LoopbackServer.inject` does."""

IQ = "{jabber:client}iq"
NOW = 0.0
"""He has all the time in the world: none of his deadlines ever comes."""


class End:
    """One of his two connections: he speaks with ``victim`` in the name of ``claimed``. ``terms`` are more of its Config."""

    def __init__(self, inject: Inject, role: Role, claimed: str, victim: str, identity: Identity, **terms: Any) -> None:
        self._inject, self._role, self.claimed, self.victim = inject, role, claimed, victim
        self.session = Session(role, Config(claimed, victim, identity, os.urandom, **terms), Remembered())
        self._ibb: IBB | None = None
        self._replied: dict[str, Callable[[bool], None]] = {}
        self.other: End | None = None
        self.failure: E2EError | None = None
        self._unsaid: list[Element] = []
        self.heard: list[str] = []
        """The texts that the victim said."""
        self.shown: list[bytes] = []
        """The codes of the short strings that his side was to compare, which is what the victim sees, too."""

    def takes(self, iq: Element) -> bool:
        """An iq of the victim to whom he claims to be: is it for him?"""
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
        """Say what there is to say."""
        while self._events() or self._sent():
            pass

    def hand_on(self) -> None:
        """Say on the other side what was read here and not said there yet."""
        assert self.other is not None
        if self.other.session.stage is Stage.OPEN:
            waiting, self._unsaid = self._unsaid, []
            for stanza in waiting:
                self.other.session.send_stanza(deepcopy(stanza))
            if waiting:
                self.other.pump()

    def show(self) -> None:
        """Let short strings be compared on this side, too, if they are not already: people expect both to see some."""
        if not self.shown and self.session.stage is Stage.OPEN and not self.session.proving:
            self.session.request("sas", NOW)
            self.pump()

    def _events(self) -> bool:
        event = self.session.next_event()
        match event:
            case events.SessionOffered():
                self.session.accept(NOW)
            case events.TransportAgreed(sid=sid, block_size=block_size):
                self._ibb = IBB(self._role, sid, block_size)
                if self._role is Role.INITIATOR:
                    self._ibb.open()
                    self.session.transport_ready(NOW)
            case events.Asked(question):
                self._asked(question)
            case events.Computing(computation):
                self.session.answer(computation.run(), NOW)
            case events.StanzaReceived(stanza):
                self.heard.append(stanza.findtext("{jabber:client}body") or "")
                self._unsaid.append(stanza)
                self.hand_on()
            case events.SessionStart():
                assert self.other is not None
                self.other.hand_on()
            case events.SessionFailed(error=error) | events.SessionEnd(error=error):
                self.failure = error
        return event is not None

    def _asked(self, question: Question) -> None:
        """He has nothing against a guess, and finds that every two strings match."""
        if self.session.question is question:
            self.session.answer(b"match", NOW)
        if isinstance(question, StringsShown):
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
        except TransportFailed as error:
            self.session.transport_failed(error, NOW)

    def _concerns(self, jingle: Element) -> bool:
        """Is it about his session? The end of an earlier one may still be on its way."""
        if self.session.stage is Stage.IDLE:
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
        opens = self.session.stage is Stage.CONNECTING
        ibb.receive(payload)
        if opens:
            self.session.transport_ready(NOW)
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


class Relay:
    """Relays the next session that Alice's client offers to Bob's (full JIDs).

    It is a `Hook`: call it with each stanza that passes, stamped, and its sender's full JID; what it returns goes on.
    ``server.interfere.append(Relay(server.inject, alice, bob))``. ``terms`` are those of the Configs on both sides: with
    ``secrets`` of his own he takes part in ``psk`` and ``srp``, with ``asks=frozenset({"sas"})`` in comparisons.
    """

    def __init__(self, inject: Inject, alice: str, bob: str, **terms: Any) -> None:
        identity = Identity.create(datetime.now(UTC))
        self.near = End(inject, Role.RESPONDER, bob, alice, identity, **terms)
        """He is Bob to Alice."""
        self.far = End(inject, Role.INITIATOR, alice, bob, identity, **terms)
        """He is Alice to Bob."""
        self.near.other, self.far.other = self.far, self.near
        self.fingerprint: Fingerprint = identity.fingerprint
        """Of the key that both will see."""

    def __call__(self, stanza: Element, sender: str) -> Element | None:
        for end in (self.near, self.far):
            if stanza.tag == IQ and sender == end.victim and stanza.get("to") == end.claimed:
                return None if self._taken(end, stanza) else stanza
        return stanza

    def _taken(self, end: End, iq: Element) -> bool:
        if end is self.near and iq.find(f"{{{NS_JINGLE}}}jingle[@action='session-initiate']") is not None:
            if self.far.session.stage is not Stage.IDLE:
                return False
            self.far.session.offer(NOW)
            self.far.pump()
        return end.takes(iq)
