"""The ``fingerprint`` method: the certificate is the one that the peer's server vouched for by passing on its digest.

This is DTLS-SRTP's model (RFC 5763) with XMPP's stamped ``from`` in the place of SIP Identity (RFC 4474): as good as the
servers on the path, and no better. A key that is known is worth more: see ``key_decision``.
"""

from __future__ import annotations

import hmac
from typing import ClassVar

from xmpp_e2e.authenticate.base import ChannelBinding, Proof, ProofSteps
from xmpp_e2e.errors import Code, TLSFailed
from xmpp_e2e.types import Assurance


class FingerprintAuthenticator:
    """Compares the certificate that TLS has seen with the fingerprint that was signalled."""

    name: ClassVar[str] = "fingerprint"
    assurance: ClassVar[Assurance] = Assurance.VOUCHED
    order: ClassVar[int] = 0
    needs_shared_secret: ClassVar[bool] = False

    def prove(self, binding: ChannelBinding) -> ProofSteps:
        """Return ``Proof`` if the two are equal; raise TLSFailed (FINGERPRINT_MISMATCH) if not."""
        if not hmac.compare_digest(binding.signalled_digest, binding.certificate_digest):
            raise TLSFailed("the peer's certificate is not the one whose fingerprint was signalled", Code.FINGERPRINT_MISMATCH)
        return Proof(self.name, self.assurance, binding.key)
        yield  # a generator, like every authenticator, though it asks nothing
