"""What a host sees of any bytestream."""

from __future__ import annotations

from xmpp_e2e.identity import Role
from xmpp_e2e.transport.base import HIGH_WATER, Transport, arrived
from xmpp_e2e.transport.ibb import IBB, RECEIVE_QUEUE


class Arrivals:
    """As much of a bytestream as ``arrived()`` looks at."""

    def __init__(self, data: bytes, ended: bool) -> None:
        self._data = data
        self.ended = ended

    backlog, drained, writable = 0, True, False

    def read(self) -> bytes:
        data, self._data = self._data, b""
        return data

    def send(self, data: bytes) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


def test_nothing_yet_is_not_the_end() -> None:
    """A bytestream from which nothing has arrived yet gives None, not the b"" that means the end."""
    assert arrived(Arrivals(b"", ended=False)) is None


def test_the_end_comes_after_the_last_bytes() -> None:
    """What arrived before the end is given first, and the end after it."""
    transport = Arrivals(b"last words", ended=True)
    assert [arrived(transport), arrived(transport)] == [b"last words", b""]


def test_bytes_come_without_the_end() -> None:
    """Bytes of a living bytestream are followed by nothing, not by the end."""
    transport = Arrivals(b"hello", ended=False)
    assert [arrived(transport), arrived(transport)] == [b"hello", None]


def test_in_band_is_a_transport() -> None:
    """The in-band bytestream is used through the protocol that all bytestreams share."""
    transport: Transport = IBB(Role.INITIATOR, "s", 4096)
    transport.send(b"x")
    assert (transport.backlog, transport.drained, transport.writable, transport.ended) == (1, False, True, False)


def test_high_water_keeps_a_flight_ready() -> None:
    """A host that pauses at high water has always left more than one full flight in the queue."""
    assert HIGH_WATER >= 2 * RECEIVE_QUEUE
