"""The keyring of the operating system as the seal: where there is one, where there is none, and where it fails."""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import keyring
import keyring.backend
import keyring.backends.fail
import keyring.backends.null
import pytest
from keyring.errors import KeyringLocked, PasswordDeleteError

from slixmpp_e2e.store import (
    EntryMissing,
    KeyFile,
    Keyring,
    KeyWrong,
    SealUnavailable,
    SQLStore,
    StoreDamaged,
    StoredIdentity,
    StoreError,
)
from tests.slixmpp_e2e.store.processes import execute, files

BOB = "bob@example.org"
IDENTITY = StoredIdentity(b"the certificate", b"the private key")


class Fake(keyring.backend.KeyringBackend):
    """A keyring in memory."""

    priority = -1  # never chosen of its own accord

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.entries: dict[tuple[str, str], str] = {}
        self.locked = False

    def get_password(self, service: str, username: str) -> str | None:
        """The entry."""
        if self.locked:
            raise KeyringLocked("dismissed")
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        """Make or replace the entry."""
        if self.locked:
            raise KeyringLocked("dismissed")
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        """Delete the entry."""
        if self.locked or (service, username) not in self.entries:
            raise PasswordDeleteError("dismissed")
        del self.entries[service, username]


@pytest.fixture(autouse=True)
def fake() -> Iterator[Fake]:
    """This computer's keyring, for now."""
    before = keyring.get_keyring()
    fake = Fake()
    keyring.set_keyring(fake)
    yield fake
    keyring.set_keyring(before)


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """A store with an identity and a secret, closed."""
    with SQLStore.open(tmp_path / "store.db", Keyring()) as store:
        store.identity(lambda: IDENTITY)
        store.put_secret(BOB, "psk", "1", b"secret")
        assert "keyring" in str(store.created_notice)
        assert str(store.created_notice).count(". ") == 0
    return tmp_path / "store.db"


def never() -> NoReturn:
    """Where an identity is there already."""
    raise AssertionError("a second identity was made")


def test_a_store_opens_with_its_entry(sealed: Path, fake: Fake) -> None:
    """One entry under our name, called after the store; no key file; the key is not in the store."""
    ((service, entry),) = fake.entries
    assert service == "xmpp-e2e"
    assert entry.startswith("store.db ")
    assert sorted(files(sealed.parent)) == ["store.db"]
    key = fake.entries[service, entry]
    assert len(base64.b64decode(key)) == 32
    assert base64.b64decode(key) not in sealed.read_bytes()
    assert key.encode() not in sealed.read_bytes()
    with SQLStore.open(sealed, Keyring()) as store:
        assert store.sealed_with() == "keyring"
        assert store.unlock()
        assert store.identity(never) == IDENTITY
        assert store.secret(BOB, "psk", "1") == b"secret"
        assert store.created_notice is None
        assert key not in repr(store._sealer)


def test_a_store_that_was_moved_finds_its_entry(sealed: Path, tmp_path: Path) -> None:
    """The store says which one it is; a second store of the same name has its own."""
    sealed.rename(tmp_path / "moved.db")
    with SQLStore.open(sealed, Keyring()) as other:
        other.put_secret(BOB, "psk", "1", b"of the other")
    with SQLStore.open(tmp_path / "moved.db", Keyring()) as store:
        assert store.secret(BOB, "psk", "1") == b"secret"


def test_a_missing_entry_is_never_replaced(sealed: Path, fake: Fake) -> None:
    """Neither reading nor writing makes a new key; the message names the entry; with it all is there again."""
    kept = dict(fake.entries)
    fake.entries.clear()
    before = files(sealed.parent)
    with SQLStore.open(sealed, Keyring()) as store:
        for use in (store.unlock, lambda: store.identity(never), lambda: store.put_secret(BOB, "psk", "2", b"new")):
            with pytest.raises(EntryMissing, match=r"store\.db: .* not in the keyring .* entry 'store\.db ") as caught:
                use()
            assert "restore the entry" in caught.value.explain()
        assert not fake.entries
        fake.entries.update(kept)
        assert store.identity(never) == IDENTITY
    assert files(sealed.parent) == before


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (base64.b64encode(bytes(32)).decode(), "is not the one that sealed"),
        (base64.b64encode(bytes(31)).decode(), "is no key of ours"),
        ("hello", "is no key of ours"),
        ("grüße", "is no key of ours"),
        ("", "is no key of ours"),
    ],
)
def test_another_key_in_the_entry_is_said(sealed: Path, fake: Fake, content: str, cause: str) -> None:
    """Somebody has edited it."""
    (entry,) = fake.entries
    fake.entries[entry] = content
    with SQLStore.open(sealed, Keyring()) as store, pytest.raises(KeyWrong, match=rf"store\.db: .*keyring.*{cause}"):
        store.secret(BOB, "psk", "1")


def test_a_store_that_names_no_entry_is_damaged(sealed: Path) -> None:
    """Or somebody has edited it."""
    execute(sealed, "UPDATE meta SET value = 'keyring' WHERE name = 'seal'")
    with SQLStore.open(sealed, Keyring()) as store, pytest.raises(StoreDamaged, match=r"store\.db: .* does not name the entry"):
        store.secret(BOB, "psk", "1")


def test_a_locked_keyring_is_said(sealed: Path, fake: Fake) -> None:
    """If its user does not unlock it, nothing opens; when he does, it opens without opening the store anew."""
    fake.locked = True
    with SQLStore.open(sealed, Keyring()) as store:
        with pytest.raises(SealUnavailable, match=r"store\.db: the keyring .* does not hand out the key .* is it locked\?"):
            store.unlock()
        fake.locked = False
        assert store.unlock()


def test_a_locked_keyring_is_opened_ahead(tmp_path: Path, fake: Fake) -> None:
    """Its user is asked by `unlock`, for which nobody waits, also where there is no entry yet."""
    fake.locked = True
    with SQLStore.open(tmp_path / "store.db", Keyring()) as store:
        with pytest.raises(SealUnavailable, match="is not to be used"):
            store.unlock()
        fake.locked = False
        assert not store.unlock()
        assert fake.entries == {}


def test_a_keyring_that_takes_no_key_is_said(tmp_path: Path, fake: Fake) -> None:
    """Nothing is sealed then."""
    fake.locked = True
    with SQLStore.open(tmp_path / "store.db", Keyring()) as store:
        with pytest.raises(SealUnavailable, match="cannot keep the key"):
            store.put_secret(BOB, "psk", "1", b"secret")
        assert store.sealed_with() is None


def test_a_computer_without_a_keyring(tmp_path: Path) -> None:
    """A server without a desktop: said, with another seal as the way out, and before anything is sealed."""
    keyring.set_keyring(keyring.backends.fail.Keyring())  # type: ignore[no-untyped-call]
    with SQLStore.open(tmp_path / "store.db", Keyring()) as store:
        with pytest.raises(SealUnavailable, match=r"store\.db: there is no keyring service on this computer") as caught:
            store.identity(lambda: IDENTITY)
        assert "choose another seal: a key file needs nothing" in caught.value.explain()
    with SQLStore.open(tmp_path / "store.db") as store:
        assert store.identity(lambda: IDENTITY) == IDENTITY


def test_a_keyring_that_keeps_nothing(tmp_path: Path) -> None:
    """A backend that accepts everything and forgets it would lose the identity with the end of the program."""
    keyring.set_keyring(keyring.backends.null.Keyring())  # type: ignore[no-untyped-call]
    with SQLStore.open(tmp_path / "store.db", Keyring()) as store:
        with pytest.raises(SealUnavailable, match="does not keep what it is given"):
            store.identity(lambda: IDENTITY)
        assert store.sealed_with() is None


def test_without_the_package_its_name_is_said(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra."""
    monkeypatch.setitem(sys.modules, "keyring", None)
    with (
        SQLStore.open(sealed, Keyring()) as store,
        pytest.raises(SealUnavailable, match=r"not installed: pip install 'xmpp-e2e\[keyring\]'"),
    ):
        store.secret(BOB, "psk", "1")


def test_the_seal_can_go_into_the_keyring_and_out_again(tmp_path: Path, fake: Fake) -> None:
    """Key file, keyring, another entry, key file: the old key is deleted each time, and nothing is lost."""
    path = tmp_path / "store.db"
    with SQLStore.open(path) as store:
        store.identity(lambda: IDENTITY)
        assert "keyring" in str(store.reseal(Keyring()))
        assert sorted(files(tmp_path)) == ["store.db", "store.db-shm", "store.db-wal"]
        ((_, first),) = fake.entries
        store.reseal(Keyring())
        ((_, second),) = fake.entries
        assert first != second
        assert store.identity(never) == IDENTITY
        store.reseal(KeyFile(path.with_suffix(".key")))
        assert not fake.entries
    with SQLStore.open(path) as store:
        assert store.identity(never) == IDENTITY


def test_a_first_secret_that_was_not_stored_leaves_no_wrong_key(tmp_path: Path) -> None:
    """The next try makes another entry, and what is sealed then opens with that."""
    path = tmp_path / "store.db"
    with SQLStore.open(path, Keyring()) as store:
        execute(path, "CREATE TRIGGER refuse BEFORE INSERT ON secrets BEGIN SELECT RAISE(ABORT, 'not today'); END")
        with pytest.raises(StoreError):
            store.put_secret(BOB, "psk", "1", b"secret")
        execute(path, "DROP TRIGGER refuse")
        store.put_secret(BOB, "psk", "1", b"secret")
    with SQLStore.open(path, Keyring()) as store:
        assert store.secret(BOB, "psk", "1") == b"secret"


def test_whoever_has_it_open_finds_the_new_entry(sealed: Path) -> None:
    """Another process goes on after the key was changed."""
    with SQLStore.open(sealed, Keyring()) as store, SQLStore.open(sealed, Keyring()) as other:
        assert other.unlock()
        store.reseal(Keyring())
        assert other.identity(never) == IDENTITY
        assert other.unlock()


def test_an_entry_that_cannot_be_deleted_is_said(sealed: Path, fake: Fake) -> None:
    """The seal has changed; the user is told what is left over."""
    with SQLStore.open(sealed, Keyring()) as store:
        assert store.unlock()
        fake.locked = True
        notice = str(store.reseal(KeyFile(sealed.with_suffix(".key"))))
        assert "random key was written" in notice
        assert "old key opens nothing any more, but cannot be deleted" in notice
        assert "entry 'store.db " in notice
        assert store.identity(never) == IDENTITY
