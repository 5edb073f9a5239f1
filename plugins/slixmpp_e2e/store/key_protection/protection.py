"""Encrypt the secrets in a store with AES-256-GCM (NIST SP 800-38D), and bind each to its row.

The associated data names table and row, so that an encrypted value opens nowhere else. The classes in this folder differ
in where the key is kept: in a file, in the keyring of the operating system, or in the user's memory.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from slixmpp_e2e.store.errors import StoreError, StoreReason

KEY_BYTES = 32
"""AES-256."""
NONCE_BYTES = 12
"""Random for each value. One key may have 2^32 of them (SP 800-38D §8.3); a store encrypts some hundreds of values."""
_LABEL = b"xmpp-e2e store seal 1"


@runtime_checkable
class KeyProtection(Protocol):
    """Protects the secrets in a store from anybody who has the store without the key. One object serves one store."""

    kind: ClassVar[str]
    """Its name in the store: one word."""
    is_slow: ClassVar[bool]
    """Whether ``load_key`` takes so long that an event loop must not wait for it."""

    def has_key(self) -> bool:
        """Return whether the key exists outside the store already."""
        ...

    def bind(self, store: Path, parameters: str | None) -> None:
        """Take the store's path, for messages, and its ``parameters``; None: nothing is encrypted yet. ValueError.

        Called before every use.
        """
        ...

    def create_key(self) -> str:
        """Make a new key, and return one sentence for the user on what it protects. StoreError.

        Called only if ``has_key()`` is false.
        """
        ...

    def parameters(self) -> str:
        """Return what is needed to find the key again. The store keeps it unencrypted."""
        ...

    def load_key(self) -> None:
        """Load the key, or prepare a new one, so that later calls are fast. StoreError.

        Called after ``bind``. It may ask the user.
        """
        ...

    def encrypt(self, value: bytes, *place: str | bytes) -> bytes:
        """Encrypt ``value`` for one ``place``: the table, and what identifies the row. StoreError."""
        ...

    def decrypt(self, encrypted: bytes, *place: str | bytes) -> bytes:
        """Return the value. InvalidTag if it was encrypted for another place or with another key; StoreError without a key."""
        ...

    def wrong_key_error(self, store: Path) -> StoreError:
        """Return the error for a key that opens nothing."""
        ...

    def delete_key(self) -> None:
        """Delete a key that encrypts nothing any more. StoreError."""
        ...


class AesGcmProtection:
    """The encryption that all protections share. Subclasses read the key."""

    def __init__(self) -> None:
        self._cipher: AESGCM | None = None

    def encrypt(self, value: bytes, *place: str | bytes) -> bytes:
        """Return nonce, ciphertext and tag. StoreError."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._loaded_cipher().encrypt(nonce, value, associated_data(place))

    def decrypt(self, encrypted: bytes, *place: str | bytes) -> bytes:
        """Return the value. InvalidTag, StoreError."""
        cipher = self._loaded_cipher()
        if len(encrypted) < NONCE_BYTES:
            raise InvalidTag
        return cipher.decrypt(encrypted[:NONCE_BYTES], encrypted[NONCE_BYTES:], associated_data(place))

    def wrong_key_error(self, store: Path) -> StoreError:
        """Return the error for a key that belongs to another store."""
        return StoreError(store, "the key is not the one that encrypted the secrets in this store", StoreReason.WRONG_KEY)

    def _loaded_cipher(self) -> AESGCM:
        if self._cipher is None:
            self._cipher = AESGCM(self._read_key())
        return self._cipher

    def _read_key(self) -> bytes:
        """Return ``KEY_BYTES`` bytes. StoreError."""
        raise NotImplementedError


def associated_data(place: tuple[str | bytes, ...]) -> bytes:
    """Encode a place. Each part follows its length, so that no two places have the same encoding."""
    parts = [_LABEL, *(part.encode() if isinstance(part, str) else part for part in place)]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
