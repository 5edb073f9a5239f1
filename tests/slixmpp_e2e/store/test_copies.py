"""A copy of the two files of a store that programs use holds everything."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from slixmpp_e2e.policy import Policy
from slixmpp_e2e.store import PeerPolicy, SQLStore, StoredOwnKey
from slixmpp_e2e.store.database import Database
from tests.slixmpp_e2e.store.expect import never
from xmpp_e2e.types import Assurance, Fingerprint

BOB = "bob@example.org"
KEY = Fingerprint(b"A" * 32)
IDENTITY = StoredOwnKey(b"certificate", b"private key")


@pytest.fixture
def copy(store: SQLStore, tmp_path: Path) -> Callable[[], SQLStore]:
    """Copy the file and the key file, as a user does, and open the copy."""

    def make() -> SQLStore:
        folder = tmp_path / "copy"
        folder.mkdir()
        for name in ("store.db", "store.key"):
            shutil.copy(store.path.with_name(name), folder)
        return SQLStore.open(folder / "store.db")

    return make


def fill(store: SQLStore) -> None:
    store.own_key(lambda: IDENTITY)
    store.pin(BOB, KEY, 1.0)
    store.put_secret(BOB, "psk", "1", b"secret")
    store.set_policy(BOB, PeerPolicy(policy=Policy.REQUIRE))
    store.record_e2e_use(BOB, 1.0)
    store.count_failed_attempt(BOB, "srp")


def assert_whole(copied: SQLStore) -> None:
    with copied:
        assert copied.own_key(never) == IDENTITY
        (key,) = copied.known_keys(BOB).keys
        assert (key.fingerprint, key.assurance) == (KEY, Assurance.VERIFIED)
        assert copied.secret(BOB, "psk", "1") == b"secret"
        assert copied.policy(BOB).policy is Policy.REQUIRE
        assert copied.has_used_e2e(BOB)
        assert copied.failed_attempts(BOB, "srp") == 1


def test_a_copy_of_an_open_store(store: SQLStore, copy: Callable[[], SQLStore]) -> None:
    fill(store)
    assert_whole(copy())


def test_a_copy_while_another_connection_reads(store: SQLStore, copy: Callable[[], SQLStore]) -> None:
    fill(store)
    with SQLStore.open(store.path) as other, other._reading() as connection:
        connection.exec_driver_sql("SELECT count(*) FROM trust")
        assert_whole(copy())


@pytest.mark.parametrize(
    "later",
    [
        lambda store: store.known_keys(BOB),
        lambda store: store._database.data_version(),
        lambda store: store.close(),
        lambda store: store.record_e2e_use(BOB, 1.0),
    ],
)
def test_what_a_reader_held_back_is_moved_later(
    store: SQLStore, copy: Callable[[], SQLStore], later: Callable[[SQLStore], object]
) -> None:
    """As long as somebody reads an older state, SQLite cannot move what came after it."""
    with SQLStore.open(store.path) as other:
        with other._reading() as connection:
            connection.exec_driver_sql("SELECT count(*) FROM trust")
            fill(store)
        later(store)
        assert_whole(copy())


def test_a_checkpoint_that_fails_loses_nothing(store: SQLStore, copy: Callable[[], SQLStore]) -> None:
    """The disk may be full: the change is in the journal, and is moved when there is room."""
    real = store._database._driver

    class Full:
        def execute(self, statement: str) -> sqlite3.Cursor:
            if "wal_checkpoint" in statement:
                raise sqlite3.OperationalError("database or disk is full")
            return real.execute(statement)

    store._database._driver = Full()  # type: ignore[assignment]
    fill(store)
    assert store._database._unsettled
    store._database._driver = real
    assert store._database.data_version()
    assert not store._database._unsettled
    assert_whole(copy())


def test_without_the_checkpoint_a_copy_has_lost_it(store: SQLStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Database, "_settle", lambda self, driver: None)
    fill(store)
    shutil.copy(store.path, tmp_path / "copy.db")
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copied:
        assert copied.execute("SELECT count(*) FROM identity").fetchone() == (0,)
