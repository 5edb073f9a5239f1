"""The ``fingerprint`` method: the certificate is the one that the peer's server vouched for by passing on its digest.

This is DTLS-SRTP's model (RFC 5763) with XMPP's stamped ``from`` in the place of SIP Identity (RFC 4474): as good as the
servers on the path, and no better. A pinned or remembered key makes more of it; that is the trust judge's part.
"""

from __future__ import annotations

import hmac
from typing import ClassVar

from xmpp_e2e.authenticate.base import Evidence, Proof, Proven
from xmpp_e2e.errors import FingerprintMismatch
from xmpp_e2e.identity import Assurance


class FingerprintAuthenticator:
    """Compares the certificate that TLS has seen with the fingerprint that was signalled."""

    name: ClassVar[str] = "fingerprint"
    assurance: ClassVar[Assurance] = Assurance.VOUCHED
    rank: ClassVar[int] = 0
    keyed: ClassVar[bool] = False

    def prove(self, evidence: Evidence) -> Proof:
        """Return ``Proven`` if the two are equal; raise FingerprintMismatch if not."""
        if not hmac.compare_digest(evidence.signalled, evidence.certificate):
            raise FingerprintMismatch("the peer's certificate is not the one whose fingerprint was signalled")
        return Proven(self.name, self.assurance, evidence.key)
        yield  # a generator, like every authenticator, though it asks nothing
