"""The ``psk`` method: both sides hold the same generated key, and show each other that they do.

For keys of a random generator only: whoever is at the other end could try passwords at leisure against the tag that he gets.
A password belongs to ``srp``.
"""

from __future__ import annotations

from typing import ClassVar

from xmpp_e2e.authenticate.base import Evidence, Proof
from xmpp_e2e.authenticate.dialogue import Dialogue
from xmpp_e2e.errors import LocalError
from xmpp_e2e.identity import Assurance

KEY_BYTES = 32
"""Of a key that we generate."""
MIN_KEY_BYTES = 16
"""128 bits: what can be told from a password by its length alone."""


class WeakKey(LocalError):
    """A pre-shared key is too short."""

    likely = "A password was given in the place of a key."
    remedy = "Make a key with `xmpp-e2e psk new`, or use the password as one (method srp), which guessing does not break."


class PskAuthenticator:
    """Confirms a pre-shared key."""

    name: ClassVar[str] = "psk"
    assurance: ClassVar[Assurance] = Assurance.VERIFIED
    rank: ClassVar[int] = 1
    keyed: ClassVar[bool] = True

    def prove(self, evidence: Evidence) -> Proof:
        """I lv(T_I) · R lv(T_R). WeakKey for fewer than MIN_KEY_BYTES."""
        dialogue = Dialogue(self.name, evidence)
        key = strong((yield from dialogue.secret()))
        return (yield from dialogue.confirm(key, self.assurance))


def strong(key: bytes) -> bytes:
    """The key, if it is long enough to be one; else WeakKey."""
    if len(key) < MIN_KEY_BYTES:
        raise WeakKey(f"a pre-shared key has at least {MIN_KEY_BYTES} bytes, and this one {len(key)}")
    return key
