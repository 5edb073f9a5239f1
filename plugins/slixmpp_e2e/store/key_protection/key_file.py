"""Sealing: AES-256-GCM (NIST SP 800-38D) over a value, bound to the place where it is kept.

The associated data is table and row, so that a sealed value opens nowhere else. Where the key is from is what tells one
``Sealer`` from another: here a file, in ``passphrase`` the user's head, in ``keyring`` the operating system.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from slixmpp_e2e.store.causes import inaccessible
from slixmpp_e2e.store.errors import KeyMissing, KeyWrong

KEY_BYTES = 32
"""AES-256."""
NONCE_BYTES = 12
"""Random, once per value: 2^32 of them are allowed with one key (SP 800-38D §8.3), a store seals some hundreds."""
_LABEL = b"xmpp-e2e store seal 1"


@runtime_checkable
class Sealer(Protocol):
    """Keeps what is written into a store from whoever has the store without the key. One object serves one store."""

    kind: ClassVar[str]
    """How the store calls it: one word."""
    slow: ClassVar[bool]
    """Does ``load`` take so long that an event loop must not wait for it?"""

    def ready(self) -> bool:
        """Is there a key outside the store already?"""
        ...

    def attach(self, store: Path, parameters: str | None) -> None:
        """Before every use: the store, for messages, and its ``parameters``; None: nothing is sealed yet. ValueError."""
        ...

    def create(self) -> str:
        """Make a key, unless there is one (``ready()``); one sentence for the user on what it protects. StoreError."""
        ...

    def parameters(self) -> str:
        """What finds the key again. It is kept in the store, in clear."""
        ...

    def load(self) -> None:
        """After ``attach``: have the key at hand, or what ``create`` makes one of, so that what follows takes no time. Nobody
        waits for it, and it may ask its user. StoreError."""
        ...

    def seal(self, value: bytes, *place: str | bytes) -> bytes:
        """``value`` in a form that opens only here: ``place`` is the table and what identifies the row. StoreError."""
        ...

    def unseal(self, sealed: bytes, *place: str | bytes) -> bytes:
        """What was sealed for this place with this key; InvalidTag if it was not. StoreError if there is no key."""
        ...

    def wrong(self, store: Path) -> KeyWrong:
        """What to say when the key opens nothing."""
        ...

    def retire(self) -> None:
        """Nothing is sealed with the key any more: remove it from where it is kept. StoreError."""
        ...


class Cipher:
    """The sealing that all share; they differ in ``_key``."""

    def __init__(self) -> None:
        self._cipher: AESGCM | None = None

    def seal(self, value: bytes, *place: str | bytes) -> bytes:
        """Nonce, ciphertext and tag. KeyMissing, KeyWrong, StoreInaccessible, SealUnavailable."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._loaded().encrypt(nonce, value, _associated(place))

    def unseal(self, sealed: bytes, *place: str | bytes) -> bytes:
        """The value; InvalidTag, KeyMissing, KeyWrong, StoreInaccessible, SealUnavailable."""
        cipher = self._loaded()
        if len(sealed) < NONCE_BYTES:
            raise InvalidTag
        return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], _associated(place))

    def wrong(self, store: Path) -> KeyWrong:
        """The key is another store's."""
        return KeyWrong(store, "the key is not the one that sealed the secrets in this store")

    def _loaded(self) -> AESGCM:
        if self._cipher is None:
            self._cipher = AESGCM(self._key())
        return self._cipher

    def _key(self) -> bytes:
        """``KEY_BYTES`` bytes; StoreError."""
        raise NotImplementedError


class KeyFile(Cipher):
    """A random key in a file that only its owner may read."""

    kind: ClassVar[str] = "key-file"
    slow: ClassVar[bool] = False

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def __repr__(self) -> str:
        return f"KeyFile({str(self.path)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeyFile) and os.path.realpath(other.path) == os.path.realpath(self.path)

    def __hash__(self) -> int:
        return hash(os.path.realpath(self.path))

    def ready(self) -> bool:
        """Is the file there (or was it, when it was read)?"""
        return self._cipher is not None or os.path.lexists(self.path)

    def attach(self, store: Path, parameters: str | None) -> None:
        """There are none. ValueError if there are."""
        if parameters:
            raise ValueError("a key file has no parameters")

    def load(self) -> None:
        """Nothing: reading a file takes no time."""

    def parameters(self) -> str:
        """None: the path says it all."""
        return ""

    def create(self) -> str:
        """Write a new key to the disk. StoreInaccessible, also if there is a file already: it is never overwritten."""
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise inaccessible(self.path, "the key file cannot be created", error) from error
        try:
            with open(descriptor, "wb") as file:
                file.write(os.urandom(KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())  # the key must be on the disk before anything that needs it
            _sync_folder(self.path.parent)
        except OSError as error:
            self.path.unlink()  # ours, a moment old, and nothing is sealed with it
            raise inaccessible(self.path, "the key file cannot be written", error) from error
        return (
            f"A random key was written to {self.path}, readable by you only: it keeps the private key and the secrets"
            " in the store from whoever gets hold of the store alone, not from whoever can read both files; back up both."
        )

    def retire(self) -> None:
        """Delete the file; StoreInaccessible. No harm if it is gone."""
        self._cipher = None
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise inaccessible(self.path, "the key file cannot be deleted", error) from error

    def _key(self) -> bytes:
        try:
            with open(self.path, "rb") as file:
                restrict(self.path)
                key = file.read(KEY_BYTES + 1)
        except FileNotFoundError:
            raise KeyMissing(self.path, "the key file that opens the secrets in the store is missing") from None
        except OSError as error:
            raise inaccessible(self.path, "the key file cannot be read", error) from error
        if len(key) != KEY_BYTES:
            raise KeyWrong(self.path, f"this is no key file: it does not hold exactly {KEY_BYTES} bytes")
        return key


def restrict(path: Path) -> None:
    """Keep a file, if it is there, from everybody but its owner: a restored copy is often readable by all. OSError."""
    with contextlib.suppress(FileNotFoundError):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            path.chmod(mode & 0o700)


def _associated(place: tuple[str | bytes, ...]) -> bytes:
    """Each part with its length before it, so that no two places are written alike."""
    parts = [_LABEL, *(part.encode() if isinstance(part, str) else part for part in place)]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _sync_folder(folder: Path) -> None:
    """Make the name of a new file durable, where folders can be synchronised."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
