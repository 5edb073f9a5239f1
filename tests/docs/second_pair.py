"""Our session and the other implementation, back to back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.etree.ElementTree import Element, SubElement, fromstring, tostring

import pytest

from tests.docs.second_implementation import Endpoint
from tests.pair import ALICE, BOB, Side, dice, identity, message
from xmpp_e2e import events
from xmpp_e2e.authenticate.base import AttemptStarted, AttemptSucceeded
from xmpp_e2e.config import Config
from xmpp_e2e.errors import BytestreamFailed, BytestreamViolation, JingleError
from xmpp_e2e.inner.resumption import Resumptions
from xmpp_e2e.negotiate.jingle import NS_ERRORS, NS_JINGLE
from xmpp_e2e.session import Session
from xmpp_e2e.states import State
from xmpp_e2e.transport.ibb import IBB, NS_IBB, Receipt
from xmpp_e2e.types import KnownKeys, Role

CLIENT = "{jabber:client}"
STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"


class Ours:
    """A host of our own session, as small as one can be: iqs in, iqs out."""

    def __init__(self, role: Role, after: Ours | None = None, **terms: Any) -> None:
        """``after``: an earlier session, whose stanzas this one may resume."""
        self.resumptions: Resumptions = Resumptions() if after is None else after.resumptions
        random = dice("alice") if after is None else after.session.config.random
        self.side = Side(Session(role, Config(ALICE, BOB, identity("alice"), random, **terms), KnownKeys(), self.resumptions))
        self.session: Session = self.side.session
        self.iqs: list[Element] = []
        self._ibb: IBB | None = None
        self._ids = 0
        self._waiting: dict[str, int | None] = {}
        self._due: dict[Receipt, Element] = {}

    def receive(self, iq: Element) -> None:
        """An iq came."""
        if iq.get("type") != "set":
            self._replied(iq)
        elif iq[0].tag == f"{{{NS_JINGLE}}}jingle":
            try:
                self.session.receive_jingle(iq[0], 0.0)
            except JingleError as error:
                self._answer(iq, error.condition, error.jingle_condition)
            else:
                self._answer(iq)
        elif iq[0].tag.startswith(f"{{{NS_IBB}}}"):
            self._receive_block(iq)
        self.pump()

    def pump(self) -> None:
        """Do what the session asks for."""
        while (event := self.session.next_event()) is not None:
            self.side.events.append(event)
            if isinstance(event, events.SessionOffered):
                self.session.accept_offer(0.0)
            elif isinstance(event, events.VerificationRequested) and not event.started:
                self.session.decline_verification(event.method, 0.0)
            elif isinstance(event, events.TransportAgreed):
                self._ibb = IBB(self.session.role, event.sid, event.block_size)
                if self.session.role is Role.INITIATOR:
                    self._ibb.open()
                    self.session.bytestream_ready(0.0)
            elif isinstance(event, events.PromptRequested) and isinstance(event.prompt, AttemptStarted | AttemptSucceeded):
                self.session.answer_prompt(b"", 0.0)
            elif isinstance(event, events.ComputationRequested):
                self.session.answer_prompt(event.computation.run(), 0.0)
        if self._ibb is not None:
            while data := self.session.data_to_send():
                self._ibb.send(data)
            for tag, payload in self._ibb.stanzas_to_send():
                self._request(payload, tag)
            for receipt in self._ibb.acknowledgements_due():
                self._answer(self._due.pop(receipt))
        if self._ibb is None or self._ibb.drained or self._ibb.failure:
            for jingle in self.session.jingle_to_send():
                self._request(jingle, None)

    def _receive_block(self, iq: Element) -> None:
        if self._ibb is None:
            self._answer(iq, "item-not-found")
            return
        try:
            self._due[self._ibb.receive(iq[0])] = iq
        except BytestreamViolation as error:
            self._answer(iq, error.condition)
            self.session.bytestream_failed(error, 0.0)
            return
        if self.session.state is State.CONNECTING:
            self.session.bytestream_ready(0.0)
        if (data := self._ibb.read()) or self._ibb.ended:
            self.session.receive_data(data, 0.0)

    def _replied(self, iq: Element) -> None:
        tag = self._waiting.pop(iq.get("id", ""))
        error = iq.find(f"{CLIENT}error")
        condition = None if error is None else error[0].tag.rpartition("}")[2]
        if tag is None:
            if condition is not None:
                self.session.receive_jingle_error(condition, 0.0)
            return
        assert self._ibb is not None
        try:
            if condition is None:
                self._ibb.acknowledged(tag)
            else:
                self._ibb.failed(tag, condition)
        except BytestreamFailed as failed:
            self.session.bytestream_failed(failed, 0.0)

    def _request(self, payload: Element, tag: int | None) -> None:
        self._ids += 1
        iq = Element(f"{CLIENT}iq", {"type": "set", "id": str(self._ids), "from": ALICE, "to": BOB})
        iq.append(payload)
        self._waiting[iq.attrib["id"]] = tag
        self.iqs.append(iq)

    def _answer(self, request: Element, condition: str = "", jingle: str | None = None) -> None:
        kind = "error" if condition else "result"
        iq = Element(f"{CLIENT}iq", {"type": kind, "id": request.attrib["id"], "from": ALICE, "to": BOB})
        if condition:
            error = SubElement(iq, f"{CLIENT}error", {"type": "cancel"})
            SubElement(error, f"{{{STANZAS}}}{condition}")
            if jingle is not None:
                SubElement(error, f"{{{NS_ERRORS}}}{jingle}")
        self.iqs.append(iq)


class Wire:
    """Our session and the other implementation; ``alter`` may change an iq on its way."""

    def __init__(
        self,
        role: Role,
        alter: Callable[[Element], None] = lambda iq: None,
        *,
        flights: bool = True,
        ours: dict[str, Any] | None = None,
        theirs: dict[str, Any] | None = None,
        after: Wire | None = None,
    ) -> None:
        """``ours`` and ``theirs`` are terms of our session and of the other; ``after``: an earlier one of both."""
        self.ours: Ours = Ours(role, after.ours if after else None, **(ours or {}))
        self.theirs: Endpoint = Endpoint(BOB, ALICE, flights=flights, after=after.theirs if after else None, **(theirs or {}))
        self._alter = alter
        if role is Role.INITIATOR:
            self.ours.session.offer(0.0)
            self.ours.pump()
        else:
            self.theirs.offer()
        self.run()

    def we_want(self, method: str) -> None:
        """Our user wants a method to run in the open session."""
        self.ours.session.request_verification(method, 0.0)
        self.ours.pump()

    def we_answer(self, reply: bytes) -> None:
        """Our user says something."""
        self.ours.session.answer_prompt(reply, 0.0)
        self.ours.pump()
        self.run()

    @property
    def proofs(self) -> tuple[list[str], list[str]]:
        """What each side has seen proved: ours, and the other."""
        return [proved.method for proved in self.ours.side.of(events.KeyVerified)], self.theirs.runs.proven

    def cut(self) -> None:
        """Both find the path broken; what is under way is lost."""
        self.ours.session.bytestream_failed(BytestreamFailed("cut"), 0.0)
        self.ours.pump()
        for side in (self.ours, self.theirs):
            side.iqs.clear()

    def run(self) -> None:
        """Carry everything."""
        while self.ours.iqs or self.theirs.iqs:
            for source, sink in ((self.ours, self.theirs), (self.theirs, self.ours)):
                iqs, source.iqs = source.iqs, []
                for iq in iqs:
                    arriving = fromstring(tostring(iq))
                    self._alter(arriving)
                    sink.receive(arriving)

    def we_say(self, *texts: str) -> None:
        """Messages from our session."""
        for text in texts:
            self.ours.session.send_stanza(message(text, type="chat"))
            self.ours.pump()
        self.run()

    def they_say(self, *texts: str) -> None:
        """Messages from the other implementation."""
        for text in texts:
            self.theirs.send(f"<message type='chat' from='mallory@evil.test'><body>{text}</body></message>".encode())
        self.run()


ROLES = pytest.mark.parametrize("role", Role, ids=lambda role: f"ours-is-{role.value}")
