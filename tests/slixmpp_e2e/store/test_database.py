"""Opening a store: permissions, several processes at once, and files that are no stores. Nothing is ever overwritten."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import inspect
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from slixmpp_e2e.alarms import explain
from slixmpp_e2e.store import SQLStore, StoredOwnKey, StoreError, StoreReason, database, tables
from tests.slixmpp_e2e.store.expect import store_error
from tests.slixmpp_e2e.store.processes import at_once, execute
from xmpp_e2e.types import Assurance, Fingerprint

BOB = "bob@example.org"
KEY = Fingerprint(b"A" * 32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def used(path: Path) -> Path:
    with SQLStore.open(path) as store:
        store.own_key(lambda: StoredOwnKey(b"certificate", b"private key"))
        for number in range(20):
            store.remember_key(f"{number}@example.org", KEY, Assurance.VOUCHED, "route", 1.0)
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def refused(path: Path, reason: StoreReason, cause: str) -> StoreError:
    before = {file: file.read_bytes() for file in path.parent.iterdir() if file.is_file()}
    with store_error(reason, match=cause) as caught:
        SQLStore.open(path)
    assert caught.value.path == path
    assert str(caught.value).startswith(f"{path}: ")
    assert caught.value.remedy in explain(caught.value)
    assert caught.value.remedy
    assert {file: file.read_bytes() for file in path.parent.iterdir() if file.is_file()} == before
    return caught.value


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_only_the_owner_may_read_the_files(tmp_path: Path) -> None:
    with SQLStore.open(tmp_path / "new" / "store.db") as store:
        store.put_secret(BOB, "psk", "1", b"secret")
        files = sorted((tmp_path / "new").iterdir())
        assert [file.name for file in files] == ["store.db", "store.db-shm", "store.db-wal", "store.key"]
        assert {mode(file) for file in files} == {0o600}
    assert mode(tmp_path / "new") == 0o700


def test_a_new_file_is_never_open_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_restrict", lambda path: None)
    SQLStore.open(tmp_path / "store.db").close()
    assert mode(tmp_path / "store.db") == 0o600


def test_an_existing_folder_keeps_its_permissions(tmp_path: Path) -> None:
    """The user's own folders are not ours to restrict."""
    tmp_path.chmod(0o755)
    SQLStore.open(tmp_path / "store.db").close()
    assert mode(tmp_path) == 0o755


def test_a_store_loses_the_permissions_of_others(used: Path) -> None:
    used.chmod(0o644)
    with SQLStore.open(used):
        assert {mode(file) for file in used.parent.iterdir() if file.name.startswith("store.db")} == {0o600}


def test_a_link_leads_to_the_same_store_and_key(used: Path, tmp_path: Path) -> None:
    """The key is beside the file itself, not beside the link."""
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.db"
    link.symlink_to(used)
    with SQLStore.open(link) as store:
        assert store.path == used
        assert store.own_key(lambda: StoredOwnKey(b"x", b"x")) == StoredOwnKey(b"certificate", b"private key")


def test_the_settings_of_sqlite(path: Path) -> None:
    with SQLStore.open(path) as store:
        driver = store._database._driver
        pragmas = ("journal_mode", "synchronous", "foreign_keys", "secure_delete", "busy_timeout")
        assert [driver.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas] == ["wal", 1, 1, 1, 5000]


def test_a_change_takes_the_lock_at_its_beginning(path: Path) -> None:
    """A change that reads first could not be finished if another process wrote in between."""
    with SQLStore.open(path) as one, SQLStore.open(path) as other:
        other._database._driver.execute("PRAGMA busy_timeout = 0")
        with one._database.writing():
            with store_error(StoreReason.BUSY), other._database.writing():
                pass
            with other._database.reading():
                pass  # readers do not wait
        with one._database.reading(), other._database.writing():
            pass  # nor do they keep a writer waiting


def test_a_new_store_has_the_schema_and_its_version(path: Path) -> None:
    with SQLStore.open(path) as store, store._reading() as connection:
        names = set(inspect(connection).get_table_names()) - {"sqlite_sequence"}
        assert names == {*tables.metadata.tables, tables.version.name}
        assert list(connection.execute(tables.version.select())) == [(tables.HEAD,)]
        assert list(connection.execute(tables.meta.select())) == []


def test_the_schema_is_portable() -> None:
    for table in tables.metadata.sorted_tables:
        assert "CREATE TABLE" in str(CreateTable(table).compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("version", ["0005", "0000", "1", "000", "head", "-1", "", "one"])
def test_another_schema_is_refused(used: Path, version: str) -> None:
    execute(used, f"UPDATE {tables.version.name} SET version_num = '{version}'")
    error = refused(used, StoreReason.UNKNOWN_SCHEMA, f"has schema '{version}', and this version knows only up to 0004")
    assert "a later one" in explain(error)


@pytest.mark.parametrize("statement", ["DELETE FROM {}", "INSERT INTO {} VALUES ('0005')"])
def test_a_store_of_no_or_of_two_schemas_is_refused(used: Path, statement: str) -> None:
    execute(used, statement.format(tables.version.name))
    refused(used, StoreReason.UNKNOWN_SCHEMA, "this version knows only up to 0004")


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        *((content, "this is no SQLite database") for content in (b"hello", b"x" * 5000, b"SQLite format 3\x00", bytes(4096))),
        *((byte, "this is no store of ours") for byte in (b"\x00", b"x", b"\n")),
    ],
)
def test_a_file_that_is_no_database(path: Path, content: bytes, cause: str) -> None:
    """It keeps its permissions. SQLite takes a single byte for a new database, but it belongs to somebody."""
    path.write_bytes(content)
    path.chmod(0o644)
    refused(path, StoreReason.NOT_A_STORE, cause)
    assert mode(path) == 0o644


def test_a_database_without_tables(path: Path) -> None:
    execute(path, "CREATE TABLE songs (name TEXT)", "DROP TABLE songs")
    refused(path, StoreReason.NOT_A_STORE, "this is no store of ours")


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE songs (name TEXT)"],
        ["CREATE TABLE meta (name TEXT, value TEXT)"],
        ["CREATE TABLE meta (version INTEGER)"],
        ["CREATE TABLE meta (name TEXT, value TEXT)", "INSERT INTO meta VALUES ('schema', '1')"],
        ["CREATE TABLE alembic_version (version_num TEXT)", "INSERT INTO alembic_version VALUES ('0001')"],
    ],
)
def test_the_database_of_another_program(path: Path, statements: list[str]) -> None:
    """It keeps its journal mode and permissions. A table of the same name does not make it ours."""
    execute(path, *statements)
    path.chmod(0o644)
    refused(path, StoreReason.NOT_A_STORE, "the database of another program")
    assert mode(path) == 0o644


def test_a_folder_in_place_of_the_store(path: Path) -> None:
    path.mkdir()
    refused(path, StoreReason.NO_ACCESS, "cannot be opened")


@pytest.mark.parametrize("table", ["meta", "history"])
def test_a_damaged_page(used: Path, table: str) -> None:
    """It is found when the store is opened, before anything is written."""
    connection = sqlite3.connect(used)
    (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", [table]).fetchone()
    connection.close()
    content = bytearray(used.read_bytes())
    content[(page - 1) * 4096 : page * 4096] = b"\xff" * 4096
    used.write_bytes(content)
    refused(used, StoreReason.DAMAGED, "the store is damaged")


def test_a_missing_store_beside_its_key(used: Path) -> None:
    used.unlink()
    refused(used, StoreReason.DAMAGED, "the store is gone, but the key")
    assert not used.exists()


def test_a_store_whose_creation_was_interrupted(path: Path) -> None:
    """An empty file without a key was left by a process that was killed; the next one continues."""
    path.touch()
    with SQLStore.open(path) as store:
        store.record_e2e_use(BOB, 1.0)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with store_error(StoreReason.NO_ACCESS, match=r"file/store\.db: the store cannot be (created|opened)"):
        SQLStore.open(tmp_path / "file" / "store.db")
    with store_error(StoreReason.NO_ACCESS, match=r"Not a directory"):
        SQLStore.open(tmp_path / "file" / "folder" / "store.db")


def test_a_read_only_store(used: Path) -> None:
    with SQLStore.open(used) as store:
        store._database._driver.execute("PRAGMA query_only = ON")
        with store_error(StoreReason.NO_ACCESS, match="cannot be written"):
            store.record_e2e_use(BOB, 1.0)


def test_a_full_disk_loses_nothing(path: Path) -> None:
    with SQLStore.open(path) as store:
        store.pin(BOB, KEY, 1.0)
        driver = store._database._driver
        pages = driver.execute("PRAGMA page_count").fetchone()[0]
        driver.execute(f"PRAGMA max_page_count = {pages}")
        with store_error(StoreReason.FULL, match=r"store\.db: the disk is full") as caught:
            store.put_secret(BOB, "psk", "1", bytes(4096))
        assert "Make room" in explain(caught.value)
        assert store.secret_ids(BOB, "psk") == ()
        assert store.known_keys(BOB).any_verified
        driver.execute("PRAGMA max_page_count = 100000")
        store.put_secret(BOB, "psk", "1", bytes(4096))
        assert store.secret(BOB, "psk", "1") == bytes(4096)


def test_a_process_that_hangs_on_the_store(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    with SQLStore.open(path) as store, SQLStore.open(path) as other:
        with other._database.writing():
            with store_error(StoreReason.BUSY, match="another process holds the store") as caught:
                store.record_e2e_use(BOB, 1.0)
            with store_error(StoreReason.BUSY, match="another process holds the store"), store.at_once():
                store.record_e2e_use(BOB, 1.0)
            SQLStore.open(path).close()  # what is only read waits for nobody
        assert "End the other program" in explain(caught.value)
        store.record_e2e_use(BOB, 1.0)
        assert other.has_used_e2e(BOB)


class Refusing:
    """A database that refuses the switch to WAL some times, as SQLite does when two processes try it at once."""

    def __init__(self, refusals: int, code: int) -> None:
        self._driver = self
        self.refusals = refusals
        self.waits = 0
        self.error = sqlite3.OperationalError("refused")
        self.error.sqlite_errorcode = code

    def execute(self, statement: str) -> Any:
        if statement == "PRAGMA journal_mode":
            return SimpleNamespace(fetchone=lambda: ("delete",))
        assert statement == "PRAGMA journal_mode = WAL"
        self.refusals -= 1
        if self.refusals >= 0:
            raise self.error
        return None

    @contextmanager
    def writing(self) -> Iterator[None]:
        self.waits += 1
        yield


@pytest.mark.parametrize(
    ("refusals", "code", "waits", "succeeds"),
    [
        (0, sqlite3.SQLITE_BUSY, 0, True),
        (3, sqlite3.SQLITE_BUSY, 3, True),
        (9, sqlite3.SQLITE_BUSY, 9, True),
        (10, sqlite3.SQLITE_BUSY, 9, False),
        (1, sqlite3.SQLITE_FULL, 0, False),
    ],
)
def test_switching_to_wal_is_retried(refusals: int, code: int, waits: int, succeeds: bool) -> None:
    refusing = Refusing(refusals, code)
    with nullcontext() if succeeds else pytest.raises(sqlite3.OperationalError):
        database._switch_to_wal(cast(database.Database, refusing))
    assert refusing.waits == waits


MANY = """
import os, sys
from slixmpp_e2e.store import SQLStore, StoredOwnKey
from xmpp_e2e.types import Assurance, Fingerprint
path, name = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
with SQLStore.open(path) as store:
    mine = StoredOwnKey(name.encode(), os.urandom(32))
    got = store.own_key(lambda: mine)
    for number in range(10):
        store.count_failed_attempt("bob@example.org", "srp")
        store.pin("bob@example.org", Fingerprint.of(f"{name} {number}".encode()), 1.0)
    print(got.certificate.hex(), got.private_key.hex(), store.key_notice is not None)
"""


def test_processes_that_make_the_same_store_at_once_share_one_identity(tmp_path: Path) -> None:
    path = tmp_path / "new" / "store.db"
    said = at_once(MANY, *((path, name) for name in "abcd"))
    assert len({(certificate, key) for certificate, key, _ in said}) == 1
    assert [made for *_, made in said].count("True") == 1
    with SQLStore.open(path) as store:
        assert store.failed_attempts(BOB, "srp") == 40
        assert len(store.known_keys(BOB).keys) == len(store.history(BOB)) == 40
        found = store.own_key(lambda: StoredOwnKey(b"", b""))
        assert [found.certificate.hex(), found.private_key.hex()] == said[0][:2]
