"""The events about the ways that stanzas take. ``events.py`` says what an event is."""

from __future__ import annotations

import logging
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slixmpp.xmlstream.stanzabase import StanzaBase

from slixmpp_e2e.alarms import summary, words
from slixmpp_e2e.events import E2EEvent
from xmpp_e2e.errors import E2EError

if TYPE_CHECKING:
    from slixmpp_e2e.session import E2ESession


@dataclass(frozen=True)
class PlaintextSent(E2EEvent):
    """A stanza left in plaintext, as the policy ``opportunistic`` allows, to somebody who has encryption, or had it before."""

    name = "e2e_plaintext_sent"
    stanza: StanzaBase
    error: E2EError
    """Why no session took it."""

    def __str__(self) -> str:
        its = words(self.error)
        sent = f"In plaintext to {self.stanza['to']}, as their policy is `opportunistic`: {summary(self.error)}"
        return "\n".join(part for part in (sent, its.likely, its.attack) if part)


@dataclass(frozen=True)
class Sent(E2EEvent):
    """A stanza has left through a session. What becomes of it, ``e2e_delivered`` or ``e2e_send_failed`` tells."""

    name = "e2e_sent"
    level = logging.DEBUG
    stanza: StanzaBase
    session: E2ESession

    def __str__(self) -> str:
        return f"Sent to {self.session.peer}, who has yet to acknowledge it."


@dataclass(frozen=True)
class Delivered(E2EEvent):
    """The peer has acknowledged a stanza. Of each that goes inside, this or ``e2e_send_failed`` tells, once."""

    name = "e2e_delivered"
    level = logging.DEBUG
    stanza: StanzaBase
    sessions: tuple[E2ESession, ...]
    """Those in which it was acknowledged: one for each device that has it. A client that cannot acknowledge counts once it
    was sent."""

    def __str__(self) -> str:
        return f"Delivered to {', '.join(session.peer for session in self.sessions)}."


@dataclass(frozen=True)
class DevicesLeftOut(E2EEvent):
    """What is for a bare JID does not go to all devices of the peer: some lack encryption, or there are too many."""

    name = "e2e_devices_left_out"
    level = logging.WARNING
    peer: str
    """The bare JID."""
    devices: tuple[str, ...]
    """The full JIDs that get nothing."""

    def __str__(self) -> str:
        return (
            f"What is for {self.peer} goes to devices with end-to-end encryption, and not to {', '.join(self.devices)}."
            " A server that strips the feature from a device looks exactly like this. To reach all of them, some in plaintext:"
            f" set_policy('{self.peer}', 'opportunistic')."
        )


@dataclass(frozen=True)
class Waiting(E2EEvent):
    """What is for an address waits until it is known how it can go there. Told once for each address."""

    name = "e2e_waiting"
    to: str
    """The address."""
    what: str
    """What is waited for, in words."""

    @property
    def told_once(self) -> Hashable:
        return type(self), self.to

    def __str__(self) -> str:
        return f"What is for {self.to} waits for {self.what}."
