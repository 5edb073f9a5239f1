"""How short a key may be."""

from __future__ import annotations

import pytest

from xmpp_e2e.authenticate.psk import WeakKey, strong


def test_a_key_has_128_bits() -> None:
    """Sixteen bytes are a key, fifteen are a password."""
    assert strong(b"k" * 16) == b"k" * 16
    with pytest.raises(WeakKey, match="at least 16 bytes, and this one 15"):
        strong(b"k" * 15)
