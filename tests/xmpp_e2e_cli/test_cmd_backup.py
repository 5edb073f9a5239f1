"""`xmpp-e2e backup` and `restore`: the account moves in one file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from slixmpp_e2e.store import SQLStore, StoreError, path_for
from slixmpp_e2e.store.key_protection import passphrase
from tests.xmpp_e2e_cli.conftest import CommandResult, secret_file

Command = Callable[..., CommandResult]
ALICE, BOB = "alice@home.test", "bob@home.test"
WORDS = "correct horse battery staple"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passphrase, "MEMORY_KIB", 8)
    monkeypatch.setenv("XMPP_E2E_BACKUP_PASSPHRASE", WORDS)


def test_an_account_moves_in_one_file(command: Command, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program has the store open while the backup is made."""
    own = command("init", ALICE, "--json").data["fingerprint"]
    command("trust", "pin", BOB, f"SHA256:{'A' * 43}").ended(0)
    with SQLStore.for_jid(ALICE):
        done = command("backup", str(home / "file"), "--json")
    done.ended(0, "opens with its passphrase alone")
    assert done.data == {"account": ALICE, "fingerprint": own, "file": str(home / "file")}
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "elsewhere"))
    restored = command("restore", str(home / "file"), "--json")
    restored.ended(0, "in one place only")
    assert restored.data == {"store": str(path_for(ALICE)), "fingerprint": own, "moved": []}
    assert command("fingerprint").out.strip() == own
    assert BOB in command("trust", "list").out


def test_nothing_is_overwritten_without_being_told(command: Command, home: Path) -> None:
    own = command("init", ALICE, "--json").data["fingerprint"]
    file = str(home / "file")
    command("backup", file).ended(0)
    command("backup", file).ended(1, "exists already", "--overwrite")
    command("backup", file, "--overwrite").ended(0)
    command("restore", file).ended(1, "there is a store already", "--overwrite")
    restored = command("restore", file, "--overwrite")
    restored.ended(0, "alice@home.test.db.replaced-1", "alice@home.test.key.replaced-1")
    assert restored.out.strip() == own


def test_the_passphrase_of_a_backup(command: Command, home: Path, monkeypatch: pytest.MonkeyPatch, typed: list[str]) -> None:
    command("init", ALICE).ended(0)
    file, given = str(home / "file"), str(secret_file(home / "words", "lettuce\n"))
    command("backup", file, "--backup-passphrase-file", given).ended(0, "This is a weak passphrase")
    path_for(ALICE).unlink()
    path_for(ALICE).with_name(f"{ALICE}.key").unlink()
    command("restore", file).ended(1, "the passphrase is not the one that sealed this backup")
    assert not path_for(ALICE).exists()
    monkeypatch.delenv("XMPP_E2E_BACKUP_PASSPHRASE")
    typed.append("lettuce")
    command("restore", file).ended(0)


def test_without_a_terminal(command: Command, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XMPP_E2E_BACKUP_PASSPHRASE")
    command("init", ALICE).ended(0)
    command("backup", str(home / "file")).ended(1, "no terminal", "--backup-passphrase-file")
    assert not (home / "file").exists()


def test_a_file_that_was_cut_short(command: Command, home: Path) -> None:
    command("init", ALICE).ended(0)
    command("backup", str(home / "file")).ended(0)
    (home / "file").write_bytes((home / "file").read_bytes()[:-1])
    command("restore", str(home / "file"), "--overwrite").ended(1, "the backup is damaged", "Take another copy")
    with SQLStore.for_jid(ALICE) as store:
        assert store.load_key()


def test_a_key_without_its_store_makes_no_new_identity(command: Command) -> None:
    """What a plain copy without the journal looked like: `init` refuses, and says what to do."""
    SQLStore.for_jid(ALICE).close()
    path_for(ALICE).with_name(f"{ALICE}.key").write_bytes(bytes(32))
    command("init", ALICE).ended(1, "holds no identity", "No new identity was made", "from one backup")
    with SQLStore.for_jid(ALICE) as store, pytest.raises(StoreError):
        store.put_secret(BOB, "psk", "1", b"secret")
