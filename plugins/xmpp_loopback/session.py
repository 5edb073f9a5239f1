"""One bound resource of an account: its presence, and its connection (RFC 6121 §4, XEP-0198)."""

from __future__ import annotations

from asyncio import TimerHandle
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

from .acks import Acks, AcksOverflow
from .wire import SM

if TYPE_CHECKING:
    from .connection import Connection

ACK_REQUEST = f"<r xmlns='{SM}'/>"


@dataclass(eq=False)
class ClientSession:
    """A bound client. It outlives its connection while the client may resume."""

    jid: str
    """The full JID, normalised."""
    bare: str
    connection: Connection | None
    """None while the client is away and may resume."""
    presence: Element | None = None
    """The last available presence that was broadcast; None while the resource is not available."""
    priority: int = 0
    """The priority in that presence."""
    directed: set[str] = field(default_factory=set)
    """Recipients of directed presence, which must be told when the session ends (RFC 6121 §4.6.3)."""
    wants_roster: bool = False
    """The client has requested its roster, so it gets roster pushes (RFC 6121 §2.1.6)."""
    acks: Acks | None = None
    """The state of stream management, once enabled."""
    expiry: TimerHandle | None = None
    """The timer that ends the wait for a resumption."""

    def deliver(self, text: str) -> bool:
        """Send a stanza, and keep it for a resumption. Return False if too much is kept: the session must end."""
        ask = False
        if self.acks is not None:
            try:
                ask = self.acks.sending(text)
            except AcksOverflow:
                return False
        if self.connection is not None:
            self.connection.write(text + ACK_REQUEST if ask else text)
        return True
