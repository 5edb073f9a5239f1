"""How short a key may be."""

from __future__ import annotations

import pytest

from tests.conversation import converse, ends
from xmpp_e2e.authenticate.base import SecretNeeded
from xmpp_e2e.authenticate.psk import PskAuthenticator, WeakKey, check_key_length


def test_a_key_has_128_bits() -> None:
    assert check_key_length(b"k" * 16) == b"k" * 16
    with pytest.raises(WeakKey, match="at least 16 bytes, and this one 15"):
        check_key_length(b"k" * 15)


def test_a_key_is_no_guess() -> None:
    one, other = ends(PskAuthenticator())
    converse(one, other)
    assert one.asked == other.asked == [SecretNeeded("psk")]
