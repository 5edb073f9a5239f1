"""Derive the secret of SRP from a password: Argon2id (RFC 9106) over its OpaqueString form (RFC 8265 §4.2).

The salt comes from the two bare JIDs. So either side may begin, and a derived password that one peer learns is of no use with
another.
"""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from slixmpp_e2e.precis import normalize_password
from xmpp_e2e.authenticate.srp import DERIVED_PASSWORD_BYTES
from xmpp_e2e.encoding import labelled_hash
from xmpp_e2e.errors import LocalError
from xmpp_e2e.types import SecretBytes

MEMORY_KIB, PASSES, LANES = 64 * 1024, 3, 1
"""Memory and passes that RFC 9106 §4 recommends where 2 GiB are too much. Part of the protocol."""


def derive_srp_secret(password: str, our_jid: str, peer_jid: str) -> SecretBytes:
    """Return 32 bytes for a password that two accounts (bare JIDs) share.

    It takes about 140 ms and 64 MiB, so do not call it in the event loop. LocalError if OpaqueString does not allow the
    password, or if OpenSSL has no Argon2id (before 3.2).
    """
    try:
        normalized = normalize_password(password)
    except ValueError as error:
        raise LocalError(f"this cannot be a password: {error}") from None
    salt = labelled_hash("pw-salt", *sorted(jid.encode() for jid in (our_jid, peer_jid)))[:16]
    try:
        kdf = Argon2id(salt=salt, length=DERIVED_PASSWORD_BYTES, iterations=PASSES, lanes=LANES, memory_cost=MEMORY_KIB)
    except UnsupportedAlgorithm:
        raise LocalError("passwords need Argon2id, and the OpenSSL here has none: it takes version 3.2 or later") from None
    return SecretBytes(kdf.derive(normalized))
