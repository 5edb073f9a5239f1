"""The key of a store in a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

from slixmpp_e2e.store.error_mapping import os_error
from slixmpp_e2e.store.errors import StoreError, StoreReason
from slixmpp_e2e.store.files import restrict_to_owner, sync_folder
from slixmpp_e2e.store.key_protection.protection import KEY_BYTES, AesGcmProtection


class KeyFile(AesGcmProtection):
    """A random key in a file that only its owner may read."""

    kind: ClassVar[str] = "key-file"
    is_slow: ClassVar[bool] = False

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def __repr__(self) -> str:
        return f"KeyFile({str(self.path)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeyFile) and os.path.realpath(other.path) == os.path.realpath(self.path)

    def __hash__(self) -> int:
        return hash(os.path.realpath(self.path))

    def has_key(self) -> bool:
        """Return whether the file exists, or was read before."""
        return self._cipher is not None or os.path.lexists(self.path)

    def bind(self, store: Path, parameters: str | None) -> None:
        """Refuse parameters: a key file has none. ValueError."""
        if parameters:
            raise ValueError("a key file has no parameters")

    def load_key(self) -> None:
        """Do nothing: a file is read fast enough when it is needed."""

    def parameters(self) -> str:
        """Return nothing: the path finds the key."""
        return ""

    def create_key(self) -> str:
        """Write a new key to the disk. StoreError, also if the file exists: it is never overwritten."""
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise os_error(self.path, "the key file cannot be created", error) from error
        try:
            with open(descriptor, "wb") as file:
                file.write(os.urandom(KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())  # the key must be on the disk before anything that needs it
            sync_folder(self.path.parent)
        except OSError as error:
            self.path.unlink()  # we made it just now, and nothing is encrypted with it
            raise os_error(self.path, "the key file cannot be written", error) from error
        return (
            f"A random key was written to {self.path}, readable by you only: it protects the private key and the secrets"
            " in the store from anybody who has the store alone, not from anybody who can read both files; back up both."
        )

    def delete_key(self) -> None:
        """Delete the file, if it exists. StoreError."""
        self._cipher = None
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise os_error(self.path, "the key file cannot be deleted", error) from error

    def _read_key(self) -> bytes:
        try:
            with open(self.path, "rb") as file:
                restrict_to_owner(self.path)
                key = file.read(KEY_BYTES + 1)
        except FileNotFoundError:
            raise StoreError(
                self.path, "the key file that opens the secrets in the store is missing", StoreReason.KEY_FILE_MISSING
            ) from None
        except OSError as error:
            raise os_error(self.path, "the key file cannot be read", error) from error
        if len(key) != KEY_BYTES:
            raise StoreError(
                self.path, f"this is no key file: it does not hold exactly {KEY_BYTES} bytes", StoreReason.WRONG_KEY
            )
        return key


def key_file_beside(path: Path) -> KeyFile:
    """Return the key file of the store at ``path``. A link to the store gives the same key file."""
    resolved = path.expanduser().resolve()
    return KeyFile(resolved.with_name(f"{resolved.name.removesuffix('.db')}.key"))
