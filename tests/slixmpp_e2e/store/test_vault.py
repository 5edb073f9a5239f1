"""Sealed rows: the identity and the secrets, what is noticed about them, and what a missing or wrong key leads to."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, NoReturn

import pytest
from sqlalchemy import Table, select, update

from slixmpp_e2e.store import KeyMissing, KeyWrong, SealBroken, SQLStore, StoredIdentity, StoreError, tables
from slixmpp_e2e.store.vault import SECRET_BYTES
from xmpp_e2e.identity import Fingerprint

BOB, EVE = "bob@example.org", "eve@example.org"
IDENTITY = StoredIdentity(b"the certificate", b"the private key")
SECRET = b"correct horse battery staple"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLStore]:
    """A new store."""
    with SQLStore.open(tmp_path / "store.db") as store:
        yield store


def create() -> StoredIdentity:
    """A fixed identity."""
    return IDENTITY


def never() -> NoReturn:
    """Where an identity is there already."""
    raise AssertionError("a second identity was made")


def column(store: SQLStore, table: Table, name: str) -> bytes:
    """A value as it lies in the only row of a table."""
    with store._reading() as connection:
        value = connection.execute(select(table.c[name])).scalar_one()
    assert isinstance(value, bytes)
    return value


def overwrite(store: SQLStore, table: Table, name: str, value: bytes) -> None:
    """What somebody who can write the database would do."""
    with store._writing() as connection:
        connection.execute(update(table).values({name: value}))


def test_the_identity_is_made_once(store: SQLStore) -> None:
    """The first call makes it, later ones and later openings load it."""
    assert store.identity(create) == IDENTITY
    assert store.identity(never) == IDENTITY
    store.close()
    with SQLStore.open(store.path) as again:
        assert again.identity(never) == IDENTITY


def test_if_making_the_identity_fails_nothing_is_stored(store: SQLStore) -> None:
    """An error in between leaves the store as it was, and it goes on working."""

    def fail() -> NoReturn:
        raise OSError("no entropy today")

    with pytest.raises(OSError, match="no entropy"):
        store.identity(fail)
    assert store.identity(create) == IDENTITY


def test_secrets_are_kept_by_peer_kind_and_id(store: SQLStore) -> None:
    """Each is found where it was put and nowhere else."""
    store.put_secret(BOB, "psk", "1", SECRET)
    store.put_secret(BOB, "psk", "0", b"another")
    store.put_secret(BOB, "password", "1", b"a third")
    assert store.secret(BOB, "psk", "1") == SECRET
    assert store.secret(BOB, "password", "1") == b"a third"
    assert store.secret(BOB, "password", "0") is None
    assert store.secret(EVE, "psk", "1") is None
    assert store.secret_ids(BOB, "psk") == ("0", "1")
    assert store.secret_ids(EVE, "psk") == ()
    store.close()
    with SQLStore.open(store.path) as again:
        assert again.secret(BOB, "psk", "1") == SECRET


def test_a_secret_can_be_replaced_and_forgotten(store: SQLStore) -> None:
    """The last one counts; a forgotten one is gone, the others are not."""
    store.put_secret(BOB, "psk", "1", b"old")
    store.put_secret(BOB, "psk", "1", SECRET)
    store.put_secret(EVE, "psk", "1", b"hers")
    assert store.secret(BOB, "psk", "1") == SECRET
    assert store.forget_secret(BOB, "psk", "1")
    assert not store.forget_secret(BOB, "psk", "1")
    assert store.secret(BOB, "psk", "1") is None
    assert store.secret(EVE, "psk", "1") == b"hers"


def test_a_secret_has_a_bound(store: SQLStore) -> None:
    """The largest allowed one is stored, one byte more is a mistake of the caller."""
    store.put_secret(BOB, "psk", "1", bytes(SECRET_BYTES))
    with pytest.raises(ValueError, match=f"at most {SECRET_BYTES} bytes"):
        store.put_secret(BOB, "psk", "1", bytes(SECRET_BYTES + 1))
    assert store.secret(BOB, "psk", "1") == bytes(SECRET_BYTES)


def test_nothing_secret_lies_open_in_the_files(store: SQLStore) -> None:
    """Neither a secret nor the private key is in the database or beside it."""
    store.identity(create)
    store.put_secret(BOB, "psk", "1", SECRET)
    files = [path.read_bytes() for path in store.path.parent.iterdir()]
    assert len(files) == 4
    assert any(BOB.encode() in content for content in files)
    assert not any(SECRET in content or IDENTITY.private_key in content for content in files)


def test_an_altered_secret_is_refused(store: SQLStore) -> None:
    """The message names the row and the file, never the value."""
    store.put_secret(BOB, "psk", "1", SECRET)
    sealed = column(store, tables.secrets, "value")
    overwrite(store, tables.secrets, "value", sealed[:-1] + bytes([sealed[-1] ^ 1]))
    with pytest.raises(SealBroken, match=r"the secret '1' of the kind 'psk' shared with bob@") as caught:
        store.secret(BOB, "psk", "1")
    assert str(store.path) in str(caught.value)


@pytest.mark.parametrize(("place", "value"), [("peer", EVE), ("kind", "password"), ("key_id", "2")])
def test_a_secret_moved_to_another_row_is_refused(store: SQLStore, place: str, value: str) -> None:
    """A row that was sealed for one peer, kind and id opens for no other."""
    store.put_secret(BOB, "psk", "1", SECRET)
    with store._writing() as connection:
        connection.execute(update(tables.secrets).values({place: value}))
    where = {"peer": BOB, "kind": "psk", "key_id": "1"} | {place: value}
    with pytest.raises(SealBroken):
        store.secret(where["peer"], where["kind"], where["key_id"])


def test_a_secret_moved_to_another_table_is_refused(store: SQLStore) -> None:
    """A sealed secret is no private key."""
    store.identity(create)
    store.put_secret(BOB, "psk", "1", SECRET)
    overwrite(store, tables.identity, "private_key", column(store, tables.secrets, "value"))
    with pytest.raises(SealBroken, match="our private key"):
        store.identity(never)


@pytest.mark.parametrize("name", ["certificate", "private_key"])
def test_neither_half_of_the_identity_can_be_altered(store: SQLStore, name: str) -> None:
    """The private key is sealed together with its certificate."""
    store.identity(create)
    value = column(store, tables.identity, name)
    overwrite(store, tables.identity, name, value[:-1] + bytes([value[-1] ^ 1]))
    with pytest.raises(SealBroken, match="our private key"):
        store.identity(never)


def test_the_key_is_made_with_the_first_secret_and_said_once(store: SQLStore) -> None:
    """A store that seals nothing has no key file; the notice is there when it was made, and not at the next opening."""
    key = store.path.with_suffix(".key")
    store.mark_seen(BOB, 1.0)
    assert not key.exists()
    assert store.created_notice is None
    store.put_secret(BOB, "psk", "1", SECRET)
    assert key.exists()
    assert str(key) in (store.created_notice or "")
    store.close()
    with SQLStore.open(store.path) as again:
        again.put_secret(BOB, "psk", "2", SECRET)
        assert again.created_notice is None


def test_a_missing_key_is_never_replaced(store: SQLStore) -> None:
    """With sealed rows and no key file, neither reading nor writing makes a new key; what is not sealed is still there."""
    store.identity(create)
    store.pin(BOB, Fingerprint(b"A" * 32), 1.0)
    store.close()
    key = store.path.with_suffix(".key")
    kept = key.rename(key.with_suffix(".kept"))
    with SQLStore.open(store.path) as again:
        with pytest.raises(KeyMissing, match=r"store\.key: the key file .* is missing") as caught:
            again.identity(never)
        with pytest.raises(KeyMissing):
            again.put_secret(BOB, "psk", "1", SECRET)
        assert "Put the key file back" in caught.value.explain()
        assert again.remembered(BOB).keys
        assert not key.exists()
        kept.rename(key)
        assert again.identity(never) == IDENTITY


def test_the_wrong_key_is_told_from_a_broken_row(tmp_path: Path, store: SQLStore) -> None:
    """The key file of another store: said as such when reading and when writing, and nothing is sealed with it."""
    store.identity(create)
    store.close()
    with SQLStore.open(tmp_path / "other.db") as other:
        other.put_secret(BOB, "psk", "1", SECRET)
    shutil.copy(tmp_path / "other.key", tmp_path / "store.key")
    with SQLStore.open(store.path) as again:
        with pytest.raises(KeyWrong, match=r"store\.db: the key is not the one"):
            again.identity(never)
        with pytest.raises(KeyWrong):
            again.put_secret(BOB, "psk", "1", SECRET)
        assert again.secret_ids(BOB, "psk") == ()


def test_a_key_that_nothing_was_sealed_with_yet_is_used(store: SQLStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change that broke off after the key was made leaves the key; the next one takes it instead of failing."""
    with monkeypatch.context() as patch:
        patch.setattr("slixmpp_e2e.store.key_protection.key_file.KeyFile.seal", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            store.put_secret(BOB, "psk", "1", SECRET)
    before = store.path.with_suffix(".key").read_bytes()
    store.put_secret(BOB, "psk", "1", SECRET)
    assert store.path.with_suffix(".key").read_bytes() == before
    assert store.secret(BOB, "psk", "1") == SECRET


def test_another_sealer_can_take_the_place_of_the_key_file(tmp_path: Path) -> None:
    """The store asks a ``Sealer`` and never touches a key file of its own accord."""

    class Mirror:
        """Turns values around; for tests."""

        kind: ClassVar[str] = "mirror"
        made = False

        def attach(self, store: Path, parameters: str | None) -> None:
            assert parameters in {None, "of glass"}

        def parameters(self) -> str:
            return "of glass"

        def wrong(self, store: Path) -> NoReturn:
            raise AssertionError

        def retire(self) -> None:
            raise AssertionError

        def ready(self) -> bool:
            return self.made

        def create(self) -> str:
            self.made = True
            return "Nothing is protected."

        def seal(self, value: bytes, *place: str | bytes) -> bytes:
            return value[::-1]

        def unseal(self, sealed: bytes, *place: str | bytes) -> bytes:
            return sealed[::-1]

    with SQLStore.open(tmp_path / "store.db", Mirror()) as store:
        store.put_secret(BOB, "psk", "1", b"abc")
        assert column(store, tables.secrets, "value") == b"cba"
        assert store.created_notice == "Nothing is protected."
    assert not (tmp_path / "store.key").exists()


def test_no_error_shows_a_secret(store: SQLStore, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the error of a failing statement nor its causes, nor the log, hold a value that was to be stored."""
    with store._writing() as connection:
        connection.exec_driver_sql("CREATE TRIGGER refuse BEFORE INSERT ON secrets BEGIN SELECT RAISE(ABORT, 'not today'); END")
    with pytest.raises(StoreError, match=r"cannot be used \(not today\)") as caught:
        store.put_secret(BOB, "psk", "1", SECRET)
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET.decode() not in str(error)
        assert BOB not in str(error)  # nor any other value of the row, sealed ones included
        error = error.__cause__
    assert SECRET.decode() not in caplog.text
