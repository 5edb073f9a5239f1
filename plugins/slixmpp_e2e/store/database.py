"""Open one SQLite file that several processes may share: WAL, a busy timeout, BEGIN IMMEDIATE for writes.

Everything that is special to SQLite is here. With ``synchronous = NORMAL`` a crash of the program loses nothing; a power cut
may lose the last changes, never the consistency of the file. Each change is moved from the journal into the file at once: a
copy of the file and its key, made while programs use the store, lacks nothing.
"""

from __future__ import annotations

import math
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, StaticPool, Table, bindparam, create_engine, event, func, select

from slixmpp_e2e.store import migrate, tables
from slixmpp_e2e.store.error_mapping import BUSY_SECONDS, os_error, translate_errors
from slixmpp_e2e.store.errors import StoreError, StoreReason
from slixmpp_e2e.store.files import restrict_to_owner
from slixmpp_e2e.store.key_protection.protection import KeyProtection

_WAL_ATTEMPTS = 10
"""Switching to WAL ignores the timeout, and fails at once while another process looks at the file. This many processes would
have to start in the same instant to make us give up."""
_BEGIN = "begin"
AT_ONCE_MS = 50
"""Milliseconds that an event loop may wait for another process: its changes take a few."""


class Database:
    """One open file: a connection that writes and one that reads, each with one transaction at a time.

    Nobody who reads waits for a writer, in this process or another one.
    """

    def __init__(self, path: Path, connection: Connection) -> None:
        self.path = path
        self.backup: Path | None = None
        """A copy of the store from before its schema was migrated, if it was migrated now."""
        self._connection = connection
        self._driver = _driver_of(connection)
        self._reader, self._reading_driver = connection, self._driver
        self.writes = 0
        """How often we have written ourselves."""
        self._unsettled = False
        """Whether a change of ours may still be in the journal alone, as somebody read an older state when we made it."""

    def read_apart(self) -> None:
        """Read through a connection of its own from now on. Comes after the switch to WAL."""
        self._reader = _connect(self.path)
        self._reading_driver = _driver_of(self._reader)
        self._reading_driver.execute("PRAGMA query_only = ON")
        self._reading_driver.execute(f"PRAGMA busy_timeout = {AT_ONCE_MS}")

    def close(self) -> None:
        """Close the file. May be called twice."""
        if self._unsettled and not self._reader.closed:
            self._settle(self._reading_driver)
        for connection in (self._reader, self._connection):
            connection.close()
            connection.engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Run a transaction that reads a consistent view. StoreError."""
        with self._transaction(self._reader, "BEGIN") as connection:
            yield connection
        if self._unsettled:
            self._settle(self._reading_driver)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Run a transaction that writes all or nothing. No other process writes meanwhile. StoreError."""
        with self._transaction(self._connection, "BEGIN IMMEDIATE") as connection:
            yield connection
        self.writes += 1
        self._settle(self._driver)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Let writers wait for another process no longer than AT_ONCE_MS."""
        with translate_errors(self.path):
            self._driver.execute(f"PRAGMA busy_timeout = {AT_ONCE_MS}")
        try:
            yield
        finally:
            with translate_errors(self.path):
                self._driver.execute(f"PRAGMA busy_timeout = {round(BUSY_SECONDS * 1000)}")

    @contextmanager
    def writing_durably(self) -> Iterator[Connection]:
        """Run a transaction like ``writing``. Not even a power cut undoes it, and what it replaced is overwritten."""
        with translate_errors(self.path):
            self._driver.execute("PRAGMA synchronous = FULL")
        try:
            with self.writing() as connection:
                yield connection
        finally:
            with translate_errors(self.path):
                self._driver.execute("PRAGMA synchronous = NORMAL")
        with suppress(sqlite3.Error):  # the change is done; without room, or while others read, SQLite does it later
            self._driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    @contextmanager
    def _transaction(self, connection: Connection, begin: str) -> Iterator[Connection]:
        with translate_errors(self.path):
            connection.info[_BEGIN] = begin
            with connection.begin():
                yield connection

    def _settle(self, driver: sqlite3.Connection) -> None:
        """Move what is committed from the journal into the file, but for what a reader of an older state keeps back."""
        self._unsettled = True
        with suppress(sqlite3.Error):  # the change is done and in the journal, whether or not there is room to move it
            busy, frames, moved = driver.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            self._unsettled = bool(busy) or moved < frames

    def data_version(self) -> int:
        """Return a number that changes when anybody writes. Takes 5 µs; a query takes hundreds.

        Not while a transaction of another thread reads: it could not end while this moves what is in the journal.
        """
        if self._unsettled:
            self._settle(self._reading_driver)
        with translate_errors(self.path):
            return int(self._reading_driver.execute("PRAGMA data_version").fetchone()[0])


class Changes:
    """Tells what somebody has changed since one has asked, in this process or another. Takes 5 µs as long as nobody writes."""

    def __init__(
        self, database: Database, lock: threading.RLock, table: Table, which: ColumnElement[bool] | None = None
    ) -> None:
        """``table`` is one that is only appended to, and ``which`` are the rows in it that count."""
        self._database, self._lock = database, lock
        self._last_id = select(func.max(table.c.id))
        self._later = select(table.c.peer).where(table.c.id > bindparam("since"))
        if which is not None:
            self._later = self._later.where(which)
        self._looked, self._writes = -math.inf, 0
        self._version = -1
        self._since: int | None = None

    def __call__(self, max_age: float = 0.0) -> frozenset[str]:
        """Return the peers that have changed since the last call; none at the first call. StoreError.

        What another process has changed within the last ``max_age`` seconds may be told later.
        """
        with self._lock:
            now = time.monotonic()
            if now < self._looked + max_age and self._writes == self._database.writes:
                return frozenset()
            self._looked, self._writes = now, self._database.writes
            version = self._database.data_version()
            if version == self._version:
                return frozenset()
            peers: frozenset[str] = frozenset()
            with self._database.reading() as connection:
                last = connection.execute(self._last_id).scalar() or 0
                if self._since not in (None, last):
                    peers = frozenset(map(str, connection.execute(self._later, {"since": self._since}).scalars()))
            self._version, self._since = version, last
            return peers


def open_database(path: Path, protection: KeyProtection) -> Database:
    """Open the store at ``path``. Make it if neither the file nor the key of ``protection`` exists. StoreError."""
    _ensure_file(path, protection)
    with translate_errors(path):
        database = Database(path, _connect(path))
    try:
        _prepare(database, protection)
        # The file is our store: from here on we may change it.
        _restrict(path)
        with translate_errors(path):
            _switch_to_wal(database)
            database.read_apart()
    except StoreError as error:
        database.close()
        if error.reason is StoreReason.NOT_A_STORE and protection.has_key():  # then the file was our store
            raise StoreError(
                path, f"the store is damaged, as the key that opens it is there ({error.cause})", StoreReason.DAMAGED
            ) from error
        raise
    except BaseException:
        database.close()
        raise
    return database


def _ensure_file(path: Path, protection: KeyProtection) -> None:
    """Make an empty file that only its owner may read, if there is no file."""
    # Look for the key first: a process that makes both just now makes the file first.
    if protection.has_key() and not path.exists():
        raise StoreError(path, "the store is gone, but the key that opens it is still there", StoreReason.DAMAGED)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        pass  # an older store, another program's file, or another process was faster: _prepare finds out
    except OSError as error:
        raise os_error(path, "the store cannot be created", error) from error


def _connect(path: Path) -> Connection:
    def connect() -> sqlite3.Connection:
        # mode=rw: SQLite must not make the file, as we set its permissions. isolation_level None: we send BEGIN.
        return sqlite3.connect(
            f"{path.as_uri()}?mode=rw", uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )

    engine = create_engine("sqlite://", creator=connect, poolclass=StaticPool, hide_parameters=True)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.info[_BEGIN])

    return engine.connect()


def _driver_of(connection: Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


def _prepare(database: Database, protection: KeyProtection) -> None:
    """Make the tables of a new store; check those of an existing one, and migrate them to the schema of this version."""
    for pragma in ("foreign_keys = ON", "synchronous = NORMAL", "secure_delete = ON"):
        with translate_errors(database.path):
            database._driver.execute(f"PRAGMA {pragma}")
    with database.reading() as connection:
        version = migrate.schema_version(connection, database.path)
        if version == tables.HEAD:  # nothing is to be written: wait for nobody who writes
            _check_pages(database, connection)
            return
        if version is not None:
            migrate.load_alembic()  # before the transaction in which other processes wait for us
    with database.writing() as connection:
        version = migrate.schema_version(connection, database.path)
        if version is None:
            if database.path.stat().st_size:  # SQLite would accept a file of one byte, or a database without tables
                raise StoreError(database.path, "this is no store of ours, though it is almost empty", StoreReason.NOT_A_STORE)
            if protection.has_key():
                raise StoreError(database.path, "the store is empty, but the key that opens it is there", StoreReason.DAMAGED)
        _check_pages(database, connection)
        if version is None:
            migrate.create_tables(connection)
        elif version != tables.HEAD:
            database.backup = migrate.upgrade(connection, database.path, version)


def _check_pages(database: Database, connection: Connection) -> None:
    """Check that no page is damaged or missing. StoreError."""
    if (verdict := str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar())) != "ok":
        raise StoreError(database.path, f"the store is damaged ({' '.join(verdict.split())})", StoreReason.DAMAGED)
    # SQLite fills a truncated page with zeros. Only a journal may hold the rest of it.
    journal = database.path.with_name(f"{database.path.name}-wal")
    page = int(connection.exec_driver_sql("PRAGMA page_size").scalar_one())
    if database.path.stat().st_size % page and not (journal.exists() and journal.stat().st_size):
        raise StoreError(database.path, "the store is damaged (its last page was cut short)", StoreReason.DAMAGED)


def _restrict(path: Path) -> None:
    """Keep the file, and those that SQLite keeps beside it, from other users."""
    try:
        for suffix in ("", "-wal", "-shm"):
            restrict_to_owner(path.with_name(path.name + suffix))
    except OSError as error:
        raise os_error(path, "the store cannot be kept from other users", error) from error


def _switch_to_wal(database: Database) -> None:
    """Let readers and a writer work at the same time."""
    if database._driver.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
        return
    for attempt in range(_WAL_ATTEMPTS):
        try:
            database._driver.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or attempt == _WAL_ATTEMPTS - 1:
                raise
        with database.writing():  # waits until the other process has written
            pass
