"""One SQLite file, opened so that several processes may share it: WAL, a busy timeout, BEGIN IMMEDIATE for writes.

Everything that only SQLite knows is here. ``synchronous = NORMAL``: a crash of the program loses nothing; a power cut
may lose the last changes, never the consistency of the file.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import Connection, StaticPool, create_engine, event

from slixmpp_e2e.store import migrate, tables
from slixmpp_e2e.store.causes import BUSY_SECONDS, explained, inaccessible
from slixmpp_e2e.store.errors import NotAStore, StoreDamaged
from slixmpp_e2e.store.key_protection.key_file import Sealer, restrict

_WAL_ATTEMPTS = 10
"""Switching to WAL ignores the timeout and is refused at once while another process looks at the file; so many would
have to start in the same instant."""
_BEGIN = "begin"


class Database:
    """One open file: one connection, one transaction at a time."""

    def __init__(self, path: Path, connection: Connection) -> None:
        self.path = path
        self.copy: Path | None = None
        """The store as it was, if opening it has changed its schema."""
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
    def writing_durably(self) -> Iterator[Connection]:
        """As ``writing``; afterwards not even a power cut takes the change back, and what it replaced is overwritten."""
        with explained(self.path):
            self._driver.execute("PRAGMA synchronous = FULL")
        try:
            with self.writing() as connection:
                yield connection
        finally:
            with explained(self.path):
                self._driver.execute("PRAGMA synchronous = NORMAL")
        with suppress(sqlite3.Error):  # the change is done; if there is no room, or others read at this moment: later
            self._driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")

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
    except NotAStore as error:
        database.close()
        if sealer.ready():  # whose else should it be?
            raise StoreDamaged(path, f"the store is damaged, as the key that opens it is there ({error.cause})") from error
        raise
    except BaseException:
        database.close()
        raise
    return database


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
        raise inaccessible(path, "the store cannot be created", error) from error


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
    """Make the tables of a new store; find those of an old one in order, and bring them to the schema of this version."""
    for pragma in ("foreign_keys = ON", "synchronous = NORMAL", "secure_delete = ON"):
        with explained(database.path):
            database._driver.execute(f"PRAGMA {pragma}")
    with database.reading() as connection:
        if migrate.schema_of(connection, database.path) not in (None, tables.HEAD):
            migrate.load()  # now, as from here on others wait for us
    with database.writing() as connection:
        version = migrate.schema_of(connection, database.path)
        if version is None:
            if database.path.stat().st_size:  # SQLite would take a file of one byte, or somebody's database without tables
                raise NotAStore(database.path, "this is no store of ours, though it is almost empty")
            if sealer.ready():
                raise StoreDamaged(database.path, "the store is empty, but the key that opens it is there")
        _check_whole(database, connection)
        if version is None:
            migrate.create(connection)
        elif version != tables.HEAD:
            database.copy = migrate.upgrade(connection, database.path, version)


def _check_whole(database: Database, connection: Connection) -> None:
    """No page is damaged or missing. StoreDamaged."""
    if (verdict := str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar())) != "ok":
        raise StoreDamaged(database.path, f"the store is damaged ({' '.join(verdict.split())})")
    # SQLite fills a page that was cut short with zeros. Only a journal may have the rest of it.
    journal = database.path.with_name(f"{database.path.name}-wal")
    page = int(connection.exec_driver_sql("PRAGMA page_size").scalar_one())
    if database.path.stat().st_size % page and not (journal.exists() and journal.stat().st_size):
        raise StoreDamaged(database.path, "the store is damaged (its last page was cut short)")


def _restrict(path: Path) -> None:
    """The file is its owner's alone, and so are those that SQLite keeps beside it."""
    try:
        for suffix in ("", "-wal", "-shm"):
            restrict(path.with_name(path.name + suffix))
    except OSError as error:
        raise inaccessible(path, "the store cannot be kept from other users", error) from error


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
