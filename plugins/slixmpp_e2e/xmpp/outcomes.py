"""What became of a stanza, for whoever sent it: ``stanza["e2e"]`` tells it, and ``e2e.send()`` waits for it.

The outcome hangs on the stanza itself, and on the copy that waits in its place. An object that is sent twice has two.
"""

from __future__ import annotations

import asyncio
import enum
from typing import Any, Protocol

from slixmpp.xmlstream.stanzabase import ElementBase, StanzaBase

from xmpp_e2e.errors import E2EError
from xmpp_e2e.types import Assurance, Fingerprint


class MarkedSession(Protocol):
    """What a stanza can tell about the session that it came or went through."""

    @property
    def assurance(self) -> Assurance: ...
    @property
    def fingerprint(self) -> Fingerprint | None: ...


_ATTRIBUTE, _OF_COPY = "_e2e_outcome", "_e2e_outcome_of_copy"


class SendState(enum.StrEnum):
    """What has become of a stanza that was sent."""

    HELD = "held"
    """It waits: for a route, a session, or room."""
    SENT = "sent"
    """It left through a session, and the peer has not acknowledged it."""
    DELIVERED = "delivered"
    """The peer has acknowledged it."""
    FAILED = "failed"
    """It was not sent, or the peer has not acknowledged it in time."""
    PLAINTEXT = "plaintext"
    """It left in plaintext: nobody says whether it arrived."""


_FINAL = frozenset({SendState.DELIVERED, SendState.FAILED, SendState.PLAINTEXT})


class Outcome:
    """What has become of one stanza so far."""

    __slots__ = ("done", "error", "is_taken", "sessions", "since", "state")

    def __init__(self) -> None:
        self.state = SendState.HELD
        self.sessions: tuple[MarkedSession, ...] = ()
        """The sessions that it went through; once it is delivered, those in which it was acknowledged."""
        self.error: E2EError | None = None
        """Why it failed."""
        self.since = 0.0
        """When it began to wait, on the loop's clock, through all streams that there were meanwhile; 0 if it never did."""
        self.is_taken = False
        """True while a stanza is on its way whose end it tells: whoever sends the same object again has another outcome."""
        self.done: asyncio.Future[tuple[Any, ...]] | None = None
        """Waits for the end, if somebody does."""

    @property
    def is_final(self) -> bool:
        """Return whether nothing more happens to the stanza."""
        return self.state in _FINAL

    def sent(self, session: MarkedSession) -> None:
        """It has left through a session."""
        self.state = SendState.SENT
        self.sessions = (*self.sessions, session)

    def end(self, state: SendState, sessions: tuple[MarkedSession, ...] = (), error: E2EError | None = None) -> None:
        """It has met its end."""
        self.state, self.sessions, self.error = state, sessions, error
        if self.done is not None and not self.done.done():
            if error is not None:
                self.done.set_exception(error)
            else:
                self.done.set_result(sessions)


def of(stanza: ElementBase) -> Outcome | None:
    """Return what became of a stanza when it was last sent; None if it never was."""
    known = vars(stanza)
    outcome: Outcome | None = known.get(_OF_COPY) or known.get(_ATTRIBUTE)
    return outcome


def begin(stanza: StanzaBase) -> Outcome:
    """Return the outcome of a stanza that is being sent, a new one if its last one is final."""
    outcome: Outcome | None = vars(stanza).get(_ATTRIBUTE)
    return _set(stanza, Outcome()) if outcome is None or outcome.is_final else outcome


def take(stanza: StanzaBase) -> Outcome:
    """Return the outcome of a stanza whose way begins, or goes on: a new one if the last one tells of another time."""
    outcome = begin(stanza)
    if outcome.is_taken:
        outcome = _set(stanza, Outcome())
    outcome.is_taken = True
    return outcome


def watch(stanza: StanzaBase, copied: StanzaBase, loop: asyncio.AbstractEventLoop) -> asyncio.Future[tuple[Any, ...]]:
    """Return what is done when a copy of the stanza, which is sent next in its place, has met its end."""
    outcome = _set(copied, Outcome())
    setattr(stanza, _OF_COPY, outcome)
    outcome.done = loop.create_future()
    return outcome.done


_PLAINTEXT = Outcome()
_PLAINTEXT.end(SendState.PLAINTEXT)


def note_plaintext(stanza: StanzaBase) -> None:
    """A stanza leaves in plaintext."""
    outcome: Outcome | None = vars(stanza).get(_ATTRIBUTE)
    if outcome is not None and not outcome.is_final:
        outcome.end(SendState.PLAINTEXT)
    else:
        _set(stanza, _PLAINTEXT)


def share(outcome: Outcome, copied: Any) -> None:
    """Let a copy of a stanza tell the same."""
    _set(copied, outcome)


def _set(stanza: Any, outcome: Outcome) -> Outcome:
    known = vars(stanza)
    known.pop(_OF_COPY, None)
    known[_ATTRIBUTE] = outcome
    return outcome
