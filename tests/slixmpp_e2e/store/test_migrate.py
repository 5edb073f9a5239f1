"""An older store comes to the present schema with all its content, or stays as it was."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from slixmpp_e2e.alarms import explain
from slixmpp_e2e.policy import Policy
from slixmpp_e2e.store import PeerPolicy, SQLStore, StoredOwnKey, StoreError, StoreReason, migrate, tables
from tests.slixmpp_e2e.store.expect import never, store_error
from tests.slixmpp_e2e.store.processes import at_once, dump, execute, files, run
from xmpp_e2e.types import Assurance, Fingerprint

BOB, EVE = "bob@example.org", "eve@example.org"
OLD = Path(__file__).with_name("before_migrations.sql")
OLD_KEY = bytes.fromhex("ea5381ff7d5c831c5ae6f8979a1d1c0c9f897ec1bbc329a06709bc3494e7e784")
SCRIPTS = Path(migrate.__file__).with_name("migrations")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "store.db"
    connection = sqlite3.connect(path)
    connection.executescript(OLD.read_text())
    connection.close()
    path.with_suffix(".key").write_bytes(OLD_KEY)
    return path


def assert_all_is_there(path: Path, counted: int = 2) -> None:
    with SQLStore.open(path) as store:
        assert store.own_key(never) == StoredOwnKey(b"certificate", b"private key")
        assert store.secret(BOB, "psk", "1") == b"correct horse battery staple"
        (key,) = store.known_keys(BOB).keys
        assert (key.fingerprint, key.assurance, key.first_seen) == (Fingerprint(b"B" * 32), Assurance.VERIFIED, 2.5)
        assert store.known_keys(EVE).keys[0].blocked
        assert [change.what for change in store.history(BOB)] == ["accepted", "pinned", "forgotten"]
        assert store.policy(BOB) == PeerPolicy(policy=Policy.REQUIRE)
        assert store.has_used_e2e(BOB)
        assert store.failed_attempts(EVE, "srp") == counted


def test_the_migrations_make_the_same_schema_as_the_tables(tmp_path: Path) -> None:
    SQLStore.open(tmp_path / "new.db").close()
    engine = create_engine(f"sqlite:///{tmp_path / 'migrated.db'}")
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", migrate.SCRIPTS)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    assert schema(tmp_path / "migrated.db") == schema(tmp_path / "new.db")
    migrated = [line for line in dump(tmp_path / "migrated.db") if "\"sqlite_sequence\" VALUES('history',0)" not in line]
    assert sorted(migrated) == sorted(dump(tmp_path / "new.db"))

    with engine.connect() as connection:
        options = {"compare_server_default": True, "version_table": tables.version.name}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, tables.metadata) == []
    engine.dispose()


def schema(path: Path) -> set[str]:
    connection = sqlite3.connect(path)
    made = {re.sub(r"\s+", " ", sql) for (sql,) in connection.execute("SELECT sql FROM sqlite_master") if sql}
    connection.close()
    return {sql.replace("( ", "(").replace(" )", ")") for sql in made}


def test_the_head_is_the_last_script() -> None:
    config = Config()
    config.set_main_option("script_location", migrate.SCRIPTS)
    scripts = list(ScriptDirectory.from_config(config).walk_revisions())
    assert [script.revision for script in scripts] == [f"{number:04}" for number in range(len(scripts), 0, -1)]
    assert scripts[0].revision == tables.HEAD
    assert all(Path(script.path).name.startswith(f"{script.revision}_") for script in scripts)


OPENED = """
import sys
from slixmpp_e2e.store import SQLStore
SQLStore.open(sys.argv[1]).close()
print("alembic" in sys.modules)
"""


def test_alembic_is_loaded_only_when_needed(tmp_path: Path, old: Path) -> None:
    """A new store and one with the present schema open without it, as loading takes half a second."""
    assert [run(OPENED, tmp_path / "new.db").strip() for _ in range(2)] == ["False", "False"]
    assert [run(OPENED, old).strip() for _ in range(2)] == ["True", "False"]


def test_no_process_waits_while_alembic_is_loaded(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a slow computer other processes would give up."""
    loaded: list[None] = []

    def load() -> None:
        connection = sqlite3.connect(old, timeout=0)
        connection.execute("BEGIN IMMEDIATE")
        connection.close()
        loaded.append(None)

    monkeypatch.setattr(migrate, "load_alembic", load)
    SQLStore.open(old).close()
    assert loaded == [None]


def test_a_store_from_before_there_were_migrations(old: Path) -> None:
    with SQLStore.open(old) as store:
        assert str(store.migration_notice).startswith(f"The store {old} was made by an older version and is migrated now")
    assert [line for line in dump(old) if tables.SCHEMA in line] == []
    assert_all_is_there(old)
    with SQLStore.open(old) as store:
        assert store.migration_notice is None
        store.pin(EVE, Fingerprint(b"F" * 32), 6.0)


def test_a_copy_of_the_old_store_is_kept(old: Path) -> None:
    before = dump(old)
    with SQLStore.open(old) as store:
        assert str(old.with_name("store.db.schema-1")) in str(store.migration_notice)
    assert sorted(files(old.parent)) == ["store.db", "store.db.schema-1", "store.key"]
    copy = old.with_name("store.db.schema-1")
    assert dump(copy) == before
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600


def test_a_new_store_has_no_copy(tmp_path: Path) -> None:
    with SQLStore.open(tmp_path / "store.db") as store:
        assert store.migration_notice is None
    assert sorted(files(tmp_path)) == ["store.db"]


@pytest.mark.parametrize("version", ["2", "0", "", "one", "0001 "])
def test_an_early_store_with_another_number(old: Path, version: str) -> None:
    execute(old, f"UPDATE meta SET value = '{version}' WHERE name = '{tables.SCHEMA}'")
    before = files(old.parent)
    with store_error(StoreReason.UNKNOWN_SCHEMA, match=f"has schema '{version}'"):
        SQLStore.open(old)
    assert files(old.parent) == before


SECOND = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "0005", "0004"
def upgrade():
    op.add_column("trust", sa.Column("note", sa.Text, nullable=False, server_default="old"))
    op.execute("UPDATE failures SET count = count + 100")
"""
THIRD = """
from alembic import op
revision, down_revision = "0006", "0005"
def upgrade():
    op.rename_table("seen", "met")
    op.execute("CREATE VIEW seen AS SELECT * FROM met")
    {}
"""
Later = Callable[..., Path]


@pytest.fixture
def later(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Later:
    def become(*scripts: str) -> Path:
        folder = tmp_path_factory.mktemp("later") / "migrations"
        shutil.copytree(SCRIPTS, folder, ignore=shutil.ignore_patterns("__pycache__"))
        for number, script in enumerate(scripts, 5):
            (folder / "versions" / f"{number:04}_later.py").write_text(script)
        monkeypatch.setattr(migrate, "SCRIPTS", str(folder))
        monkeypatch.setattr(tables, "HEAD", f"{len(scripts) + 4:04}")
        return folder

    return become


@pytest.mark.parametrize("scripts", [(SECOND,), (SECOND, THIRD.format("pass"))])
@pytest.mark.parametrize("opened_before", [False, True])
def test_an_older_store_comes_to_the_newest_schema(old: Path, later: Later, scripts: list[str], opened_before: bool) -> None:
    if opened_before:
        SQLStore.open(old).close()
    later(*scripts)
    for _ in range(2):
        assert_all_is_there(old, counted=102)
    copy = old.with_name("store.db.schema-0004" if opened_before else "store.db.schema-1")
    assert f"""INSERT INTO "failures" VALUES('{EVE}','srp',2""" in "\n".join(dump(copy))


def test_a_newer_store_is_refused_and_not_changed(old: Path, later: Later, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = later(SECOND)
    SQLStore.open(old).close()
    monkeypatch.undo()
    before = files(old.parent)
    words = "the store has schema '0005', and this version knows only up to 0004"
    with store_error(StoreReason.UNKNOWN_SCHEMA, match=words) as caught:
        SQLStore.open(old)
    assert str(caught.value).startswith(f"{old}: ")
    assert "restore the copy" in explain(caught.value)
    assert files(old.parent) == before
    monkeypatch.setattr(migrate, "SCRIPTS", str(folder))
    monkeypatch.setattr(tables, "HEAD", "0005")
    assert_all_is_there(old, counted=102)


def test_the_copy_is_a_store(old: Path, later: Later, monkeypatch: pytest.MonkeyPatch) -> None:
    later(SECOND)
    SQLStore.open(old).close()
    monkeypatch.undo()
    old.with_name("store.db.schema-1").replace(old)
    assert_all_is_there(old)


def test_the_copy_is_on_the_disk(old: Path, later: Later, monkeypatch: pytest.MonkeyPatch) -> None:
    later(SECOND)
    synced: list[bool] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(stat.S_ISDIR(os.fstat(descriptor).st_mode)))
    SQLStore.open(old).close()
    assert synced == [False, True]


def test_a_later_copy_replaces_an_earlier_one(old: Path, later: Later) -> None:
    SQLStore.open(old).close()
    old.with_name("store.db.schema-0004").write_bytes(b"earlier")
    old.with_name("store.db.schema-0004.part").write_bytes(b"unfinished")
    before = dump(old)
    later(SECOND)
    SQLStore.open(old).close()
    assert dump(old.with_name("store.db.schema-0004")) == before
    assert not old.with_name("store.db.schema-0004.part").exists()


@pytest.mark.parametrize(
    ("failure", "kind", "cause"),
    [
        ("raise ValueError('nobody')", StoreError, r"could not be migrated from schema 1 to 0006 \(ValueError\)"),
        ("{}['nobody']", StoreError, r"\(KeyError\)"),
        ("None + 1", StoreError, r"\(TypeError\)"),
        (f"op.execute(\"UPDATE trust SET peer = '{BOB}', fingerprint = ''\")", StoreError, r"\(IntegrityError\)"),
        ("op.execute('SELECT * FROM missing')", StoreError, r"\(OperationalError\)"),
        ("raise KeyboardInterrupt", KeyboardInterrupt, "^$"),
    ],
)
def test_a_failing_migration_changes_nothing(
    old: Path, later: Later, failure: str, kind: type[BaseException], cause: str
) -> None:
    before = dump(old)
    folder = later(SECOND, THIRD.format(failure))
    for _ in range(2):
        with pytest.raises(kind, match=cause) as caught:
            SQLStore.open(old)
        assert dump(old) == before
    assert type(caught.value) is kind
    assert "nobody" not in str(caught.value)  # nor any content of a row
    if isinstance(caught.value, StoreError):
        assert caught.value.reason is StoreReason.MIGRATION_FAILED
        assert str(caught.value).startswith(f"{old}: ")
        assert "as it" in explain(caught.value)
    (folder / "versions" / "0006_later.py").write_text(THIRD.format("pass"))
    assert_all_is_there(old, counted=102)


KILLED = """
import sys
from slixmpp_e2e.store import SQLStore, migrate, tables
migrate.SCRIPTS, tables.HEAD = sys.argv[2:]
SQLStore.open(sys.argv[1])
"""


def test_a_kill_in_the_middle_of_a_migration_changes_nothing(old: Path, later: Later) -> None:
    before = dump(old)
    folder = later(SECOND, THIRD.format("import os; os.kill(os.getpid(), 9)"))
    assert run(KILLED, old, folder, tables.HEAD) == ""
    assert dump(old) == before
    (folder / "versions" / "0006_later.py").write_text(THIRD.format("pass"))
    assert_all_is_there(old, counted=102)


def test_nothing_is_migrated_without_a_copy(old: Path) -> None:
    old.with_name("store.db.schema-1").mkdir()
    before = dump(old)
    with store_error(StoreReason.NO_ACCESS, match=r"schema-1\.part: the store cannot be copied before its schema") as caught:
        SQLStore.open(old)
    assert "permissions" in explain(caught.value)
    assert dump(old) == before
    assert sorted(files(old.parent)) == ["store.db", "store.key"]
    old.with_name("store.db.schema-1").rmdir()
    assert_all_is_there(old)


def test_a_damaged_store_is_not_migrated(old: Path) -> None:
    """Writing on a damaged page would do more damage."""
    content = bytearray(old.read_bytes())
    content[-4096:] = b"\xff" * 4096
    old.write_bytes(content)
    before = files(old.parent)
    with pytest.raises(StoreError, match="the store is damaged"):
        SQLStore.open(old)
    assert files(old.parent) == before


MANY = """
import sys
from slixmpp_e2e.store import SQLStore, migrate, tables
from xmpp_e2e.types import Fingerprint
path, migrate.SCRIPTS, tables.HEAD, name = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
with SQLStore.open(path) as store:
    for number in range(10):
        store.count_failed_attempt("eve@example.org", "srp")
        store.pin("carol@example.org", Fingerprint.of(f"{name} {number}".encode()), 1.0)
    print(store.migration_notice is not None)
"""


def test_processes_that_migrate_the_same_store_at_once(old: Path, later: Later) -> None:
    folder = later(SECOND)
    said = at_once(MANY, *((old, folder, tables.HEAD, name) for name in "abcd"))
    assert sorted(said) == [["False"], ["False"], ["False"], ["True"]]
    assert_all_is_there(old, counted=142)
    with SQLStore.open(old) as store:
        assert len(store.known_keys("carol@example.org").keys) == len(store.history("carol@example.org")) == 40


def test_threads_that_migrate_stores_at_once(old: Path, later: Later) -> None:
    """Alembic works for one thread at a time, and all stores are opened."""
    later(SECOND)
    paths = [old.with_name(f"{number}.db") for number in range(8)]
    for path in paths:
        shutil.copy(old, path)
        shutil.copy(old.with_suffix(".key"), path.with_suffix(".key"))

    def counted(path: Path) -> int:
        with SQLStore.open(path) as store:
            return store.failed_attempts(EVE, "srp")

    with ThreadPoolExecutor(len(paths)) as pool:
        assert list(pool.map(counted, paths)) == [102] * 8
