"""A stanza that waits, where it counts, and what has become of it."""

from __future__ import annotations

import asyncio
import enum
from dataclasses import dataclass, field
from typing import NamedTuple

from slixmpp.xmlstream.stanzabase import StanzaBase

from slixmpp_e2e.sessions.driver import SessionDriver
from slixmpp_e2e.sessions.registry import Target
from xmpp_e2e.errors import E2EError


class Delivery(enum.Enum):
    """What has become of a stanza at one target."""

    QUEUED = "queued"
    """It waits for a session."""
    SENT_EARLY = "sent early"
    """It left before the peer had accepted our key. It counts as sent once they have."""
    SENT = "sent"
    """It left through an open session."""
    LOST = "lost"
    """It left early, and the session failed: the peer may have got it."""
    FAILED = "failed"
    """It never left us."""


class Share(NamedTuple):
    """Who has a limit of their own."""

    whose: str
    """A bare JID, or words for several."""
    accounts: int
    """Their limit, as a multiple of that of one account."""


@dataclass(eq=False)
class QueuedStanza:
    """A stanza that waits: a copy, as it was when it was sent."""

    stanza: StanzaBase
    own_jid: str
    to: str
    size: int
    shares: tuple[Share, ...]
    """Where it counts, whoever may be a contact later; that of the account comes first."""
    session: SessionDriver | None = None
    """The only session that it may go through, for an answer."""
    deadline: asyncio.TimerHandle | None = None
    delivery: dict[Target, Delivery] = field(default_factory=dict)
    error: E2EError | None = None
    """Why it did not go to the last target that failed."""

    def is_anywhere(self, *states: Delivery) -> bool:
        """Return whether it is in one of these states at any target."""
        return any(state in states for state in self.delivery.values())
