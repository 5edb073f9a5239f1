"""How short a key may be."""

from __future__ import annotations

import pytest

from tests.conversation import converse, ends
from xmpp_e2e.authenticate.base import SecretWanted
from xmpp_e2e.authenticate.psk import PskAuthenticator, WeakKey, strong


def test_a_key_has_128_bits() -> None:
    """Sixteen bytes are a key, fifteen are a password."""
    assert strong(b"k" * 16) == b"k" * 16
    with pytest.raises(WeakKey, match="at least 16 bytes, and this one 15"):
        strong(b"k" * 15)


def test_a_key_is_no_guess() -> None:
    """Of 128 bits nobody guesses any, so nothing is counted."""
    one, other = ends(PskAuthenticator())
    converse(one, other)
    assert one.asked == other.asked == [SecretWanted("psk")]
