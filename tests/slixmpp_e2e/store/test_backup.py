"""A backup holds the whole store as it is at that moment, opens with its passphrase alone, and overwrites nothing."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import keyring
import pytest

from slixmpp_e2e.store import (
    KeyProtection,
    Keyring,
    Passphrase,
    SQLStore,
    StoreError,
    StoreReason,
    backup,
    read_backup,
    restore,
    write_backup,
)
from tests.slixmpp_e2e.store.expect import never, store_error
from tests.slixmpp_e2e.store.key_protection.test_keyring import FakeKeyring
from tests.slixmpp_e2e.store.processes import Running, files
from tests.slixmpp_e2e.store.test_copies import IDENTITY, assert_whole, fill

BOB = "bob@example.org"
WORDS = "correct horse battery staple"
pytestmark = pytest.mark.usefixtures("quick_derivation")

WRITES = """
import sys
from slixmpp_e2e.store import SQLStore
with SQLStore.open(sys.argv[1]) as store:
    for number in range(1_000_000):
        store.put_secret("bob@example.org", "one", "1", str(number).encode())
        with store._encrypting() as connection:  # two changes that belong together
            for half in "ab":
                store._secrets.put_secret(connection, "bob@example.org", "half", half, str(number).encode())
        print(number, flush=True)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "alice.backup"


@pytest.fixture
def sealed(store: SQLStore, file: Path) -> Path:
    fill(store)
    write_backup(store, file, Passphrase(WORDS))
    return file


@pytest.fixture(params=["key-file", "keyring", "passphrase"])
def protection(request: pytest.FixtureRequest) -> Iterator[KeyProtection | None]:
    before = keyring.get_keyring()
    keyring.set_keyring(FakeKeyring())
    yield {"key-file": None, "keyring": Keyring(), "passphrase": Passphrase("another")}[request.param]
    keyring.set_keyring(before)


def test_everything_comes_back_whatever_protected_it(tmp_path: Path, file: Path, protection: KeyProtection | None) -> None:
    with SQLStore.open(tmp_path / "store.db", protection) as store:
        fill(store)
        write_backup(store, file, Passphrase(WORDS))
        assert store.own_key(never) == IDENTITY  # the original is as it was
        assert store.secret(BOB, "psk", "1") == b"secret"
    opened = read_backup(file, Passphrase(WORDS))
    assert opened.name == "store.db"
    assert repr(opened) == "Backup('store.db')"
    path = tmp_path / "elsewhere" / "store.db"
    assert restore(opened, path) == ()
    assert sorted(files(path.parent)) == ["store.db", "store.key"]
    assert {stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()} == {0o600}
    assert_whole(SQLStore.open(path))


def test_the_file_is_its_owners_and_shows_nothing(sealed: Path) -> None:
    assert stat.S_IMODE(sealed.stat().st_mode) == 0o600
    raw = sealed.read_bytes()
    assert raw.startswith(b"xmpp-e2e backup\n\x01argon2id m=65536 t=3 p=1 ")
    assert BOB.encode() not in raw
    assert not sealed.with_name("alice.backup.part").exists()


def test_a_backup_holds_no_secret_that_was_forgotten_or_opens_with_another_key(store: SQLStore, sealed: Path) -> None:
    """What the original key encrypted is not in it, and what was deleted is not in its free pages."""
    with closing(sqlite3.connect(store.path)) as connection:
        (encrypted,) = connection.execute("SELECT value FROM secrets").fetchone()
    opened = read_backup(sealed, Passphrase(WORDS))
    assert opened.key != store.path.with_suffix(".key").read_bytes()
    assert encrypted not in opened.database


def test_a_backup_while_another_process_writes(tmp_path: Path, store: SQLStore, file: Path) -> None:
    fill(store)
    with Running(WRITES, store.path) as writer:
        for number in range(5):
            written = int(writer.stdout.readline())
            write_backup(store, file, Passphrase(WORDS), overwrite=True)
            path = tmp_path / str(number) / "store.db"
            restore(read_backup(file, Passphrase(WORDS)), path)
            with SQLStore.open(path) as copied:
                a, b, one = (copied.secret(BOB, *which) for which in (("half", "a"), ("half", "b"), ("one", "1")))
                assert a is not None
                assert one is not None
                assert a == b
                assert written <= int(a) <= int(one) <= int(a) + 1
            assert_whole(SQLStore.open(path))


def test_a_wrong_passphrase(sealed: Path) -> None:
    with store_error(StoreReason.WRONG_PASSPHRASE, match="not the one that sealed this backup"):
        read_backup(sealed, Passphrase("wrong"))


@pytest.mark.parametrize("kept", [16, 17, 30, 60, 80, 96, 97, 500, -1])
def test_a_backup_that_was_cut_short(sealed: Path, kept: int) -> None:
    sealed.write_bytes(sealed.read_bytes()[:kept])
    with store_error(StoreReason.BACKUP_DAMAGED, match="the backup is damaged"):
        read_backup(sealed, Passphrase(WORDS))


@pytest.mark.parametrize("content", [b"", b"hello", b"xmpp-e2e backup", b"xmpp-e2e backup\n\x02later"])
def test_a_file_that_is_no_backup(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with store_error(StoreReason.NOT_A_BACKUP):
        read_backup(file, Passphrase(WORDS))


def test_a_backup_that_was_altered(sealed: Path) -> None:
    raw = sealed.read_bytes()
    cheap = raw.replace(b"m=65536", b"m=00008")  # an altered file must not choose the cost
    for altered, reason in (
        (raw[:-1] + bytes([raw[-1] ^ 1]), StoreReason.BACKUP_DAMAGED),
        (cheap, StoreReason.BACKUP_DAMAGED),
    ):
        sealed.write_bytes(altered)
        with store_error(reason):
            read_backup(sealed, Passphrase(WORDS))


def test_a_missing_file(file: Path) -> None:
    with store_error(StoreReason.NO_ACCESS, match="the backup cannot be read"):
        read_backup(file, Passphrase(WORDS))


def test_a_backup_overwrites_nothing_without_being_told(store: SQLStore, sealed: Path) -> None:
    before = sealed.read_bytes()
    with store_error(StoreReason.EXISTS):
        write_backup(store, sealed, Passphrase(WORDS))
    assert sealed.read_bytes() == before
    write_backup(store, sealed, Passphrase(WORDS), overwrite=True)
    assert sealed.read_bytes() != before


@pytest.mark.parametrize("target", ["missing/file", "folder"])
def test_a_backup_that_cannot_be_written(store: SQLStore, tmp_path: Path, target: str) -> None:
    fill(store)
    (tmp_path / "folder").mkdir()
    with store_error(StoreReason.NO_ACCESS):
        write_backup(store, tmp_path / target, Passphrase(WORDS), overwrite=True)
    assert not list(tmp_path.rglob("*.part"))


def test_a_store_without_identity_is_not_backed_up(store: SQLStore, file: Path) -> None:
    with store_error(StoreReason.IDENTITY_MISSING, match="nothing to back up"):
        write_backup(store, file, Passphrase(WORDS))
    assert not file.exists()


@pytest.mark.parametrize("kept", [("store.db", "store.key"), ("store.db",), ("store.key",)])
def test_restoring_over_a_store(store: SQLStore, sealed: Path, kept: tuple[str, ...]) -> None:
    """Without being told to, nothing is changed. Otherwise the old files are moved aside, and an earlier one with them."""
    store.put_secret(BOB, "later", "1", b"later")
    store.close()
    for name in {"store.db", "store.key"} - set(kept):
        store.path.with_name(name).unlink()
    opened, before = read_backup(sealed, Passphrase(WORDS)), files(store.path.parent)
    with store_error(StoreReason.EXISTS, match="there is a store already"):
        restore(opened, store.path)
    assert files(store.path.parent) == before
    for number in (1, 2):
        before = files(store.path.parent)
        moved = restore(opened, store.path, overwrite=True)
        expected = kept if number == 1 else ("store.db", "store.key")
        assert {path.name.rpartition(".replaced-")[0] for path in moved} == set(expected)
        for path in moved:
            assert path.read_bytes()[100:] == before[path.name.rpartition(".replaced-")[0]][100:]
    assert_whole(SQLStore.open(store.path))


def test_restoring_over_a_damaged_store(store: SQLStore, sealed: Path) -> None:
    store.close()
    store.path.write_bytes(b"rubbish")
    (moved, _) = restore(read_backup(sealed, Passphrase(WORDS)), store.path, overwrite=True)
    assert moved.read_bytes() == b"rubbish"
    assert_whole(SQLStore.open(store.path))


def test_a_store_in_use_is_not_replaced(store: SQLStore, sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program would go on with the old file and lose what it writes."""
    monkeypatch.setattr(backup, "IN_USE_SECONDS", 0.0)
    before = sorted(files(store.path.parent))
    with store_error(StoreReason.BUSY, match="a program uses the store"):
        restore(read_backup(sealed, Passphrase(WORDS)), store.path, overwrite=True)
    assert sorted(files(store.path.parent)) == before
    assert_whole(SQLStore.open(store.path))


def test_a_restore_that_was_interrupted(store: SQLStore, sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was done, no new identity is made, and the next restore finishes."""
    store.close()
    real, done = Path.replace, 0

    def once(self: Path, target: Path) -> Path:
        nonlocal done
        done += 1
        if done == 2:
            raise OSError(5, "interrupted")
        return real(self, target)

    opened = read_backup(sealed, Passphrase(WORDS))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", once)
        with store_error(StoreReason.NO_ACCESS, match="interrupted"):
            restore(opened, store.path, overwrite=True)
    with store_error(StoreReason.DAMAGED, match="the store is gone"):
        SQLStore.open(store.path)
    restore(opened, store.path, overwrite=True)
    assert_whole(SQLStore.open(store.path))


def test_a_restore_without_room_leaves_no_key(
    store: SQLStore, sealed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, path = backup._write, tmp_path / "elsewhere" / "store.db"

    def fails(part: Path, content: bytes) -> Path:
        if part.name == "store.db.part":
            raise StoreError(part, "the disk is full", StoreReason.FULL)
        return write(part, content)

    monkeypatch.setattr(backup, "_write", fails)
    with store_error(StoreReason.FULL):
        restore(read_backup(sealed, Passphrase(WORDS)), path)
    assert list(path.parent.iterdir()) == []


def test_a_folder_that_cannot_be_made(sealed: Path, tmp_path: Path) -> None:
    shutil.copy(sealed, tmp_path / "file")
    with store_error(StoreReason.NO_ACCESS, match="cannot be created"):
        restore(read_backup(sealed, Passphrase(WORDS)), tmp_path / "file" / "store.db")
