"""Two real sessions back to back: a virtual clock, reproducible randomness, and a wire that a test may abuse."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any, Self
from xml.etree.ElementTree import Element, SubElement, fromstring, tostring

from xmpp_e2e import events
from xmpp_e2e.config import Config
from xmpp_e2e.errors import Code, E2EError, JingleError
from xmpp_e2e.inner.conversation import Conversation
from xmpp_e2e.inner.resumption import Resumptions
from xmpp_e2e.session import Session
from xmpp_e2e.states import State
from xmpp_e2e.tls.certificate import OwnKey
from xmpp_e2e.tls.connection import HandshakeResult
from xmpp_e2e.types import (
    Assurance,
    KnownKey,
    KnownKeys,
    Role,
)

ALICE, BOB = "alice@a.test/phone", "bob@b.test/desk"
NOBODY = KnownKeys()
CREATED = datetime(2024, 1, 1, tzinfo=UTC)

JingleHook = Callable[[Role, Element], list[Element]]
"""(who sent it, the <jingle/>) to what arrives."""
DataHook = Callable[[Role, bytes], list[bytes]]
"""(who sent it, bytes) to the pieces that arrive; ``b""`` is the end."""


@cache
def identity(name: str) -> OwnKey:
    """The one identity of a name in this run."""
    return OwnKey.create(CREATED)


def dice(seed: str) -> Callable[[int], bytes]:
    """Reproducible randomness for the sessions' own nonces and ids."""
    state = hashlib.shake_256(seed.encode())
    stream = iter(state.digest(1 << 16))
    return lambda count: bytes(next(stream) for _ in range(count))


def config(name: str = "alice", **changes: Any) -> Config:
    """The terms of Alice with Bob, or of Bob with Alice."""
    ours, peer = (ALICE, BOB) if name == "alice" else (BOB, ALICE)
    return replace(Config(own_jid=ours, peer_jid=peer, own_key=identity(name), random=dice(name)), **changes)


def remembers(name: str, assurance: Assurance = Assurance.VOUCHED, method: str = "route") -> KnownKeys:
    """The key of ``name`` was accepted before."""
    return KnownKeys((KnownKey(identity(name).fingerprint, assurance, method, 0.0),))


def message(body: str, **attributes: str) -> Element:
    """A message stanza."""
    stanza = Element("{jabber:client}message", attributes)
    SubElement(stanza, "{jabber:client}body").text = body
    return stanza


def body(stanza: Element) -> str:
    """What a message says."""
    return stanza.findtext("{jabber:client}body") or ""


def talk(session: Session) -> Conversation:
    """What the session says and hears inside TLS, which is up."""
    assert session._conversation is not None
    return session._conversation


def prepare(session: Session, change: Callable[[Conversation], None]) -> None:
    """Change what the session does inside TLS: before it says anything, or from now on."""
    if session._conversation is not None:
        change(session._conversation)
        return
    genuine = session._new_conversation

    def new(result: HandshakeResult, now: float) -> Conversation:
        made = genuine(result, now)
        change(made)
        return made

    session._new_conversation = new  # type: ignore[method-assign]


def mute(conversation: Conversation, greet: Callable[[], None] = lambda: None) -> None:
    """It says no more by itself than ``greet``: no hello, no done."""
    conversation._send_hello = greet  # type: ignore[method-assign]
    conversation._verifications.assess = lambda now: None  # type: ignore[method-assign]


def has_code(code: Code) -> Callable[[object], bool]:
    """Is an error of this kind?"""
    return lambda error: isinstance(error, E2EError) and error.code is code


class Side:
    """One session and all that it has said."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.events: list[events.Event] = []
        self.jingle_sent: list[Element] = []
        self.data_sent = bytearray()
        self.errors: list[JingleError] = []
        """With which it answered the other side's Jingle."""

    @property
    def stanzas(self) -> list[str]:
        """The bodies that were delivered."""
        return [body(event.stanza) for event in self.events if isinstance(event, events.StanzaReceived)]

    def of(self, kind: type[Any]) -> list[Any]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def failure(self) -> E2EError:
        """Why the session failed, or ended uncleanly."""
        (event,) = self.of(events.SessionFailed) or self.of(events.SessionClosed)
        assert event.error is not None
        error: E2EError = event.error
        return error


class Pair:
    """Alice offers, Bob accepts; what they send is carried until all is quiet."""

    def __init__(
        self,
        alice: Config | None = None,
        bob: Config | None = None,
        *,
        alice_remembers: KnownKeys = NOBODY,
        bob_remembers: KnownKeys = NOBODY,
        after: Pair | None = None,
        on_jingle: JingleHook = lambda role, element: [element],
        on_data: DataHook = lambda role, data: [data],
    ) -> None:
        """``after``: an earlier session of the same two hosts, whose stanzas this one may resume."""
        self.now: float = 1000.0 if after is None else after.now
        self.resumptions: dict[Role, Resumptions] = after.resumptions if after else {role: Resumptions() for role in Role}
        self.on_jingle, self.on_data = on_jingle, on_data
        self.alice = Side(Session(Role.INITIATOR, alice or config("alice"), alice_remembers, self.resumptions[Role.INITIATOR]))
        self.bob = Side(Session(Role.RESPONDER, bob or config("bob"), bob_remembers, self.resumptions[Role.RESPONDER]))
        self.declines = True
        """Does whoever is asked for a proof that is not set up decline at once?"""
        self._opened = False
        self._wires: dict[Role, deque[bytes]] = {Role.INITIATOR: deque(), Role.RESPONDER: deque()}

    def side(self, role: Role) -> Side:
        """By role."""
        return self.alice if role is Role.INITIATOR else self.bob

    def open(self) -> Self:
        """Offer, and carry everything."""
        self.alice.session.offer(self.now)
        return self.run()

    def pass_time(self, seconds: float) -> Self:
        """Let the clock run, and call the timers that are due."""
        self.now += seconds
        for side in (self.alice, self.bob):
            deadline = side.session.timer()
            if deadline is not None and deadline <= self.now:
                side.session.handle_timer(self.now)
        return self.run()

    def run(self) -> Self:
        """Carry whatever there is to carry, until nothing is left."""
        while any([self._carry(Role.INITIATOR), self._carry(Role.RESPONDER)]):
            pass
        return self

    def says(self, role: Role, *elements: Element) -> Self:
        """``role`` says more inside the stream than its session would."""
        for element in elements:
            talk(self.side(role).session).out.element(element)
        return self.run()

    def end_transport(self, role: Role) -> Self:
        """The bytestream towards ``role`` ends."""
        self.side(role).session.receive_data(b"", self.now)
        return self.run()

    def _carry(self, role: Role) -> bool:
        cargo = self.collect(role)
        self.arrive(role.other, cargo)
        return bool(cargo)

    def collect_events(self, role: Role) -> None:
        """Deal with what a session tells its host."""
        side = self.side(role)
        while (event := side.session.next_event()) is not None:
            side.events.append(event)
            if isinstance(event, events.SessionOffered):
                side.session.accept_offer(self.now)
            elif isinstance(event, events.VerificationRequested) and not event.started and self.declines:
                side.session.decline_verification(event.method, self.now)
            elif isinstance(event, events.TransportAgreed) and role is Role.INITIATOR:
                self._connect()
            elif isinstance(event, events.ComputationRequested):
                side.session.answer_prompt(event.computation.run(), self.now)

    def collect(self, role: Role) -> list[Element | bytes]:
        """What ``role`` has to say now, after its events have been dealt with: bytes, and signalling after them."""
        side = self.side(role)
        self.collect_events(role)
        cargo: list[Element | bytes] = []
        while data := side.session.data_to_send():
            side.data_sent += data
            cargo.append(data)
        signalled = side.session.jingle_to_send()
        side.jingle_sent += signalled
        return cargo + list(signalled)

    def arrive(self, role: Role, cargo: list[Element | bytes]) -> None:
        """What the other side has said arrives at ``role``, as the wire lets it."""
        for item in cargo:
            if isinstance(item, bytes):
                for piece in self.on_data(role.other, item):
                    self.side(role).session.receive_data(piece, self.now)
            else:
                for element in self.on_jingle(role.other, fromstring(tostring(item))):
                    self.deliver(role, element)

    def deliver(self, role: Role, element: Element) -> None:
        """A <jingle/> arrives; its answer goes back."""
        side, other = self.side(role), self.side(role.other)
        try:
            side.session.receive_jingle(element, self.now)
        except JingleError as error:
            side.errors.append(error)
            other.session.receive_jingle_error(error.condition, self.now)

    def _connect(self) -> None:
        """The initiator opens the bytestream; the responder sees it open."""
        for side in (self.alice, self.bob):
            if side.session.state is State.CONNECTING:
                side.session.bytestream_ready(self.now)
