"""Moves the stanzas of an in-band bytestream over a slixmpp client. The bytestream itself is the core's."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from xml.etree.ElementTree import Element

from slixmpp import Iq

from slixmpp_e2e.xmpp.iq_channel import OwnIqs
from xmpp_e2e.errors import JingleError, TransportFailed, TransportMisused
from xmpp_e2e.identity import Role
from xmpp_e2e.transport.base import HIGH_WATER
from xmpp_e2e.transport.ibb import IBB, Receipt


class IBBCarrier:
    """Carries one IBB session (XEP-0047) between two full JIDs; the initiator opens it at once."""

    def __init__(
        self, iqs: OwnIqs, role: Role, ours: str, peer: str, sid: str, block_size: int, wake: Callable[[], None]
    ) -> None:
        self._iqs, self._ours, self._peer, self._wake = iqs, ours, peer, wake
        self._ibb = IBB(role, sid, block_size)
        self._due: dict[Receipt, Iq] = {}
        self.progress = 0
        """Counts the answers that came, so that a stalled path can be told from a slow one."""
        self.broken: TransportFailed | None = None
        """Why nothing more can be sent."""
        if role is Role.INITIATOR:
            self._ibb.open()

    @property
    def has_room(self) -> bool:
        """May more bytes be given now?"""
        return self.broken is None and self._ibb.writable and self._ibb.backlog < HIGH_WATER

    @property
    def drained(self) -> bool:
        """Is everything that was given answered for, or lost for good?"""
        return self.broken is not None or self._ibb.drained

    @property
    def ended(self) -> bool:
        """Will nothing more come from the peer?"""
        return self._ibb.ended

    def send(self, data: bytes) -> None:
        """Take bytes for the peer."""
        self._ibb.send(data)

    def pump(self) -> None:
        """Send what the window allows, and the acknowledgements that are due."""
        for tag, payload in self._ibb.stanzas_to_send():
            self._iqs.request(self._ours, self._peer, payload, partial(self._replied, tag), self)
        for receipt in self._ibb.acknowledgements_due():
            self._iqs.result(self._due.pop(receipt))

    def abandon(self) -> None:
        """It is over: no answer counts any more."""
        self._iqs.gone(self)

    def receive(self, request: Iq, payload: Element) -> bytes:
        """Take one IBB stanza of the peer; returns the bytes that it brought. TransportMisused ends the bytestream."""
        try:
            self._due[self._ibb.receive(payload)] = request
        except TransportMisused as error:
            self._iqs.error(request, JingleError(str(error), error.condition))
            self.broken = error
            raise
        return self._ibb.read()

    def _replied(self, tag: int, condition: str | None) -> None:
        self.progress += 1
        try:
            if condition is None:
                self._ibb.acknowledged(tag)
            else:
                self._ibb.failed(tag, condition)
        except TransportFailed as error:
            self.broken = error
        self._wake()
