"""Acknowledges the peer's stanzas, keeps ours until they are acknowledged, and resumes what earlier sessions left (XEP-0198).

Nothing is negotiated: a hello says that its sender can do it. Acknowledgements leave with whatever else leaves; alone only if
the peer asks, or after a while.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar
from xml.etree.ElementTree import Element

from xmpp_e2e import events
from xmpp_e2e.errors import SendBufferFull, SessionCancelled, StreamError
from xmpp_e2e.inner.context import Context
from xmpp_e2e.inner.resumption import Link, Resumptions
from xmpp_e2e.states import WRITABLE, State
from xmpp_e2e.stream import acks
from xmpp_e2e.stream.acks import AckState, SentStanza
from xmpp_e2e.stream.send_buffer import EARLY_STANZA_BYTES, SEND_BUFFER_BYTES

ACK_SECONDS = 0.3
"""Seconds after which stanzas are acknowledged alone: what a program answers at once takes the acknowledgement along."""
MAX_RESUMES = 32
"""Questions about earlier sessions in one session: a few times what is kept of them."""


class StreamManagement:
    """Counts the stanzas of one session, both ways."""

    def __init__(self, context: Context, resumptions: Resumptions, link: Link, sid: str, now: float) -> None:
        """SessionCancelled if a session with this sid and the same keys was here before."""
        self._context = context
        self._resumptions, self._link = resumptions, link
        self._state = AckState(sid, (context.config.own_jid, context.config.peer_jid))
        self._states = resumptions.begin(link, self._state, now)
        """Of all sessions with the same two keys, this one too."""
        self.due: float | None = None
        """When to acknowledge at the latest."""
        self._supported: bool | None = None
        """Whether the peer can acknowledge; None before its hello."""
        self._early_bytes = 0
        self._acknowledged = 0
        """Of the peer's stanzas."""
        self._must_answer = self._must_ask = self._has_asked = False
        self._asked: set[str] = set()
        """Sessions about which we have asked and not heard."""
        self._resumes = 0

    @property
    def memory(self) -> int:
        """Bytes of what is not acknowledged."""
        return self._state.size

    @property
    def unacknowledged(self) -> tuple[SentStanza, ...]:
        """What was sent in this session, or resent, and neither acknowledged nor given up."""
        return tuple(stanza for stanza in self._state.unacknowledged if stanza.data)

    @property
    def awaited(self) -> int:
        """Bytes of which the peer has yet to say whether they arrived; not 0 either while it has yet to answer a resumption."""
        return self._state.size + len(self._asked)

    # --- our stanzas -----------------------------------------------------------------------------------------------

    def send(self, data: bytes, tag: object) -> SentStanza:
        """Send a stanza. SendBufferFull if the peer must take, or say, something first."""
        if self._state.superseded:
            raise SendBufferFull("another session with the same keys takes the place of this one")
        if len(self._states) > 1 and (self._left() or self._asked):
            raise SendBufferFull("what earlier sessions have left comes first, and the peer has yet to say what it has of that")
        if self._context.machine.state is State.OPEN:
            room = SEND_BUFFER_BYTES - max(self._state.size, len(self._context.out))
        else:
            room = EARLY_STANZA_BYTES - self._early_bytes
        if len(data) > room:
            raise SendBufferFull(f"{len(data)} bytes do not fit: {room} are free until the peer has taken what was sent before")
        stanza = SentStanza(data, tag, len(data))
        self._send(stanza)
        return stanza

    def _send(self, stanza: SentStanza) -> None:
        self._context.out.stanza(stanza.data)
        if self._context.machine.state is not State.OPEN:
            self._early_bytes += stanza.size
        elif not self._supported:
            self._tell([stanza])
            return
        self._state.add(stanza)
        if self._state.size > SEND_BUFFER_BYTES // 2 and not self._has_asked:
            self._must_ask = True

    def request(self) -> None:
        """Ask the peer to acknowledge what was sent, with the next bytes that leave."""
        self._must_ask = bool(self._state.unacknowledged)

    def note_hello(self, *, supported: bool) -> None:
        """The peer's hello says whether it can acknowledge. SessionCancelled if it was asked already, since it could before."""
        self._supported = self._state.confirmed = supported
        if not supported:  # it is not asked early again
            for state in self._states.values():
                state.confirmed = False
            if self._asked:  # it will break off over that
                raise SessionCancelled("the peer's program cannot acknowledge stanzas any more, and was asked to")

    def opened(self) -> None:
        """The session is open: of a peer that cannot acknowledge, nothing more will be known."""
        if not self._supported:
            self._tell(self._state.take_unacknowledged())
            self._resume()

    # --- the peer's ------------------------------------------------------------------------------------------------

    def count(self, now: float) -> None:
        """Count a stanza of the peer, which is delivered. SessionCancelled if another session has taken our place."""
        self._check_counts()
        self._state.handled += 1
        if self._supported and self.due is None:
            self.due = now + ACK_SECONDS

    def note_taken(self) -> None:
        """The host takes a stanza that was counted."""
        self._resumptions.note_taken(self._link, self._state)

    def uncount(self) -> None:
        """The host has dropped a stanza that it has just taken, and that was never acknowledged."""
        self._state.handled -= 1
        self._resumptions.note_taken(self._link, self._state, -1)

    def receive(self, element: Element, now: float) -> None:
        """Handle one of ``acks.ELEMENTS``. StreamError; SessionCancelled if another session has taken our place."""
        self._check_counts()
        if not self._supported:
            raise StreamError("the peer acknowledges, though its hello does not say that it can", "policy-violation")
        self._ON_ELEMENT[element.tag](self, element, now)

    def _check_counts(self) -> None:
        if self._state.superseded:
            raise SessionCancelled("another session with the same keys has taken the place of this one")

    def _on_request(self, element: Element, now: float) -> None:
        self._must_answer = True

    def _on_answer(self, element: Element, now: float) -> None:
        self._has_asked = False
        self._tell(self._state.acknowledge(acks.parse_h(element)))

    def _on_resume(self, element: Element, now: float) -> None:
        """The peer has given up an earlier session: say what came in it, and resend what did not arrive there."""
        previd, h = acks.parse_resume(element)
        self._resumes += 1
        if previd == self._state.sid or self._resumes > MAX_RESUMES:
            raise StreamError("the peer resumes this session itself, or too many others", "policy-violation")
        state = self._states.get(previd)
        if state is None or state.recalled:  # of an earlier run; or its handshake may still be under way here
            handled, h = self._resumptions.recall(self._link, previd), None
            state = AckState(previd, self._state.jids, handled=handled or 0, live=False, ended=now, recalled=True)
            self._states[previd] = state
        else:
            handled = state.handled
        self._supersede(state)
        if self._context.machine.state is State.OPEN:
            self._context.out.element(acks.build_resume(acks.RESUMED, previd, handled))
        self._settle(state, h)

    def _on_resumed(self, element: Element, now: float) -> None:
        previd, h = acks.parse_resume(element)
        if previd in self._asked and previd in self._states:  # else the peer's own question has answered ours
            self._settle(self._states[previd], h)

    _ON_ELEMENT: ClassVar[dict[str, Callable[[StreamManagement, Element, float], None]]] = {
        acks.R: _on_request,
        acks.A: _on_answer,
        acks.RESUME: _on_resume,
        acks.RESUMED: _on_resumed,
    }

    def _supersede(self, state: AckState) -> None:
        """Let nothing that comes in the session of ``state`` count from now on."""
        if state.live and not state.superseded:
            self._context.events.append(events.SessionSuperseded(state.sid))
        state.superseded = True

    def _settle(self, state: AckState, h: int | None) -> None:
        """Resend what the peer did not get of ours in an earlier session; without ``h`` it knows nothing of that."""
        self._asked.discard(state.sid)
        if h is not None:
            self._tell(state.acknowledge(h))
        if self._context.machine.state is State.OPEN:
            for stanza in state.take_unacknowledged():
                if stanza.data:
                    self._send(stanza)

    def _tell(self, stanzas: list[SentStanza]) -> None:
        if stanzas:
            self._context.events.append(events.StanzasAcknowledged(tuple(stanzas), by_peer=bool(self._supported)))

    # --- what leaves -----------------------------------------------------------------------------------------------

    def _left(self) -> list[AckState]:
        """Return what has to be settled first: what sessions have left unacknowledged that have ended, or that are older and
        with the same full JID, whose path this one replaces."""
        ours, older = self._state, True
        left: list[AckState] = []
        for each in self._states.values():
            if each is ours:
                older = False
            elif not each.is_settled and (not each.live or (older and each.jids == ours.jids)):
                left.append(each)
        return left

    def _resume(self) -> None:
        """Ask about what was left; resend it to a peer that cannot say what it has of it."""
        for state in self._left():
            if self._supported is False and self._context.machine.state is State.OPEN:
                self._supersede(state)
                self._settle(state, None)
            elif state.sid not in self._asked and (self._supported or state.confirmed):
                self._asked.add(state.sid)
                self._supersede(state)
                self._context.out.element(acks.build_resume(acks.RESUME, state.sid, state.handled))

    def write(self) -> None:
        """Write what is due, before bytes leave."""
        if self._context.machine.state not in WRITABLE or self._state.superseded:
            return
        self._resume()
        out = self._context.out
        if self._must_answer or (out and out.has_left):  # an opening carries no more than it must
            self.acknowledge()
        if self._must_ask and self._supported:
            self._must_ask, self._has_asked = False, True
            out.element(acks.build_request())

    def acknowledge(self) -> None:
        """Acknowledge all that has come, if the peer has asked or does not know it yet."""
        if self._supported and (self._must_answer or self._state.handled > self._acknowledged):
            self._acknowledged = self._state.handled
            self._context.out.element(acks.build_answer(self._acknowledged))
        self.due, self._must_answer = None, False

    def handle_timer(self, now: float) -> None:
        """Acknowledge with the next bytes, if it is time."""
        if self.due is not None and now >= self.due:
            self._must_answer, self.due = True, None

    def end(self, now: float, *, clean: bool) -> None:
        """The session is over. A clean end acknowledges all: the peer says close_notify when it has read our farewell."""
        state = self._state
        if clean and not state.superseded:
            self._tell(state.take_unacknowledged())
        self.due = None
        self._resumptions.end(self._link, state, now)
