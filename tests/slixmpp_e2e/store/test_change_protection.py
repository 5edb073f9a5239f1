"""A change of the key protection re-encrypts every secret or nothing, whatever goes wrong."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, cast

import pytest
from sqlalchemy import Connection, insert, select

from slixmpp_e2e.store import KeyFile, KeyProtection, Passphrase, SQLStore, StoredOwnKey, StoreError, StoreReason, tables
from slixmpp_e2e.store.secret_table import SecretTable
from tests.slixmpp_e2e.store.expect import never, store_error
from tests.slixmpp_e2e.store.processes import dump, execute, files, run
from xmpp_e2e.types import Fingerprint

pytestmark = pytest.mark.usefixtures("quick_derivation")

BOB, EVE = "bob@example.org", "eve@example.org"
IDENTITY = StoredOwnKey(b"the certificate", b"the private key")
WORDS = "correct horse battery staple"


@pytest.fixture
def used(tmp_path: Path) -> Path:
    path = tmp_path / "store.db"
    with SQLStore.open(path) as store:
        fill(store)
    return path


def fill(store: SQLStore) -> None:
    store.own_key(lambda: IDENTITY)
    with store._writing() as connection:
        encrypted = store._protection.encrypt(b"of the future", "identity", "2", b"second")
        row = {"generation": 2, "certificate": b"second", "private_key": encrypted}
        connection.execute(insert(tables.identity).values(row))
    for number in range(5):
        store.put_secret(BOB, "psk", str(number), f"secret {number}".encode())
    store.put_secret(EVE, "password", "", b"")
    store.pin(BOB, Fingerprint(b"A" * 32), 1.0)


def assert_all_is_there(path: Path, protection: KeyProtection | None = None) -> None:
    with SQLStore.open(path, protection) as store:
        assert store.load_key()
        assert store.own_key(never) == StoredOwnKey(b"second", b"of the future")
        assert [store.secret(BOB, "psk", str(number)) for number in range(5)] == [b"secret %d" % number for number in range(5)]
        assert store.secret(EVE, "password", "") == b""
        assert store.known_keys(BOB).any_verified
        with store._reading() as connection:
            row = connection.execute(select(tables.identity).where(tables.identity.c.generation == 1)).one()
        assert store._protection.decrypt(row.private_key, "identity", "1", row.certificate) == IDENTITY.private_key


def key_of(path: Path) -> KeyFile:
    return KeyFile(path.with_suffix(".key"))


def test_from_the_key_file_to_a_passphrase_and_back(used: Path) -> None:
    key = key_of(used).path.read_bytes()
    with SQLStore.open(used) as store:
        assert "passphrase" in str(store.change_protection(Passphrase(WORDS)))
        assert store.protection_kind() == "passphrase"
        store.put_secret(EVE, "psk", "1", b"later")
        assert "passphrase" in str(store.key_notice)
    assert sorted(files(used.parent)) == ["store.db"]
    assert_all_is_there(used, Passphrase(WORDS))
    with SQLStore.open(used, Passphrase(WORDS)) as store:
        assert "random key" in str(store.change_protection(key_of(used)))
        assert store.secret(EVE, "psk", "1") == b"later"
    assert sorted(files(used.parent)) == ["store.db", "store.key"]
    assert key_of(used).path.read_bytes() != key
    assert_all_is_there(used)


def test_a_passphrase_can_be_changed(used: Path) -> None:
    with SQLStore.open(used) as store:
        store.change_protection(Passphrase(WORDS))
        store.change_protection(Passphrase("another"))
    assert_all_is_there(used, Passphrase("another"))
    with SQLStore.open(used, Passphrase(WORDS)) as store, store_error(StoreReason.WRONG_PASSPHRASE):
        store.own_key(never)


def test_nothing_that_the_old_key_opens_is_left(used: Path) -> None:
    """Somebody who finds the old key in a backup opens nothing in the database or beside it."""
    with SQLStore.open(used) as store:
        store.put_secret(EVE, "psk", "1", b"just now")
        with store._reading() as connection:
            old = [*connection.execute(select(tables.secrets.c.value)).scalars()]
            old += connection.execute(select(tables.identity.c.private_key)).scalars()
        assert len(old) == 9
        store.change_protection(Passphrase(WORDS))
        left = b"".join(files(used.parent).values())
    assert not any(encrypted in left for encrypted in old)


def test_a_store_without_secrets_takes_the_new_protection(tmp_path: Path) -> None:
    with SQLStore.open(tmp_path / "store.db") as store:
        assert store.change_protection(Passphrase(WORDS)) is None
        assert store.protection_kind() is None
        fill(store)
        assert store.protection_kind() == "passphrase"
    assert sorted(files(tmp_path)) == ["store.db"]


def test_the_key_in_use_is_not_taken_for_a_new_one(used: Path) -> None:
    """It would be deleted after the change."""
    with SQLStore.open(used) as store:
        (used.parent / "link").symlink_to(used.parent)
        for protection in (key_of(used), KeyFile(used.parent / "link" / "store.key")):
            with pytest.raises(ValueError, match="protects the store already"):
                store.change_protection(protection)
        same = Passphrase(WORDS)
        store.change_protection(same)
        with pytest.raises(ValueError, match="protects the store already"):
            store.change_protection(same)
    assert_all_is_there(used, Passphrase(WORDS))


def test_a_process_that_has_the_store_open_notices_the_change(used: Path) -> None:
    with SQLStore.open(used) as store, SQLStore.open(used) as other:
        assert other.own_key(never).certificate == b"second"
        store.change_protection(Passphrase(WORDS))
        uses: list[Callable[[], object]] = [
            lambda: other.own_key(never),
            lambda: other.put_secret(BOB, "psk", "9", b"lost"),
            lambda: other.change_protection(Passphrase("another")),
        ]
        for use in uses:
            with store_error(StoreReason.OTHER_PROTECTION, match="protected by a passphrase"):
                use()
        assert other.known_keys(BOB).any_verified
    assert_all_is_there(used, Passphrase(WORDS))


def test_a_process_with_the_old_passphrase_notices_the_change(used: Path) -> None:
    with SQLStore.open(used) as store:
        store.change_protection(Passphrase(WORDS))
        with SQLStore.open(used, Passphrase(WORDS)) as other, SQLStore.open(used, Passphrase("another")) as third:
            assert other.load_key()
            store.change_protection(Passphrase("another"))
            with store_error(StoreReason.WRONG_PASSPHRASE):
                other.put_secret(BOB, "psk", "9", b"lost")
            assert third.load_key()
            store.change_protection(Passphrase(WORDS))  # the same words, and another salt
            assert other.own_key(never).certificate == b"second"


def test_a_key_that_encrypts_nothing_is_not_deleted(used: Path) -> None:
    """Without a secret in this store, the key may be there for another reason."""
    path = used.with_name("new.db")
    with SQLStore.open(path) as store:
        key_of(path).create_key()
        assert store.change_protection(Passphrase(WORDS)) is None
    assert key_of(path).path.exists()


def test_a_damaged_row_stops_the_change(used: Path) -> None:
    execute(used, "UPDATE secrets SET value = x'00' WHERE key_id = '3'")
    before = dump(used)
    with SQLStore.open(used) as store:
        with store_error(StoreReason.SECRET_DAMAGED, match=r"store\.db: the secret '3' of the kind 'psk' shared with bob@"):
            store.change_protection(KeyFile(used.with_name("other.key")))
        assert store.secret(BOB, "psk", "1") == b"secret 1"
        assert store.forget_secret(BOB, "psk", "3")
        store.change_protection(Passphrase(WORDS))
    assert dump(used) != before
    assert sorted(files(used.parent)) == ["store.db"]


def test_a_missing_key_stops_the_change(used: Path) -> None:
    """A secret that cannot be decrypted cannot be encrypted again."""
    key = used.with_suffix(".key")
    kept = key.rename(key.with_suffix(".kept"))
    before = dump(used)
    with SQLStore.open(used) as store, store_error(StoreReason.KEY_FILE_MISSING):
        store.change_protection(Passphrase(WORDS))
    assert dump(used) == before
    kept.rename(key)
    assert_all_is_there(used)


def test_a_wrong_key_stops_the_change_even_without_secrets(used: Path) -> None:
    """Nobody chooses the next passphrase without the present one."""
    with SQLStore.open(used.with_name("new.db"), Passphrase(WORDS)) as store:
        store.put_secret(BOB, "psk", "1", b"secret")
        store.forget_secret(BOB, "psk", "1")
        with SQLStore.open(store.path, Passphrase("another")) as other, store_error(StoreReason.WRONG_PASSPHRASE):
            other.change_protection(Passphrase("a third"))
        assert store.load_key()


def test_a_journal_that_cannot_be_emptied_is_no_failure(used: Path) -> None:
    """The protection has changed by then."""

    class Driver:
        """A driver that refuses to empty the journal."""

        def __init__(self, driver: sqlite3.Connection) -> None:
            self._driver = driver
            self.refused = 0

        def execute(self, statement: str) -> sqlite3.Cursor:
            if "wal_checkpoint(TRUNCATE)" in statement:
                self.refused += 1
                raise sqlite3.OperationalError("database or disk is full")
            return self._driver.execute(statement)

    with SQLStore.open(used) as store:
        driver = Driver(store._database._driver)
        store._database._driver = cast(sqlite3.Connection, driver)
        store.change_protection(Passphrase(WORDS))
        assert driver.refused == 1
    assert sorted(files(used.parent)) == ["store.db"]
    assert_all_is_there(used, Passphrase(WORDS))


def test_the_old_key_stays_if_the_new_one_cannot_be_made(used: Path) -> None:
    before = dump(used)
    with SQLStore.open(used) as store:
        with store_error(StoreReason.NO_ACCESS, match="the key file cannot be created"):
            store.change_protection(KeyFile(used.parent / "nowhere" / "store.key"))
        assert store.own_key(never).certificate == b"second"
    assert dump(used) == before
    assert_all_is_there(used)


def test_the_old_key_stays_if_the_database_fails(used: Path) -> None:
    trigger = "CREATE TRIGGER refuse BEFORE UPDATE ON secrets WHEN old.key_id = '3' BEGIN SELECT RAISE(ABORT, 'no'); END"
    execute(used, trigger)
    other = KeyFile(used.with_name("other.key"))
    with SQLStore.open(used) as store:
        with pytest.raises(StoreError, match="cannot be used"):
            store.change_protection(other)
        key = other.path.read_bytes()
    execute(used, "DROP TRIGGER refuse")
    assert_all_is_there(used)
    with SQLStore.open(used) as store:
        assert store.change_protection(KeyFile(other.path)) is None  # no new key, no notice
    assert other.path.read_bytes() == key
    assert not used.with_suffix(".key").exists()
    assert_all_is_there(used, other)


def test_an_old_key_file_that_cannot_be_deleted_is_reported(used: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The change is done, so this is no failure."""

    def refuse(path: Path, missing_ok: bool = False) -> NoReturn:
        raise PermissionError(13, "Permission denied")

    with SQLStore.open(used) as store:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", refuse)
            notice = str(store.change_protection(Passphrase(WORDS)))
        assert f"cannot be deleted: {used.with_suffix('.key')}: the key file cannot be deleted (Permission denied)" in notice
        assert store.own_key(never).certificate == b"second"
    assert_all_is_there(used, Passphrase(WORDS))


def test_the_change_is_on_the_disk_before_the_old_key_is_deleted(used: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a power cut could leave the old rows without the old key."""
    modes: list[int] = []
    with SQLStore.open(used) as store:
        driver = store._database._driver

        def mode() -> int:
            return int(driver.execute("PRAGMA synchronous").fetchone()[0])

        change = SecretTable.change_protection

        def watched(table: SecretTable, connection: Connection, other: SecretTable) -> bool:
            modes.append(mode())
            return change(table, connection, other)

        monkeypatch.setattr(SecretTable, "change_protection", watched)
        store.change_protection(Passphrase(WORDS))
        modes.append(mode())
    assert modes == [2, 1]  # FULL, and NORMAL afterwards


KILLED = """
import os, signal, sys
from slixmpp_e2e.store import KeyFile, Passphrase, SQLStore
from slixmpp_e2e.store.key_protection import passphrase
from slixmpp_e2e.store.key_protection.protection import AesGcmProtection
from slixmpp_e2e.store.secret_table import SecretTable
path, target, owner, name, calls, before = sys.argv[1:]
passphrase.MEMORY_KIB = 8
protections = {"key-file": None, "passphrase": Passphrase("correct horse battery staple")}
store = SQLStore.open(path, protections[SQLStore.open(path).protection_kind()])
holder = {kind.__name__: kind for kind in (AesGcmProtection, KeyFile, Passphrase, SecretTable)}[owner]
original, made = getattr(holder, name), 0

def killing(*arguments):
    global made
    made += 1
    if made == int(calls) and before == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = original(*arguments)
    if made == int(calls):
        os.kill(os.getpid(), signal.SIGKILL)
    return result

setattr(holder, name, killing)
new = KeyFile(store.path.with_suffix(".key")) if target == "key-file" else Passphrase("correct horse battery staple")
store.change_protection(new)
print("not killed")
"""
POINTS = [
    ("key-file", "KeyFile", "create_key", 1, "before", False),
    ("key-file", "KeyFile", "create_key", 1, "after", False),
    ("passphrase", "Passphrase", "create_key", 1, "after", False),
    *((to, "AesGcmProtection", "encrypt", call, "after", False) for to in ("key-file", "passphrase") for call in (1, 5, 9)),
    *((target, "SecretTable", "change_protection", 1, "after", False) for target in ("key-file", "passphrase")),
    ("key-file", "Passphrase", "delete_key", 1, "before", True),
    ("passphrase", "KeyFile", "delete_key", 1, "before", True),
    ("passphrase", "KeyFile", "delete_key", 1, "after", True),
]


@pytest.mark.parametrize(("target", "owner", "name", "call", "when", "done"), POINTS)
def test_a_kill_at_any_point_loses_nothing(
    used: Path, target: str, owner: str, name: str, call: int, when: str, done: bool
) -> None:
    with SQLStore.open(used) as store:
        if target == "key-file":
            store.change_protection(Passphrase(WORDS))
        old = str(store.protection_kind())
    assert run(KILLED, used, target, owner, name, call, when) == ""
    with SQLStore.open(used) as store:
        found = str(store.protection_kind())
    assert found == (target if done else old)

    def protection(kind: str) -> KeyProtection:
        return Passphrase(WORDS) if kind == "passphrase" else key_of(used)

    assert_all_is_there(used, protection(found))
    for kind in ("passphrase", "key-file", "passphrase"):
        with SQLStore.open(used) as store:
            now = str(store.protection_kind())
        if now != kind:
            with SQLStore.open(used, protection(now)) as store:
                store.change_protection(protection(kind))
            assert_all_is_there(used, protection(kind))
