"""Emits our events to the handlers of the client, and logs them."""

from __future__ import annotations

import logging
from collections.abc import Hashable

from slixmpp.basexmpp import BaseXMPP

from slixmpp_e2e.bounded import keep_newest
from slixmpp_e2e.events import E2EEvent

log = logging.getLogger("slixmpp_e2e")


TOLD = 4096
"""Events kept of which each is told once, some 300 bytes each; the oldest goes first, and could be told again."""


class Emitter:
    """Hands typed events to slixmpp's event handlers."""

    def __init__(self, xmpp: BaseXMPP) -> None:
        self._xmpp = xmpp
        self._told: dict[Hashable, None] = {}

    def emit(self, event: E2EEvent) -> None:
        """Log ``event`` and call its handlers, unless it is told once and was told."""
        about = event.told_once
        if about is not None:
            if about in self._told:
                return
            keep_newest(self._told, about, None, TOLD)
        log.log(event.level, "%s", event)
        self._xmpp.event(event.name, event)

    def has_handler(self, event: type[E2EEvent]) -> bool:
        """Return whether anybody handles events of this class."""
        return bool(self._xmpp.event_handled(event.name))
