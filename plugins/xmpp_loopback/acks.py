"""The counters and the resend queue of stream management (XEP-0198 §4, §5). Pure: no connection, no clock."""

from __future__ import annotations

from collections import deque

_MODULUS = 2**32
"""XEP-0198 §4: the counters wrap."""
_ASK_EVERY = 8
"""Stanzas between two requests for an acknowledgement."""
UNACKED_LIMIT = 64 * 1024 * 1024
"""Characters that wait for an acknowledgement: no more is kept for a client that is away, or never acknowledges."""


class AcksOverflow(Exception):
    """The client leaves more unacknowledged than the server keeps."""


class InvalidAck(Exception):
    """The client acknowledges stanzas that it was never sent."""


class Acks:
    """Both directions of one session that enabled stream management."""

    def __init__(self, token: str, resumable: bool) -> None:
        self.token = token
        """What a resumption names; unguessable."""
        self.resumable = resumable
        self.handled = 0
        """Stanzas that came from the client: our ``h``."""
        self._sent = 0
        self._unacked: deque[str] = deque()
        self._size = 0

    def received(self) -> None:
        """A stanza came from the client."""
        self.handled = (self.handled + 1) % _MODULUS

    def sending(self, text: str) -> bool:
        """A stanza goes to the client. True if it is time to ask for an acknowledgement; AcksOverflow."""
        if self._size + len(text) > UNACKED_LIMIT:
            raise AcksOverflow
        self._sent = (self._sent + 1) % _MODULUS
        self._unacked.append(text)
        self._size += len(text)
        return self._sent % _ASK_EVERY == 0

    def acknowledged(self, handled: int) -> None:
        """The client's ``h`` arrived; InvalidAck if it claims more than was sent."""
        remaining = (self._sent - handled) % _MODULUS
        if remaining > len(self._unacked):
            raise InvalidAck
        while len(self._unacked) > remaining:
            self._size -= len(self._unacked.popleft())

    def unacknowledged(self) -> tuple[str, ...]:
        """What a resumption sends again, oldest first."""
        return tuple(self._unacked)
