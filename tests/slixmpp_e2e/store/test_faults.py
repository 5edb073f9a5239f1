"""Faults of a disk: it is full, read-only, or loses or flips bits. Each is reported with a remedy, and loses nothing else."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from slixmpp_e2e.alarms import explain
from slixmpp_e2e.policy import Policy
from slixmpp_e2e.store import (
    KeyFile,
    Passphrase,
    PeerPolicy,
    SQLStore,
    StoredOwnKey,
    StoreError,
    StoreReason,
    tables,
)
from tests.slixmpp_e2e.disk import exhaust
from tests.slixmpp_e2e.store.expect import never, store_error
from tests.slixmpp_e2e.store.processes import dump, execute, files, run
from xmpp_e2e.types import Assurance, Fingerprint

pytestmark = pytest.mark.usefixtures("quick_derivation")

BOB, EVE = "bob@example.org", "eve@example.org"
IDENTITY = StoredOwnKey(b"the certificate", b"the private key")
OLD = Path(__file__).with_name("before_migrations.sql")


def fill(path: Path) -> Path:
    with SQLStore.open(path) as store:
        store.own_key(lambda: IDENTITY)
        for number in range(20):
            store.remember_key(f"{number}@example.org", Fingerprint(b"A" * 32), Assurance.VOUCHED, "route", 1.0)
        store.pin(BOB, Fingerprint(b"B" * 32), 1.0)
        store.put_secret(BOB, "psk", "1", b"the secret")
        store.set_policy(BOB, PeerPolicy(policy=Policy.REQUIRE))
        store.record_e2e_use(BOB, 2.0)
        store.count_failed_attempt(EVE, "srp")
    return path


def read(path: Path) -> tuple[object, ...]:
    with SQLStore.open(path) as store:
        return (
            store.own_key(never),
            store.secret(BOB, "psk", "1"),
            store.secret_ids(BOB, "psk"),
            store.known_keys(BOB),
            store.history(BOB),
            store.peers(),
            store.policy(BOB),
            store.has_used_e2e(BOB),
            store.failed_attempts(EVE, "srp"),
        )


def opening(path: Path) -> StoreError | None:
    try:
        SQLStore.open(path).close()
    except StoreError as error:
        return error
    return None


def says(error: StoreError, path: Path, cause: str, way_out: str) -> None:
    assert str(error).startswith(f"{path}: ")
    assert cause in str(error)
    assert way_out in explain(error)


@pytest.mark.parametrize("leave", [0, 4096, 16384])
def test_a_new_store_that_does_not_fit(disk: Path, leave: int) -> None:
    ballast = exhaust(disk, leave)
    with store_error(StoreReason.FULL) as caught:
        fill(disk / "store.db")
    assert str(caught.value).startswith(f"{disk}/store.")
    ballast.unlink()
    fill(disk / "store.db")
    assert read(disk / "store.db")[1] == b"the secret"


@pytest.mark.parametrize("leave", [0, 16384, 40960, 57344, 65536, 81920, 98304, 1048576])
def test_a_migration_that_does_not_fit(disk: Path, leave: int) -> None:
    path = disk / "store.db"
    connection = sqlite3.connect(path)
    connection.executescript(OLD.read_text())
    connection.close()
    before = dump(path)
    ballast = exhaust(disk, leave)
    error = opening(path)
    if error is not None:
        assert error.reason is StoreReason.FULL
        assert str(error).startswith(str(path))
        assert "Make room and try again" in explain(error)
        assert dump(path) == before
    assert (error is None) == (leave == 1048576) or 16384 < leave < 1048576
    assert [name for name in files(disk) if name.endswith((".part", "-journal"))] == []
    ballast.unlink()
    with SQLStore.open(path) as store:
        assert store.failed_attempts(EVE, "srp") == 2


@pytest.mark.parametrize("leave", [0, 4096, 8192])
def test_a_change_of_protection_that_does_not_fit(disk: Path, leave: int) -> None:
    path = fill(disk / "store.db")
    before = read(path)
    with SQLStore.open(path) as store:
        ballast = exhaust(disk, leave)
        with store_error(StoreReason.FULL, match=r"disk is full|No space left") as caught:
            store.change_protection(KeyFile(disk / "other.key") if leave == 4096 else Passphrase("words"))
        assert str(caught.value).startswith(f"{disk}/")
        assert store.secret(BOB, "psk", "1") == b"the secret"
        ballast.unlink()
        assert store.protection_kind() == "key-file"
    assert read(path) == before
    with SQLStore.open(path) as store:
        store.change_protection(Passphrase("words"))
        assert store.secret(BOB, "psk", "1") == b"the secret"


def test_a_key_file_that_does_not_fit(disk: Path) -> None:
    exhaust(disk)
    with store_error(StoreReason.FULL) as caught:
        KeyFile(disk / "store.key").create_key()
    says(caught.value, disk / "store.key", "No space left", "Make room")
    assert sorted(files(disk)) == ["ballast"]


AS_NOBODY = """
import os, sys
from slixmpp_e2e.alarms import explain
from slixmpp_e2e.store import SQLStore, StoreError
if os.geteuid() == 0:
    os.seteuid(65534)
try:
    with SQLStore.open(sys.argv[1]) as store:
        store.record_e2e_use("carol@example.org", 1.0)
except StoreError as error:
    print(error.reason.name, explain(error))
"""


def test_a_read_only_folder(tmp_path: Path) -> None:
    """SQLite needs room beside the store even if the store itself can be written."""
    folder = tmp_path / "closed"
    folder.mkdir()
    path = fill(folder / "store.db")
    if os.geteuid() == 0:
        for file in (path, path.with_suffix(".key")):
            os.chown(file, 65534, 65534)
    folder.chmod(0o555)
    for parent in tmp_path.parents:  # pytest's own are closed to others
        if parent.stat().st_uid == os.geteuid() and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    tmp_path.chmod(0o711)
    before = files(folder)
    said = run(AS_NOBODY, path)
    assert said.startswith(f"NO_ACCESS {path}: the store cannot be")
    assert "permissions of the file and of its folder" in said
    assert files(folder) == before
    folder.chmod(0o755)
    assert read(path)[1] == b"the secret"


def test_a_read_only_disk(disk: Path) -> None:
    """It may be mounted so, or be made so by the system after an error."""
    path = fill(disk / "store.db")
    before = files(disk)
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    with store_error(StoreReason.NO_ACCESS) as caught:
        SQLStore.open(path)
    says(caught.value, path, "the store cannot be", "permissions of the file and of its folder")
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    assert files(disk) == before
    assert read(path)[1] == b"the secret"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("sound") / "store.db")


@pytest.fixture
def damage(sound: Path, tmp_path: Path) -> Callable[[bytes], Path]:
    def write(content: bytes) -> Path:
        for suffix in ("-wal", "-shm", "-journal"):
            (tmp_path / f"store.db{suffix}").unlink(missing_ok=True)
        shutil.copy(sound.with_suffix(".key"), tmp_path / "store.key")
        (tmp_path / "store.db").write_bytes(content)
        return tmp_path / "store.db"

    return write


def test_a_store_truncated_anywhere(sound: Path, damage: Callable[[bytes], Path]) -> None:
    content = sound.read_bytes()
    for length in [*range(0, len(content), 4096), 1, 50, 100, 511, 5000, len(content) - 1]:
        path = damage(content[:length])
        before = files(path.parent)
        with store_error(StoreReason.DAMAGED) as caught:
            SQLStore.open(path)
        says(caught.value, path, "", "Restore the store")
        assert files(path.parent) == before


def test_a_page_that_the_journal_still_has(tmp_path: Path) -> None:
    """A crash or a full disk may leave half a page at the end of the file; the journal has the rest."""
    path = fill(tmp_path / "store.db")
    (tmp_path / "copy").mkdir()
    with SQLStore.open(path) as store:
        for number in range(20):
            store.put_secret(EVE, "large", str(number), bytes(4096))
        for file in tmp_path.glob("store.*"):
            shutil.copy(file, tmp_path / "copy")
    copy = tmp_path / "copy" / "store.db"
    copy.write_bytes(copy.read_bytes() + b"half a page")
    assert read(copy)[1] == b"the secret"
    with SQLStore.open(copy) as store:
        assert store.secret(EVE, "large", "19") == bytes(4096)


@pytest.mark.slow
def test_a_bit_flipped_anywhere(sound: Path, damage: Callable[[bytes], Path]) -> None:
    """It is reported, or it changes no secret. No other error is raised, and a store that does not open is not changed.

    SQLite has no checksums, so a flipped bit in a name makes another name. Dangerous changes are prevented: our own key is
    encrypted, and a changed key of a peer is one that the peer does not have.
    """
    content = sound.read_bytes()
    whole = read(damage(content))
    errors: list[StoreError] = []
    # The header, and of the rest, where there is something, every so many bytes: a prime, so that each offset within a row has
    # its turn.
    written = [index for index in range(100, len(content)) if content[index]]
    for index in [*range(0, 100, 3), *written[::37]]:
        flipped = bytearray(content)
        flipped[index] ^= 1 << index % 8
        path = damage(bytes(flipped))
        before = files(path.parent)
        if (error := opening(path)) is not None:
            errors.append(error)
            assert files(path.parent) == before
            continue
        try:
            found = read(path)
        except StoreError as caught:
            errors.append(caught)
        else:
            assert found[0] == whole[0]
            assert found[1] in {whole[1], None}
    assert len(errors) > 10
    assert all(str(error).startswith(f"{path}") for error in errors)
    # the name of the schema is a row like any other
    damaged = {StoreReason.DAMAGED, StoreReason.SECRET_DAMAGED}
    schema = {StoreReason.UNKNOWN_SCHEMA, StoreReason.MIGRATION_FAILED}
    assert {error.reason for error in errors} <= damaged | schema
    assert all("from a backup" in explain(error) or error.reason in schema for error in errors)


@pytest.mark.parametrize("content", [b"\x00", bytes(8192), b"\x00SQLite format 3" + bytes(4096)])
def test_a_store_overwritten_beside_its_key(damage: Callable[[bytes], Path], content: bytes) -> None:
    """A power cut may leave a file of zeros. The key shows that it was our store."""
    path = damage(content)
    with store_error(StoreReason.DAMAGED) as caught:
        SQLStore.open(path)
    says(caught.value, path, "as the key that opens it is there", "Restore the store")
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("statement", "use"),
    [
        ("UPDATE trust SET peer = x'01' WHERE peer = 'bob@example.org'", SQLStore.peers),
        ("UPDATE trust SET fingerprint = x'01'", lambda store: store.known_keys(BOB)),
        ("UPDATE history SET assurance = x'01'", lambda store: store.history(BOB)),
        ("UPDATE policy SET policy = x'01'", lambda store: store.policy(BOB)),
        ("UPDATE failures SET count = 'many'", lambda store: store.failed_attempts(EVE, "srp")),
        ("UPDATE secrets SET value = 'text'", lambda store: store.secret(BOB, "psk", "1")),
        ("INSERT INTO secrets VALUES ('bob@example.org', 'psk', x'01', x'01', '')", lambda store: store.secret_ids(BOB, "psk")),
        ("UPDATE identity SET private_key = 'text'", lambda store: store.own_key(never)),
        ("UPDATE secrets SET peer = 7.5", lambda store: store.change_protection(Passphrase("words"))),
        ("ALTER TABLE failures RENAME TO successes", lambda store: store.failed_attempts(EVE, "srp")),
        ("ALTER TABLE seen RENAME COLUMN peer TO pier", lambda store: store.has_used_e2e(BOB)),
    ],
)
def test_a_value_of_another_type(
    sound: Path, damage: Callable[[bytes], Path], statement: str, use: Callable[[SQLStore], object]
) -> None:
    """One flipped bit can turn text into bytes, or rename a table. The store is damaged then."""
    path = damage(sound.read_bytes())
    execute(path, statement)
    with SQLStore.open(path) as store, pytest.raises(StoreError) as caught:
        use(store)
    assert caught.value.reason in {StoreReason.DAMAGED, StoreReason.SECRET_DAMAGED}
    says(caught.value, path, "", "from a backup")


@pytest.mark.parametrize(
    ("statement", "reason", "use"),
    [
        ("UPDATE trust SET fingerprint = CAST(x'ff' AS TEXT)", StoreReason.DAMAGED, lambda store: store.known_keys(BOB)),
        ("UPDATE policy SET policy = CAST(x'ff' AS TEXT)", StoreReason.DAMAGED, lambda store: store.policy(BOB)),
        (f"UPDATE meta SET value = 'ü' WHERE name = '{tables.KEY_CHECK}'", StoreReason.WRONG_KEY, SQLStore.load_key),
        (f"UPDATE meta SET value = x'ff' WHERE name = '{tables.KEY_CHECK}'", StoreReason.WRONG_KEY, SQLStore.load_key),
    ],
)
def test_a_text_that_is_not_utf8(
    sound: Path, damage: Callable[[bytes], Path], statement: str, reason: StoreReason, use: Callable[[SQLStore], object]
) -> None:
    path = damage(sound.read_bytes())
    execute(path, statement)
    with SQLStore.open(path) as store:
        with store_error(reason) as caught:
            use(store)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\\xff" not in str(caught.value)
        assert "\ufffd" not in str(caught.value)
        assert store.own_key(never) == IDENTITY
        assert store.secret(BOB, "psk", "1") == b"the secret"
