"""A stanza on its way: where it is to go, where it counts while it waits, and what has become of it."""

from __future__ import annotations

import asyncio
import enum
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple
from xml.etree.ElementTree import fromstring

from slixmpp.xmlstream.stanzabase import StanzaBase

from slixmpp_e2e.messages.owed import EndedSession
from slixmpp_e2e.sessions.driver import SessionDriver
from slixmpp_e2e.sessions.registry import Target
from slixmpp_e2e.xmpp import outcomes
from slixmpp_e2e.xmpp.namespaces import of_stream
from xmpp_e2e.errors import E2EError
from xmpp_e2e.stream import NS_CLIENT
from xmpp_e2e.stream.acks import SentStanza


class Delivery(enum.Enum):
    """What has become of a stanza at one target."""

    QUEUED = "queued"
    """It waits for a session."""
    SENT = "sent"
    """It left through a session, and the peer has not acknowledged it."""
    DELIVERED = "delivered"
    """The peer has acknowledged it."""
    PLAINTEXT = "plaintext"
    """A copy left for it in plaintext: it has no encryption, and the policy is ``opportunistic``."""
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
    """The copy; or, while ``data`` has what was sent, the sender's own object, which they may change."""
    own_jid: str
    to: str
    size: int = 0
    """Bytes, for one that waits."""
    shares: tuple[Share, ...] = ()
    """Where it counts while it waits, whoever may be a contact later; that of the account comes first."""
    session: SessionDriver | EndedSession | None = None
    """The session whose key it may go under alone, for an answer."""
    outcome: outcomes.Outcome = field(default_factory=outcomes.Outcome)
    """What its sender sees of it."""
    data: bytes | None = None
    """What was sent of a stanza that did not have to wait."""
    since: float = 0.0
    """When it began to wait, on the loop's clock, through all streams."""
    on_stream_since: float = 0.0
    """The same on this stream, on which the presence of its peer has to come first."""
    deadline: asyncio.TimerHandle | None = None
    """While it waits: for a session, or after one that has ended for the next one."""
    delivery: dict[Target, Delivery] = field(default_factory=dict)
    sent: dict[Target, SentStanza] = field(default_factory=dict)
    left: dict[Target, Target] = field(default_factory=dict)
    """Targets to which it was sent in a session that has ended, with the target whose next session is to send it again."""
    acknowledged_by: list[SessionDriver] = field(default_factory=list)
    error: E2EError | None = None
    """Why it did not go to the last target that failed."""
    number: int = field(default_factory=itertools.count().__next__)
    """Its place in the order in which stanzas were sent."""
    is_over: bool = False
    """True once its sender has been told what became of it, or has it back."""
    has_sought: bool = False
    """True once it has waited for a session, and that device is out of the question: by itself, it never falls back to
    plaintext."""
    waits_until_open: bool = False
    """True if it may yet leave in plaintext, and so must not leave before the session is open: it could arrive twice."""
    is_doubted: bool = False
    """True if the session with a target failed for another reason than its path, or was open: then it never leaves in
    plaintext."""

    @property
    def may_fall_back(self) -> bool:
        """Return whether it failed for want of a path alone, was sent nowhere, and is no answer to what came inside."""
        return not self.is_doubted and not self.sent and self.session is None

    def as_sent(self) -> StanzaBase:
        """Return the stanza as it was when it was sent, for an event; what became of it is told by both."""
        if self.data is None:
            return self.stanza
        given = self.stanza
        element = of_stream(fromstring(b"<s xmlns='%s'>%s</s>" % (NS_CLIENT.encode(), self.data))[0], given.namespace)
        sent: StanzaBase = type(given)(xml=element)
        outcomes.share(self.outcome, sent)
        return sent

    def is_anywhere(self, *states: Delivery) -> bool:
        """Return whether it is in one of these states at any target."""
        return any(state in states for state in self.delivery.values())


@dataclass(frozen=True)
class Senders:
    """How a stanza leaves the queue other than through a session, and who hears of its end."""

    plaintext: Callable[[StanzaBase], None]
    """Puts it on the wire."""
    failed: Callable[[StanzaBase, E2EError], None]
    """Is told that it was not sent, or not acknowledged."""
    sent: Callable[[StanzaBase, SessionDriver], None] = lambda stanza, driver: None
    """Is told that it has left through a session."""
    delivered: Callable[[QueuedStanza], None] = lambda item: None
    """Is told that the peer has acknowledged it."""
    waits: Callable[[str, E2EError], None] = lambda to, error: None
    """Is told that what is for an address waits until the peer can be reached, and why they cannot be."""
    copy_in_plaintext: Callable[[StanzaBase, str], None] = lambda stanza, device: None
    """Puts a copy for one device on the wire."""
    may_fall_back: Callable[[QueuedStanza], bool] = lambda item: False
    """Says whether what fails for want of a path may leave in plaintext, and the last one puts it on the wire."""
    fall_back: Callable[[QueuedStanza, E2EError], None] = lambda item, error: None
