"""Where a host remembers: identity, keys of peers, policies and sealed secrets, in one SQL database per account.

``errors`` and ``causes`` say what can go wrong; ``tables`` is the schema, ``migrate`` and ``migrations`` bring older stores
to it; ``seal`` is the cryptography with the key in a file, ``passphrase`` and ``keyring`` have it from elsewhere;
``database`` opens the file, ``keys`` and ``vault`` work on rows, and ``sql`` is the store
(``xmpp_e2e.trust.store.TrustStore``) over them all.
"""

from slixmpp_e2e.store.errors import (
    EntryMissing,
    KeyBlocked,
    KeyMissing,
    KeyWrong,
    MigrationFailed,
    NotAStore,
    PassphraseWrong,
    SealBroken,
    SealedOtherwise,
    SealUnavailable,
    StoreBusy,
    StoreDamaged,
    StoreError,
    StoreFull,
    StoreInaccessible,
    TooManyKeys,
    UnknownSchema,
)
from slixmpp_e2e.store.key_protection.key_file import KeyFile, Sealer
from slixmpp_e2e.store.key_protection.keyring import Keyring
from slixmpp_e2e.store.key_protection.passphrase import Passphrase
from slixmpp_e2e.store.sql import SQLStore, key_beside, path_for
from xmpp_e2e.trust.store import Change, PeerPolicy, StoredIdentity

__all__ = [
    "Change",
    "EntryMissing",
    "KeyBlocked",
    "KeyFile",
    "KeyMissing",
    "KeyWrong",
    "Keyring",
    "MigrationFailed",
    "NotAStore",
    "Passphrase",
    "PassphraseWrong",
    "PeerPolicy",
    "SQLStore",
    "SealBroken",
    "SealUnavailable",
    "SealedOtherwise",
    "Sealer",
    "StoreBusy",
    "StoreDamaged",
    "StoreError",
    "StoreFull",
    "StoreInaccessible",
    "StoredIdentity",
    "TooManyKeys",
    "UnknownSchema",
    "key_beside",
    "path_for",
]
