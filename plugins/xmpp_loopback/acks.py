"""Count and queue stanzas for stream management (XEP-0198 §4, §5). No connection and no clock."""

from __future__ import annotations

from collections import deque

_MODULUS = 2**32
"""The counters wrap (XEP-0198 §4)."""
_ASK_EVERY = 8
"""The number of stanzas between two acknowledgement requests."""
UNACKED_LIMIT = 64 * 1024 * 1024
"""Maximum number of unacknowledged characters that the server keeps for a client."""


class AcksOverflow(Exception):
    """The client leaves more unacknowledged than the server keeps."""


class Acks:
    """The stream management state of one session, in both directions."""

    def __init__(self, token: str, resumable: bool) -> None:
        self.token = token
        """The unguessable id for a resumption."""
        self.resumable = resumable
        self.handled = 0
        """The number of stanzas received from the client: our ``h``."""
        self._sent = 0
        self._unacked: deque[str] = deque()
        self._size = 0

    def received(self) -> None:
        """Count a stanza from the client."""
        self.handled = (self.handled + 1) % _MODULUS

    def sending(self, text: str) -> bool:
        """Count and keep a stanza for the client; return whether to request an acknowledgement. Raises AcksOverflow."""
        if self._size + len(text) > UNACKED_LIMIT:
            raise AcksOverflow
        self._sent = (self._sent + 1) % _MODULUS
        self._unacked.append(text)
        self._size += len(text)
        return self._sent % _ASK_EVERY == 0

    def acknowledged(self, handled: int) -> None:
        """Drop the stanzas that the client's ``h`` acknowledges. Raises ValueError if it claims more than was sent."""
        remaining = (self._sent - handled) % _MODULUS
        if remaining > len(self._unacked):
            raise ValueError("the client acknowledges stanzas that the server never sent")
        while len(self._unacked) > remaining:
            self._size -= len(self._unacked.popleft())

    def unacknowledged(self) -> tuple[str, ...]:
        """Return the stanzas that a resumption sends again, oldest first."""
        return tuple(self._unacked)
