"""`xmpp-e2e protection`, and where passphrases come from: never the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keyring
import pytest
import typer
from keyring.backends.fail import Keyring as NoKeyring

from slixmpp_e2e.store import SQLStore, path_for
from slixmpp_e2e.store.key_protection import passphrase
from tests.slixmpp_e2e.store.key_protection.test_keyring import FakeKeyring
from tests.xmpp_e2e_cli.conftest import CommandResult, People, secret_file
from xmpp_e2e.types import Fingerprint
from xmpp_e2e_cli.app import app

Command = Callable[..., CommandResult]
ALICE = "alice@home.test"
KEY = Fingerprint(bytes(32))
WORDS, OTHER = "correct horse battery staple", "grüne Grütze"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the key derivation fast: these tests are not about its strength."""
    monkeypatch.setattr(passphrase, "MEMORY_KIB", 8)
    for name in ("XMPP_E2E_PASSPHRASE", "XMPP_E2E_NEW_PASSPHRASE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def fake() -> Iterator[FakeKeyring]:
    """A keyring in memory."""
    before, ring = keyring.get_keyring(), FakeKeyring()
    keyring.set_keyring(ring)
    yield ring
    keyring.set_keyring(before)


def file(home: Path, words: str) -> str:
    """Write a file with a passphrase."""
    return str(secret_file(home / f"{len(words)}.txt", words + "\nmore\n"))


def names() -> list[str]:
    """Return the files in the user's data folder."""
    folder = path_for(ALICE).parent
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


# --- a passphrase ----------------------------------------------------------------------------------------------------


def test_a_passphrase_from_the_terminal(command: Command, typed: list[str]) -> None:
    """It is asked twice when it is set, once when the key is needed, and otherwise not at all."""
    typed += [WORDS, WORDS]
    made = command("init", ALICE, "--protection", "passphrase")
    made.ended(0, "encrypted with your passphrase")
    assert names() == [f"{ALICE}.db"]
    typed.append(WORDS)
    assert command("fingerprint").out == made.out
    assert typed == []
    for words in (("pin", "bob@home.test", str(KEY)), ("list",), ("forget", "bob@home.test")):
        assert command("trust", *words).code == 0
    typed.append(WORDS)
    assert command("trust", "show", "bob@home.test", "--json").data["fingerprint"] == made.out.strip()
    typed.append(WORDS)
    again = command("init", ALICE)
    assert (again.code, again.out) == (0, made.out)
    assert "nothing has changed" in again.err


def test_two_that_differ_make_no_store(command: Command, typed: list[str]) -> None:
    typed += [WORDS, OTHER]
    command("init", ALICE, "--protection", "passphrase").ended(1, "not the same", "--passphrase-file")
    typed.append("")
    command("init", ALICE, "--protection", "passphrase").ended(1, "no passphrase was given")
    assert names() == []


def test_a_passphrase_from_a_file_or_the_environment(command: Command, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both work without a terminal. The file goes first."""
    command("init", ALICE, "--protection", "passphrase").ended(1, "no terminal to ask", "XMPP_E2E_PASSPHRASE")
    assert names() == []
    made = command("init", ALICE, "--protection", "passphrase", "--passphrase-file", file(home, WORDS), "--json").data
    assert (made["created"], made["protection"]) == (True, "passphrase")
    command("fingerprint").ended(1, "no terminal to ask", "XMPP_E2E_PASSPHRASE")
    monkeypatch.setenv("XMPP_E2E_PASSPHRASE", WORDS)
    assert command("fingerprint").out.strip() == made["fingerprint"]
    monkeypatch.setenv("XMPP_E2E_PASSPHRASE", OTHER)
    assert command("fingerprint", "--passphrase-file", file(home, WORDS)).code == 0
    missing = command("fingerprint", "--passphrase-file", str(home / "missing"))
    missing.ended(1, "passphrase file", "No such file")


def test_a_wrong_passphrase(command: Command, home: Path) -> None:
    """The error does not repeat it, and the store does not change."""
    command("init", ALICE, "--protection", "passphrase", "--passphrase-file", file(home, WORDS))
    before = path_for(ALICE).read_bytes()
    change = ["protection", "key-file", "--account", ALICE]
    for words in (["fingerprint"], ["listen"], ["send", "bob@home.test", "-m", "x"], change):
        done = command(*words, "--passphrase-file", file(home, OTHER))
        done.ended(1, "the passphrase is not the one", "Try again")
        assert OTHER not in done.err + done.out
    assert path_for(ALICE).read_bytes() == before
    done = command("fingerprint", "--passphrase-file", file(home, OTHER), "--json")
    assert (done.data["error"], done.data["code"], done.data["exit_code"]) == ("StoreError", "wrong-passphrase", 1)


def test_no_option_takes_a_passphrase() -> None:
    """All users of the machine can read the command line."""
    group: Any = typer.main.get_command(app)
    found = 0
    for command in group.commands.values():
        for option in getattr(command, "params", []):
            for name in option.opts:
                found += "pass" in name
                assert "pass" not in name or name.endswith("-file")
    assert found > 5


# --- a keyring -------------------------------------------------------------------------------------------------------


def test_a_keyring(command: Command, fake: FakeKeyring) -> None:
    """The key is there and nowhere else."""
    made = command("init", ALICE, "--protection", "keyring")
    made.ended(0, "keyring of the operating system")
    assert len(fake.entries) == 1
    assert names() == [f"{ALICE}.db"]
    assert command("fingerprint").out == made.out
    fake.entries.clear()
    command("fingerprint").ended(1, "is not in the keyring", "No new key was made")


def test_without_a_keyring_nothing_is_begun(command: Command) -> None:
    """The error names the alternative, and the next init starts from nothing."""
    before = keyring.get_keyring()
    keyring.set_keyring(NoKeyring())  # type: ignore[no-untyped-call]
    try:
        command("init", ALICE, "--protection", "keyring").ended(1, "no keyring service", "a key file needs nothing")
        assert names() == []
        assert command("init", ALICE, "--json").data["created"]
        changed = command("protection", "keyring")
    finally:
        keyring.set_keyring(before)
    changed.ended(1, "no keyring service", "a key file needs nothing")
    assert command("protection").out == "key-file\n"
    assert command("fingerprint").code == 0


# --- changing it -----------------------------------------------------------------------------------------------------


def test_the_protection_can_be_changed_to_anything_and_back(
    command: Command, fake: FakeKeyring, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key stays the same, the old protection is deleted, and the user is told the new setting."""
    own = command("init", ALICE).out
    one, two = file(home, WORDS), file(home, OTHER)
    done = command("protection", "passphrase", "--new-passphrase-file", one)
    assert (done.code, done.out, names()) == (0, "passphrase\n", [f"{ALICE}.db"])
    assert "'key_protection': Passphrase(…)" in done.err
    done = command("protection", "passphrase", "--passphrase-file", one, "--new-passphrase-file", two)
    assert done.code == 0
    assert "'key_protection'" not in done.err
    command("fingerprint", "--passphrase-file", one).ended(1, "is not the one")
    assert command("fingerprint", "--passphrase-file", two).out == own
    done = command("protection", "keyring", "--passphrase-file", two)
    assert (done.code, len(fake.entries)) == (0, 1)
    assert "'key_protection': 'keyring'" in done.err
    assert command("fingerprint").out == own
    assert command("protection", "key-file", "--json").data == {
        "account": ALICE,
        "protection": "key-file",
        "changed": True,
        "notice": f"A random key was written to {path_for(ALICE).with_suffix('.key')}, readable by you only: it protects the"
        " private key and the secrets in the store from anybody who has the store alone, not from anybody who can read both"
        " files; back up both.",
    }
    assert fake.entries == {}
    assert command("fingerprint").out == own
    monkeypatch.setenv("XMPP_E2E_NEW_PASSPHRASE", WORDS)
    assert command("protection", "passphrase").code == 0


def test_the_present_passphrase_is_asked_for_first(command: Command, typed: list[str], home: Path) -> None:
    typed += [WORDS, WORDS]
    command("init", ALICE, "--protection", "passphrase")
    typed += [OTHER]
    command("protection", "passphrase").ended(1, "is not the one")
    typed += [WORDS, OTHER, OTHER]
    assert command("protection", "passphrase").code == 0
    assert typed == []


def test_what_it_is_needs_no_key(command: Command) -> None:
    command("protection").ended(1, "xmpp-e2e init")
    command("init", ALICE)
    key = path_for(ALICE).with_suffix(".key").read_bytes()
    command("protection", "key-file").ended(0, "nothing has changed")
    assert path_for(ALICE).with_suffix(".key").read_bytes() == key
    path_for(ALICE).with_suffix(".key").unlink()
    assert command("protection", "--json").data == {"account": ALICE, "protection": "key-file"}


def test_init_does_not_change_the_protection(command: Command, home: Path) -> None:
    command("init", ALICE)
    done = command("init", ALICE, "--protection", "passphrase", "--passphrase-file", file(home, WORDS))
    done.ended(1, "protected by a key-file", "xmpp-e2e protection passphrase")
    assert command("init", ALICE, "--protection", "key-file").code == 0


def test_a_store_without_a_key_is_no_account(command: Command) -> None:
    """A killed `init` leaves such a store. Other commands must not create a key in it."""
    SQLStore.open(path_for(ALICE)).close()
    command("fingerprint", ALICE).ended(1, "has no key on this machine")
    assert command("init", ALICE, "--json").data["created"]


# --- online ----------------------------------------------------------------------------------------------------------


async def test_a_message_from_somebody_who_has_a_passphrase(people: People) -> None:
    """These are real processes with the real key derivation."""
    assert (await people.run("alice", "protection", "passphrase", XMPP_E2E_NEW_PASSPHRASE=WORDS)).code == 0
    bob, ready = await people.listen("bob")
    words = ("send", ready["jid"], "-m", "hello", *people.server)
    sent = await people.run("alice", *words, XMPP_E2E_PASSPHRASE=WORDS)
    assert sent.code == 0, sent.err
    message = await bob.event("message")
    assert (message["body"], message["encrypted"]) == ("hello", True)
