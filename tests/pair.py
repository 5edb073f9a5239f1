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
from xmpp_e2e.errors import JingleError
from xmpp_e2e.identity import Assurance, KnownKey, Remembered, Role
from xmpp_e2e.session import Session
from xmpp_e2e.stages import Stage
from xmpp_e2e.tls.certificate import Identity

ALICE, BOB = "alice@a.test/phone", "bob@b.test/desk"
NOBODY = Remembered()
CREATED = datetime(2024, 1, 1, tzinfo=UTC)

JingleHook = Callable[[Role, Element], list[Element]]
"""(who sent it, the <jingle/>) to what arrives."""
DataHook = Callable[[Role, bytes], list[bytes]]
"""(who sent it, bytes) to the pieces that arrive; ``b""`` is the end."""


@cache
def identity(name: str) -> Identity:
    """The one identity of a name in this run."""
    return Identity.create(CREATED)


def dice(seed: str) -> Callable[[int], bytes]:
    """Reproducible randomness for the sessions' own nonces and ids."""
    state = hashlib.shake_256(seed.encode())
    stream = iter(state.digest(1 << 16))
    return lambda count: bytes(next(stream) for _ in range(count))


def config(name: str = "alice", **changes: Any) -> Config:
    """The terms of Alice with Bob, or of Bob with Alice."""
    ours, peer = (ALICE, BOB) if name == "alice" else (BOB, ALICE)
    return replace(Config(ours=ours, peer=peer, identity=identity(name), random=dice(name)), **changes)


def remembers(name: str, assurance: Assurance = Assurance.VOUCHED, method: str = "route") -> Remembered:
    """The key of ``name`` was accepted before."""
    return Remembered((KnownKey(identity(name).fingerprint, assurance, method, 0.0),))


def message(body: str, **attributes: str) -> Element:
    """A message stanza."""
    stanza = Element("{jabber:client}message", attributes)
    SubElement(stanza, "{jabber:client}body").text = body
    return stanza


def body(stanza: Element) -> str:
    """What a message says."""
    return stanza.findtext("{jabber:client}body") or ""


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
    def failure(self) -> Exception:
        """Why the session failed, or ended uncleanly."""
        (event,) = self.of(events.SessionFailed) or self.of(events.SessionEnd)
        assert event.error is not None
        error: Exception = event.error
        return error


class Pair:
    """Alice offers, Bob accepts; what they send is carried until all is quiet."""

    def __init__(
        self,
        alice: Config | None = None,
        bob: Config | None = None,
        *,
        alice_remembers: Remembered = NOBODY,
        bob_remembers: Remembered = NOBODY,
        on_jingle: JingleHook = lambda role, element: [element],
        on_data: DataHook = lambda role, data: [data],
    ) -> None:
        self.now = 1000.0
        self.on_jingle, self.on_data = on_jingle, on_data
        self.alice = Side(Session(Role.INITIATOR, alice or config("alice"), alice_remembers))
        self.bob = Side(Session(Role.RESPONDER, bob or config("bob"), bob_remembers))
        self.declines = True
        """Does whoever is asked for a proof that he has not set up decline at once?"""
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
            self.side(role).session._inner.out.element(element)
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
                side.session.accept(self.now)
            elif isinstance(event, events.VerifyRequest) and not event.begun and self.declines:
                side.session.decline(event.method, self.now)
            elif isinstance(event, events.TransportAgreed) and role is Role.INITIATOR:
                self._connect()
            elif isinstance(event, events.Computing):
                side.session.answer(event.computation.run(), self.now)

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
            if side.session.stage is Stage.CONNECTING:
                side.session.transport_ready(self.now)
