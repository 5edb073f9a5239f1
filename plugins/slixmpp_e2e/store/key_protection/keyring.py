"""The key of a store in the keyring of the operating system, by the package ``keyring`` (the extra of that name).

The store holds the name of the entry. A keyring may ask its user to unlock it, which takes as long as he takes.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import ClassVar

from slixmpp_e2e.store.errors import EntryMissing, KeyWrong, SealUnavailable
from slixmpp_e2e.store.key_protection.key_file import KEY_BYTES, Cipher

SERVICE = "xmpp-e2e"
"""Under this name the user finds the entries."""
_NAME_BYTES = 8
"""Random, in the name of an entry: two stores never share one, wherever they lie and whatever they are called."""


class Keyring(Cipher):
    """A random key that the operating system keeps for its user."""

    kind: ClassVar[str] = "keyring"
    slow: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self._entry = ""
        self._store = Path()

    def __repr__(self) -> str:
        return f"Keyring({self._entry!r})"

    def ready(self) -> bool:
        """Never: which entry it is says the store."""
        return False

    def attach(self, store: Path, parameters: str | None) -> None:
        """Take the name of the entry from ``parameters``. ValueError if there is none."""
        self._store = store
        if parameters == "":
            raise ValueError("it does not name the entry of the keyring")
        if parameters is not None and parameters != self._entry:
            self._entry, self._cipher = parameters, None

    def create(self) -> str:
        """Put a new key into the keyring. SealUnavailable, also if it is not there afterwards."""
        self._entry, self._cipher = f"{self._store.name} {os.urandom(_NAME_BYTES).hex()}", None
        key = os.urandom(KEY_BYTES)
        with self._keyring("cannot keep the key") as keyring:
            keyring.set_password(SERVICE, self._entry, base64.b64encode(key).decode())
            kept: str | None = keyring.get_password(SERVICE, self._entry)
        if kept is None or _decoded(kept) != key:  # some backends accept everything and keep nothing
            raise SealUnavailable(self._store, "the keyring of the operating system does not keep what it is given")
        return (
            f"A random key was put into the keyring of the operating system ({self._name()}): it keeps the private key"
            " and the secrets in the store from whoever cannot unlock your keyring; a backup of the store needs it too."
        )

    def load(self) -> None:
        """Fetch the key; or ask for any entry, which unlocks the keyring. EntryMissing, KeyWrong, SealUnavailable."""
        if self._entry:
            self._loaded()
        else:
            with self._keyring("is not to be used") as keyring:
                keyring.get_password(SERVICE, self._store.name)

    def parameters(self) -> str:
        """The name of the entry."""
        return self._entry

    def wrong(self, store: Path) -> KeyWrong:
        """Somebody has changed the entry."""
        return KeyWrong(store, f"the key in the keyring ({self._name()}) is not the one that sealed the secrets in this store")

    def retire(self) -> None:
        """Delete the entry; SealUnavailable."""
        self._cipher = None
        with self._keyring(f"does not delete the key that is no longer needed ({self._name()})") as keyring:
            keyring.delete_password(SERVICE, self._entry)

    def _key(self) -> bytes:
        with self._keyring("does not hand out the key") as keyring:
            kept: str | None = keyring.get_password(SERVICE, self._entry)
        if kept is None:
            cause = f"the key that opens its secrets is not in the keyring of the operating system ({self._name()})"
            raise EntryMissing(self._store, cause)
        key = _decoded(kept)
        if key is None:
            raise KeyWrong(self._store, f"what the keyring holds is no key of ours ({self._name()})")
        return key

    def _name(self) -> str:
        return f"service {SERVICE!r}, entry {self._entry!r}"

    @contextmanager
    def _keyring(self, failure: str) -> Iterator[ModuleType]:
        """The package, which is optional and takes long to load; its errors, said for people."""
        try:
            import keyring
            import keyring.errors
        except ImportError:
            cause = "the keyring of the operating system needs a package that is not installed: pip install 'xmpp-e2e[keyring]'"
            raise SealUnavailable(self._store, cause) from None
        try:
            yield keyring
        except keyring.errors.NoKeyringError:
            cause = "there is no keyring service on this computer that a program could ask"
            raise SealUnavailable(self._store, cause) from None
        except keyring.errors.KeyringError as error:
            cause = f"the keyring of the operating system {failure} ({type(error).__name__}); is it locked?"
            raise SealUnavailable(self._store, cause) from error


def _decoded(kept: str) -> bytes | None:
    """The key, or None if it is none."""
    try:
        key = base64.b64decode(kept, validate=True)
    except ValueError:
        return None
    return key if len(key) == KEY_BYTES else None
