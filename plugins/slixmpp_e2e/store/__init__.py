"""Where a host remembers: identity, keys of peers, policies and sealed secrets, in one SQL database per account.

``errors`` and ``causes`` say what can go wrong; ``tables`` is the schema, ``migrate`` and ``migrations`` bring older stores
to it; ``seal`` is the cryptography, ``database`` opens the file, ``keys`` and ``vault`` work on rows, and ``sql`` is the
store (``xmpp_e2e.trust.store.TrustStore``) over them all.
"""

from slixmpp_e2e.store.errors import (
    KeyBlocked,
    KeyMissing,
    KeyWrong,
    MigrationFailed,
    NotAStore,
    SealBroken,
    StoreBusy,
    StoreDamaged,
    StoreError,
    StoreFull,
    StoreInaccessible,
    TooManyKeys,
    UnknownSchema,
)
from slixmpp_e2e.store.seal import KeyFile, Sealer
from slixmpp_e2e.store.sql import SQLStore, path_for
from xmpp_e2e.trust.store import Change, PeerPolicy, StoredIdentity

__all__ = [
    "Change",
    "KeyBlocked",
    "KeyFile",
    "KeyMissing",
    "KeyWrong",
    "MigrationFailed",
    "NotAStore",
    "PeerPolicy",
    "SQLStore",
    "SealBroken",
    "Sealer",
    "StoreBusy",
    "StoreDamaged",
    "StoreError",
    "StoreFull",
    "StoreInaccessible",
    "StoredIdentity",
    "TooManyKeys",
    "UnknownSchema",
    "path_for",
]
