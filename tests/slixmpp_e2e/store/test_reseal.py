"""Changing the seal: every sealed row comes along, or nothing happens, whatever goes wrong and whenever."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, cast

import pytest
from sqlalchemy import Connection, insert, select

from slixmpp_e2e.store import (
    KeyFile,
    KeyMissing,
    Passphrase,
    PassphraseWrong,
    SealBroken,
    SealedOtherwise,
    Sealer,
    SQLStore,
    StoredIdentity,
    StoreError,
    StoreInaccessible,
    tables,
)
from slixmpp_e2e.store.key_protection import passphrase
from slixmpp_e2e.store.vault import Vault
from tests.slixmpp_e2e.store.processes import dump, execute, files, run
from xmpp_e2e.identity import Fingerprint

BOB, EVE = "bob@example.org", "eve@example.org"
IDENTITY = StoredIdentity(b"the certificate", b"the private key")
WORDS = "correct horse battery staple"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A derivation that takes no time; its strength is not what these tests are about."""
    monkeypatch.setattr(passphrase, "MEMORY_KIB", 8)


@pytest.fixture
def used(tmp_path: Path) -> Path:
    """A store sealed with a key file, with an identity, an earlier one, and secrets; closed."""
    path = tmp_path / "store.db"
    with SQLStore.open(path) as store:
        fill(store)
    return path


def fill(store: SQLStore) -> None:
    """Something of everything that is sealed, and something that is not."""
    store.identity(lambda: IDENTITY)
    with store._writing() as connection:
        sealed = store._sealer.seal(b"of the future", "identity", "2", b"second")
        row = {"generation": 2, "certificate": b"second", "private_key": sealed}
        connection.execute(insert(tables.identity).values(row))
    for number in range(5):
        store.put_secret(BOB, "psk", str(number), f"secret {number}".encode())
    store.put_secret(EVE, "password", "", b"")
    store.pin(BOB, Fingerprint(b"A" * 32), 1.0)


def assert_all_is_there(path: Path, sealer: Sealer | None = None) -> None:
    """What ``fill`` has put there, with this seal."""
    with SQLStore.open(path, sealer) as store:
        assert store.unlock()
        assert store.identity(never) == StoredIdentity(b"second", b"of the future")
        assert [store.secret(BOB, "psk", str(number)) for number in range(5)] == [b"secret %d" % number for number in range(5)]
        assert store.secret(EVE, "password", "") == b""
        assert store.remembered(BOB).any_verified
        with store._reading() as connection:
            row = connection.execute(select(tables.identity).where(tables.identity.c.generation == 1)).one()
        assert store._sealer.unseal(row.private_key, "identity", "1", row.certificate) == IDENTITY.private_key


def never() -> NoReturn:
    """Where an identity is there already."""
    raise AssertionError("a second identity was made")


def key_of(path: Path) -> KeyFile:
    """The key file beside a store."""
    return KeyFile(path.with_suffix(".key"))


def test_from_the_key_file_to_a_passphrase_and_back(used: Path) -> None:
    """Each time all is there, the same object goes on working, the user is told, and only what is needed is left."""
    key = key_of(used).path.read_bytes()
    with SQLStore.open(used) as store:
        assert "passphrase" in str(store.reseal(Passphrase(WORDS)))
        assert store.sealed_with() == "passphrase"
        store.put_secret(EVE, "psk", "1", b"later")
        assert "passphrase" in str(store.created_notice)
    assert sorted(files(used.parent)) == ["store.db"]
    assert_all_is_there(used, Passphrase(WORDS))
    with SQLStore.open(used, Passphrase(WORDS)) as store:
        assert "random key" in str(store.reseal(key_of(used)))
        assert store.secret(EVE, "psk", "1") == b"later"
    assert sorted(files(used.parent)) == ["store.db", "store.key"]
    assert key_of(used).path.read_bytes() != key
    assert_all_is_there(used)


def test_a_passphrase_can_be_changed(used: Path) -> None:
    """The old one opens nothing any more."""
    with SQLStore.open(used) as store:
        store.reseal(Passphrase(WORDS))
        store.reseal(Passphrase("another"))
    assert_all_is_there(used, Passphrase("another"))
    with SQLStore.open(used, Passphrase(WORDS)) as store, pytest.raises(PassphraseWrong):
        store.identity(never)


def test_nothing_that_the_old_key_opens_is_left(used: Path) -> None:
    """Neither in the database nor beside it: who finds the old key later, in a backup, opens nothing here."""
    with SQLStore.open(used) as store:
        store.put_secret(EVE, "psk", "1", b"just now")
        with store._reading() as connection:
            old = [*connection.execute(select(tables.secrets.c.value)).scalars()]
            old += connection.execute(select(tables.identity.c.private_key)).scalars()
        assert len(old) == 9
        store.reseal(Passphrase(WORDS))
        left = b"".join(files(used.parent).values())
    assert not any(sealed in left for sealed in old)


def test_a_store_that_seals_nothing_yet_takes_the_new_seal(tmp_path: Path) -> None:
    """There is nothing to do and no key to make; the first secret makes it."""
    with SQLStore.open(tmp_path / "store.db") as store:
        assert store.reseal(Passphrase(WORDS)) is None
        assert store.sealed_with() is None
        fill(store)
        assert store.sealed_with() == "passphrase"
    assert sorted(files(tmp_path)) == ["store.db"]


def test_the_key_in_use_is_not_taken_for_a_new_one(used: Path) -> None:
    """It would be deleted after the change."""
    with SQLStore.open(used) as store:
        (used.parent / "link").symlink_to(used.parent)
        for sealer in (key_of(used), KeyFile(used.parent / "link" / "store.key")):
            with pytest.raises(ValueError, match="with this key already"):
                store.reseal(sealer)
        same = Passphrase(WORDS)
        store.reseal(same)
        with pytest.raises(ValueError, match="with this key already"):
            store.reseal(same)
    assert_all_is_there(used, Passphrase(WORDS))


def test_whoever_has_the_store_open_meanwhile_is_told(used: Path) -> None:
    """Another process neither reads nor, what would be worse, seals with the old key after the change."""
    with SQLStore.open(used) as store, SQLStore.open(used) as other:
        assert other.identity(never).certificate == b"second"
        store.reseal(Passphrase(WORDS))
        uses: list[Callable[[], object]] = [
            lambda: other.identity(never),
            lambda: other.put_secret(BOB, "psk", "9", b"lost"),
            lambda: other.reseal(Passphrase("another")),
        ]
        for use in uses:
            with pytest.raises(SealedOtherwise, match="sealed with a passphrase"):
                use()
        assert other.remembered(BOB).any_verified
    assert_all_is_there(used, Passphrase(WORDS))


def test_whoever_has_it_open_with_the_passphrase_that_was_changed_is_told(used: Path) -> None:
    """The key that he has derived is not used any longer."""
    with SQLStore.open(used) as store:
        store.reseal(Passphrase(WORDS))
        with SQLStore.open(used, Passphrase(WORDS)) as other, SQLStore.open(used, Passphrase("another")) as third:
            assert other.unlock()
            store.reseal(Passphrase("another"))
            with pytest.raises(PassphraseWrong):
                other.put_secret(BOB, "psk", "9", b"lost")
            assert third.unlock()
            store.reseal(Passphrase(WORDS))  # the same words, and another salt
            assert other.identity(never).certificate == b"second"


def test_a_key_that_seals_nothing_is_left_alone(used: Path) -> None:
    """Without a secret in this store it may be there for another reason."""
    path = used.with_name("new.db")
    with SQLStore.open(path) as store:
        key_of(path).create()
        assert store.reseal(Passphrase(WORDS)) is None
    assert key_of(path).path.exists()


# --- what goes wrong ---------------------------------------------------------------------------------------------------


def test_a_broken_row_stops_the_change(used: Path) -> None:
    """It is named; nothing is changed, and no new key is made."""
    execute(used, "UPDATE secrets SET value = x'00' WHERE key_id = '3'")
    before = dump(used)
    with SQLStore.open(used) as store:
        with pytest.raises(SealBroken, match=r"store\.db: the secret '3' of the kind 'psk' shared with bob@"):
            store.reseal(KeyFile(used.with_name("other.key")))
        assert store.secret(BOB, "psk", "1") == b"secret 1"
        assert store.forget_secret(BOB, "psk", "3")
        store.reseal(Passphrase(WORDS))
    assert dump(used) != before
    assert sorted(files(used.parent)) == ["store.db"]


def test_a_missing_key_stops_the_change(used: Path) -> None:
    """What cannot be opened cannot be sealed anew."""
    key = used.with_suffix(".key")
    kept = key.rename(key.with_suffix(".kept"))
    before = dump(used)
    with SQLStore.open(used) as store, pytest.raises(KeyMissing):
        store.reseal(Passphrase(WORDS))
    assert dump(used) == before
    kept.rename(key)
    assert_all_is_there(used)


def test_a_wrong_key_stops_the_change_even_if_no_secret_is_left(used: Path) -> None:
    """Who does not know the passphrase does not choose the next one."""
    with SQLStore.open(used.with_name("new.db"), Passphrase(WORDS)) as store:
        store.put_secret(BOB, "psk", "1", b"secret")
        store.forget_secret(BOB, "psk", "1")
        with SQLStore.open(store.path, Passphrase("another")) as other, pytest.raises(PassphraseWrong):
            other.reseal(Passphrase("a third"))
        assert store.unlock()


def test_a_journal_that_cannot_be_emptied_is_no_failure(used: Path) -> None:
    """The seal has changed by then."""

    class Driver:
        """Refuses to empty the journal."""

        def __init__(self, driver: sqlite3.Connection) -> None:
            self._driver = driver
            self.refused = 0

        def execute(self, statement: str) -> sqlite3.Cursor:
            if "wal_checkpoint" in statement:
                self.refused += 1
                raise sqlite3.OperationalError("database or disk is full")
            return self._driver.execute(statement)

    with SQLStore.open(used) as store:
        driver = Driver(store._database._driver)
        store._database._driver = cast(sqlite3.Connection, driver)
        store.reseal(Passphrase(WORDS))
        assert driver.refused == 1
    assert sorted(files(used.parent)) == ["store.db"]
    assert_all_is_there(used, Passphrase(WORDS))


def test_where_the_new_key_cannot_be_made_the_old_one_stays(used: Path) -> None:
    """A folder that is not there."""
    before = dump(used)
    with SQLStore.open(used) as store:
        with pytest.raises(StoreInaccessible, match="the key file cannot be created"):
            store.reseal(KeyFile(used.parent / "nowhere" / "store.key"))
        assert store.identity(never).certificate == b"second"
    assert dump(used) == before
    assert_all_is_there(used)


def test_where_the_database_refuses_the_change_the_old_key_stays(used: Path) -> None:
    """In the middle of the rows; the new key is left, and the next try takes it."""
    trigger = "CREATE TRIGGER refuse BEFORE UPDATE ON secrets WHEN old.key_id = '3' BEGIN SELECT RAISE(ABORT, 'no'); END"
    execute(used, trigger)
    other = KeyFile(used.with_name("other.key"))
    with SQLStore.open(used) as store:
        with pytest.raises(StoreError, match="cannot be used"):
            store.reseal(other)
        key = other.path.read_bytes()
    execute(used, "DROP TRIGGER refuse")
    assert_all_is_there(used)
    with SQLStore.open(used) as store:
        assert store.reseal(KeyFile(other.path)) is None  # no new key, no notice
    assert other.path.read_bytes() == key
    assert not used.with_suffix(".key").exists()
    assert_all_is_there(used, other)


def test_an_old_key_file_that_cannot_be_deleted_is_said(used: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The seal has changed; that is no reason to fail."""

    def refuse(path: Path, missing_ok: bool = False) -> NoReturn:
        raise PermissionError(13, "Permission denied")

    with SQLStore.open(used) as store:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", refuse)
            notice = str(store.reseal(Passphrase(WORDS)))
        assert f"cannot be deleted: {used.with_suffix('.key')}: the key file cannot be deleted (Permission denied)" in notice
        assert store.identity(never).certificate == b"second"
    assert_all_is_there(used, Passphrase(WORDS))


def test_the_change_is_on_the_disk_before_the_old_key_is_deleted(used: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a power cut could leave the old rows without the old key."""
    modes: list[int] = []
    with SQLStore.open(used) as store:
        driver = store._database._driver

        def mode() -> int:
            return int(driver.execute("PRAGMA synchronous").fetchone()[0])

        sealing = Vault.reseal

        def watched(vault: Vault, connection: Connection, other: Vault) -> bool:
            modes.append(mode())
            return sealing(vault, connection, other)

        monkeypatch.setattr(Vault, "reseal", watched)
        store.reseal(Passphrase(WORDS))
        modes.append(mode())
    assert modes == [2, 1]  # FULL, and NORMAL afterwards


# --- a crash -----------------------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from slixmpp_e2e.store import KeyFile, Passphrase, SQLStore, sql, vault
from slixmpp_e2e.store.key_protection import keyring
from slixmpp_e2e.store.key_protection import passphrase
from slixmpp_e2e.store.key_protection import key_file as seal
path, target, owner, name, calls, before = sys.argv[1:]
passphrase.MEMORY_KIB = 8
sealers = {"key-file": None, "passphrase": Passphrase("correct horse battery staple")}
store = SQLStore.open(path, sealers[SQLStore.open(path).sealed_with()])
holder = {"Cipher": seal.Cipher, "KeyFile": KeyFile, "Passphrase": Passphrase, "Vault": vault.Vault}[owner]
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
store.reseal(new)
print("not killed")
"""
POINTS = [
    ("key-file", "KeyFile", "create", 1, "before", False),
    ("key-file", "KeyFile", "create", 1, "after", False),
    ("passphrase", "Passphrase", "create", 1, "after", False),
    *((target, "Cipher", "seal", call, "after", False) for target in ("key-file", "passphrase") for call in (1, 5, 9)),
    *((target, "Vault", "reseal", 1, "after", False) for target in ("key-file", "passphrase")),
    ("key-file", "Passphrase", "retire", 1, "before", True),
    ("passphrase", "KeyFile", "retire", 1, "before", True),
    ("passphrase", "KeyFile", "retire", 1, "after", True),
]


@pytest.mark.parametrize(("target", "owner", "name", "call", "when", "done"), POINTS)
def test_a_kill_at_any_point_loses_nothing(
    used: Path, target: str, owner: str, name: str, call: int, when: str, done: bool
) -> None:
    """The store has the old seal with everything, or the new one with everything; the key is there; and it can go on."""
    with SQLStore.open(used) as store:
        if target == "key-file":
            store.reseal(Passphrase(WORDS))
        old = str(store.sealed_with())
    assert run(KILLED, used, target, owner, name, call, when) == ""
    with SQLStore.open(used) as store:
        found = str(store.sealed_with())
    assert found == (target if done else old)

    def sealer(kind: str) -> Sealer:
        return Passphrase(WORDS) if kind == "passphrase" else key_of(used)

    assert_all_is_there(used, sealer(found))
    for kind in ("passphrase", "key-file", "passphrase"):
        with SQLStore.open(used) as store:
            now = str(store.sealed_with())
        if now != kind:
            with SQLStore.open(used, sealer(now)) as store:
                store.reseal(sealer(kind))
            assert_all_is_there(used, sealer(kind))
