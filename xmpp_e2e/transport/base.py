"""What a bytestream is to whoever pumps it: it gives and takes bytes, in order; ``b""`` is the end."""

from __future__ import annotations

from typing import Protocol

HIGH_WATER = 256 * 1024
"""Bytes of backlog from which a host stops pulling from its session: one full flight on its way, another ready.

A bytestream takes whatever it is given (a TLS record that is left out would break everything after it), so its queue is
bounded by this and by what the session hands out in one pull.
"""


class Transport(Protocol):
    """A bytestream between two clients, without any I/O."""

    @property
    def backlog(self) -> int:
        """Bytes that were given to ``send()`` and are not acknowledged yet; pause at ``HIGH_WATER``."""
        ...

    @property
    def drained(self) -> bool:
        """Nothing is left to send or to be acknowledged, a farewell included."""
        ...

    @property
    def writable(self) -> bool:
        """May ``send()`` be called?"""
        ...

    @property
    def ended(self) -> bool:
        """Nothing will arrive any more; what ``read()`` still holds is good.

        Only a hint for the session: whoever carries the bytes can forge an end.
        """
        ...

    def send(self, data: bytes) -> None:
        """Queue bytes. ``b""`` means nothing here: to end, ``close()``. LocalError unless ``writable``."""
        ...

    def close(self) -> None:
        """Send no more than what is queued, then end. A second call means nothing."""
        ...

    def read(self) -> bytes:
        """What has arrived since the last call, in order; ``b""`` if nothing has."""
        ...


def arrived(transport: Transport) -> bytes | None:
    """What has arrived, for ``Session.receive_data()``: bytes; None for nothing yet; ``b""`` for the end."""
    data = transport.read()
    return data if data or transport.ended else None
