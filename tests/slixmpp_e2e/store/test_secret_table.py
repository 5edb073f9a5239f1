"""The identity and the secrets are encrypted; damage, missing keys and wrong keys are noticed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import ClassVar, NoReturn

import pytest
from sqlalchemy import Table, select, update

from slixmpp_e2e.alarms import explain
from slixmpp_e2e.store import Passphrase, SQLStore, StoredOwnKey, StoreError, StoreReason, tables
from slixmpp_e2e.store.secret_table import SECRET_BYTES
from tests.slixmpp_e2e.store.expect import never, store_error
from tests.slixmpp_e2e.store.processes import run
from xmpp_e2e.types import Assurance, Fingerprint

BOB, EVE = "bob@example.org", "eve@example.org"
IDENTITY = StoredOwnKey(b"the certificate", b"the private key")
SECRET = b"correct horse battery staple"


def create() -> StoredOwnKey:
    return IDENTITY


def column(store: SQLStore, table: Table, name: str) -> bytes:
    with store._reading() as connection:
        value = connection.execute(select(table.c[name])).scalar_one()
    assert isinstance(value, bytes)
    return value


def overwrite(store: SQLStore, table: Table, name: str, value: bytes) -> None:
    with store._writing() as connection:
        connection.execute(update(table).values({name: value}))


def test_the_identity_is_made_once(store: SQLStore) -> None:
    assert store.own_key(create) == IDENTITY
    assert store.own_key(never) == IDENTITY
    store.close()
    with SQLStore.open(store.path) as again:
        assert again.own_key(never) == IDENTITY


def test_nothing_is_stored_if_making_the_identity_fails(store: SQLStore) -> None:
    def fail() -> NoReturn:
        raise OSError("no entropy today")

    with pytest.raises(OSError, match="no entropy"):
        store.own_key(fail)
    assert store.own_key(create) == IDENTITY


def test_secrets_are_kept_by_peer_kind_and_id(store: SQLStore) -> None:
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
    store.put_secret(BOB, "psk", "1", b"old")
    store.put_secret(BOB, "psk", "1", SECRET)
    store.put_secret(EVE, "psk", "1", b"hers")
    assert store.secret(BOB, "psk", "1") == SECRET
    assert store.forget_secret(BOB, "psk", "1")
    assert not store.forget_secret(BOB, "psk", "1")
    assert store.secret(BOB, "psk", "1") is None
    assert store.secret(EVE, "psk", "1") == b"hers"


def test_a_secret_has_a_bound(store: SQLStore) -> None:
    store.put_secret(BOB, "psk", "1", bytes(SECRET_BYTES))
    with pytest.raises(ValueError, match=f"at most {SECRET_BYTES} bytes"):
        store.put_secret(BOB, "psk", "1", bytes(SECRET_BYTES + 1))
    assert store.secret(BOB, "psk", "1") == bytes(SECRET_BYTES)


def test_no_file_holds_a_secret_unencrypted(store: SQLStore) -> None:
    store.own_key(create)
    store.put_secret(BOB, "psk", "1", SECRET)
    files = [path.read_bytes() for path in store.path.parent.iterdir()]
    assert len(files) == 4
    assert any(BOB.encode() in content for content in files)
    assert not any(SECRET in content or IDENTITY.private_key in content for content in files)


def test_an_altered_secret_is_refused(store: SQLStore) -> None:
    store.put_secret(BOB, "psk", "1", SECRET)
    encrypted = column(store, tables.secrets, "value")
    overwrite(store, tables.secrets, "value", encrypted[:-1] + bytes([encrypted[-1] ^ 1]))
    with store_error(StoreReason.SECRET_DAMAGED, match=r"the secret '1' of the kind 'psk' shared with bob@") as caught:
        store.secret(BOB, "psk", "1")
    assert str(store.path) in str(caught.value)


@pytest.mark.parametrize(("place", "value"), [("peer", EVE), ("kind", "password"), ("key_id", "2")])
def test_a_secret_moved_to_another_row_is_refused(store: SQLStore, place: str, value: str) -> None:
    store.put_secret(BOB, "psk", "1", SECRET)
    with store._writing() as connection:
        connection.execute(update(tables.secrets).values({place: value}))
    where = {"peer": BOB, "kind": "psk", "key_id": "1"} | {place: value}
    with store_error(StoreReason.SECRET_DAMAGED):
        store.secret(where["peer"], where["kind"], where["key_id"])


def test_a_secret_moved_to_another_table_is_refused(store: SQLStore) -> None:
    store.own_key(create)
    store.put_secret(BOB, "psk", "1", SECRET)
    overwrite(store, tables.identity, "private_key", column(store, tables.secrets, "value"))
    with store_error(StoreReason.SECRET_DAMAGED, match="our private key"):
        store.own_key(never)


@pytest.mark.parametrize("name", ["certificate", "private_key"])
def test_neither_half_of_the_identity_can_be_altered(store: SQLStore, name: str) -> None:
    """The private key is bound to its certificate."""
    store.own_key(create)
    value = column(store, tables.identity, name)
    overwrite(store, tables.identity, name, value[:-1] + bytes([value[-1] ^ 1]))
    with store_error(StoreReason.SECRET_DAMAGED, match="our private key"):
        store.own_key(never)


def test_the_key_is_made_with_the_first_secret(store: SQLStore) -> None:
    key = store.path.with_suffix(".key")
    store.record_e2e_use(BOB, 1.0)
    assert not key.exists()
    assert store.key_notice is None
    store.put_secret(BOB, "psk", "1", SECRET)
    assert key.exists()
    assert str(key) in (store.key_notice or "")
    store.close()
    with SQLStore.open(store.path) as again:
        again.put_secret(BOB, "psk", "2", SECRET)
        assert again.key_notice is None


def test_a_missing_key_is_never_replaced(store: SQLStore) -> None:
    store.own_key(create)
    store.pin(BOB, Fingerprint(b"A" * 32), 1.0)
    store.close()
    key = store.path.with_suffix(".key")
    kept = key.rename(key.with_suffix(".kept"))
    with SQLStore.open(store.path) as again:
        with store_error(StoreReason.KEY_FILE_MISSING, match=r"store\.key: the key file .* is missing") as caught:
            again.own_key(never)
        with store_error(StoreReason.KEY_FILE_MISSING):
            again.put_secret(BOB, "psk", "1", SECRET)
        assert "Put the key file back" in explain(caught.value)
        assert again.known_keys(BOB).keys
        assert not key.exists()
        kept.rename(key)
        assert again.own_key(never) == IDENTITY


def test_a_wrong_key_is_told_from_a_damaged_row(tmp_path: Path, store: SQLStore) -> None:
    store.own_key(create)
    store.close()
    with SQLStore.open(tmp_path / "other.db") as other:
        other.put_secret(BOB, "psk", "1", SECRET)
    shutil.copy(tmp_path / "other.key", tmp_path / "store.key")
    with SQLStore.open(store.path) as again:
        with store_error(StoreReason.WRONG_KEY, match=r"store\.db: the key is not the one"):
            again.own_key(never)
        with store_error(StoreReason.WRONG_KEY):
            again.put_secret(BOB, "psk", "1", SECRET)
        assert again.secret_ids(BOB, "psk") == ()


def test_a_key_that_encrypts_nothing_yet_is_used(store: SQLStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was left by an interrupted change; the next one takes it."""
    with monkeypatch.context() as patch:
        patch.setattr("slixmpp_e2e.store.key_protection.key_file.KeyFile.encrypt", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            store.put_secret(BOB, "psk", "1", SECRET)
    before = store.path.with_suffix(".key").read_bytes()
    store.put_secret(BOB, "psk", "1", SECRET)
    assert store.path.with_suffix(".key").read_bytes() == before
    assert store.secret(BOB, "psk", "1") == SECRET


KILLED = """
import os, signal, sys
from slixmpp_e2e.store import Passphrase, SQLStore, StoredOwnKey
from slixmpp_e2e.store.key_protection.key_file import KeyFile
when = sys.argv[2]
real = KeyFile.create_key

def create_key(self):
    if when == "after":
        real(self)
    os.kill(os.getpid(), signal.SIGKILL)

KeyFile.create_key = create_key
SQLStore.open(sys.argv[1]).own_key(lambda: StoredOwnKey(b"c", b"k"))
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_process_that_is_killed_while_it_makes_the_key(tmp_path: Path, when: str) -> None:
    """The next one goes on: nothing was encrypted yet."""
    run(KILLED, tmp_path / "store.db", when)
    assert (tmp_path / "store.key").exists() is (when == "after")
    with SQLStore.open(tmp_path / "store.db") as store:
        assert store.own_key(create) == IDENTITY
        with store._reading() as connection:  # the note that allowed it is gone
            names = connection.execute(select(tables.meta.c.name)).scalars().all()
        assert names == [tables.KEY_CHECK]


@pytest.mark.parametrize("protection", [None, Passphrase("words")])
def test_a_key_beside_a_store_without_identity(tmp_path: Path, protection: Passphrase | None) -> None:
    """The store was copied without its journal, say. A new identity would alarm all peers, or serve an attacker."""
    SQLStore.open(tmp_path / "store.db").close()
    key = tmp_path / "store.key"
    key.write_bytes(bytes(32))
    with SQLStore.open(tmp_path / "store.db", protection) as store:
        for change in (lambda: store.own_key(never), lambda: store.put_secret(BOB, "psk", "1", SECRET)):
            with store_error(StoreReason.IDENTITY_MISSING, match="holds no identity") as caught:
                change()
        assert "from one backup" in explain(caught.value)
        assert "replaced the store" in explain(caught.value)
        assert key.read_bytes() == bytes(32)
        key.unlink()  # the way out
        assert store.own_key(create) == IDENTITY


@pytest.mark.parametrize("assurance", [Assurance.VOUCHED, Assurance.VERIFIED])
def test_a_history_of_sessions_without_their_identity(store: SQLStore, assurance: Assurance) -> None:
    store.put_secret(BOB, "psk", "1", SECRET)
    store.remember_key(BOB, Fingerprint(b"A" * 32), assurance, "psk", 1.0)
    with store_error(StoreReason.IDENTITY_MISSING, match="its history tells of sessions"):
        store.own_key(never)


def test_what_the_user_decides_needs_no_identity(store: SQLStore) -> None:
    """Secrets, pins and blocks may come before it, from a trust file for instance."""
    store.put_secret(BOB, "psk", "1", SECRET)
    store.pin(BOB, Fingerprint(b"A" * 32), 1.0)
    store.accept(BOB, Fingerprint(b"B" * 32), 1.0)
    store.block(BOB, Fingerprint(b"C" * 32), 1.0)
    store.forget(BOB, None, 2.0)
    assert store.own_key(create) == IDENTITY


def test_another_protection_can_take_the_place_of_the_key_file(tmp_path: Path) -> None:
    class Mirror:
        """A protection that reverses values."""

        kind: ClassVar[str] = "mirror"
        made = False

        def bind(self, store: Path, parameters: str | None) -> None:
            assert parameters in {None, "of glass"}

        def parameters(self) -> str:
            return "of glass"

        def wrong_key_error(self, store: Path) -> NoReturn:
            raise AssertionError

        def delete_key(self) -> None:
            raise AssertionError

        def has_key(self) -> bool:
            return self.made

        def create_key(self) -> str:
            self.made = True
            return "Nothing is protected."

        def encrypt(self, value: bytes, *place: str | bytes) -> bytes:
            return value[::-1]

        def decrypt(self, encrypted: bytes, *place: str | bytes) -> bytes:
            return encrypted[::-1]

    with SQLStore.open(tmp_path / "store.db", Mirror()) as store:
        store.put_secret(BOB, "psk", "1", b"abc")
        assert column(store, tables.secrets, "value") == b"cba"
        assert store.key_notice == "Nothing is protected."
    assert not (tmp_path / "store.key").exists()


def test_no_error_shows_a_secret(store: SQLStore, caplog: pytest.LogCaptureFixture) -> None:
    with store._writing() as connection:
        connection.exec_driver_sql("CREATE TRIGGER refuse BEFORE INSERT ON secrets BEGIN SELECT RAISE(ABORT, 'not today'); END")
    with pytest.raises(StoreError, match=r"cannot be used \(not today\)") as caught:
        store.put_secret(BOB, "psk", "1", SECRET)
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET.decode() not in str(error)
        assert BOB not in str(error)  # nor any other value of the row, encrypted ones included
        error = error.__cause__
    assert SECRET.decode() not in caplog.text
