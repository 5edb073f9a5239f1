"""The key of a store from a passphrase: Argon2id (RFC 9106) over its OpaqueString form (RFC 8265 §4.2).

The store holds the salt. One derivation takes some 140 ms (an idle computer) and 64 MiB, once per opening.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from slixmpp_e2e.precis import opaque
from slixmpp_e2e.store.errors import KeyWrong, PassphraseWrong, SealUnavailable
from slixmpp_e2e.store.key_protection.key_file import KEY_BYTES, Cipher

MEMORY_KIB, PASSES, LANES = 64 * 1024, 3, 1
"""RFC 9106 §4 recommends so much memory and so many passes where 2 GiB are too much."""
SALT_BYTES = 16
"""RFC 9106 §3.1."""
_SCHEME = f"argon2id m={MEMORY_KIB} t={PASSES} p={LANES} "
"""Part of the parameters. Only these are accepted: a store that somebody altered must not choose the cost."""


class Passphrase(Cipher):
    """A key that only the user knows. A forgotten passphrase cannot be replaced."""

    kind: ClassVar[str] = "passphrase"
    slow: ClassVar[bool] = True

    def __init__(self, passphrase: str | Callable[[], str]) -> None:
        """The passphrase, or a function that asks for it: once, when it is needed, in the thread that needs it. ValueError."""
        super().__init__()
        if passphrase == "":
            raise ValueError("a passphrase has at least one character")
        self._source = passphrase
        self._salt = b""
        self._is_new = False
        self._store = Path()

    def __repr__(self) -> str:
        return "Passphrase(…)"

    def ready(self) -> bool:
        """Never: without a salt there is no key, and the salt is in the store."""
        return False

    def attach(self, store: Path, parameters: str | None) -> None:
        """Take the salt from ``parameters``. ValueError if they are none of ours."""
        self._store = store
        if parameters is not None and parameters != self.parameters():
            salt = base64.b64decode(parameters.removeprefix(_SCHEME), validate=True)
            if not parameters.startswith(_SCHEME) or len(salt) != SALT_BYTES:
                raise ValueError("these are no parameters of a passphrase")
            self._salt, self._is_new, self._cipher = salt, False, None

    def load(self) -> None:
        """Ask for the passphrase and compute the key, with a salt for ``create`` if the store has none. SealUnavailable."""
        if not self._salt:
            self._renew()
        self._loaded()

    def _renew(self) -> None:
        self._salt, self._is_new, self._cipher = os.urandom(SALT_BYTES), True, None

    def create(self) -> str:
        """A new salt: that of ``load``, or one of its own."""
        if not self._is_new:
            self._renew()
        self._is_new = False
        return (
            "The private key and the secrets in the store are sealed with your passphrase: nobody opens them without it,"
            " and there is no way to replace it if you forget it."
        )

    def parameters(self) -> str:
        """Algorithm, cost and salt."""
        return _SCHEME + base64.b64encode(self._salt).decode()

    def wrong(self, store: Path) -> KeyWrong:
        """It is not the passphrase."""
        return PassphraseWrong(store, "the passphrase is not the one that sealed the secrets in this store")

    def retire(self) -> None:
        """Forget the key that was derived; nothing is kept anywhere else."""
        self._cipher = None

    def _key(self) -> bytes:
        try:
            kdf = Argon2id(salt=self._salt, length=KEY_BYTES, iterations=PASSES, lanes=LANES, memory_cost=MEMORY_KIB)
        except UnsupportedAlgorithm:
            cause = "a passphrase needs Argon2id, and the OpenSSL of this computer has none: it takes version 3.2 or later"
            raise SealUnavailable(self._store, cause) from None
        try:
            typed = opaque(self._asked())
        except ValueError as error:
            raise SealUnavailable(self._store, f"this cannot be its passphrase: {error}") from None
        return kdf.derive(typed)

    def _asked(self) -> str:
        if callable(self._source):
            try:
                said = self._source()
            except (OSError, EOFError, LookupError, ValueError) as error:
                # A file, a prompt, a variable. From None: some of these carry what they could not read.
                cause = f"the passphrase that opens its secrets could not be asked for ({type(error).__name__})"
                raise SealUnavailable(self._store, cause) from None
            if not said:
                raise SealUnavailable(self._store, "no passphrase was given to open its secrets")
            self._source = said
        return self._source
