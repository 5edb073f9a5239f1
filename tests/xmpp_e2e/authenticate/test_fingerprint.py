"""The fingerprint method believes what TLS has seen only if it is what was signalled."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.conversation import evidence
from tests.pair import has_code
from xmpp_e2e.authenticate.base import Proof, run_to_end
from xmpp_e2e.authenticate.fingerprint import FingerprintAuthenticator
from xmpp_e2e.errors import Code, TLSFailed
from xmpp_e2e.types import Assurance, Fingerprint, Role

KEY = Fingerprint.of(b"the peer's key")


def test_the_signalled_certificate_convinces() -> None:
    """Equal digests prove the key, as well as the route vouches for them."""
    shown = replace(evidence(Role.INITIATOR), key=KEY)
    assert run_to_end(FingerprintAuthenticator(), shown) == Proof("fingerprint", Assurance.VOUCHED, KEY)


def test_another_certificate_does_not() -> None:
    """Were TLS to let another certificate pass, it would be refused here."""
    shown = replace(evidence(Role.INITIATOR), certificate_digest=bytes(31) + b"\x01", key=KEY)
    with pytest.raises(
        TLSFailed, match="not the one whose fingerprint was signalled", check=has_code(Code.FINGERPRINT_MISMATCH)
    ):
        run_to_end(FingerprintAuthenticator(), shown)
