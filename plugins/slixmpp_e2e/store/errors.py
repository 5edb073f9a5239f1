"""What can go wrong with a store. Each message names the file and the cause, each class the way out.

Whatever is wrong, the files are left as they are: nothing is repaired, replaced or begun anew behind the user's back.
"""

from __future__ import annotations

from pathlib import Path

from xmpp_e2e.errors import E2EError, LocalError


class StoreError(E2EError):
    """The store did not do what it was asked; what it held before, it still holds."""

    remedy = "The store was left as it is."

    def __init__(self, path: Path, cause: str) -> None:
        super().__init__(f"{path}: {cause}")
        self.path = path
        """The file that the message is about."""
        self.cause = cause
        """The message without it."""


class NotAStore(StoreError):
    """The file belongs to somebody else."""

    likely = "The path leads to the file of another program."
    remedy = "Nothing was written to it. Name another path for the store."


class StoreDamaged(StoreError):
    """The file was a store and cannot be read as one any more, or it is gone and its key file is still there."""

    likely = "A disk error, a copy that was cut short, or one file of the pair was moved without the other."
    remedy = (
        "The files were left as they are. Restore the store and its key file from a backup; or move both away to begin"
        " anew, with a new identity that your peers will be told of."
    )


class UnknownSchema(StoreError):
    """Another version of this software wrote the store."""

    likely = "A newer version was used with this store."
    remedy = (
        "The store was left as it is. Use that version again, or a later one; or restore the copy beside the store that"
        " was made before its schema changed."
    )


class MigrationFailed(StoreError):
    """An older store could not be brought to the schema of this version."""

    likely = "The store holds something that no version of this software has written, or this version has a bug."
    remedy = "Nothing was lost: the store is as it was. Use the version that it was used with before, and report this."


class StoreInaccessible(StoreError):
    """The operating system does not let us read or write the file."""

    likely = "It belongs to another user, its folder is missing or read-only, or the disk fails."
    remedy = "Check the owner and the permissions of the file and of its folder, or name another path."


class StoreFull(StoreInaccessible):
    """There is no room."""

    likely = "The disk or the quota is full."
    remedy = "Nothing was lost: the store is as it was before this change. Make room and try again."


class StoreBusy(StoreError):
    """Another process holds the store for longer than we wait."""

    likely = "Another program uses the same account and hangs, or has stopped in the middle of a change."
    remedy = "Nothing was lost: the store is as it was before this change. End the other program, or try again."


class KeyMissing(StoreError):
    """The store holds sealed rows, and the key that opens them is not there."""

    likely = "The store was copied or restored without its key file."
    remedy = (
        "No new key was made. Put the key file back beside the store; without it the private key and the secrets are"
        " lost: move the store away to begin anew, with a new identity that your peers will be told of."
    )


class KeyWrong(StoreError):
    """The key is not the one that has sealed the rows of this store."""

    likely = "The key file of another account or of an older backup lies beside the store."
    attack = "Somebody may have replaced the store or the key file."
    remedy = "Both files were left as they are. Put the key file back that belongs to the store."


class PassphraseWrong(KeyWrong):
    """The passphrase is not the one that has sealed the rows of this store."""

    likely = "A typing error, another keyboard layout, or the passphrase of another store."
    remedy = "Nothing was changed. Try again; without the passphrase the private key and the secrets stay closed."


class EntryMissing(KeyMissing):
    """The key was kept in the keyring of the operating system, and is not there."""

    likely = "The store was copied from another computer or user, or somebody has deleted the entry from the keyring."
    remedy = (
        "No new key was made. Open the store where it was made, or restore the entry; without it the private key and the"
        " secrets are lost: move the store away to begin anew, with a new identity that your peers will be told of."
    )


class SealedOtherwise(StoreError):
    """The store is sealed with something else than what it was opened with."""

    likely = "The seal was changed by another program for the same account, or the setting was changed alone."
    remedy = "Nothing was changed. Open the store with what the message names; from there the seal can be changed."


class SealUnavailable(StoreError):
    """This computer cannot do what the seal needs."""

    likely = "A computer without a desktop has no keyring service; an old OpenSSL has no Argon2id."
    remedy = "Nothing was changed. Provide what the message names, or choose another seal: a key file needs nothing."


class SealBroken(StoreError):
    """A sealed row does not open with the key that opens the others."""

    likely = "A disk error, or a database that was edited by hand."
    attack = "Somebody altered the row, or moved it here from another one."
    remedy = "The row was left as it is. Restore the store from a backup, or replace the secret that the message names."


class TooManyKeys(StoreError):
    """The peer has shown more keys than a person has devices."""

    likely = "The peer's program makes a new key at every start, because it cannot keep its store."
    attack = "A server that shows a new key each time fills stores like this."
    remedy = "Forget the keys that are no longer used: xmpp-e2e trust forget JID SHA256:…"


class KeyBlocked(LocalError):
    """The user has blocked the key and now wants to pin it. Neither silently overrides the other."""

    likely = "A trust file still pins a key that was blocked later."
    remedy = "If the block was a mistake, take it back first: xmpp-e2e trust forget JID SHA256:…"
