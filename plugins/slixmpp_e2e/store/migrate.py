"""Make the tables of a new store, and migrate an older store with Alembic and the scripts in ``migrations``.

Everything happens in the transaction that opens the store: all steps or none, and other processes wait. Before a store is
changed, a copy of it is made beside it. Alembic takes half a second to load, so it is loaded for older stores only. A new
store is made from ``tables``; a test checks that the scripts make the same schema.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing, suppress
from pathlib import Path

from sqlalchemy import Connection, delete, insert, inspect, select
from sqlalchemy.exc import DBAPIError

from slixmpp_e2e.store import tables
from slixmpp_e2e.store.error_mapping import os_error, translate_errors
from slixmpp_e2e.store.errors import StoreError, StoreReason
from slixmpp_e2e.store.files import sync_folder

SCRIPTS = "slixmpp_e2e.store:migrations"
"""A folder in a package, as Alembic names it."""
_BEFORE_ALEMBIC = {"1": "0001"}
"""The schema version in the first stores, and the script that makes the same schema."""
_ONE_AT_A_TIME = threading.Lock()
"""Alembic keeps its state in a global variable. Locked only inside a transaction, so that there is no deadlock."""
_MIGRATION_ERRORS = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH}
"""Errors of a migration's statements, or of rows that they do not expect. Other errors come from the disk or the lock."""


def schema_version(connection: Connection, path: Path) -> str | None:
    """Return the schema version of a store, or None if there are no tables. StoreError."""
    names = inspect(connection).get_table_names()
    if tables.version.name in names:
        return ", ".join(sorted(map(str, connection.execute(select(tables.version.c.version_num)).scalars())))
    if tables.meta.name in names:
        columns = {column["name"] for column in inspect(connection).get_columns(tables.meta.name)}
        if columns >= {column.name for column in tables.meta.columns}:
            query = select(tables.meta.c.value).where(tables.meta.c.name == tables.SCHEMA)
            if (version := connection.execute(query).scalar()) is not None:
                return str(version)
    if names:
        raise StoreError(path, "this is the database of another program", StoreReason.NOT_A_STORE)
    return None


def load_alembic() -> None:
    """Import Alembic, which takes long, before other processes have to wait for us."""
    import alembic.command
    import alembic.config
    import alembic.script  # noqa: F401


def create_tables(connection: Connection) -> None:
    """Make the tables of a new store, at version ``HEAD``."""
    tables.metadata.create_all(connection)
    tables.version.create(connection)
    connection.execute(insert(tables.version).values({"version_num": tables.HEAD}))


def upgrade(connection: Connection, path: Path, version: str) -> Path:
    """Migrate from ``version`` to ``HEAD``, and return the path of the copy that was made before. StoreError."""
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", SCRIPTS)
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    noted = inspect(connection).has_table(tables.version.name)
    same = None if noted else _BEFORE_ALEMBIC.get(version)
    if (version if noted else same) not in known:
        raise StoreError(
            path,
            f"the store has schema {version!r}, and this version knows only up to {tables.HEAD}",
            StoreReason.UNKNOWN_SCHEMA,
        )
    copy = _backup(path, version)
    try:
        with _ONE_AT_A_TIME:
            if same is not None:
                command.stamp(config, same)
                connection.execute(delete(tables.meta).where(tables.meta.c.name == tables.SCHEMA))
            command.upgrade(config, tables.HEAD)
    except (LookupError, TypeError, ValueError) as error:  # a row that the migration does not expect
        raise _failed(path, version, error) from error
    except DBAPIError as error:
        if getattr(error.orig, "sqlite_errorcode", 0) & 0xFF not in _MIGRATION_ERRORS:
            raise
        raise _failed(path, version, error.orig) from error
    return copy


def _failed(path: Path, version: str, error: BaseException | None) -> StoreError:
    cause = f"the store could not be migrated from schema {version} to {tables.HEAD} ({type(error).__name__})"
    return StoreError(path, cause, StoreReason.MIGRATION_FAILED)


def _backup(path: Path, version: str) -> Path:
    """Copy the store durably to a file that only its owner may read, in the place of an earlier copy. Return its path."""
    copy = path.with_name(f"{path.name}.schema-{version}")
    unfinished = copy.with_name(f"{copy.name}.part")
    try:
        unfinished.unlink(missing_ok=True)  # left by a process that was killed; we hold the only transaction that writes
        os.close(os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        with (
            translate_errors(unfinished),
            # Our own connection cannot copy in the middle of its transaction. Another one sees the same content.
            closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(f"{unfinished.as_uri()}?mode=rw", uri=True)) as target,
        ):
            source.backup(target)
        with open(unfinished, "rb+") as file:
            os.fsync(file.fileno())
        unfinished.replace(copy)
        sync_folder(copy.parent)
    except BaseException as error:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise os_error(unfinished, "the store cannot be copied before its schema changes", error) from error
        raise
    return copy
