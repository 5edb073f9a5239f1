"""Migrations: an older store comes to the schema of this version with all that is in it, or stays what it was."""

from __future__ import annotations

import re
import shutil
import sqlite3
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from slixmpp_e2e.store import (
    MigrationFailed,
    PeerPolicy,
    SQLStore,
    StoredIdentity,
    StoreError,
    StoreInaccessible,
    UnknownSchema,
    migrate,
    tables,
)
from tests.slixmpp_e2e.store.processes import at_once, dump, execute, files, run
from xmpp_e2e.identity import Assurance, Fingerprint
from xmpp_e2e.trust.policy import Policy

BOB, EVE = "bob@example.org", "eve@example.org"
OLD = Path(__file__).with_name("before_migrations.sql")
OLD_KEY = bytes.fromhex("ea5381ff7d5c831c5ae6f8979a1d1c0c9f897ec1bbc329a06709bc3494e7e784")
SCRIPTS = Path(migrate.__file__).with_name("migrations")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A store as it was written before there were migrations."""
    path = tmp_path / "store.db"
    connection = sqlite3.connect(path)
    connection.executescript(OLD.read_text())
    connection.close()
    path.with_suffix(".key").write_bytes(OLD_KEY)
    return path


def assert_all_is_there(store: SQLStore, counted: int = 2) -> None:
    """What the old store holds."""
    assert store.identity(never) == StoredIdentity(b"certificate", b"private key")
    assert store.secret(BOB, "psk", "1") == b"correct horse battery staple"
    (key,) = store.remembered(BOB).keys
    assert (key.fingerprint, key.assurance, key.since) == (Fingerprint(b"B" * 32), Assurance.VERIFIED, 2.5)
    assert store.remembered(EVE).keys[0].blocked
    assert [change.what for change in store.history(BOB)] == ["accepted", "pinned", "forgotten"]
    assert store.policy(BOB) == PeerPolicy(policy=Policy.REQUIRE)
    assert store.seen(BOB)
    assert store.failures(EVE, "srp") == counted


def never() -> NoReturn:
    """Where an identity is there already."""
    raise AssertionError("a second identity was made")


# --- the scripts and the tables ----------------------------------------------------------------------------------------


def test_the_migrations_make_what_the_tables_say(tmp_path: Path) -> None:
    """Statement by statement the schema and version of a new store, so that neither drifts; Alembic has nothing to add."""
    SQLStore.open(tmp_path / "new.db").close()
    engine = create_engine(f"sqlite:///{tmp_path / 'migrated.db'}")
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", migrate.SCRIPTS)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    assert schema(tmp_path / "migrated.db") == schema(tmp_path / "new.db")
    assert sorted(dump(tmp_path / "migrated.db")) == sorted(dump(tmp_path / "new.db"))

    with engine.connect() as connection:
        options = {"compare_server_default": True, "version_table": tables.version.name}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, tables.metadata) == []
    engine.dispose()


def schema(path: Path) -> set[str]:
    """The statements that made the tables and indices."""
    connection = sqlite3.connect(path)
    made = {re.sub(r"\s+", " ", sql) for (sql,) in connection.execute("SELECT sql FROM sqlite_master") if sql}
    connection.close()
    return {sql.replace("( ", "(").replace(" )", ")") for sql in made}


def test_the_head_is_the_last_script() -> None:
    """What the tables call HEAD is where the only line of scripts ends; each has a number, and its file begins with it."""
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


def test_alembic_is_loaded_only_where_there_is_work(tmp_path: Path, old: Path) -> None:
    """A new store, and one with the schema of this version, open without the half second that Alembic takes."""
    assert [run(OPENED, tmp_path / "new.db").strip() for _ in range(2)] == ["False", "False"]
    assert [run(OPENED, old).strip() for _ in range(2)] == ["True", "False"]


def test_nobody_waits_while_alembic_is_loaded(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a slow computer that takes longer than others are ready to wait."""
    loaded: list[None] = []

    def load() -> None:
        connection = sqlite3.connect(old, timeout=0)
        connection.execute("BEGIN IMMEDIATE")
        connection.close()
        loaded.append(None)

    monkeypatch.setattr(migrate, "load", load)
    SQLStore.open(old).close()
    assert loaded == [None]


# --- from before there were migrations ---------------------------------------------------------------------------------


def test_a_store_from_before_there_were_migrations(old: Path) -> None:
    """It opens with all that is in it, has the version of the first script, and never needs this again."""
    with SQLStore.open(old) as store:
        assert_all_is_there(store)
        assert str(store.migrated_notice).startswith(f"The store {old} was made by an older version; as it was")
    assert [line for line in dump(old) if tables.SCHEMA in line] == []
    with SQLStore.open(old) as store:
        assert_all_is_there(store)
        assert store.migrated_notice is None
        store.pin(EVE, Fingerprint(b"F" * 32), 6.0)


def test_as_it_was_a_store_is_kept_beside_the_new_one(old: Path) -> None:
    """A copy with the same content, its owner's alone, named in the notice; nothing unfinished lies about."""
    before = dump(old)
    with SQLStore.open(old) as store:
        assert str(old.with_name("store.db.schema-1")) in str(store.migrated_notice)
    assert sorted(files(old.parent)) == ["store.db", "store.db.schema-1", "store.key"]
    copy = old.with_name("store.db.schema-1")
    assert dump(copy) == before
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600


def test_a_new_store_leaves_no_copy(tmp_path: Path) -> None:
    """Nor a notice."""
    with SQLStore.open(tmp_path / "store.db") as store:
        assert store.migrated_notice is None
    assert sorted(files(tmp_path)) == ["store.db"]


@pytest.mark.parametrize("version", ["2", "0", "", "one", "0001 "])
def test_a_store_from_then_with_another_number(old: Path, version: str) -> None:
    """There was only one."""
    execute(old, f"UPDATE meta SET value = '{version}' WHERE name = '{tables.SCHEMA}'")
    before = files(old.parent)
    with pytest.raises(UnknownSchema, match=f"has schema '{version}'"):
        SQLStore.open(old)
    assert files(old.parent) == before


# --- later versions of this software -----------------------------------------------------------------------------------

SECOND = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "0002", "0001"
def upgrade():
    op.add_column("trust", sa.Column("note", sa.Text, nullable=False, server_default="old"))
    op.execute("UPDATE failures SET count = count + 100")
"""
THIRD = """
from alembic import op
revision, down_revision = "0003", "0002"
def upgrade():
    op.rename_table("seen", "met")
    op.execute("CREATE VIEW seen AS SELECT * FROM met")
    {}
"""
Later = Callable[..., Path]


@pytest.fixture
def later(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Later:
    """Make this a later version of the software, which has further scripts; the folder where they are."""

    def become(*scripts: str) -> Path:
        folder = tmp_path_factory.mktemp("later") / "migrations"
        shutil.copytree(SCRIPTS, folder, ignore=shutil.ignore_patterns("__pycache__"))
        for number, script in enumerate(scripts, 2):
            (folder / "versions" / f"{number:04}_later.py").write_text(script)
        monkeypatch.setattr(migrate, "SCRIPTS", str(folder))
        monkeypatch.setattr(tables, "HEAD", f"{len(scripts) + 1:04}")
        return folder

    return become


@pytest.mark.parametrize("scripts", [(SECOND,), (SECOND, THIRD.format("pass"))])
@pytest.mark.parametrize("opened_before", [False, True])
def test_an_older_store_comes_to_the_newest_schema(old: Path, later: Later, scripts: list[str], opened_before: bool) -> None:
    """By one step or several, from the first version or from before it: all is there, and each step was made once."""
    if opened_before:
        SQLStore.open(old).close()
    later(*scripts)
    for _ in range(2):
        with SQLStore.open(old) as store:
            assert_all_is_there(store, counted=102)
    copy = old.with_name("store.db.schema-0001" if opened_before else "store.db.schema-1")
    assert f"""INSERT INTO "failures" VALUES('{EVE}','srp',2);""" in dump(copy)


def test_a_newer_store_is_refused_and_goes_on_working_there(old: Path, later: Later, monkeypatch: pytest.MonkeyPatch) -> None:
    """The older software says which version it is, changes nothing, and names the copy as a way back."""
    folder = later(SECOND)
    SQLStore.open(old).close()
    monkeypatch.undo()
    before = files(old.parent)
    with pytest.raises(UnknownSchema, match="the store has schema '0002', and this version knows only up to 0001") as caught:
        SQLStore.open(old)
    assert str(caught.value).startswith(f"{old}: ")
    assert "restore the copy" in caught.value.explain()
    assert files(old.parent) == before
    monkeypatch.setattr(migrate, "SCRIPTS", str(folder))
    monkeypatch.setattr(tables, "HEAD", "0002")
    with SQLStore.open(old) as store:
        assert_all_is_there(store, counted=102)


def test_the_copy_is_a_store(old: Path, later: Later, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put in the place of the migrated one it opens in the older version."""
    later(SECOND)
    SQLStore.open(old).close()
    monkeypatch.undo()
    old.with_name("store.db.schema-1").replace(old)
    with SQLStore.open(old) as store:
        assert_all_is_there(store)


def test_a_later_copy_takes_the_place_of_an_earlier(old: Path, later: Later) -> None:
    """Whoever went back and comes again has the copy of what was there last; leftovers of a kill are in nobody's way."""
    SQLStore.open(old).close()
    old.with_name("store.db.schema-0001").write_bytes(b"earlier")
    old.with_name("store.db.schema-0001.part").write_bytes(b"unfinished")
    before = dump(old)
    later(SECOND)
    SQLStore.open(old).close()
    assert dump(old.with_name("store.db.schema-0001")) == before
    assert not old.with_name("store.db.schema-0001.part").exists()


# --- a migration that fails --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "kind", "cause"),
    [
        ("raise ValueError('nobody')", MigrationFailed, r"could not be brought from schema 1 to 0003 \(ValueError\)"),
        ("{}['nobody']", MigrationFailed, r"\(KeyError\)"),
        ("None + 1", MigrationFailed, r"\(TypeError\)"),
        (f"op.execute(\"UPDATE trust SET peer = '{BOB}', fingerprint = ''\")", MigrationFailed, r"\(IntegrityError\)"),
        ("op.execute('SELECT * FROM missing')", MigrationFailed, r"\(OperationalError\)"),
        ("raise KeyboardInterrupt", KeyboardInterrupt, "^$"),
    ],
)
def test_a_failing_migration_changes_nothing(
    old: Path, later: Later, failure: str, kind: type[BaseException], cause: str
) -> None:
    """Neither its own steps nor those before it are left; the error says so; without the failure it works."""
    before = dump(old)
    folder = later(SECOND, THIRD.format(failure))
    for _ in range(2):
        with pytest.raises(kind, match=cause) as caught:
            SQLStore.open(old)
        assert dump(old) == before
    assert type(caught.value) is kind
    assert "nobody" not in str(caught.value)  # nor any content of a row
    if isinstance(caught.value, StoreError):
        assert str(caught.value).startswith(f"{old}: ")
        assert "as it" in caught.value.explain()
    (folder / "versions" / "0003_later.py").write_text(THIRD.format("pass"))
    with SQLStore.open(old) as store:
        assert_all_is_there(store, counted=102)


KILLED = """
import sys
from slixmpp_e2e.store import SQLStore, migrate, tables
migrate.SCRIPTS, tables.HEAD = sys.argv[2:]
SQLStore.open(sys.argv[1])
"""


def test_a_kill_in_the_middle_of_a_migration_changes_nothing(old: Path, later: Later) -> None:
    """The next opening finds the older store and brings it to the newest schema."""
    before = dump(old)
    folder = later(SECOND, THIRD.format("import os; os.kill(os.getpid(), 9)"))
    assert run(KILLED, old, folder, tables.HEAD) == ""
    assert dump(old) == before
    (folder / "versions" / "0003_later.py").write_text(THIRD.format("pass"))
    with SQLStore.open(old) as store:
        assert_all_is_there(store, counted=102)


def test_where_no_copy_can_be_made_nothing_is_migrated(old: Path) -> None:
    """The store stays as it was, and the message names the file that could not be written."""
    old.with_name("store.db.schema-1").mkdir()
    before = dump(old)
    with pytest.raises(StoreInaccessible, match=r"schema-1\.part: the store cannot be copied before its schema") as caught:
        SQLStore.open(old)
    assert "permissions" in caught.value.explain()
    assert dump(old) == before
    assert sorted(files(old.parent)) == ["store.db", "store.key"]
    old.with_name("store.db.schema-1").rmdir()
    with SQLStore.open(old) as store:
        assert_all_is_there(store)


def test_a_damaged_store_is_not_migrated(old: Path) -> None:
    """Who builds on a damaged page damages more."""
    content = bytearray(old.read_bytes())
    content[-4096:] = b"\xff" * 4096
    old.write_bytes(content)
    before = files(old.parent)
    with pytest.raises(StoreError, match="the store is damaged"):
        SQLStore.open(old)
    assert files(old.parent) == before


# --- several at once ---------------------------------------------------------------------------------------------------

MANY = """
import sys
from slixmpp_e2e.store import SQLStore, migrate, tables
from xmpp_e2e.identity import Fingerprint
path, migrate.SCRIPTS, tables.HEAD, name = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
with SQLStore.open(path) as store:
    for number in range(10):
        store.count_failure("eve@example.org", "srp")
        store.pin("carol@example.org", Fingerprint.of(f"{name} {number}".encode()), 1.0)
    print(store.migrated_notice is not None)
"""


def test_processes_that_migrate_the_same_store_at_once(old: Path, later: Later) -> None:
    """Four processes open one old file in the same instant: one migrates, the others wait for it, nothing is lost."""
    folder = later(SECOND)
    said = at_once(MANY, *((old, folder, tables.HEAD, name) for name in "abcd"))
    assert sorted(said) == [["False"], ["False"], ["False"], ["True"]]
    with SQLStore.open(old) as store:
        assert_all_is_there(store, counted=142)
        assert len(store.remembered("carol@example.org").keys) == len(store.history("carol@example.org")) == 40


def test_threads_that_migrate_stores_at_once(old: Path, later: Later) -> None:
    """Alembic works for one at a time; several accounts in one program can still be opened together."""
    later(SECOND)
    paths = [old.with_name(f"{number}.db") for number in range(8)]
    for path in paths:
        shutil.copy(old, path)
        shutil.copy(old.with_suffix(".key"), path.with_suffix(".key"))
    counted: list[int] = []

    def work(path: Path) -> None:
        with SQLStore.open(path) as store:
            counted.append(store.failures(EVE, "srp"))

    threads = [threading.Thread(target=work, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted == [102] * 8
