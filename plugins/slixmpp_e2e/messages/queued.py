"""A stanza on its way: where it is to go, where it counts while it waits, and what has become of it."""

from __future__ import annotations

import asyncio
import enum
from dataclasses import dataclass, field
from typing import NamedTuple

from slixmpp.xmlstream.stanzabase import StanzaBase

from slixmpp_e2e.sessions.driver import SessionDriver
from slixmpp_e2e.sessions.registry import Target
from xmpp_e2e.errors import E2EError
from xmpp_e2e.stream.acks import SentStanza


class Delivery(enum.Enum):
    """What has become of a stanza at one target."""

    QUEUED = "queued"
    """It waits for a session."""
    SENT = "sent"
    """It left through a session, and the peer has not acknowledged it."""
    DELIVERED = "delivered"
    """The peer has acknowledged it."""
    FAILED = "failed"
    """It never left us, or the peer has not acknowledged it in time."""


class Share(NamedTuple):
    """Who has a limit of their own."""

    whose: str
    """A bare JID, or words for several."""
    accounts: int
    """Their limit, as a multiple of that of one account."""


@dataclass(eq=False, slots=True)
class QueuedStanza:
    """A stanza on its way. One that waits is a copy, as it was when it was sent."""

    stanza: StanzaBase
    own_jid: str
    to: str
    size: int = 0
    """Bytes, for one that waits."""
    shares: tuple[Share, ...] = ()
    """Where it counts while it waits, whoever may be a contact later; that of the account comes first."""
    session: SessionDriver | None = None
    """The session whose key it may go under alone, for an answer."""
    since: float = 0.0
    """When it began to wait, on the loop's clock."""
    deadline: asyncio.TimerHandle | None = None
    """While it waits: for a session, or after one that has ended for the next one."""
    delivery: dict[Target, Delivery] = field(default_factory=dict)
    sent: dict[Target, SentStanza] = field(default_factory=dict)
    left: dict[Target, Target] = field(default_factory=dict)
    """Targets to which it was sent in a session that has ended, with the target whose next session is to send it again."""
    acknowledged_by: list[SessionDriver] = field(default_factory=list)
    error: E2EError | None = None
    """Why it did not go to the last target that failed."""
    is_over: bool = False
    """True once its sender has been told what became of it, or has it back."""

    def is_anywhere(self, *states: Delivery) -> bool:
        """Return whether it is in one of these states at any target."""
        return any(state in states for state in self.delivery.values())
