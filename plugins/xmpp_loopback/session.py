"""One bound resource of an account: its presence, and its way to the client (RFC 6121 §4, XEP-0198)."""

from __future__ import annotations

from asyncio import TimerHandle
from dataclasses import dataclass, field
from typing import Protocol
from xml.etree.ElementTree import Element

from .acks import Acks, AcksOverflow
from .wire import SM

ACK_REQUEST = f"<r xmlns='{SM}'/>"


class Link(Protocol):
    """What a session needs of its connection."""

    def write(self, text: str) -> None:
        """Send text, now."""

    def write_raw(self, data: bytes) -> None:
        """Send bytes, whatever they are."""

    def fail(self, condition: str) -> None:
        """End with a stream error, and the session with it."""

    def close(self) -> None:
        """End as agreed, and the session with it."""

    def cut(self) -> None:
        """End the TCP connection without a word; the session may be resumed."""


@dataclass(eq=False)
class Session:
    """A client that is bound. It outlives its connection while a resumption is possible."""

    jid: str
    """Full JID, normalised."""
    bare: str
    link: Link | None
    """None while the client is away and may resume."""
    presence: Element | None = None
    """The last available presence that was broadcast; None while the resource is not available."""
    priority: int = 0
    """Of that presence."""
    directed: set[str] = field(default_factory=set)
    """Who got directed presence and must hear of the end (RFC 6121 §4.6.3)."""
    wants_roster: bool = False
    """Has asked for the roster, hence gets roster pushes (RFC 6121 §2.1.6)."""
    acks: Acks | None = None
    """Since stream management is enabled."""
    expiry: TimerHandle | None = None
    """When the wait for a resumption ends."""

    def deliver(self, text: str) -> bool:
        """Send a stanza to the client, or keep it for the resumption. False: too much is kept, the session must end."""
        ask = False
        if self.acks is not None:
            try:
                ask = self.acks.sending(text)
            except AcksOverflow:
                return False
        if self.link is not None:
            self.link.write(text + ACK_REQUEST if ask else text)
        return True
