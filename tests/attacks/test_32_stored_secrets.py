"""Attack 32, where secrets are kept: stores, trust files, backups and the command, when they work and when they fail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from slixmpp_e2e.store import (
    KeyFile,
    Passphrase,
    SQLStore,
    StoredOwnKey,
    StoreReason,
)
from slixmpp_e2e.store.backup import read_backup, restore, write_backup
from slixmpp_e2e.trust.passwords import derive_srp_secret
from slixmpp_e2e.trust.trust_file.parse import read_trust_file
from slixmpp_e2e.trust.trust_file.secret_file import decode_psk, read_secret_file
from tests.attacks.secret_search import SHARED, WORDS, WRONG, Search, finish, remember
from tests.pair import identity
from tests.slixmpp_e2e.store.expect import store_error
from tests.slixmpp_e2e.store.processes import execute
from xmpp_e2e.errors import E2EError
from xmpp_e2e_cli.__main__ import main
from xmpp_e2e_cli.errors import UsageError, UsageReason
from xmpp_e2e_cli.secret_input import read_first_line

# --- the store -------------------------------------------------------------------------------------------------------


def wrong_passphrase(path: Path) -> None:
    with SQLStore.open(path, Passphrase(WRONG)) as store:
        store.load_key()


def altered_row(path: Path) -> None:
    execute(path, "UPDATE secrets SET value = randomblob(60)")
    with SQLStore.open(path, Passphrase(WORDS)) as store:
        store.secret("bob@localhost", "psk", "1")


def refused_row(path: Path) -> None:
    execute(path, "CREATE TRIGGER refuse BEFORE INSERT ON secrets BEGIN SELECT RAISE(ABORT, 'not today'); END")
    with SQLStore.open(path, Passphrase(WORDS)) as store:
        store.put_secret("bob@localhost", "psk", "1", SHARED)


def full_disk(path: Path) -> None:
    with SQLStore.open(path, Passphrase(WORDS)) as store:
        store._database._driver.execute("PRAGMA max_page_count = 1")
        for number in range(64):
            store.put_secret("bob@localhost", "psk", str(number), SHARED * 100)


def refused_change(path: Path) -> None:
    with SQLStore.open(path, Passphrase(WORDS)) as store:
        store.change_protection(KeyFile(path / "no folder" / "key"))


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:9000])
    SQLStore.open(path, Passphrase(WORDS))


def silent(path: Path) -> None:
    def mistyped() -> str:
        return (WORDS.encode() + b"\xff").decode()

    with SQLStore.open(path, Passphrase(mistyped)) as store:
        store.load_key()


def wrong_backup(path: Path) -> None:
    read_backup(backed_up(path), Passphrase(WRONG))


def altered_backup(path: Path) -> None:
    file = backed_up(path)
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    read_backup(file, Passphrase(WORDS))


def second_restore(path: Path) -> None:
    restore(read_backup(backed_up(path), Passphrase(WORDS)), path)


def backed_up(path: Path) -> Path:
    file = path.with_suffix(".backup")
    with SQLStore.open(path, Passphrase(WORDS)) as store:
        write_backup(store, file, Passphrase(WORDS))
    return file


@pytest.mark.parametrize(
    ("fails", "reason"),
    [
        (wrong_passphrase, StoreReason.WRONG_PASSPHRASE),
        (altered_row, StoreReason.SECRET_DAMAGED),
        (refused_row, StoreReason.UNUSABLE),
        (full_disk, StoreReason.FULL),
        (refused_change, StoreReason.NO_ACCESS),
        (cut_short, StoreReason.DAMAGED),
        (silent, StoreReason.PROTECTION_UNAVAILABLE),
        (wrong_backup, StoreReason.WRONG_PASSPHRASE),
        (altered_backup, StoreReason.BACKUP_DAMAGED),
        (second_restore, StoreReason.EXISTS),
    ],
)
def test_stores_that_fail(
    tmp_path: Path, search: Search, caplog: pytest.LogCaptureFixture, fails: Callable[[Path], None], reason: StoreReason
) -> None:
    """SQLAlchemy would quote the parameters of a statement, and a decoder what it could not read."""
    path, alice = tmp_path / "store.db", identity("alice")
    remember(search, "alice", alice.private_key)
    with SQLStore.open(path, Passphrase(WORDS)) as store:
        store.own_key(lambda: StoredOwnKey(alice.certificate, alice.private_key))
        store.put_secret("bob@localhost", "psk", "1", SHARED)
        protection = store._protection
        assert isinstance(protection, Passphrase)
        search.secrets["the key of the protection"] = protection._read_key()
    with store_error(reason) as caught:
        fails(path)
    search.said(caught.value)
    finish(search, caplog)


@pytest.mark.parametrize("spoilt", [b"\xff", b"\n\n", b"\x00"])
@pytest.mark.parametrize("kind", ["password_file", "psk_file"])
def test_secret_files_that_cannot_be_used(tmp_path: Path, search: Search, spoilt: bytes, kind: str) -> None:
    """By a trust file, or by the command: no text, too many lines, characters that no password may have, no key."""
    secret, rules = tmp_path / "secret", tmp_path / "trust.toml"
    secret.write_bytes(WORDS.encode() + spoilt)
    rules.write_text(f'["bob@localhost"]\n{kind} = "{secret}"\n')
    for file in (secret, rules):
        file.chmod(0o600)
    failed = 0
    for use in (
        lambda: read_trust_file(rules, {}),
        lambda: decode_psk(read_first_line(secret, "key", UsageReason.INVALID_SECRET)),
        lambda: derive_srp_secret(read_secret_file(secret), "alice@localhost", "bob@localhost"),
    ):
        try:
            use()
        except (E2EError, ValueError, UsageError) as error:
            failed += 1
            search.said(error)
    assert failed
    search.every_repr()
    assert search.found() == set()


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command(
    tmp_path: Path,
    search: Search,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it prints when it succeeds, when the passphrase is wrong, and when it has a bug: Python's own traceback."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("XMPP_E2E_JID", "alice@localhost")
    monkeypatch.setenv("XMPP_E2E_PASSPHRASE", WORDS)
    assert main(["init", "alice@localhost", "--protection", "passphrase"]) == 0
    assert main(["trust", "show", "bob@localhost", "--json"]) == 0
    with SQLStore.for_jid("alice@localhost", protection=Passphrase(WORDS)) as store:
        store.put_secret("bob@localhost", "psk", "1", SHARED)
        remember(search, "alice", store.own_key(lambda: StoredOwnKey(b"", b"")).private_key)
    monkeypatch.setenv("XMPP_E2E_PASSPHRASE", WRONG)
    assert main(["fingerprint"]) == 1
    assert main(["protection", "key-file", "--json"]) == 1
    monkeypatch.setenv("XMPP_E2E_PASSPHRASE", WORDS)
    with monkeypatch.context() as patch:
        patch.setattr("slixmpp_e2e.trust.own_key.OwnKey", lambda certificate, private_key: certificate / private_key)
        assert main(["fingerprint"]) == 2
    backup = str(tmp_path / "alice.backup")
    monkeypatch.setenv("XMPP_E2E_BACKUP_PASSPHRASE", WORDS)
    assert main(["backup", backup]) == 0
    monkeypatch.setenv("XMPP_E2E_BACKUP_PASSPHRASE", WRONG)
    assert main(["restore", backup, "--json"]) == 1
    assert main(["protection", "key-file"]) == 0
    finish(search, caplog, capsys)
