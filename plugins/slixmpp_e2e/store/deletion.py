"""Delete our identity from a store, alone or with everything else in it. The store remembers that it was deleted."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Connection, StaticPool, create_engine, delete, insert, select

from slixmpp_e2e.store import tables
from slixmpp_e2e.store.error_mapping import translate_errors
from slixmpp_e2e.store.errors import StoreError, StoreReason
from slixmpp_e2e.store.key_protection.key_file import KeyFile
from slixmpp_e2e.store.key_protection.protection import KeyProtection

IN_USE_SECONDS = 1.0
"""Time to wait for a store that is to be replaced or emptied: a command is done with it by then, a program is not."""

_META, _IDENTITY = tables.meta, tables.identity


def delete_identity(path: Path, protection: KeyProtection, *, everything: bool = False) -> None:
    """Delete our private key and certificate; with ``everything`` also peers' keys, policies, secrets, the protection's key.

    ``protection`` is that of the store; its key is not needed. No new identity is made until the user asks for one. StoreError
    if a program uses the store, or if there is no identity and not ``everything``.
    """
    with _alone(path) as connection:
        if not everything and connection.execute(select(_IDENTITY.c.generation)).first() is None:
            raise StoreError(path, "the store has no identity, so none to delete", StoreReason.IDENTITY_MISSING)
        sealed = connection.execute(select(_META.c.value).where(_META.c.name == tables.PROTECTION)).scalar() or KeyFile.kind
        gone, marks = {tables.ROTATIONS, tables.IDENTITY_DELETED}, [tables.IDENTITY_DELETED]
        if everything:
            gone |= {tables.KEY_CHECK, tables.KEY_BEGUN, tables.PROTECTION}
            marks.append(tables.KEY_BEGUN)  # should we be interrupted before the protection's key is gone
        for table in set(tables.metadata.sorted_tables) - {_META} if everything else {_IDENTITY}:
            connection.execute(delete(table))
        connection.execute(delete(_META).where(_META.c.name.in_(gone)))
        connection.execute(insert(_META), [{"name": mark, "value": ""} for mark in marks])
    if everything:
        _, _, parameters = sealed.partition(" ")
        protection.bind(path, parameters or None)
        protection.delete_key()


@contextmanager
def _alone(path: Path) -> Iterator[Connection]:
    """Run a transaction while no other connection is open. What is deleted in it is overwritten."""
    with translate_errors(path):
        address = f"{path.as_uri()}?mode=rw"
        with closing(sqlite3.connect(address, uri=True, timeout=IN_USE_SECONDS, isolation_level=None)) as driver:
            refuse_in_use(path, driver)
            driver.execute("PRAGMA secure_delete = ON")
            engine = create_engine("sqlite://", creator=lambda: driver, poolclass=StaticPool, hide_parameters=True)
            with engine.begin() as connection:
                connection.exec_driver_sql("BEGIN EXCLUSIVE")
                yield connection


def refuse_in_use(path: Path, driver: sqlite3.Connection) -> None:
    """Raise StoreError if another connection to the store is open, or ``sqlite3.Error`` if it is too damaged to tell."""
    try:
        driver.execute("PRAGMA journal_mode = DELETE")  # needs the file for itself
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            raise StoreError(path, "a program uses the store", StoreReason.BUSY) from error
        raise
