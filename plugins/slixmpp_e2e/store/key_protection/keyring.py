"""The key of a store in the keyring of the operating system, by the package ``keyring`` (the extra of that name).

The store holds the name of the keyring entry. A keyring may ask the user to unlock it, and waits until they do.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import ClassVar

from slixmpp_e2e.store.errors import StoreError, StoreReason
from slixmpp_e2e.store.key_protection.protection import KEY_BYTES, AesGcmProtection

SERVICE = "xmpp-e2e"
"""The user finds the entries under this name."""
_NAME_BYTES = 8
"""Random bytes in the name of an entry: two stores never share one, whatever their paths are."""


class Keyring(AesGcmProtection):
    """A random key that the operating system keeps for the user."""

    kind: ClassVar[str] = "keyring"
    is_slow: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self._entry = ""
        self._store = Path()

    def __repr__(self) -> str:
        return f"Keyring({self._entry!r})"

    def has_key(self) -> bool:
        """Return False: only the store knows the entry's name."""
        return False

    def bind(self, store: Path, parameters: str | None) -> None:
        """Take the name of the entry from ``parameters``. ValueError if it is empty."""
        self._store = store
        if parameters == "":
            raise ValueError("it does not name the entry of the keyring")
        if parameters is not None and parameters != self._entry:
            self._entry, self._cipher = parameters, None

    def create_key(self) -> str:
        """Put a new key into the keyring, and check that the keyring keeps it. StoreError."""
        self._entry, self._cipher = f"{self._store.name} {os.urandom(_NAME_BYTES).hex()}", None
        key = os.urandom(KEY_BYTES)
        with self._keyring("cannot keep the key") as keyring:
            keyring.set_password(SERVICE, self._entry, base64.b64encode(key).decode())
            kept: str | None = keyring.get_password(SERVICE, self._entry)
        if kept is None or _decode(kept) != key:  # some backends accept everything and keep nothing
            raise StoreError(
                self._store,
                "the keyring of the operating system does not keep what it is given",
                StoreReason.PROTECTION_UNAVAILABLE,
            )
        return (
            f"A random key was put into the keyring of the operating system ({self._name()}): it protects the private key and"
            " the secrets in the store from anybody who cannot unlock your keyring; a backup of the store needs it too."
        )

    def load_key(self) -> None:
        """Fetch the key, or unlock the keyring by asking for any entry. StoreError."""
        if self._entry:
            self._loaded_cipher()
        else:
            with self._keyring("is not to be used") as keyring:
                keyring.get_password(SERVICE, self._store.name)

    def parameters(self) -> str:
        """Return the name of the entry."""
        return self._entry

    def wrong_key_error(self, store: Path) -> StoreError:
        """Return the error for an entry that somebody has changed."""
        cause = f"the key in the keyring ({self._name()}) is not the one that encrypted the secrets in this store"
        return StoreError(store, cause, StoreReason.WRONG_KEY)

    def delete_key(self) -> None:
        """Delete the entry. StoreError."""
        self._cipher = None
        with self._keyring(f"does not delete the key that is no longer needed ({self._name()})") as keyring:
            keyring.delete_password(SERVICE, self._entry)

    def _read_key(self) -> bytes:
        with self._keyring("does not hand out the key") as keyring:
            kept: str | None = keyring.get_password(SERVICE, self._entry)
        if kept is None:
            cause = f"the key that opens its secrets is not in the keyring of the operating system ({self._name()})"
            raise StoreError(self._store, cause, StoreReason.KEYRING_ENTRY_MISSING)
        key = _decode(kept)
        if key is None:
            raise StoreError(
                self._store, f"the entry in the keyring holds no key of ours ({self._name()})", StoreReason.WRONG_KEY
            )
        return key

    def _name(self) -> str:
        return f"service {SERVICE!r}, entry {self._entry!r}"

    @contextmanager
    def _keyring(self, failure: str) -> Iterator[ModuleType]:
        """Import the package, which is optional and takes long to load, and translate its errors."""
        try:
            import keyring
            import keyring.errors
        except ImportError:
            cause = "the keyring of the operating system needs a package that is not installed: pip install 'xmpp-e2e[keyring]'"
            raise StoreError(self._store, cause, StoreReason.PROTECTION_UNAVAILABLE) from None
        try:
            yield keyring
        except keyring.errors.NoKeyringError:
            cause = "there is no keyring service on this computer that a program could ask"
            raise StoreError(self._store, cause, StoreReason.PROTECTION_UNAVAILABLE) from None
        except keyring.errors.KeyringError as error:
            cause = f"the keyring of the operating system {failure} ({type(error).__name__}); is it locked?"
            raise StoreError(self._store, cause, StoreReason.PROTECTION_UNAVAILABLE) from error


def _decode(kept: str) -> bytes | None:
    """Return the key, or None if the text is not the base64 of one."""
    try:
        key = base64.b64decode(kept, validate=True)
    except ValueError:
        return None
    return key if len(key) == KEY_BYTES else None
