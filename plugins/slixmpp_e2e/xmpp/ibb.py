"""Carries the stanzas of an in-band bytestream over a slixmpp client. The bytestream itself is the core's."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from xml.etree.ElementTree import Element

from slixmpp_e2e.xmpp.iq_channel import IqChannel, Refusal
from xmpp_e2e.errors import BytestreamFailed, BytestreamViolation, JingleError
from xmpp_e2e.transport.ibb import DATA, HIGH_WATER, IBB, Receipt
from xmpp_e2e.types import Role


class IBBTransport:
    """One IBB session (XEP-0047) between two full JIDs; the initiator opens it at once."""

    def __init__(
        self, iqs: IqChannel, role: Role, own_jid: str, peer: str, sid: str, block_size: int, on_reply: Callable[[], None]
    ) -> None:
        self._iqs, self._own_jid, self._peer, self._on_reply = iqs, own_jid, peer, on_reply
        self._ibb = IBB(role, sid, block_size)
        self._unanswered: dict[Receipt, tuple[Element, bool]] = {}
        """Requests, and whether their answers may be late."""
        self._full = block_size // 3 * 4
        self.replies = 0
        """Iqs that were answered so far."""
        self.broken: BytestreamFailed | None = None
        """Why nothing more can be sent."""
        if role is Role.INITIATOR:
            self._ibb.open()

    @property
    def has_room(self) -> bool:
        """True if it takes more bytes now."""
        return self.broken is None and self._ibb.writable and self._ibb.backlog < HIGH_WATER

    @property
    def drained(self) -> bool:
        """True if all that it took is answered for, or lost for good."""
        return self.broken is not None or self._ibb.drained

    @property
    def backlog(self) -> int:
        """Bytes that are queued or not answered."""
        return self._ibb.backlog

    @property
    def answered(self) -> int:
        """Bytes that were answered so far."""
        return self._ibb.answered

    @property
    def oldest(self) -> int | None:
        """The number of our oldest iq that is not answered."""
        return self._iqs.oldest_of(self)

    @property
    def ended(self) -> bool:
        """True if nothing more comes from the peer."""
        return self._ibb.ended

    def send(self, data: bytes) -> None:
        """Take bytes for the peer."""
        self._ibb.send(data)

    def flush(self, *, may_be_late: bool = False) -> None:
        """Send what the window allows, and the acknowledgements that are due.

        ``may_be_late``: there may soon be something of ours that they can go with.
        """
        for tag, payload in self._ibb.stanzas_to_send():
            self._iqs.request(self._own_jid, self._peer, payload, partial(self._replied, tag), self)
        for receipt in self._ibb.acknowledgements_due():
            request, late = self._unanswered.pop(receipt)
            self._iqs.result(request, late=late and may_be_late)

    def abandon(self) -> None:
        """Ignore all replies from now on."""
        self._iqs.drop_requests(self)

    def receive(self, request: Element, payload: Element) -> bytes:
        """Take one IBB stanza of the peer; return the bytes that it brought. BytestreamViolation ends the bytestream."""
        try:
            receipt = self._ibb.receive(payload)
        except BytestreamViolation as error:
            self._iqs.error(request, JingleError(str(error), error.condition))
            self.broken = error
            raise
        # a full block may be one of many, whose window must not run out; after another one, the peer had nothing more to say
        late = payload.tag == DATA and len(payload.text or "") < self._full
        self._unanswered[receipt] = request, late
        return self._ibb.read()

    def _replied(self, tag: int, condition: Refusal | None) -> None:
        self.replies += 1
        try:
            if condition is None:
                self._ibb.acknowledged(tag)
            else:
                self._ibb.failed(tag, condition, try_again=condition.may_pass)
        except BytestreamFailed as error:
            self.broken = error
        self._on_reply()
