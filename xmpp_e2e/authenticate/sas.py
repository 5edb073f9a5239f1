"""The ``sas`` method: two people compare a short string that is new in each session.

The initiator commits to its nonce before it sees the responder's, so a man in the middle has one try at making the strings
on both sides equal, at odds of 2⁻ⁿ for n bits (as ZRTP, RFC 6189 §4.4.1.1). A string made of the TLS exporter alone could be
ground offline.
"""

from __future__ import annotations

import hmac
from typing import ClassVar

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from xmpp_e2e.authenticate.base import (
    MATCH,
    AskHost,
    ChannelBinding,
    CompareSas,
    Proof,
    ProofSteps,
)
from xmpp_e2e.authenticate.proof_exchange import ProofExchange
from xmpp_e2e.encoding import label, labelled_hash, length_prefixed
from xmpp_e2e.errors import AuthenticationFailed, Code
from xmpp_e2e.types import Assurance, Role

CODE_BYTES = 8
_NONCE_BYTES = 32
_HASH = range(32, 33)


class SasAuthenticator:
    """Shows a short authentication string to both users."""

    name: ClassVar[str] = "sas"
    assurance: ClassVar[Assurance] = Assurance.VERIFIED
    order: ClassVar[int] = 3
    needs_shared_secret: ClassVar[bool] = False

    def prove(self, binding: ChannelBinding) -> ProofSteps:
        """I lv(C) · R lv(n_R) · I lv(n_I); then each side's own user says whether the strings are the same."""
        exchange = ProofExchange(self.name, binding)
        ours = binding.random(_NONCE_BYTES)
        if binding.role is Role.INITIATOR:
            yield from exchange.send(_commitment(binding, ours))
            (theirs,) = yield from exchange.receive(_HASH)
            yield from exchange.send(ours)
            code = sas_code(binding, ours, theirs)
        else:
            (commitment,) = yield from exchange.receive(_HASH)
            yield from exchange.send(ours)
            (theirs,) = yield from exchange.receive(_HASH)
            if not hmac.compare_digest(commitment, _commitment(binding, theirs)):
                raise exchange.failure()
            code = sas_code(binding, theirs, ours)
        if (yield AskHost(CompareSas(code))) != MATCH:
            raise AuthenticationFailed("the two sides do not see the same string", Code.SAS_MISMATCH)
        return Proof(self.name, self.assurance, binding.key)


def sas_code(binding: ChannelBinding, initiator_nonce: bytes, responder_nonce: bytes) -> bytes:
    """Return the code that both users see once it is rendered: CODE_BYTES bytes, of which the first bits are shown."""
    extracted = hmac.digest(binding.exporter, length_prefixed(initiator_nonce, responder_nonce), "sha256")
    return HKDFExpand(hashes.SHA256(), CODE_BYTES, length_prefixed(label("sas"), binding.context)).derive(extracted)


def _commitment(binding: ChannelBinding, nonce: bytes) -> bytes:
    return labelled_hash("sas commit", binding.context, nonce)
