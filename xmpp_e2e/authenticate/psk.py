"""The ``psk`` method: both sides hold the same generated key, and show each other that they do.

For random keys only: the other end could try passwords at leisure against the tag that it gets.
A password belongs to ``srp``.
"""

from __future__ import annotations

from typing import ClassVar

from xmpp_e2e.authenticate.base import ChannelBinding, ProofSteps
from xmpp_e2e.authenticate.proof_exchange import ProofExchange
from xmpp_e2e.errors import Code, LocalError
from xmpp_e2e.types import Assurance

KEY_BYTES = 32
"""Of a key that we generate."""
MIN_KEY_BYTES = 16
"""128 bits: its length alone tells such a key from a password."""


class WeakKey(LocalError):
    """A pre-shared key is too short."""

    code = Code.WEAK_KEY


class PskAuthenticator:
    """Confirms a pre-shared key."""

    name: ClassVar[str] = "psk"
    assurance: ClassVar[Assurance] = Assurance.VERIFIED
    order: ClassVar[int] = 1
    needs_shared_secret: ClassVar[bool] = True

    def prove(self, binding: ChannelBinding) -> ProofSteps:
        """I lv(T_I) · R lv(T_R). WeakKey for fewer than MIN_KEY_BYTES."""
        exchange = ProofExchange(self.name, binding)
        key = check_key_length((yield from exchange.shared_secret()))
        return (yield from exchange.confirm_key(key, self.assurance))


def check_key_length(key: bytes) -> bytes:
    """Return the key; WeakKey if it is too short."""
    if len(key) < MIN_KEY_BYTES:
        raise WeakKey(f"a pre-shared key has at least {MIN_KEY_BYTES} bytes, and this one {len(key)}")
    return key
