"""Drives one core session: tells it what happens, and does what it asks for. All else hears of it by its events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

from slixmpp_e2e.errors import MemoryExceeded, SharedKey
from slixmpp_e2e.jids import bare
from slixmpp_e2e.sessions.ack_watch import AckWatch
from slixmpp_e2e.sessions.clock import SessionClock
from slixmpp_e2e.sessions.memory import MemoryBudget
from slixmpp_e2e.sessions.stall import STALL_SECONDS
from slixmpp_e2e.sessions.store_gate import STORED, StoreGate
from slixmpp_e2e.sessions.wire import SessionWire
from slixmpp_e2e.store import StoreError
from slixmpp_e2e.trust.peer_settings import PeerSettings
from slixmpp_e2e.xmpp.iq_channel import IqChannel
from slixmpp_e2e.xmpp.namespaces import of_client
from xmpp_e2e import events
from xmpp_e2e.authenticate.base import Prompt
from xmpp_e2e.authenticate.sas_text import SasForm
from xmpp_e2e.errors import BytestreamFailed, Code, E2EError, SendBufferFull
from xmpp_e2e.negotiate.jingle import Reason
from xmpp_e2e.session import Session
from xmpp_e2e.states import HELLOS_CHECKED_OR_OPEN, WRITABLE, State
from xmpp_e2e.stream import NS_CLIENT
from xmpp_e2e.stream.acks import SentStanza
from xmpp_e2e.tls.rotation import Rotation
from xmpp_e2e.types import Assurance, Fingerprint, KnownKeys

_CLIENT = f"{{{NS_CLIENT}}}"


@dataclass(frozen=True)
class SessionDiscarded:
    """Our offer gave way to the peer's own (tie-break), or failed for now and is tried again. Nothing more is said about it."""


@dataclass(frozen=True)
class SessionReleased:
    """The session is over, and everything that it had to say has been said."""


@dataclass(frozen=True)
class AssuranceChanged:
    """More, or less, is proved of the peer's key than before, in an open session."""

    before: Assurance
    now: Assurance


UNTOLD_OF_REFUSED = (events.SessionOpened, events.StanzaReceived, events.KeyVerified, events.KeyRotated)
"""What nobody hears of any more once the key that says it was refused, or could not be stored."""

DriverEvent = events.Event | SessionDiscarded | SessionReleased | AssuranceChanged
OnSessionEvent = Callable[["SessionDriver", DriverEvent], None]
Retry = Callable[["SessionDriver", E2EError], bool]
"""Opens another session in place of one whose offer has failed for now. Returns whether it has."""
StoreEvent = Callable[["SessionDriver", events.Event], "asyncio.Future[Any] | None"]
"""Stores what an event of the core says. Returns what is to be waited for, if there is anything to store. StoreError."""


class SessionDriver:
    """A session with one full JID.

    What comes in (``receive_…``) is handled at once, with the events that it causes. What we do ourselves (``close()``,
    ``answer_prompt()`` …) takes effect in the next turn of the event loop, so no event is ever emitted inside another's
    handler. Bytes leave at the end of a turn: all that is said in it shares TLS records and blocks.
    """

    owed_memory = 0
    """Bytes that are held to answer what the peer has asked in this session."""

    def __init__(
        self,
        core: Session,
        iqs: IqChannel,
        loop: asyncio.AbstractEventLoop,
        store_event: StoreEvent,
        on_session_event: OnSessionEvent,
        required: Assurance = Assurance.NONE,
        budget: MemoryBudget | None = None,
        stall_seconds: float = STALL_SECONDS,
        retry: Retry | None = None,
    ) -> None:
        """``required``: what a caller demands beyond the settings; the core's config has it already.

        ``stall_seconds``: after how long a path that does not move is dead.
        """
        self.core, self.required, self._retry = core, required, retry or _never
        self.own_jid, self.peer, self.role = core.config.own_jid, core.config.peer_jid, core.role
        self.target = (self.own_jid, self.peer)
        """(own full JID, peer's full JID)"""
        self.tls: events.TLSEstablished | None = None
        """What TLS agreed on, once it is up."""
        self.discarded = False
        """True once our offer gave way to the peer's own (tie-break), or to another try of ours."""
        self.authenticating: asyncio.Future[None] = loop.create_future()
        """Done when both hellos are checked. Fails as ``opened`` does."""
        self.opened: asyncio.Future[None] = loop.create_future()
        """Done when stanzas flow. Fails with what made the session fail."""
        self.closed: asyncio.Future[E2EError | None] = loop.create_future()
        """Done when it is over; None if it ended by farewells on both sides."""
        for future in (self.authenticating, self.opened):
            future.add_done_callback(_retrieve)
        self._loop, self._clock = loop, SessionClock(loop)
        self._store_event, self._emit = store_event, on_session_event
        self._budget = budget or MemoryBudget(lambda account: True)
        self._wire = SessionWire(core, iqs, loop, self._clock, self, self.process, self.abort, stall_seconds)
        self._acks = AckWatch(core, loop, self._wire, self._is_busy, self.request_acknowledgement, self.abort, stall_seconds)
        self._pending: asyncio.Handle | None = None
        self._waiting: list[asyncio.Future[None]] = []
        self._released = False
        self._charged = 0
        """Of our memory, what the budget knows: most turns change nothing, and it is not asked."""
        self._refused = False
        """Whether what the core has to say is of a key that was refused, or could not be stored."""
        self._told_assurance: Assurance | None = None
        """What users know of the level of an open session."""
        self._known: KnownKeys | None = None
        """What is known of the peer's keys, of which the core hears when what it said before is stored."""
        self._gate = StoreGate(loop, self._on_stored, self.receive_ibb, lambda event: self._emit(self, event))

    def __repr__(self) -> str:
        return f"<SessionDriver {self.own_jid} {self.role.value} {self.peer} {self.state.value} {self.assurance}>"

    @property
    def sid(self) -> str:
        """The Jingle session id."""
        return self.core.sid

    @property
    def state(self) -> State:
        """The state of the session: it is not OPEN before all that we have to remember of it is stored."""
        state = self.core.state
        return State.DONE_SENT if state is State.OPEN and not self.opened.done() else state

    @property
    def assurance(self) -> Assurance:
        """What is proved of the peer's key."""
        return self.core.assurance

    @property
    def key(self) -> Fingerprint | None:
        """The peer's key, once TLS has shown it."""
        return self.tls.fingerprint if self.tls is not None else None

    @property
    def min_assurance(self) -> Assurance:
        """What must be proved of the peer's key before our stanzas flow."""
        return self.core.config.needed_assurance

    @property
    def is_open(self) -> bool:
        """True while stanzas flow."""
        return self.state is State.OPEN

    @property
    def has_checked_hellos(self) -> bool:
        """True once both hellos were checked: from then on the two judge each other's keys."""
        return self.authenticating.done() and not self.authenticating.cancelled() and self.authenticating.exception() is None

    @property
    def is_writable(self) -> bool:
        """True while stanzas may be sent, though they fail if the peer refuses our key before the session is open."""
        return self.core.state in WRITABLE

    @property
    def memory(self) -> int:
        """Bytes that it holds for its peer, beyond what each session takes."""
        if self._released:
            return 0
        held = self._gate.held_bytes
        owed = self.owed_memory if self.state is not State.CLOSED else 0  # nothing is answered any more
        return held + self.core.memory + owed + self._wire.backlog

    @property
    def acknowledged_bytes(self) -> int:
        """Bytes that the bytestream has carried to the peer so far: they have answered for these."""
        return self._wire.answered

    @property
    def offers_crossed(self) -> bool:
        """True once an offer of the peer's has come while ours was pending."""
        return self._wire.offers_crossed

    def note_crossing(self) -> None:
        """An offer of the peer's has come while ours is pending: it is decided which of the two gives way."""
        self._wire.offers_crossed = True

    # --- actions ---------------------------------------------------------------------------------------------------

    def offer(self) -> None:
        """Start as the initiator."""
        self.core.offer(self._now)
        self._schedule()

    def accept_offer(self) -> None:
        """Go on as the responder."""
        self.core.accept_offer(self._now)
        self._schedule()

    def close(self, reason: Reason = Reason.SUCCESS) -> None:
        """Begin to end: by farewells on both sides if it is open."""
        self.core.close(self._now, reason)
        self._schedule()

    def announce_rotation(self, rotations: tuple[Rotation, ...]) -> None:
        """Tell the peer, inside, that another key has taken the place of ours, and end by farewells. LocalError."""
        self.core.announce_rotation(rotations, self._now)
        self._schedule()

    def abort(self, error: E2EError) -> None:
        """End because something failed here; the peer is told that the session ends, not why."""
        self._retry = _never
        self.core.bytestream_failed(error, self._now)
        self._schedule()

    def refuse(self, event: DriverEvent, error: E2EError) -> None:
        """End because what an event says could not be dealt with. A stanza is dropped, and all that follow: the peer does not
        hear that they arrived."""
        self._refused = True
        if isinstance(event, events.StanzaReceived):
            self.core.uncount_stanza()
        self.abort(error)

    def abort_unreachable(self, error: E2EError) -> None:
        """End at once: the path to the peer is gone. So nothing more can be said, and the store is not waited for."""
        if not self._released:
            self._retry = _never
            # What waits behind an opening that is not stored yet reaches nobody: the peer sends it again in the next session.
            self._refused |= self._gate.is_closed and not self.opened.done()
            self._gate.drop()
            self.core.bytestream_failed(error, self._now)
            self._dispatch()
            self._release()

    def give_up_memory(self, error: MemoryExceeded) -> None:
        """End, and let go of what it holds; at once, if it has ended already and still holds something."""
        if self.state is State.CLOSED:
            self._gate.drop()
            self._dispatch()
            self._release()
        else:
            self.abort(error)

    def discard(self) -> None:
        """Drop our offer in favour of the peer's own (tie-break): nothing more is said about it."""
        self.discarded = True
        self.core.discard(self._now)
        while (event := self.core.next_event()) is not None:
            if isinstance(event, events.SessionFailed):
                self._over(event.error)
        self._emit(self, SessionDiscarded())
        self._release()

    def request_verification(self, method: str, secret: bytes | None = None, form: SasForm = SasForm.DECIMAL) -> None:
        """Let an authenticator run, with this secret or with what is set up. LocalError if it cannot."""
        try:
            self.core.request_verification(method, self._now, secret, form)
        finally:
            self._schedule()

    def decline_verification(self, method: str) -> None:
        """Refuse what the peer has asked for; the session goes on. LocalError if they have not asked, or it runs already."""
        self.core.decline_verification(method, self._now)
        self._schedule()

    def answer_prompt(self, question: Prompt, reply: bytes) -> None:
        """Answer what an authenticator asked; ignored if that is not expected any more."""
        if self.core.pending_prompt is question:
            self.core.answer_prompt(reply, self._now)
            self._schedule()

    def update_known_keys(self, known: KnownKeys) -> None:
        """Hand over what is known of the peer's keys now."""
        if self._gate.is_closed:
            self._known = known
            return
        with self._noting_refusal():
            self.core.update_known_keys(known, self._now)
        self._schedule()

    def update_settings(self, settings: PeerSettings) -> None:
        """Go by the settings of the moment: end, if they allow no session, or let the core decide about the key by them."""
        config, needed = self.core.config, max(self.required, settings.min_assurance)
        if not settings.policy.accepts_sessions:
            self.close()
        elif (config.trust_model, config.on_key_change, config.min_assurance) != (
            settings.trust_model,
            settings.on_key_change,
            needed,
        ):
            with self._noting_refusal():
                self.core.update_terms(settings.trust_model, settings.on_key_change, needed, self._now)
            self._schedule()

    def update_promptable_methods(self, methods: frozenset[str]) -> None:
        """Take part in these methods from now on, for which the user can be asked."""
        self.core.update_promptable_methods(methods | self.core.config.promptable_methods - {"sas", "srp"})

    def send(self, stanza: Element, tag: object = None) -> SentStanza | None:
        """Send one stanza. None if there is no room now; LocalError if it cannot be sent. Nothing is sent then."""
        if not (self._released or self._budget.has_room(self)):
            return None
        try:
            sent = self.core.send_stanza(stanza if stanza.tag.startswith(_CLIENT) else of_client(stanza), tag)
        except SendBufferFull:
            return None
        self._charged = self._budget.update(self)
        self._schedule()
        return sent

    def request_acknowledgement(self) -> None:
        """Ask the peer to say at once what has arrived."""
        if self.is_writable:
            self.core.request_acknowledgement()
            self._schedule()

    def notify_writable(self, future: asyncio.Future[None]) -> None:
        """Resolve ``future`` when stanzas can be sent, or more of them, or when it is over."""
        self._waiting.append(future)

    def on_room(self) -> None:
        """Sessions hold less: more may be sent."""
        self._loop.call_soon(self._wake)

    # --- what comes in ---------------------------------------------------------------------------------------------

    def receive_jingle(self, jingle: Element) -> None:
        """Take a <jingle/> for this session; a JingleError says how to answer the iq. Call ``process()`` after answering."""
        self.core.receive_jingle(jingle, self._now)

    def receive_ibb(self, request: Element, payload: Element) -> None:
        """Take an IBB stanza for this session."""
        try:
            if self._gate.hold(request, payload):
                self._schedule()  # it counts as held memory
                return
            self._wire.receive(request, payload)
        except BytestreamFailed as error:
            self.abort(error)
            return
        self.process()

    def process(self) -> None:
        """Emit the events that are there, and send at the end of this turn: behind all who are woken by that, and have to say
        something, too."""
        self._dispatch()
        if self._pending is not None:
            self._pending.cancel()
            self._pending = None
        self._schedule()

    # --- events ----------------------------------------------------------------------------------------------------

    @property
    def _now(self) -> float:
        return self._clock.now

    def _schedule(self) -> None:
        if self._pending is None and not self._released:
            self._pending = self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Do all that the core asks for."""
        self._pending = None
        if self.memory != self._charged:
            self._charged = self.memory
            self._budget.enforce(self)
        self._dispatch()
        if self._released:
            return
        if not self._gate.is_closed and self._wire.move():
            self._wake()
        if self._dispatch():
            self._schedule()
        self._wire.watch()
        if self.core.state is State.OPEN:
            self._acks.update()
        # what watch() has ended, the next turn tells
        if not self._is_busy() and self.state is State.CLOSED and self._wire.all_said:
            self._release()

    def _is_busy(self) -> bool:
        """Return whether there is another turn to come, or what the peer says waits until something is stored."""
        return self._pending is not None or self._gate.is_closed

    def _dispatch(self) -> bool:
        """Emit the events of the core, in order. Return whether there were any: the core may have more to say."""
        before, emitted = self.core.state, False
        while not self._gate.is_closed and (event := self.core.next_event()) is not None:
            self._store(event)
            emitted = True
        stage = self.core.state
        # the hellos are no event of the core, yet users may wait for them
        if stage in HELLOS_CHECKED_OR_OPEN and not self.authenticating.done():
            self.authenticating.set_result(None)
        if self._waiting and (stage is not before or stage in WRITABLE):
            self._wake()
        if stage is State.OPEN and self.core.assurance is not self._told_assurance:
            self._tell_assurance()
        return emitted

    def _tell_assurance(self) -> None:
        """Tell that another level holds now, in a session that has opened before."""
        before, now = self._told_assurance, self.core.assurance
        if not self.opened.done():
            return  # as long as it is stored
        self._told_assurance = now
        if before is not None:
            self._emit(self, AssuranceChanged(before, now))

    def _store(self, event: events.Event) -> None:
        """Emit an event, as soon as what it says is stored."""
        if self._refused and isinstance(event, UNTOLD_OF_REFUSED):
            if isinstance(event, events.StanzaReceived):
                self.core.uncount_stanza()
            return
        try:
            storing = self._store_event(self, event) if isinstance(event, STORED) else None
        except StoreError as error:
            self.abort(error)
        else:
            if storing is None or self._gate.is_dropped:
                self._tell(event)
            else:
                self._gate.close(event, storing)

    def _on_stored(self, event: events.Event, failure: E2EError | None) -> None:
        """Emit the event, or end if it could not be stored, and go on."""
        if (known := self._known) is not None:
            self._known = None
            with self._noting_refusal():
                self.core.update_known_keys(known, self._now)
        if failure is not None:
            self._refused = True
            self.abort(failure)
        elif not (self._refused and isinstance(event, events.SessionOpened)):
            self._tell(event)
        self.process()

    @contextmanager
    def _noting_refusal(self) -> Iterator[None]:
        """Note whether a decision ends the session: nobody hears of what the core took from the peer before that, and waits."""
        was_alive = self.core.state is not State.CLOSED
        yield
        self._refused |= was_alive and self.core.state is State.CLOSED

    def _tell(self, event: events.Event) -> None:
        if isinstance(event, events.SessionClosed) and not self.opened.done():  # its opening could not be stored
            event = events.SessionFailed(event.error or BytestreamFailed("the session is over"))
        reflected = isinstance(event, events.SessionFailed) and event.error.code is Code.REFLECTED_KEY
        if reflected and bare(self.peer) == bare(self.own_jid):
            event = events.SessionFailed(SharedKey(self.peer))
        if isinstance(event, events.SessionFailed) and self.tls is None and self._retry(self, event.error):
            self.discarded = True
            self._over(event.error)
            self._emit(self, SessionDiscarded())
            return
        self._handle(event)
        self._emit(self, event)

    def _handle(self, event: events.Event) -> None:
        match event:
            case events.TransportAgreed(sid, block_size):
                self._wire.connect(sid, block_size)
            case events.TLSEstablished():
                self.tls = event
            case events.SessionOpened():
                self.opened.set_result(None)
            case events.StanzasAcknowledged(stanzas):
                self._acks.note(stanzas)
            case events.SessionFailed() | events.SessionClosed():
                self._over(event.error)

    def _over(self, error: E2EError | None) -> None:
        for future in (self.authenticating, self.opened):
            if not future.done():
                future.set_exception(error or BytestreamFailed("the session is over"))
        if not self.closed.done():
            self.closed.set_result(error)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def _release(self) -> None:
        self._released = True
        self._gate.drop()
        self.core.free()
        if self._pending is not None:
            self._pending.cancel()
        self._wake()
        self._wire.stop()
        self._acks.stop()
        self._budget.remove(self)
        self._emit(self, SessionReleased())


def _never(driver: SessionDriver, error: E2EError) -> bool:
    """Nothing is tried again."""
    return False


def _retrieve(future: asyncio.Future[None]) -> None:
    """Mark the exception as retrieved: nobody has to wait for a session, and an event tells its failure too."""
    if not future.cancelled():
        future.exception()
