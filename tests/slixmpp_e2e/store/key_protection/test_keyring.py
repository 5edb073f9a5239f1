"""The keyring of the operating system protects a store, where there is a keyring, where there is none, and where it fails."""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import keyring
import keyring.backend
import keyring.backends.fail
import keyring.backends.null
import pytest
from keyring.errors import KeyringLocked, PasswordDeleteError

from slixmpp_e2e.alarms import explain
from slixmpp_e2e.store import (
    KeyFile,
    KeyProtection,
    Keyring,
    Passphrase,
    SQLStore,
    StoredOwnKey,
    StoreError,
    StoreReason,
    delete_identity,
)
from tests.slixmpp_e2e.store.expect import never, store_error
from tests.slixmpp_e2e.store.processes import execute, files

BOB = "bob@example.org"
IDENTITY = StoredOwnKey(b"the certificate", b"the private key")


class FakeKeyring(keyring.backend.KeyringBackend):
    """A keyring in memory."""

    priority = -1  # never chosen of its own accord

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.entries: dict[tuple[str, str], str] = {}
        self.locked = False

    def get_password(self, service: str, username: str) -> str | None:
        if self.locked:
            raise KeyringLocked("dismissed")
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if self.locked:
            raise KeyringLocked("dismissed")
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        if self.locked or (service, username) not in self.entries:
            raise PasswordDeleteError("dismissed")
        del self.entries[service, username]


@pytest.fixture(autouse=True)
def fake() -> Iterator[FakeKeyring]:
    before = keyring.get_keyring()
    fake = FakeKeyring()
    keyring.set_keyring(fake)
    yield fake
    keyring.set_keyring(before)


@pytest.fixture
def protected(tmp_path: Path) -> Path:
    with SQLStore.open(tmp_path / "store.db", Keyring()) as store:
        store.own_key(lambda: IDENTITY)
        store.put_secret(BOB, "psk", "1", b"secret")
        assert "keyring" in str(store.key_notice)
        assert str(store.key_notice).count(". ") == 0
    return tmp_path / "store.db"


def test_a_store_opens_with_its_entry(protected: Path, fake: FakeKeyring) -> None:
    ((service, entry),) = fake.entries
    assert service == "xmpp-e2e"
    assert entry.startswith("store.db ")
    assert sorted(files(protected.parent)) == ["store.db"]
    key = fake.entries[service, entry]
    assert len(base64.b64decode(key)) == 32
    assert base64.b64decode(key) not in protected.read_bytes()
    assert key.encode() not in protected.read_bytes()
    with SQLStore.open(protected, Keyring()) as store:
        assert store.protection_kind() == "keyring"
        assert store.load_key()
        assert store.own_key(never) == IDENTITY
        assert store.secret(BOB, "psk", "1") == b"secret"
        assert store.key_notice is None
        assert key not in repr(store._protection)


def test_a_store_that_was_moved_finds_its_entry(protected: Path, tmp_path: Path) -> None:
    """The store names its entry. Another store of the same file name has another entry."""
    protected.rename(tmp_path / "moved.db")
    with SQLStore.open(protected, Keyring()) as other:
        other.put_secret(BOB, "psk", "1", b"of the other")
    with SQLStore.open(tmp_path / "moved.db", Keyring()) as store:
        assert store.secret(BOB, "psk", "1") == b"secret"


def test_a_missing_entry_is_never_replaced(protected: Path, fake: FakeKeyring) -> None:
    kept = dict(fake.entries)
    fake.entries.clear()
    before = files(protected.parent)
    with SQLStore.open(protected, Keyring()) as store:
        for use in (store.load_key, lambda: store.own_key(never), lambda: store.put_secret(BOB, "psk", "2", b"new")):
            words = r"store\.db: .* not in the keyring .* entry 'store\.db "
            with store_error(StoreReason.KEYRING_ENTRY_MISSING, match=words) as caught:
                use()
            assert "restore the entry" in explain(caught.value)
        assert not fake.entries
        fake.entries.update(kept)
        assert store.own_key(never) == IDENTITY
    assert files(protected.parent) == before


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (base64.b64encode(bytes(32)).decode(), "is not the one that encrypted"),
        (base64.b64encode(bytes(31)).decode(), "holds no key of ours"),
        ("hello", "holds no key of ours"),
        ("grüße", "holds no key of ours"),
        ("", "holds no key of ours"),
    ],
)
def test_another_key_in_the_entry_is_reported(protected: Path, fake: FakeKeyring, content: str, cause: str) -> None:
    (entry,) = fake.entries
    fake.entries[entry] = content
    wrong = store_error(StoreReason.WRONG_KEY, match=rf"store\.db: .*keyring.*{cause}")
    with SQLStore.open(protected, Keyring()) as store, wrong:
        store.secret(BOB, "psk", "1")


def test_a_store_that_names_no_entry_is_damaged(protected: Path) -> None:
    execute(protected, "UPDATE meta SET value = 'keyring' WHERE name = 'seal'")
    damaged = store_error(StoreReason.DAMAGED, match=r"store\.db: .* does not name the entry")
    with SQLStore.open(protected, Keyring()) as store, damaged:
        store.secret(BOB, "psk", "1")


def test_a_locked_keyring_is_reported(protected: Path, fake: FakeKeyring) -> None:
    """Nothing opens until the user unlocks it; then the same store object works."""
    fake.locked = True
    with SQLStore.open(protected, Keyring()) as store:
        words = r"store\.db: the keyring .* does not hand out the key .* is it locked\?"
        with store_error(StoreReason.PROTECTION_UNAVAILABLE, match=words):
            store.load_key()
        fake.locked = False
        assert store.load_key()


def test_a_locked_keyring_is_unlocked_ahead(tmp_path: Path, fake: FakeKeyring) -> None:
    """`load_key` asks the user, even if there is no entry yet."""
    fake.locked = True
    with SQLStore.open(tmp_path / "store.db", Keyring()) as store:
        with store_error(StoreReason.PROTECTION_UNAVAILABLE, match="is not to be used"):
            store.load_key()
        fake.locked = False
        assert not store.load_key()
        assert fake.entries == {}


def test_a_keyring_that_takes_no_key_is_reported(tmp_path: Path, fake: FakeKeyring) -> None:
    fake.locked = True
    with SQLStore.open(tmp_path / "store.db", Keyring()) as store:
        with store_error(StoreReason.PROTECTION_UNAVAILABLE, match="cannot keep the key"):
            store.put_secret(BOB, "psk", "1", b"secret")
        assert store.protection_kind() is None


def test_a_computer_without_a_keyring(tmp_path: Path) -> None:
    """The error comes before anything is encrypted, and names a protection that works."""
    keyring.set_keyring(keyring.backends.fail.Keyring())  # type: ignore[no-untyped-call]
    with SQLStore.open(tmp_path / "store.db", Keyring()) as store:
        words = r"store\.db: there is no keyring service on this computer"
        with store_error(StoreReason.PROTECTION_UNAVAILABLE, match=words) as caught:
            store.own_key(lambda: IDENTITY)
        assert "choose another key protection: a key file needs nothing" in explain(caught.value)
    with SQLStore.open(tmp_path / "store.db") as store:
        assert store.own_key(lambda: IDENTITY) == IDENTITY


def test_a_keyring_that_keeps_nothing(tmp_path: Path) -> None:
    """A backend that forgets everything would lose the identity at the end of the program."""
    keyring.set_keyring(keyring.backends.null.Keyring())  # type: ignore[no-untyped-call]
    with SQLStore.open(tmp_path / "store.db", Keyring()) as store:
        with store_error(StoreReason.PROTECTION_UNAVAILABLE, match="does not keep what it is given"):
            store.own_key(lambda: IDENTITY)
        assert store.protection_kind() is None


def test_the_error_names_a_missing_package(protected: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is an optional extra."""
    monkeypatch.setitem(sys.modules, "keyring", None)
    with (
        SQLStore.open(protected, Keyring()) as store,
        store_error(StoreReason.PROTECTION_UNAVAILABLE, match=r"not installed: pip install 'xmpp-e2e\[keyring\]'"),
    ):
        store.secret(BOB, "psk", "1")


def test_the_protection_can_change_to_the_keyring_and_back(tmp_path: Path, fake: FakeKeyring) -> None:
    path = tmp_path / "store.db"
    with SQLStore.open(path) as store:
        store.own_key(lambda: IDENTITY)
        assert "keyring" in str(store.change_protection(Keyring()))
        assert sorted(files(tmp_path)) == ["store.db", "store.db-shm", "store.db-wal"]
        ((_, first),) = fake.entries
        store.change_protection(Keyring())
        ((_, second),) = fake.entries
        assert first != second
        assert store.own_key(never) == IDENTITY
        store.change_protection(KeyFile(path.with_suffix(".key")))
        assert not fake.entries
    with SQLStore.open(path) as store:
        assert store.own_key(never) == IDENTITY


@pytest.mark.usefixtures("quick_derivation")
@pytest.mark.parametrize("protection", [Keyring, partial(Passphrase, "correct horse")], ids=["keyring", "passphrase"])
def test_a_first_secret_that_was_not_stored_leaves_no_wrong_key(
    tmp_path: Path, protection: Callable[[], KeyProtection]
) -> None:
    path = tmp_path / "store.db"
    with SQLStore.open(path, protection()) as store:
        execute(path, "CREATE TRIGGER refuse BEFORE INSERT ON secrets BEGIN SELECT RAISE(ABORT, 'not today'); END")
        with pytest.raises(StoreError):
            store.put_secret(BOB, "psk", "1", b"secret")
        assert store.protection_kind() is None
        execute(path, "DROP TRIGGER refuse")
        store.put_secret(BOB, "psk", "1", b"secret")
    with SQLStore.open(path, protection()) as store:
        assert store.secret(BOB, "psk", "1") == b"secret"


def test_another_process_finds_the_new_entry(protected: Path) -> None:
    with SQLStore.open(protected, Keyring()) as store, SQLStore.open(protected, Keyring()) as other:
        assert other.load_key()
        store.change_protection(Keyring())
        assert other.own_key(never) == IDENTITY
        assert other.load_key()


def test_an_entry_that_cannot_be_deleted_is_reported(protected: Path, fake: FakeKeyring) -> None:
    with SQLStore.open(protected, Keyring()) as store:
        assert store.load_key()
        fake.locked = True
        notice = str(store.change_protection(KeyFile(protected.with_suffix(".key"))))
        assert "random key was written" in notice
        assert "old key opens nothing any more, but cannot be deleted" in notice
        assert "entry 'store.db " in notice
        assert store.own_key(never) == IDENTITY


def test_entry_goes_with_the_store(protected: Path, fake: FakeKeyring) -> None:
    """With all that it opened; not with the identity alone, as shared secrets stay. A locked keyring is told."""
    delete_identity(protected, Keyring())
    with SQLStore.open(protected, Keyring()) as store:
        assert store.secret(BOB, "psk", "1") == b"secret"
    fake.locked = True
    with store_error(StoreReason.PROTECTION_UNAVAILABLE, match="does not delete the key"):
        delete_identity(protected, Keyring(), everything=True)
    fake.locked = False
    with SQLStore.open(protected) as store:
        assert store.protection_kind() is None
