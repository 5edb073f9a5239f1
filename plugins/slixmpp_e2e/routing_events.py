"""The events about the ways that stanzas take. ``events.py`` says what an event is."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from slixmpp.xmlstream.stanzabase import StanzaBase

from slixmpp_e2e.alarms import summary, words
from slixmpp_e2e.events import E2EEvent
from xmpp_e2e.errors import E2EError


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
class DevicesLeftOut(E2EEvent):
    """What is for a bare JID does not go to all devices of the peer that are online: some lack encryption, or there are too many."""

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
