"""A password becomes what SRP works with: Argon2id (RFC 9106) over its OpaqueString form (RFC 8265 §4.2).

The salt is made of the two bare JIDs, so either side may begin, and what a peer
learns of a password is of no use with another.
"""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from slixmpp_e2e.precis import opaque
from xmpp_e2e.authenticate.srp import STRETCHED_BYTES
from xmpp_e2e.encoding import labelled_hash
from xmpp_e2e.errors import LocalError

MEMORY_KIB, PASSES, LANES = 64 * 1024, 3, 1
"""RFC 9106 §4 recommends so much memory and so many passes where 2 GiB are too much. Part of the protocol."""


def stretched(password: str, ours: str, peer: str) -> bytes:
    """What two accounts (bare JIDs) make of their password, 32 bytes. It takes some 140 ms and 64 MiB: not for the loop.

    LocalError for one that OpaqueString does not allow, or without Argon2id (OpenSSL 3.2)."""
    try:
        typed = opaque(password)
    except ValueError as error:
        raise LocalError(f"this cannot be a password: {error}") from None
    salt = labelled_hash("pw-salt", *sorted(jid.encode() for jid in (ours, peer)))[:16]
    try:
        kdf = Argon2id(salt=salt, length=STRETCHED_BYTES, iterations=PASSES, lanes=LANES, memory_cost=MEMORY_KIB)
    except UnsupportedAlgorithm:
        raise LocalError("passwords need Argon2id, and the OpenSSL here has none: it takes version 3.2 or later") from None
    return kdf.derive(typed)
