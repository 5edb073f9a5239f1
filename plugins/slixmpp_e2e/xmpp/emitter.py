"""Emits our events to the handlers of the client, and logs them."""

from __future__ import annotations

import logging

from slixmpp.basexmpp import BaseXMPP

from slixmpp_e2e.events import E2EEvent

log = logging.getLogger("slixmpp_e2e")


class Emitter:
    """Hands typed events to slixmpp's event handlers."""

    def __init__(self, xmpp: BaseXMPP) -> None:
        self._xmpp = xmpp

    def emit(self, event: E2EEvent) -> None:
        """Log ``event`` and call its handlers."""
        log.log(event.level, "%s", event)
        self._xmpp.event(event.name, event)

    def has_handler(self, event: type[E2EEvent]) -> bool:
        """Return whether anybody handles events of this class."""
        return bool(self._xmpp.event_handled(event.name))
