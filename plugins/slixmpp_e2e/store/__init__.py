"""The store of one account: our identity, the keys of peers, policies and encrypted secrets, in one SQL database.

``errors`` and ``error_mapping`` say what can go wrong. ``tables`` is the schema, and ``migrate`` brings older stores to it.
``key_protection`` keeps the key that encrypts secrets. ``database`` opens the file, ``key_table``, ``policy_table``,
``secret_table`` and ``handled_table`` work on rows, and ``sql_store`` is the store that the rest of the plugin uses. ``backup``
seals a copy of it, and restores it; ``deletion`` empties it.

This room may import only the vocabulary of the plugin and the core. Rows come out as values of the core; every failure is a
``StoreError``.
"""

from slixmpp_e2e.store.backup import Backup, read_backup, restore, write_backup
from slixmpp_e2e.store.deletion import delete_identity
from slixmpp_e2e.store.errors import (
    KeyBlocked,
    StoreError,
    StoreReason,
)
from slixmpp_e2e.store.key_protection.key_file import KeyFile, key_file_beside
from slixmpp_e2e.store.key_protection.keyring import Keyring
from slixmpp_e2e.store.key_protection.passphrase import Passphrase
from slixmpp_e2e.store.key_protection.protection import KeyProtection
from slixmpp_e2e.store.sql_store import SQLStore, path_for
from slixmpp_e2e.store.values import Change, PeerPolicy, StoredOwnKey

__all__ = [
    "Backup",
    "Change",
    "KeyBlocked",
    "KeyFile",
    "KeyProtection",
    "Keyring",
    "Passphrase",
    "PeerPolicy",
    "SQLStore",
    "StoreError",
    "StoreReason",
    "StoredOwnKey",
    "delete_identity",
    "key_file_beside",
    "path_for",
    "read_backup",
    "restore",
    "write_backup",
]
