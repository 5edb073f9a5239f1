"""Lets TCP acknowledge at once what the server has sent."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

from slixmpp.basexmpp import BaseXMPP

from slixmpp_e2e.xmpp import adapter

log = logging.getLogger("slixmpp_e2e")

TCP_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)
"""Linux has it."""


class QuickAcks:
    """Lets TCP acknowledge at once what has come.

    Else the kernel waits for up to 40 ms for data that goes the other way, and a server that uses Nagle's algorithm (as Prosody
    does) holds its next small write back until then (RFC 9293 §3.7.4, §3.8.6.3). Linux forgets the wish; it is said anew after
    each read. Where there is no such wish, one blank (RFC 6120 §4.6.1) is data that goes the other way.
    """

    def __init__(self, xmpp: BaseXMPP) -> None:
        self._xmpp = xmpp
        self._has_written = False
        self._looking: asyncio.Handle | None = None
        if TCP_QUICKACK is not None:
            self._stops = [adapter.guard_reads(xmpp, None, self._acknowledge)]
        else:
            self._stops = [
                adapter.guard_reads(xmpp, self._begin, self._end),
                adapter.call_before(xmpp, "send_raw", self._note_write),
            ]

    def stop(self) -> None:
        """The plugin goes."""
        if self._looking is not None:
            self._looking.cancel()
        for stop in self._stops:
            stop()

    def _acknowledge(self) -> None:
        transport: Any = self._xmpp.transport
        if transport is not None:
            try:
                transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, TCP_QUICKACK, 1)
            except (OSError, AttributeError):  # closed, or no TCP
                log.debug("TCP cannot be told to acknowledge at once")

    def _begin(self) -> None:
        self._has_written = False

    def _end(self) -> None:
        if self._looking is None:
            self._looking = self._xmpp.loop.call_soon(self._write_unless_written)

    def _note_write(self, data: object) -> None:
        self._has_written = True

    def _write_unless_written(self) -> None:
        self._looking = None
        is_up = self._xmpp.transport and self._xmpp.session_bind_event.is_set()  # before that, a blank is part of a handshake
        if is_up and not self._has_written:
            self._xmpp.send_raw(" ")
