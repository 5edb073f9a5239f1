"""Seal a copy of a store in one file with a passphrase, and restore it.

A backup is ``MAGIC``, one byte of version, a line with the parameters of the passphrase (algorithm, cost, salt), a known text
and the content, each encrypted (AES-256-GCM with a key by Argon2id, 12 bytes of nonce before it and 16 of tag behind it) and
bound to all that precedes the known text. The content is the name of the store's file and a line feed, a key, and the SQLite
database. Its secrets are encrypted with that key, which was made for the backup: a restored store is protected by a key file,
whatever protected the original. Nothing unsealed is written to a disk before it is restored.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from sqlalchemy import StaticPool, create_engine

from slixmpp_e2e.store.deletion import IN_USE_SECONDS, refuse_in_use
from slixmpp_e2e.store.error_mapping import os_error, translate_errors
from slixmpp_e2e.store.errors import StoreError, StoreReason
from slixmpp_e2e.store.files import sync_folder
from slixmpp_e2e.store.key_protection.key_file import KeyFile, key_file_beside
from slixmpp_e2e.store.key_protection.passphrase import Passphrase
from slixmpp_e2e.store.key_protection.protection import KEY_BYTES, NONCE_BYTES
from slixmpp_e2e.store.secret_table import SecretTable
from slixmpp_e2e.store.sql_store import SQLStore

MAGIC = b"xmpp-e2e backup\n"
VERSION = b"\x01"
_CHECK_TEXT = b"xmpp-e2e"
_CHECK_BYTES = NONCE_BYTES + len(_CHECK_TEXT) + 16
"""Nonce, text and tag. It tells a wrong passphrase from a damaged file."""


class Backup(NamedTuple):
    """What a backup holds."""

    name: str
    """The name of the store's file, which tells the account."""
    key: bytes
    database: bytes

    def __repr__(self) -> str:
        return f"Backup({self.name!r})"


class _BackupKey(KeyFile):
    """A key that no file holds yet."""

    def __init__(self, key: bytes) -> None:
        super().__init__(Path())
        self._key = key

    def has_key(self) -> bool:
        return True

    def _read_key(self) -> bytes:
        return self._key


def write_backup(store: SQLStore, file: Path, passphrase: Passphrase, *, overwrite: bool = False) -> None:
    """Seal what the store holds at this moment, also while programs use it, in a file that only its owner may read.

    ``passphrase`` is one that serves no store. StoreError, also if the file exists, unless ``overwrite``.
    """
    if not store.load_key():
        raise StoreError(store.path, "the store has no identity yet, and so nothing to back up", StoreReason.IDENTITY_MISSING)
    if os.path.lexists(file) and not overwrite:
        raise StoreError(file, "this file exists already", StoreReason.EXISTS)
    key = os.urandom(KEY_BYTES)
    content = store.path.name.encode() + b"\n" + key + _copy(store, key)
    passphrase.bind(file, None)
    passphrase.load_key()
    header = MAGIC + VERSION + passphrase.parameters().encode() + b"\n"
    sealed = passphrase.encrypt(_CHECK_TEXT, "check", header) + passphrase.encrypt(content, "content", header)
    part = _write(_part(file), header + sealed)
    try:
        part.replace(file)
        sync_folder(file.absolute().parent)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise os_error(file, "the backup cannot be written", error) from error


def read_backup(file: Path, passphrase: Passphrase) -> Backup:
    """Open a backup. StoreError."""
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise os_error(file, "the backup cannot be read", error) from error
    if not raw.startswith(MAGIC):
        raise StoreError(file, "this is no backup of a store", StoreReason.NOT_A_BACKUP)
    version = raw[len(MAGIC) : len(MAGIC) + 1]
    if version and version != VERSION:
        raise StoreError(file, f"the backup has version {version[0]}, and this version knows only 1", StoreReason.NOT_A_BACKUP)
    parameters, _, sealed = raw[len(MAGIC) + 1 :].partition(b"\n")
    header = raw[: len(raw) - len(sealed)]
    try:
        passphrase.bind(file, parameters.decode())
    except ValueError:
        raise StoreError(file, "the backup is damaged: its first lines make no sense", StoreReason.BACKUP_DAMAGED) from None
    if len(sealed) <= _CHECK_BYTES:
        raise StoreError(file, "the backup is damaged: it was cut short", StoreReason.BACKUP_DAMAGED)
    try:
        passphrase.decrypt(sealed[:_CHECK_BYTES], "check", header)
    except InvalidTag:
        cause = "the passphrase is not the one that sealed this backup"
        raise StoreError(file, cause, StoreReason.WRONG_PASSPHRASE) from None
    try:
        content = passphrase.decrypt(sealed[_CHECK_BYTES:], "content", header)
    except InvalidTag:
        raise StoreError(file, "the backup is damaged: it was cut short or altered", StoreReason.BACKUP_DAMAGED) from None
    name, _, rest = content.partition(b"\n")
    return Backup(name.decode(), rest[:KEY_BYTES], rest[KEY_BYTES:])


def restore(backup: Backup, path: Path, *, overwrite: bool = False) -> tuple[Path, ...]:
    """Make the store at ``path`` from a backup, with a key file beside it. Return the files that were moved out of the way.

    StoreError if there is a store or a key file already; with ``overwrite`` only if a program uses that store.
    """
    path = path.expanduser().resolve()
    key_file = key_file_beside(path).path
    with_journal = [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm")]
    existing = [file for file in (*with_journal, key_file) if os.path.lexists(file)]
    if existing and not overwrite:
        raise StoreError(existing[0], "there is a store already", StoreReason.EXISTS)
    _refuse_in_use(path)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise os_error(path, "the store cannot be created", error) from error
    new_key = _write(_part(key_file), backup.key)
    try:
        new_database = _write(_part(path), backup.database)
    except StoreError:
        new_key.unlink(missing_ok=True)  # a key that opens nothing yet, in plaintext
        raise
    try:
        moved = tuple(_move_away(file) for file in existing if os.path.lexists(file))
        new_key.replace(key_file)  # should we be interrupted here, a key without its store is refused, and restored over
        new_database.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise os_error(path, "the store cannot be replaced", error) from error
    return moved


def _copy(store: SQLStore, key: bytes) -> bytes:
    """Return a consistent copy of the database, with its secrets encrypted by ``key``."""
    with (
        translate_errors(store.path),
        closing(sqlite3.connect(f"{store.path.as_uri()}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(":memory:", isolation_level=None)) as copy,
    ):
        source.backup(copy)
        content = bytearray(copy.serialize())
        content[18:20] = b"\x01\x01"  # no WAL, which a database in memory cannot have (SQLite file format §1.3.3)
        copy.deserialize(bytes(content))
        copy.execute("PRAGMA secure_delete = ON")
        engine = create_engine("sqlite://", creator=lambda: copy, poolclass=StaticPool, hide_parameters=True)
        with engine.begin() as connection:
            store.protect_copy(connection, SecretTable(store.path, _BackupKey(key)))
        copy.execute("VACUUM")  # nothing of what was deleted is kept
        return copy.serialize()


def _refuse_in_use(path: Path) -> None:
    """Raise StoreError if another connection is open. A store that is too damaged to tell is used by nobody."""
    with (
        suppress(sqlite3.Error),
        closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=IN_USE_SECONDS)) as connection,
    ):
        refuse_in_use(path, connection)


def _part(file: Path) -> Path:
    return file.with_name(f"{file.name}.part")


def _write(part: Path, content: bytes) -> Path:
    """Write a file durably that only its owner may read, in the place of one that was left by an interruption."""
    try:
        part.unlink(missing_ok=True)
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise os_error(part, "the file cannot be written", error) from error
    return part


def _move_away(file: Path) -> Path:
    """Rename a file so that no earlier one is lost. Return its new path. OSError."""
    number = 1
    while os.path.lexists(away := file.with_name(f"{file.name}.replaced-{number}")):
        number += 1
    return file.rename(away)
