"""One live session of a client: feeds the core what happens, and does what the core asks.

A link is what ``e2e.connect()`` and ``stanza["e2e"]["session"]`` give to users.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol
from xml.etree.ElementTree import Element

from slixmpp import Iq

from slixmpp_e2e.prompts import NOBODY, Compare, Prompts
from slixmpp_e2e.trust.passwords import stretched
from slixmpp_e2e.xmpp.ibb import IBBCarrier
from slixmpp_e2e.xmpp.iq_channel import OwnIqs
from slixmpp_e2e.xmpp.namespaces import of_client
from xmpp_e2e import events
from xmpp_e2e.authenticate.base import Question
from xmpp_e2e.authenticate.psk import strong
from xmpp_e2e.authenticate.strings import Form
from xmpp_e2e.errors import E2EError, TransportFailed
from xmpp_e2e.identity import Assurance, Fingerprint, Remembered, Role
from xmpp_e2e.negotiate.jingle import Reason
from xmpp_e2e.session import Session
from xmpp_e2e.stages import GREETING, Stage

STALL_SECONDS = 60.0
"""A path that has not answered a block for so long is dead: slow links answer within seconds."""
_WRITABLE = frozenset({Stage.EARLY, Stage.PROVED, Stage.OPEN})


@dataclass(frozen=True)
class Happened:
    """The data of an ``e2e_…`` event of slixmpp."""

    session: Link
    detail: events.Event
    """What the core says; each kind has its own fields (xmpp_e2e.events)."""

    @property
    def peer(self) -> str:
        """The peer's full JID."""
        return self.session.peer


class Host(Protocol):
    """What a link needs of the plugin."""

    loop: asyncio.AbstractEventLoop
    iqs: OwnIqs

    def happened(self, link: Link, event: events.Event) -> None:
        """A core event, in order."""

    async def verify(
        self, link: Link, method: str, *, prompts: Prompts = NOBODY, form: Form = Form.DECIMAL, secret: bytes | None = None
    ) -> None:
        """Let a method prove the peer's key in an open session."""

    def writable(self, link: Link) -> None:
        """Stanzas may be given to the link."""

    def finished(self, link: Link) -> None:
        """The link is over and everything it had to say has been said."""


class Link:
    """A session with one full JID."""

    def __init__(self, host: Host, session: Session) -> None:
        self._host = host
        self._core = session
        self._carrier: IBBCarrier | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._silent_since: float | None = None
        """Since when blocks have waited for an answer and none has come."""
        self._progress = 0
        self._pumping: asyncio.Handle | None = None
        self._jingle: deque[Element] = deque()
        self._finished = False
        self._greeted: asyncio.Future[None] = host.loop.create_future()
        self._opened: asyncio.Future[None] = host.loop.create_future()
        self._ended: asyncio.Future[E2EError | None] = host.loop.create_future()
        for future in (self._greeted, self._opened):
            future.add_done_callback(_seen)
        self.token = ""
        """The marker of its stanzas."""
        self.crossed = False
        """Has an offer of the peer's come while ours was on its way?"""
        self.secured: events.Secured | None = None
        self.proved: events.Proved | None = None
        """What an authenticator has proved on the way."""

    def __repr__(self) -> str:
        return f"<Link {self.ours} {self.role.value} {self.peer} {self.stage.value} {self.assurance}>"

    # --- what users may ask ----------------------------------------------------------------------------------------

    @property
    def peer(self) -> str:
        """The peer's full JID."""
        return self._core.config.peer

    @property
    def ours(self) -> str:
        """Our own full JID."""
        return self._core.config.ours

    @property
    def role(self) -> Role:
        """Did we start it?"""
        return self._core.role

    @property
    def sid(self) -> str:
        """The Jingle session id."""
        return self._core.sid

    @property
    def minimum(self) -> Assurance:
        """What must be proved of the peer's key before our stanzas flow."""
        return self._core.config.minimum

    @property
    def stage(self) -> Stage:
        """Where it is."""
        return self._core.stage

    @property
    def assurance(self) -> Assurance:
        """What is proved of the peer's key."""
        return self._core.assurance

    @property
    def proving(self) -> bool:
        """Does an authenticator run, or wait for its turn?"""
        return self._core.proving

    @property
    def fingerprint(self) -> Fingerprint | None:
        """The peer's key, once TLS has shown it."""
        return self.secured.fingerprint if self.secured else None

    @property
    def protocol(self) -> str:
        """``TLSv1.3``, once TLS is up."""
        return self.secured.protocol if self.secured else ""

    @property
    def cipher(self) -> str:
        """The cipher suite, once TLS is up."""
        return self.secured.cipher if self.secured else ""

    @property
    def group(self) -> str:
        """The key exchange, once TLS is up; ``X25519MLKEM768`` is safe against quantum computers too."""
        return self.secured.group if self.secured else ""

    @property
    def is_open(self) -> bool:
        """Do stanzas flow?"""
        return self.stage is Stage.OPEN

    @property
    def is_writable(self) -> bool:
        """May stanzas be sent, though some of them may be lost should the peer refuse our key?"""
        return self.stage in _WRITABLE

    async def greeted(self) -> None:
        """Until both hellos are checked; raises what made the session fail."""
        await asyncio.shield(self._greeted)

    async def opened(self) -> None:
        """Until stanzas flow: our own policy and the peer's are met. Raises what made the session fail."""
        await asyncio.shield(self._opened)

    async def ended(self) -> E2EError | None:
        """Until it is over; returns None if it ended by farewells on both sides."""
        return await asyncio.shield(self._ended)

    async def verify_sas(self, confirm: Callable[[Compare], Awaitable[bool] | bool], form: str = "decimal") -> None:
        """Let both users compare a short string; returns when ours has said that it is the same.

        ``confirm`` gets a Compare, whose ``.text`` has the ``form``, ``decimal``, ``emoji`` or ``words``, and says whether it
        is; what the peer's user says, ``e2e_verify_result`` tells. This and the next two prove the peer's key when both
        hellos are checked, for now and for later sessions; if he has asked for the same, they agree to that. They raise
        PeerDeclined if he takes no part, LocalError if the method cannot run (twice in one session it cannot), and whatever
        has ended the session if the proof failed.
        """
        await self._host.verify(self, "sas", prompts=Prompts(sas=confirm), form=Form(form))

    async def verify_password(self, password: str) -> None:
        """Let the two of you prove that you know the same password. A wrong one is counted; Locked after too many."""
        bare = (jid.partition("/")[0] for jid in (self.ours, self.peer))
        await self._host.verify(self, "srp", secret=await asyncio.to_thread(stretched, password, *bare))

    async def verify_key(self, key: bytes) -> None:
        """Let the two of you prove that you hold the same random key. WeakKey for fewer than 16 bytes."""
        await self._host.verify(self, "psk", secret=strong(key))

    def decline(self, method: str) -> None:
        """Take no part in what the peer has asked for (``e2e_verify_request``); the session goes on. LocalError if he has not
        asked, or it runs already."""
        self._core.decline(method, self._now)
        self.pump()

    async def close(self) -> None:
        """Say farewell, and wait for the peer's."""
        self.end()
        await self.ended()

    # --- what the plugin tells it ----------------------------------------------------------------------------------

    def offer(self) -> None:
        """Start as the initiator."""
        self._core.offer(self._now)
        self.pump()

    def accept(self) -> None:
        """Go on as the responder."""
        self._core.accept(self._now)
        self.pump()

    def end(self, reason: Reason = Reason.SUCCESS) -> None:
        """Begin to end."""
        self._core.close(self._now, reason)
        self.pump()

    def fail(self, error: E2EError) -> None:
        """Something broke here; the peer is told that the session ends."""
        self._core.transport_failed(error, self._now)
        self.pump()

    def cut(self, error: E2EError) -> None:
        """The path is gone: nothing more can be said."""
        if self._finished:
            return
        self._core.transport_failed(error, self._now)
        while self._report():
            pass
        self._finish()

    def abandon(self) -> None:
        """The peer's own offer takes the place of this one (tie-break): nothing more is said about it."""
        self._core.abandon(self._now)
        while (event := self._core.next_event()) is not None:
            if isinstance(event, events.SessionFailed):
                self._over(event.error)
        self._finish()

    def request(self, method: str, secret: bytes | None = None, form: Form = Form.DECIMAL) -> None:
        """Let an authenticator run, with this secret or with what is set up. LocalError if it cannot."""
        try:
            self._core.request(method, self._now, secret, form)
        finally:
            self.pump()

    def is_asked(self, question: Question) -> bool:
        """Is the answer still waited for?"""
        return self._core.question is question

    def answer(self, question: Question, reply: bytes) -> None:
        """To what an authenticator asked; nothing happens if that is not waited for any more."""
        if self.is_asked(question):
            self._core.answer(reply, self._now)
            self.pump()

    def remember(self, remembered: Remembered) -> None:
        """What is remembered of the peer has changed."""
        self._core.remember(remembered, self._now)
        self.pump()

    def send(self, stanza: Element) -> None:
        """Send one stanza; LocalError, and nothing is sent, if it cannot be taken now. All that is given in one turn of the
        event loop shares TLS records and blocks."""
        self._core.send_stanza(of_client(stanza))
        if self._pumping is None:
            self._pumping = self._host.loop.call_soon(self.pump)

    def receive_jingle(self, jingle: Element) -> None:
        """A <jingle/> for this session; JingleError says how the iq is to be answered. Call ``pump()`` after answering."""
        self._core.receive_jingle(jingle, self._now)

    def receive_block(self, request: Iq, payload: Element) -> None:
        """An IBB stanza for this session."""
        assert self._carrier is not None
        opens = self.stage is Stage.CONNECTING
        try:
            data = self._carrier.receive(request, payload)
        except TransportFailed as error:
            self.fail(error)
            return
        if opens:
            self._core.transport_ready(self._now)
        if data:
            self._core.receive_data(data, self._now)
        if self._carrier.ended:
            self._core.receive_data(b"", self._now)
        self.pump()

    # --- the pump --------------------------------------------------------------------------------------------------

    @property
    def _now(self) -> float:
        return self._host.loop.time()

    def pump(self) -> None:
        """Do all that the core asks for now."""
        self._pumping = None
        if self._finished:
            return
        while not self._finished and self._step():
            pass
        if self._finished:  # an event's handler may have pumped, too
            return
        self._watch()
        if self.stage is Stage.CLOSED and not self._jingle and (self._carrier is None or self._carrier.drained):
            self._finish()

    def _step(self) -> bool:
        """One step of the pump; bytes come last, for what is said on an event shares blocks with what the core says: the first
        stanza with the end of the handshake. True if there may be more."""
        if self._report():
            return True
        if self.is_writable:
            self._host.writable(self)
        return self._move() or self._report()

    def _move(self) -> bool:
        """Bytes, then the signalling that follows them. True if there may be more."""
        moved = False
        carrier = self._carrier
        if carrier is not None:
            if carrier.broken is not None:
                self._core.transport_failed(carrier.broken, self._now)
            while carrier.has_room and (data := self._core.data_to_send()):
                carrier.send(data)
                moved = True
            carrier.pump()
        self._jingle.extend(self._core.jingle_to_send())
        while self._jingle and (carrier is None or carrier.drained):
            self._host.iqs.request(self.ours, self.peer, self._jingle.popleft(), self._answered, self)
        return moved

    def _answered(self, condition: str | None) -> None:
        if condition == "conflict" and self.stage is Stage.OFFERED and not self.crossed:
            return  # tie-break: the peer's own offer stands, and has yet to come; ours gives way to it, or ends at its deadline
        if condition is not None:
            self._core.receive_jingle_error(condition, self._now)
            self.pump()

    def _report(self) -> bool:
        """One event of the core. True if there may be more."""
        event = self._core.next_event()
        if event is None:
            self._notice()
            return False
        if isinstance(event, events.TransportAgreed):
            self._connect(event)
        elif isinstance(event, events.Secured):
            self.secured = event
        elif isinstance(event, events.SessionStart):
            self._opened.set_result(None)
        elif isinstance(event, events.SessionFailed | events.SessionEnd):
            self._over(event.error)
        self._notice()
        self._host.happened(self, event)
        return True

    def _notice(self) -> None:
        """The hellos are no event of the core, yet users may wait for them."""
        if (self.stage in GREETING or self.is_open) and not self._greeted.done():
            self._greeted.set_result(None)

    def _connect(self, agreed: events.TransportAgreed) -> None:
        self._carrier = IBBCarrier(self._host.iqs, self.role, self.ours, self.peer, agreed.sid, agreed.block_size, self.pump)
        if self.role is Role.INITIATOR:
            self._core.transport_ready(self._now)

    def _over(self, error: E2EError | None) -> None:
        for future in (self._greeted, self._opened):
            if not future.done():
                future.set_exception(error or TransportFailed("the session is over"))
        if not self._ended.done():
            self._ended.set_result(error)

    def _watch(self) -> None:
        """Ask to be woken for the core's deadline, and to see whether the path still answers."""
        if self._timer is not None:
            self._timer.cancel()
        when = self._core.timer()
        self._timer = self._host.loop.call_at(when, self._tick) if when is not None else None
        carrier = self._carrier
        if carrier is None or carrier.drained:
            self._silent_since = None
            return
        if self._silent_since is None or carrier.progress != self._progress:
            self._silent_since, self._progress = self._now, carrier.progress
        if self._stall is None:
            self._stall = self._host.loop.call_at(self._silent_since + STALL_SECONDS, self._check_stall)

    def _tick(self) -> None:
        self._core.handle_timer(self._now)
        self.pump()

    def _check_stall(self) -> None:
        self._stall = None
        silent = self._silent_since is not None and self._now >= self._silent_since + STALL_SECONDS
        if silent and self._carrier is not None:
            self._carrier.broken = TransportFailed(f"no block was answered for {STALL_SECONDS:.0f} seconds")
        self.pump()

    def _finish(self) -> None:
        self._finished = True
        self._core.release()
        for handle in (self._timer, self._stall, self._pumping):
            if handle is not None:
                handle.cancel()
        self._host.iqs.gone(self)
        if self._carrier is not None:
            self._carrier.abandon()
        self._host.finished(self)


def _seen(future: asyncio.Future[None]) -> None:
    """Nobody has to wait for a session; its failure is told by an event too."""
    if not future.cancelled():
        future.exception()
