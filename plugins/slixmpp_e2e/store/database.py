"""One SQLite file, opened so that several processes may share it: WAL, a busy timeout, BEGIN IMMEDIATE for writes.

Everything that only SQLite knows is here. ``synchronous = NORMAL``: a crash of the program loses nothing; a power cut
may lose the last changes, never the consistency of the file.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, StaticPool, create_engine, event, insert, inspect, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from slixmpp_e2e.store import tables
from slixmpp_e2e.store.errors import (
    NotAStore,
    StoreBusy,
    StoreDamaged,
    StoreError,
    StoreFull,
    StoreInaccessible,
    UnknownSchema,
)
from slixmpp_e2e.store.seal import Sealer, restrict

BUSY_SECONDS = 5.0
"""How long we wait for another process: its changes take milliseconds, so after this it hangs."""
_WAL_ATTEMPTS = 10
"""Switching to WAL ignores the timeout and is refused at once while another process looks at the file; so many would
have to start in the same instant."""
_BEGIN = "begin"

_CAUSES: dict[int, tuple[type[StoreError], str]] = {
    sqlite3.SQLITE_NOTADB: (NotAStore, "this is no SQLite database"),
    sqlite3.SQLITE_CORRUPT: (StoreDamaged, "the store is damaged"),
    sqlite3.SQLITE_FULL: (StoreFull, "the disk is full"),
    sqlite3.SQLITE_BUSY: (StoreBusy, f"another process has held the store for {BUSY_SECONDS:g} seconds"),
    sqlite3.SQLITE_LOCKED: (StoreBusy, "the store is locked"),
    sqlite3.SQLITE_READONLY: (StoreInaccessible, "the store cannot be written"),
    sqlite3.SQLITE_CANTOPEN: (StoreInaccessible, "the store cannot be opened"),
    sqlite3.SQLITE_IOERR: (StoreInaccessible, "the disk cannot be read or written"),
    sqlite3.SQLITE_PERM: (StoreInaccessible, "access to the store is denied"),
}


class Database:
    """One open file: one connection, one transaction at a time."""

    def __init__(self, path: Path, connection: Connection) -> None:
        self.path = path
        self._connection = connection
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        self._driver = driver

    def close(self) -> None:
        """Let go of the file. Twice does no harm."""
        self._connection.close()
        self._connection.engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A consistent view. StoreError."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """All or nothing, and nobody else writes meanwhile. StoreError."""
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        with explained(self.path):
            self._connection.info[_BEGIN] = begin
            with self._connection.begin():
                yield self._connection

    def version(self) -> int:
        """Another number whenever *another* connection has written (5 µs; a query takes hundreds)."""
        with explained(self.path):
            return int(self._driver.execute("PRAGMA data_version").fetchone()[0])


def open_database(path: Path, sealer: Sealer) -> Database:
    """Open the store at ``path``, which is made if neither it nor the sealer's key is there. StoreError."""
    _ensure_file(path, sealer)
    with explained(path):
        database = Database(path, _connect(path))
    try:
        _check(database, sealer)
        # From here on it is ours to change.
        _restrict(path)
        with explained(path):
            _write_ahead(database)
    except BaseException:
        database.close()
        raise
    return database


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Whatever the database says, said for people, with the file's name and without a row's content."""
    try:
        yield
    except DBAPIError as error:
        raise _explain(path, error.orig) from error
    except sqlite3.Error as error:
        raise _explain(path, error) from error
    except SQLAlchemyError as error:
        raise StoreError(path, f"the store cannot be used ({type(error).__name__})") from error


def _explain(path: Path, error: BaseException | None) -> StoreError:
    code = getattr(error, "sqlite_errorcode", None)
    kind, cause = _CAUSES.get(code & 0xFF if code else -1, (StoreError, "the store cannot be used"))
    return kind(path, f"{cause} ({error})")


def _ensure_file(path: Path, sealer: Sealer) -> None:
    """If there is no file, make an empty one that is its owner's alone."""
    # The key is asked for first: whoever makes both at this moment makes the file first.
    if sealer.ready() and not path.exists():
        raise StoreDamaged(path, "the store is gone, but the key that opens it is still there")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        pass  # an older store, somebody else's file, or another process was faster: _check tells
    except OSError as error:
        raise StoreInaccessible(path, f"the store cannot be created ({error.strerror})") from error


def _connect(path: Path) -> Connection:
    def connect() -> sqlite3.Connection:
        # mode=rw: SQLite itself never makes the file, whose permissions are ours. isolation_level None: we say BEGIN.
        return sqlite3.connect(
            f"{path.as_uri()}?mode=rw", uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )

    engine = create_engine("sqlite://", creator=connect, poolclass=StaticPool, hide_parameters=True)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.info[_BEGIN])

    return engine.connect()


def _check(database: Database, sealer: Sealer) -> None:
    """Make the tables of a new store, or find those of an old one in order."""
    for pragma in ("foreign_keys = ON", "synchronous = NORMAL", "secure_delete = ON"):
        with explained(database.path):
            database._driver.execute(f"PRAGMA {pragma}")
    with database.writing() as connection:
        names = inspect(connection).get_table_names()
        if not names:
            if database.path.stat().st_size:  # SQLite would take a file of one byte, or somebody's database without tables
                raise NotAStore(database.path, "this is no store of ours, though it is almost empty")
            if sealer.ready():
                raise StoreDamaged(database.path, "the store is empty, but the key that opens it is there")
            tables.metadata.create_all(connection)
            connection.execute(insert(tables.meta).values(name=tables.SCHEMA, value=str(tables.HEAD)))
            return
        version = _schema(connection) if tables.meta.name in names else None
        if version is None:
            raise NotAStore(database.path, "this is the database of another program")
        _bring_to_head(database.path, version)
        if (verdict := str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar())) != "ok":
            raise StoreDamaged(database.path, f"the store is damaged ({' '.join(verdict.split())})")


def _schema(connection: Connection) -> str | None:
    """What the store says of its schema; None if it says nothing, as it is not ours."""
    columns = {column["name"] for column in inspect(connection).get_columns(tables.meta.name)}
    if not columns >= {column.name for column in tables.meta.columns}:
        return None
    version = connection.execute(select(tables.meta.c.value).where(tables.meta.c.name == tables.SCHEMA)).scalar()
    return None if version is None else str(version)


def _bring_to_head(path: Path, version: str) -> None:
    """Migrations slot in here; there is none yet, so that every version but HEAD is unknown."""
    if version != str(tables.HEAD):
        raise UnknownSchema(path, f"the store has schema {version}, and this version knows only {tables.HEAD}")


def _restrict(path: Path) -> None:
    """The file is its owner's alone, and so are those that SQLite keeps beside it."""
    try:
        for suffix in ("", "-wal", "-shm"):
            restrict(path.with_name(path.name + suffix))
    except OSError as error:
        raise StoreInaccessible(path, f"the store cannot be kept from other users ({error.strerror})") from error


def _write_ahead(database: Database) -> None:
    """Readers and a writer do not wait for each other."""
    for attempt in range(_WAL_ATTEMPTS):
        try:
            database._driver.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or attempt == _WAL_ATTEMPTS - 1:
                raise
        with database.writing():  # waits until whoever writes is done
            pass
