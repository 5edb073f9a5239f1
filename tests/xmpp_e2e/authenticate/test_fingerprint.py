"""The fingerprint method believes what TLS has seen only if it is what was signalled."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.conversation import evidence
from xmpp_e2e.authenticate.base import Proven, convince
from xmpp_e2e.authenticate.fingerprint import FingerprintAuthenticator
from xmpp_e2e.errors import FingerprintMismatch
from xmpp_e2e.identity import Assurance, Fingerprint, Role

KEY = Fingerprint.of(b"the peer's key")


def test_the_signalled_certificate_convinces() -> None:
    """Equal digests prove the key, as well as the route vouches for them."""
    shown = replace(evidence(Role.INITIATOR), key=KEY)
    assert convince(FingerprintAuthenticator(), shown) == Proven("fingerprint", Assurance.VOUCHED, KEY)


def test_another_certificate_does_not() -> None:
    """Were TLS to let another certificate pass, it would be refused here."""
    shown = replace(evidence(Role.INITIATOR), certificate=bytes(31) + b"\x01", key=KEY)
    with pytest.raises(FingerprintMismatch, match="not the one whose fingerprint was signalled"):
        convince(FingerprintAuthenticator(), shown)
