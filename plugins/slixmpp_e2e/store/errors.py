"""The errors of a store. Each message names the file and the cause; each reason has its own words.

The store never repairs or replaces a file without the user's knowledge: every error leaves the files as they are.
"""

from __future__ import annotations

import enum
from pathlib import Path

from slixmpp_e2e.alarms import Words
from xmpp_e2e.errors import E2EError, LocalError


class StoreReason(enum.Enum):
    """Why a store failed, for programs."""

    UNUSABLE = "unusable"
    """None of the others: the message says more."""
    TOO_MANY_KEYS = "too-many-keys"
    """One peer has more keys than are kept."""
    NOT_A_STORE = "not-a-store"
    """The file belongs to another program."""
    DAMAGED = "damaged"
    """The store can no longer be read; or it is gone and its key is still there."""
    SECRET_DAMAGED = "secret-damaged"
    """One secret in it can no longer be read."""
    UNKNOWN_SCHEMA = "unknown-schema"
    """Another version of this software wrote the store."""
    MIGRATION_FAILED = "migration-failed"
    """The store was written by another version, and this one cannot migrate it."""
    NO_ACCESS = "no-access"
    """The file cannot be read or written."""
    FULL = "full"
    """There is no room on the disk."""
    BUSY = "busy"
    """Another process holds it."""
    IDENTITY_MISSING = "identity-missing"
    """The store has no identity, and its key or its history shows that it had one."""
    IDENTITY_DELETED = "identity-deleted"
    """The user has deleted the identity, and has not asked for a new one."""
    KEY_FILE_MISSING = "key-file-missing"
    """The store holds encrypted rows, and the key file that opens them is gone."""
    KEYRING_ENTRY_MISSING = "keyring-entry-missing"
    """The same, with a key in the keyring."""
    WRONG_KEY = "wrong-key"
    """The key is not the one that encrypted the rows of this store."""
    WRONG_PASSPHRASE = "wrong-passphrase"
    """The passphrase is not the one that encrypted them."""
    OTHER_PROTECTION = "other-protection"
    """The key protection does not fit this store."""
    PROTECTION_UNAVAILABLE = "protection-unavailable"
    """The key protection does not work on this computer."""
    EXISTS = "exists"
    """The file is there already, and is not overwritten without being told to."""
    NOT_A_BACKUP = "not-a-backup"
    """The file is no backup of a store, or one of a later version."""
    BACKUP_DAMAGED = "backup-damaged"
    """The backup is incomplete or was altered."""


class StoreError(E2EError):
    """The store could not do what was asked. It still holds everything that it held before."""

    def __init__(self, path: Path, cause: str, reason: StoreReason = StoreReason.UNUSABLE) -> None:
        super().__init__(f"{path}: {cause}")
        self.path = path
        """The file that the message is about."""
        self.cause = cause
        """The message without the file's name."""
        self.reason = reason
        self.likely, self.attack, self.remedy = _WORDS[reason]


class KeyBlocked(LocalError):
    """The user has blocked the key and now wants to pin it. Neither silently overrides the other."""

    likely = "A trust file still pins a key that was blocked later."
    remedy = "If the block was a mistake, take it back first: xmpp-e2e trust forget JID SHA256:…"


_WORDS = {
    StoreReason.UNUSABLE: Words(remedy="The store was left as it is."),
    StoreReason.TOO_MANY_KEYS: Words(
        likely="The peer's program makes a new key at every start, because it cannot keep its store.",
        attack="A server that shows a new key each time fills stores like this.",
        remedy="Forget the keys that are no longer used: xmpp-e2e trust forget JID SHA256:…",
    ),
    StoreReason.NOT_A_STORE: Words(
        likely="The path leads to the file of another program.",
        remedy="Nothing was written to it. Name another path for the store.",
    ),
    StoreReason.DAMAGED: Words(
        likely="A disk error, a copy that was cut short, or one file of the pair was moved without the other.",
        remedy="The files were left as they are. Restore the store and its key file from a backup; or move both away to begin"
        " anew, with a new identity that your peers will be told of.",
    ),
    StoreReason.SECRET_DAMAGED: Words(
        likely="A disk error, or a database that was edited by hand.",
        attack="Somebody altered the row, or moved it here from another one.",
        remedy="The row was left as it is. Restore the store from a backup, or replace the secret that the message names.",
    ),
    StoreReason.UNKNOWN_SCHEMA: Words(
        likely="A newer version was used with this store.",
        remedy="The store was left as it is. Use that version again, or a later one; or restore the copy beside the store"
        " that was made before its schema changed.",
    ),
    StoreReason.MIGRATION_FAILED: Words(
        likely="The store holds something that no version of this software has written, or this version has a bug.",
        remedy="Nothing was lost: the store is as it was. Use the version that it was used with before, and report this.",
    ),
    StoreReason.NO_ACCESS: Words(
        likely="It belongs to another user, its folder is missing or read-only, or the disk fails.",
        remedy="Check the owner and the permissions of the file and of its folder, or name another path.",
    ),
    StoreReason.FULL: Words(
        likely="The disk or the quota is full.",
        remedy="Nothing was lost: the store is as it was before this change. Make room and try again.",
    ),
    StoreReason.BUSY: Words(
        likely="Another program uses the same account and hangs, or has stopped in the middle of a change.",
        remedy="Nothing was lost: the store is as it was before this change. End the other program, or try again.",
    ),
    StoreReason.IDENTITY_MISSING: Words(
        likely="The store was copied without its newest changes, or restored from a copy that is older than its key.",
        attack="Somebody may have replaced the store, so that a new identity is made and your peers get used to new keys.",
        remedy="No new identity was made, and the files were left as they are. Restore the store and its key file from one"
        " backup. If the account never had an identity here, delete the key file: it opens nothing. To begin anew, with a new"
        " identity that your peers will be told of, move both away.",
    ),
    StoreReason.IDENTITY_DELETED: Words(
        likely="A program of this account was not taken out of use when its identity was deleted.",
        remedy="No new identity was made. Restore the old one from a backup (xmpp-e2e restore FILE --overwrite), or make a new"
        " one, which your peers will be told of: xmpp-e2e init JID",
    ),
    StoreReason.KEY_FILE_MISSING: Words(
        likely="The store was copied or restored without its key file.",
        remedy="No new key was made. Put the key file back beside the store; without it the private key and the secrets are"
        " lost: move the store away to begin anew, with a new identity that your peers will be told of.",
    ),
    StoreReason.KEYRING_ENTRY_MISSING: Words(
        likely="The store was copied from another computer or user, or somebody has deleted the entry from the keyring.",
        remedy="No new key was made. Open the store where it was made, or restore the entry; without it the private key and"
        " the secrets are lost: move the store away to begin anew, with a new identity that your peers will be told of.",
    ),
    StoreReason.WRONG_KEY: Words(
        likely="The key file of another account or of an older backup lies beside the store.",
        attack="Somebody may have replaced the store or the key file.",
        remedy="Both files were left as they are. Put the key file back that belongs to the store.",
    ),
    StoreReason.WRONG_PASSPHRASE: Words(
        likely="A typing error, another keyboard layout, or the passphrase of another store.",
        attack="Somebody may have replaced the store.",
        remedy="Nothing was changed. Try again; without the passphrase the private key and the secrets stay closed.",
    ),
    StoreReason.OTHER_PROTECTION: Words(
        likely="Another program for the same account changed the key protection, or only the setting was changed.",
        remedy="Nothing was changed. Open the store with what the message names; then you can change its key protection.",
    ),
    StoreReason.PROTECTION_UNAVAILABLE: Words(
        likely="A computer without a desktop has no keyring service; an old OpenSSL has no Argon2id.",
        remedy="Nothing was changed. Provide what the message names, or choose another key protection: a key file needs"
        " nothing.",
    ),
    StoreReason.EXISTS: Words(
        likely="The account is in use on this machine, or an earlier backup has the same name.",
        remedy="Nothing was changed. Name another file, or use --overwrite: a store is then moved aside, a backup replaced.",
    ),
    StoreReason.NOT_A_BACKUP: Words(
        likely="The path leads to another file, or a newer version made the backup.",
        remedy="Nothing was changed. Name the file that xmpp-e2e backup has written, or use the newer version.",
    ),
    StoreReason.BACKUP_DAMAGED: Words(
        likely="A copy that was cut short, or a disk error.",
        attack="Somebody altered the file. They cannot choose what it restores.",
        remedy="Nothing was changed. Take another copy of the backup.",
    ),
}
