"""An identity is deleted by the user alone, from a store that nobody uses, and none takes its place by itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from slixmpp_e2e.store import (
    KeyProtection,
    Passphrase,
    SQLStore,
    StoredOwnKey,
    StoreReason,
    delete_identity,
    key_file_beside,
    tables,
)
from slixmpp_e2e.store.key_protection import key_file
from slixmpp_e2e.trust.own_key import load_own_key, rotate_own_key
from tests.slixmpp_e2e.store.expect import never, store_error
from xmpp_e2e.types import Assurance, Fingerprint

BOB, KEY = "bob@example.org", Fingerprint(bytes(32))


def fill(path: Path, protection: KeyProtection) -> Fingerprint:
    """Make a store in which there is something of each kind."""
    with SQLStore.open(path, protection) as store:
        load_own_key(store)
        own = rotate_own_key(store, "alice@example.org").fingerprint
        store.remember_key(BOB, KEY, Assurance.VOUCHED, "route", 1.0)
        store.put_secret(BOB, "psk", "1", b"secret")
        store.record_e2e_use(BOB, 1.0)
        store.count_failed_attempt(BOB, "srp")
        return own


def rows(path: Path) -> dict[str, int]:
    with SQLStore.open(path) as store, store._reading() as connection:
        return {table.name: len(connection.execute(select(table)).all()) for table in tables.metadata.sorted_tables}


def test_the_identity_alone(tmp_path: Path) -> None:
    """What is known of peers, and what is shared with them, stays and can be opened."""
    path = tmp_path / "store.db"
    old = fill(path, key_file_beside(path))
    before = rows(path)
    delete_identity(path, key_file_beside(path))
    after = rows(path)
    assert {name: after[name] for name in before if name not in ("identity", "meta")} == {
        name: count for name, count in before.items() if name not in ("identity", "meta")
    }
    assert after["identity"] == 0
    with SQLStore.open(path) as store:
        assert store.secret(BOB, "psk", "1") == b"secret"
        with store_error(StoreReason.IDENTITY_DELETED, "was deleted"):
            load_own_key(store)
        with store_error(StoreReason.IDENTITY_DELETED, "was deleted"):  # it is remembered
            load_own_key(store)
        with store_error(StoreReason.IDENTITY_MISSING, "none to rotate"):
            rotate_own_key(store, "alice@example.org")
        new = load_own_key(store, anew=True)
        assert new.fingerprint != old
        assert load_own_key(store) == new
        assert store.own_key(never).rotations == b"", "the new key has no past"


@pytest.mark.usefixtures("quick_derivation")
@pytest.mark.parametrize("kind", ["key-file", "passphrase"])
def test_everything(tmp_path: Path, kind: str) -> None:
    """The key that protected it goes too, and its passphrase is not asked for."""
    path = tmp_path / "store.db"
    fill(path, key_file_beside(path) if kind == "key-file" else Passphrase(lambda: "correct horse"))
    delete_identity(path, key_file_beside(path) if kind == "key-file" else Passphrase(never), everything=True)
    assert not key_file_beside(path).path.exists()
    assert {name: count for name, count in rows(path).items() if count} == {"meta": 2}
    with SQLStore.open(path) as store:
        with store_error(StoreReason.IDENTITY_DELETED, "was deleted"):
            load_own_key(store)
        load_own_key(store, anew=True)
        store.put_secret(BOB, "psk", "1", b"secret")
    delete_identity(path, key_file_beside(path))


@pytest.mark.parametrize("everything", [False, True])
def test_a_store_in_use_is_left_as_it_is(tmp_path: Path, everything: bool) -> None:
    path = tmp_path / "store.db"
    own = fill(path, key_file_beside(path))
    with SQLStore.open(path) as store:
        store.peers()
        with store_error(StoreReason.BUSY, "a program uses the store"):
            delete_identity(path, key_file_beside(path), everything=everything)
        assert load_own_key(store).fingerprint == own
    with SQLStore.open(path) as store:
        assert load_own_key(store).fingerprint == own


def test_nothing_to_delete(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    SQLStore.open(path).close()
    with store_error(StoreReason.IDENTITY_MISSING, "none to delete"):
        delete_identity(path, key_file_beside(path))
    with SQLStore.open(path) as store:
        load_own_key(store)


def test_another_file(tmp_path: Path) -> None:
    """It is no store, and stays as it is."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * 4096)
    with store_error(StoreReason.NOT_A_STORE):
        delete_identity(path, key_file_beside(path), everything=True)
    assert path.read_bytes() == b"x" * 4096


def test_interrupted_before_the_protection_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key that is left opens nothing, and does not keep the user from beginning anew."""
    path = tmp_path / "store.db"
    fill(path, key_file_beside(path))
    monkeypatch.setattr(key_file.KeyFile, "delete_key", lambda self: pytest.fail("interrupted"))
    with pytest.raises(BaseException, match="interrupted"):
        delete_identity(path, key_file_beside(path), everything=True)
    assert key_file_beside(path).path.exists()
    with SQLStore.open(path) as store:
        with store_error(StoreReason.IDENTITY_DELETED):
            load_own_key(store)
        load_own_key(store, anew=True)


def test_an_identity_that_cannot_be_made_leaves_the_mark(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    fill(path, key_file_beside(path))
    delete_identity(path, key_file_beside(path))

    def fail() -> StoredOwnKey:
        raise RuntimeError

    with SQLStore.open(path) as store:
        with pytest.raises(RuntimeError):
            store.own_key(fail, anew=True)
        with store_error(StoreReason.IDENTITY_DELETED):
            store.own_key(never)
