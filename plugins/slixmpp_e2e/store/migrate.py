"""Bringing a store to the schema of this version: an older one by Alembic and the scripts in ``migrations``.

All within the transaction of whoever opens the store: every step happens or none, and other processes wait. Before a
store changes, a copy is laid beside it. Alembic takes half a second to load, so only an older store is worth that: a new
one is made of ``tables``, which a test finds to be what the scripts make.
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
from slixmpp_e2e.store.causes import explained, inaccessible
from slixmpp_e2e.store.errors import MigrationFailed, NotAStore, UnknownSchema

SCRIPTS = "slixmpp_e2e.store:migrations"
"""Alembic's way to name a folder in a package, wherever that is installed."""
_BEFORE_ALEMBIC = {"1": "0001"}
"""What the first stores say of their schema, and which of the scripts makes the same one."""
_ONE_AT_A_TIME = threading.Lock()
"""Alembic keeps what it works on in a global variable. Taken only inside a transaction, so that nobody waits in a ring."""
_OF_A_MIGRATION = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH}
"""What is wrong with its statements, or with rows that they do not expect; anything else is the disk's or another's."""


def schema_of(connection: Connection, path: Path) -> str | None:
    """The version of a store, None where there are no tables. NotAStore."""
    names = inspect(connection).get_table_names()
    if tables.version.name in names:
        return ", ".join(sorted(map(str, connection.execute(select(tables.version.c.version_num)).scalars())))
    if tables.meta.name in names:
        columns = {column["name"] for column in inspect(connection).get_columns(tables.meta.name)}
        if columns >= {column.name for column in tables.meta.columns}:
            said = select(tables.meta.c.value).where(tables.meta.c.name == tables.SCHEMA)
            if (version := connection.execute(said).scalar()) is not None:
                return str(version)
    if names:
        raise NotAStore(path, "this is the database of another program")
    return None


def load() -> None:
    """Load Alembic, which takes long: before others are kept waiting."""
    import alembic.command
    import alembic.config
    import alembic.script  # noqa: F401


def create(connection: Connection) -> None:
    """Make the tables of a new store, at ``HEAD``."""
    tables.metadata.create_all(connection)
    tables.version.create(connection)
    connection.execute(insert(tables.version).values({"version_num": tables.HEAD}))


def upgrade(connection: Connection, path: Path, version: str) -> Path:
    """From ``version`` to ``HEAD``; the copy that was made before. UnknownSchema, MigrationFailed."""
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
        raise UnknownSchema(path, f"the store has schema {version!r}, and this version knows only up to {tables.HEAD}")
    copy = _copy(path, version)
    try:
        with _ONE_AT_A_TIME:
            if same is not None:
                command.stamp(config, same)
                connection.execute(delete(tables.meta).where(tables.meta.c.name == tables.SCHEMA))
            command.upgrade(config, tables.HEAD)
    except (LookupError, TypeError, ValueError) as error:  # what a migration says to a row that it does not expect
        raise _failed(path, version, error) from error
    except DBAPIError as error:
        if getattr(error.orig, "sqlite_errorcode", 0) & 0xFF not in _OF_A_MIGRATION:
            raise
        raise _failed(path, version, error.orig) from error
    return copy


def _failed(path: Path, version: str, error: BaseException | None) -> MigrationFailed:
    way = f"from schema {version} to {tables.HEAD}"
    return MigrationFailed(path, f"the store could not be brought {way} ({type(error).__name__})")


def _copy(path: Path, version: str) -> Path:
    """What is in the store now, on the disk, in a file of its owner's alone; it takes the place of an earlier one."""
    copy = path.with_name(f"{path.name}.schema-{version}")
    unfinished = copy.with_name(f"{copy.name}.part")
    try:
        unfinished.unlink(missing_ok=True)  # of a process that was killed: we are alone in here
        os.close(os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        with (
            explained(unfinished),
            # Another connection sees what ours has found; ours cannot copy in the middle of its transaction.
            closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(f"{unfinished.as_uri()}?mode=rw", uri=True)) as target,
        ):
            source.backup(target)
        with open(unfinished, "rb+") as file:
            os.fsync(file.fileno())
        unfinished.replace(copy)
    except BaseException as error:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise inaccessible(unfinished, "the store cannot be copied before its schema changes", error) from error
        raise
    return copy
