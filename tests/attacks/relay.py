"""A server that is a man in the middle of two real clients: it ends Jingle, bytestream and TLS on both sides itself.

To Alice's client it is Bob, to Bob's it is Alice, under one key of its own; what it reads on one side it says on the other.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from copy import deepcopy
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from slixmpp_e2e.loopback import LoopbackServer
from tests.pair import identity
from xmpp_e2e import events
from xmpp_e2e.config import Config
from xmpp_e2e.errors import E2EError, JingleError, TransportFailed
from xmpp_e2e.identity import Remembered, Role
from xmpp_e2e.negotiate.jingle import NS_JINGLE
from xmpp_e2e.session import Session
from xmpp_e2e.stages import Stage
from xmpp_e2e.transport.ibb import IBB, sid_of

IQ = "{jabber:client}iq"
NOW = 0.0
"""The server has all the time in the world."""


class End:
    """One end of the relay: it speaks with ``victim`` in the name of ``claimed``."""

    def __init__(self, server: LoopbackServer, role: Role, claimed: str, victim: str, **changes: Any) -> None:
        self._server, self._role, self.claimed, self.victim = server, role, claimed, victim
        terms = Config(ours=claimed, peer=victim, identity=identity("mallory"), random=os.urandom, **changes)
        self.session = Session(role, terms, Remembered())
        self._ibb: IBB | None = None
        self._replied: dict[str, Callable[[bool], None]] = {}
        self._ids = itertools.count()
        self.other: End | None = None
        self.failure: E2EError | None = None
        self._unsaid: list[Element] = []
        self.heard: list[str] = []
        """The texts that the victim said."""

    def takes(self, iq: Element) -> bool:
        """An iq of the victim to whom we claim to be: is it for us?"""
        kind = iq.get("type")
        if kind in ("result", "error"):
            replied = self._replied.pop(iq.get("id", ""), None)
            if replied is not None:
                replied(kind == "result")
                self.pump()
            return replied is not None
        payload = iq[0] if len(iq) else Element("nothing")
        if payload.tag == f"{{{NS_JINGLE}}}jingle":
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

    def _events(self) -> bool:
        event = self.session.next_event()
        if isinstance(event, events.SessionOffered):
            self.session.accept(NOW)
        elif isinstance(event, events.TransportAgreed):
            self._ibb = IBB(self._role, event.sid, event.block_size)
            if self._role is Role.INITIATOR:
                self._ibb.open()
                self.session.transport_ready(NOW)
        elif isinstance(event, events.StanzaReceived):
            self.heard.append(event.stanza.findtext("{jabber:client}body") or "")
            self._unsaid.append(event.stanza)
            self.hand_on()
        elif isinstance(event, events.SessionStart):
            assert self.other is not None
            self.other.hand_on()
        elif isinstance(event, events.SessionFailed | events.SessionEnd):
            self.failure = event.error
        return event is not None

    def hand_on(self) -> None:
        """Say on the other side what was read here and not said there yet."""
        assert self.other is not None
        if self.other.session.stage is Stage.OPEN:
            waiting, self._unsaid = self._unsaid, []
            for stanza in waiting:
                self.other.session.send_stanza(deepcopy(stanza))
            if waiting:
                self.other.pump()

    def _sent(self) -> bool:
        sent = False
        if self._ibb is not None:
            while self._ibb.writable and (data := self.session.data_to_send()):
                self._ibb.send(data)
            for tag, payload in self._ibb.stanzas_to_send():
                self._request(payload, lambda good, tag=tag: self._answered(tag, good))  # type: ignore[misc]
                sent = True
        for element in self.session.jingle_to_send():
            self._request(element, lambda good: None)
            sent = True
        return sent

    def _answered(self, tag: int, good: bool) -> None:
        assert self._ibb is not None
        try:
            if good:
                self._ibb.acknowledged(tag)
            else:
                self._ibb.failed(tag, "item-not-found")
        except TransportFailed as error:
            self.session.transport_failed(error, NOW)

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
        iq_id = f"{self._role.value}-{next(self._ids)}"
        self._replied[iq_id] = replied
        iq = Element(IQ, {"type": "set", "id": iq_id, "from": self.claimed, "to": self.victim})
        iq.append(payload)
        self._server.inject(self.victim, iq)

    def _reply(self, request: Element, kind: str) -> None:
        iq = Element(IQ, {"type": kind, "id": request.get("id", ""), "from": self.claimed, "to": self.victim})
        if kind == "error":
            error = SubElement(iq, "{jabber:client}error", {"type": "cancel"})
            SubElement(error, "{urn:ietf:params:xml:ns:xmpp-stanzas}item-not-found")
        self._server.inject(self.victim, iq)


class Relay:
    """A hook of the loopback server: the next session that Alice's client offers to Bob's is relayed."""

    def __init__(self, server: LoopbackServer, alice: str, bob: str) -> None:
        self.near = End(server, Role.RESPONDER, bob, alice)
        self.far = End(server, Role.INITIATOR, alice, bob)
        self.near.other, self.far.other = self.far, self.near
        server.interfere.append(self)

    def __call__(self, stanza: Element, sender: str) -> Element | None:
        for end in (self.near, self.far):
            if stanza.tag == IQ and sender == end.victim and stanza.get("to") == end.claimed:
                return None if self._taken(end, stanza) else stanza
        return stanza

    def _taken(self, end: End, iq: Element) -> bool:
        if end is self.near and iq.find(f"{{{NS_JINGLE}}}jingle[@action='session-initiate']") is not None:
            self.far.session.offer(NOW)
            self.far.pump()
        return end.takes(iq)
