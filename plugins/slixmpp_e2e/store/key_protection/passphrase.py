"""The key of a store from a passphrase: Argon2id (RFC 9106) over its OpaqueString form (RFC 8265 §4.2).

The store holds the salt. One derivation takes about 140 ms on an idle computer and 64 MiB, once for each opening.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from slixmpp_e2e.precis import normalize_password
from slixmpp_e2e.store.errors import StoreError, StoreReason
from slixmpp_e2e.store.key_protection.protection import KEY_BYTES, AesGcmProtection

MEMORY_KIB, PASSES, LANES = 64 * 1024, 3, 1
"""Memory and passes that RFC 9106 §4 recommends where 2 GiB are too much."""
SALT_BYTES = 16
"""RFC 9106 §3.1."""
_SCHEME = f"argon2id m={MEMORY_KIB} t={PASSES} p={LANES} "
"""Part of the parameters. Only these are accepted: an altered store must not choose the cost."""


class Passphrase(AesGcmProtection):
    """A key that only the user knows. A forgotten passphrase cannot be replaced."""

    kind: ClassVar[str] = "passphrase"
    is_slow: ClassVar[bool] = True

    def __init__(self, passphrase: str | Callable[[], str]) -> None:
        """Take the passphrase, or a function that asks for it. ValueError if it is empty.

        The function is called once, when the passphrase is needed, in the thread that needs it.
        """
        super().__init__()
        if passphrase == "":
            raise ValueError("a passphrase has at least one character")
        self._source = passphrase
        self._salt = b""
        self._is_new = False
        self._store = Path()

    def __repr__(self) -> str:
        return "Passphrase(…)"

    def has_key(self) -> bool:
        """Return False: a key needs a salt, and only the store has it."""
        return False

    def bind(self, store: Path, parameters: str | None) -> None:
        """Take the salt from ``parameters``. ValueError if their form or cost is not ours."""
        self._store = store
        if parameters is not None and parameters != self.parameters():
            salt = base64.b64decode(parameters.removeprefix(_SCHEME), validate=True)
            if not parameters.startswith(_SCHEME) or len(salt) != SALT_BYTES:
                raise ValueError("these are no parameters of a passphrase")
            self._salt, self._is_new, self._cipher = salt, False, None

    def load_key(self) -> None:
        """Ask for the passphrase and derive the key. StoreError.

        If the store has no salt yet, make one for the next ``create_key``.
        """
        if not self._salt:
            self._renew_salt()
        self._loaded_cipher()

    def _renew_salt(self) -> None:
        self._salt, self._is_new, self._cipher = os.urandom(SALT_BYTES), True, None

    def create_key(self) -> str:
        """Take the new salt of ``load_key``, or make one."""
        if not self._is_new:
            self._renew_salt()
        self._is_new = False
        return (
            "The private key and the secrets in the store are encrypted with your passphrase: nobody opens them without it,"
            " and there is no way to replace it if you forget it."
        )

    def parameters(self) -> str:
        """Return algorithm, cost and salt."""
        return _SCHEME + base64.b64encode(self._salt).decode()

    def wrong_key_error(self, store: Path) -> StoreError:
        """Return the error for a wrong passphrase."""
        cause = "the passphrase is not the one that encrypted the secrets in this store"
        return StoreError(store, cause, StoreReason.WRONG_PASSPHRASE)

    def delete_key(self) -> None:
        """Forget the derived key. It is kept nowhere else."""
        self._cipher = None

    def _read_key(self) -> bytes:
        try:
            kdf = Argon2id(salt=self._salt, length=KEY_BYTES, iterations=PASSES, lanes=LANES, memory_cost=MEMORY_KIB)
        except UnsupportedAlgorithm:
            cause = "a passphrase needs Argon2id, and the OpenSSL of this computer has none: it takes version 3.2 or later"
            raise StoreError(self._store, cause, StoreReason.PROTECTION_UNAVAILABLE) from None
        try:
            normalized = normalize_password(self._ask())
        except ValueError as error:
            raise StoreError(
                self._store, f"this cannot be its passphrase: {error}", StoreReason.PROTECTION_UNAVAILABLE
            ) from None
        return kdf.derive(normalized)

    def _ask(self) -> str:
        if callable(self._source):
            failed, passphrase = "", ""
            try:
                passphrase = self._source()
            except (OSError, EOFError, LookupError, ValueError) as error:
                failed = type(error).__name__
            if failed:
                # not where it is caught: an error about a file, a prompt or a variable may carry the text that was read
                cause = f"the passphrase that opens its secrets could not be asked for ({failed})"
                raise StoreError(self._store, cause, StoreReason.PROTECTION_UNAVAILABLE)
            if not passphrase:
                raise StoreError(self._store, "no passphrase was given to open its secrets", StoreReason.PROTECTION_UNAVAILABLE)
            self._source = passphrase
        return self._source
