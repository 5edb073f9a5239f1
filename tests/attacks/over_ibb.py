"""Two sessions over a real in-band bytestream (XEP-0047). A test may drop, repeat, swap or alter each block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.etree.ElementTree import Element

from tests.pair import Pair
from xmpp_e2e.errors import BytestreamFailed, BytestreamViolation
from xmpp_e2e.transport.ibb import DATA, IBB
from xmpp_e2e.types import Role

BlockHook = Callable[[Role, Element], list[Element]]
"""Gets the sender and its <data/>; returns what arrives."""


class IBBPair(Pair):
    """A pair whose bytes travel in blocks."""

    def __init__(self, *args: Any, on_block: BlockHook = lambda role, block: [block], **terms: Any) -> None:
        super().__init__(*args, on_data=self._through, **terms)
        self.on_block = on_block
        self.blocks: list[tuple[Role, Element]] = []
        """Every block that was sent."""
        self.refused: list[BytestreamViolation] = []
        """The errors with which blocks were refused."""
        size = 4096
        self._ends = {role: IBB(role, "stream", size) for role in Role}
        self._ends[Role.INITIATOR].open()

    def _through(self, role: Role, data: bytes) -> list[bytes]:
        near, far = self._ends[role], self._ends[role.other]
        if near.failure is not None or far.failure is not None:
            return []
        near.send(data)
        pieces: list[bytes] = []
        while payloads := near.stanzas_to_send():
            for tag, payload in payloads:
                if payload.tag == DATA:
                    self.blocks.append((role, payload))
                arriving = self.on_block(role, payload) if payload.tag == DATA else [payload]
                try:
                    for element in arriving:
                        far.receive(element)
                        pieces.append(far.read())
                except BytestreamViolation as error:
                    self.refused.append(error)
                    self.side(role.other).session.bytestream_failed(error, self.now)
                    self._break(role, tag, error.condition)
                    return list(filter(None, pieces))
                for _ in far.acknowledgements_due():
                    near.acknowledged(tag)
        return list(filter(None, pieces))

    def _break(self, role: Role, tag: int, condition: str) -> None:
        try:
            self._ends[role].failed(tag, condition)
        except BytestreamFailed as error:
            self.side(role).session.bytestream_failed(error, self.now)
