"""What protects the key, by the command: chosen, asked for, changed; a passphrase comes from anywhere but the command line."""

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
from tests.slixmpp_e2e.store.test_keyring import Fake
from tests.xmpp_e2e_cli.conftest import Done, People
from xmpp_e2e.identity import Fingerprint
from xmpp_e2e_cli.app import app

Command = Callable[..., Done]
ALICE = "alice@home.test"
KEY = Fingerprint(bytes(32))
WORDS, OTHER = "correct horse battery staple", "grüne Grütze"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A derivation that takes no time; its strength is not what these tests are about."""
    monkeypatch.setattr(passphrase, "MEMORY_KIB", 8)
    for name in ("XMPP_E2E_PASSPHRASE", "XMPP_E2E_NEW_PASSPHRASE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def fake() -> Iterator[Fake]:
    """A keyring in memory."""
    before, ring = keyring.get_keyring(), Fake()
    keyring.set_keyring(ring)
    yield ring
    keyring.set_keyring(before)


def file(home: Path, words: str) -> str:
    """A file with a passphrase."""
    path = home / f"{len(words)}.txt"
    path.write_text(words + "\nmore\n")
    return str(path)


def names() -> list[str]:
    """The files in the user's data folder."""
    folder = path_for(ALICE).parent
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def assert_refused(done: Done, *words: str) -> None:
    """It ended with 1 and said all this, and no traceback."""
    assert done.code == 1
    for word in words:
        assert word in done.err
    assert "Traceback" not in done.err


# --- a passphrase ----------------------------------------------------------------------------------------------------


def test_a_passphrase_from_the_terminal(command: Command, typed: list[str]) -> None:
    """Asked for twice when it is made, once when the key is needed, and not where it is not needed."""
    typed += [WORDS, WORDS]
    made = command("init", ALICE, "--seal", "passphrase")
    assert made.code == 0
    assert "sealed with your passphrase" in made.err
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
    assert "nothing was changed" in again.err


def test_two_that_differ_make_no_store(command: Command, typed: list[str]) -> None:
    """Nobody sees what he types."""
    typed += [WORDS, OTHER]
    assert_refused(command("init", ALICE, "--seal", "passphrase"), "not the same", "--passphrase-file")
    typed.append("")
    assert_refused(command("init", ALICE, "--seal", "passphrase"), "no passphrase was given")
    assert names() == []


def test_a_passphrase_from_a_file_or_the_environment(
    command: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no terminal; a file that was named goes before the environment."""
    assert_refused(command("init", ALICE, "--seal", "passphrase"), "no terminal to ask", "XMPP_E2E_PASSPHRASE")
    assert names() == []
    made = command("init", ALICE, "--seal", "passphrase", "--passphrase-file", file(home, WORDS), "--json").data
    assert (made["created"], made["seal"]) == (True, "passphrase")
    assert_refused(command("fingerprint"), "no terminal to ask", "XMPP_E2E_PASSPHRASE")
    monkeypatch.setenv("XMPP_E2E_PASSPHRASE", WORDS)
    assert command("fingerprint").out.strip() == made["fingerprint"]
    monkeypatch.setenv("XMPP_E2E_PASSPHRASE", OTHER)
    assert command("fingerprint", "--passphrase-file", file(home, WORDS)).code == 0
    missing = command("fingerprint", "--passphrase-file", str(home / "missing"))
    assert_refused(missing, "passphrase file", "No such file")


def test_a_wrong_passphrase(command: Command, home: Path) -> None:
    """Said with the way out, repeated nowhere, and the store stays as it is."""
    command("init", ALICE, "--seal", "passphrase", "--passphrase-file", file(home, WORDS))
    before = path_for(ALICE).read_bytes()
    for words in (["fingerprint"], ["listen"], ["send", "bob@home.test", "-m", "x"], ["seal", "key-file", "--account", ALICE]):
        done = command(*words, "--passphrase-file", file(home, OTHER))
        assert_refused(done, "the passphrase is not the one", "Try again")
        assert OTHER not in done.err + done.out
    assert path_for(ALICE).read_bytes() == before
    done = command("fingerprint", "--passphrase-file", file(home, OTHER), "--json")
    assert (done.data["error"], done.data["exit_code"]) == ("PassphraseWrong", 1)


def test_no_option_takes_a_passphrase() -> None:
    """Everybody on the machine can read the command line: files only."""
    group: Any = typer.main.get_command(app)
    found = 0
    for command in group.commands.values():
        for option in getattr(command, "params", []):
            for name in option.opts:
                found += "pass" in name
                assert "pass" not in name or name.endswith("-file")
    assert found > 5


# --- a keyring -------------------------------------------------------------------------------------------------------


def test_a_keyring(command: Command, fake: Fake) -> None:
    """The key is there and nowhere else."""
    made = command("init", ALICE, "--seal", "keyring")
    assert made.code == 0
    assert "keyring of the operating system" in made.err
    assert len(fake.entries) == 1
    assert names() == [f"{ALICE}.db"]
    assert command("fingerprint").out == made.out
    fake.entries.clear()
    assert_refused(command("fingerprint"), "is not in the keyring", "No new key was made")


def test_without_a_keyring_nothing_is_begun(command: Command) -> None:
    """A server without a desktop: said, with what needs nothing; the next init is the first."""
    before = keyring.get_keyring()
    keyring.set_keyring(NoKeyring())  # type: ignore[no-untyped-call]
    try:
        assert_refused(command("init", ALICE, "--seal", "keyring"), "no keyring service", "a key file needs nothing")
        assert names() == []
        assert command("init", ALICE, "--json").data["created"]
        changed = command("seal", "keyring")
    finally:
        keyring.set_keyring(before)
    assert_refused(changed, "no keyring service", "a key file needs nothing")
    assert command("seal").out == "key-file\n"
    assert command("fingerprint").code == 0


# --- changing it -----------------------------------------------------------------------------------------------------


def test_the_seal_can_be_changed_to_anything_and_back(
    command: Command, fake: Fake, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time the same identity, only what is needed is left, and the user hears what programs need from now on."""
    own = command("init", ALICE).out
    one, two = file(home, WORDS), file(home, OTHER)
    done = command("seal", "passphrase", "--new-passphrase-file", one)
    assert (done.code, done.out, names()) == (0, "passphrase\n", [f"{ALICE}.db"])
    assert "'seal': Passphrase(…)" in done.err
    done = command("seal", "passphrase", "--passphrase-file", one, "--new-passphrase-file", two)
    assert done.code == 0
    assert "'seal'" not in done.err
    assert_refused(command("fingerprint", "--passphrase-file", one), "is not the one")
    assert command("fingerprint", "--passphrase-file", two).out == own
    done = command("seal", "keyring", "--passphrase-file", two)
    assert (done.code, len(fake.entries)) == (0, 1)
    assert "'seal': 'keyring'" in done.err
    assert command("fingerprint").out == own
    assert command("seal", "key-file", "--json").data == {
        "account": ALICE,
        "seal": "key-file",
        "changed": True,
        "notice": f"A random key was written to {path_for(ALICE).with_suffix('.key')}, readable by you only: it keeps the"
        " private key and the secrets in the store from whoever gets hold of the store alone, not from whoever can read both"
        " files; back up both.",
    }
    assert fake.entries == {}
    assert command("fingerprint").out == own
    monkeypatch.setenv("XMPP_E2E_NEW_PASSPHRASE", WORDS)
    assert command("seal", "passphrase").code == 0


def test_the_present_passphrase_is_asked_for_first(command: Command, typed: list[str], home: Path) -> None:
    """Nobody thinks of a new one and then hears that he mistyped the old one."""
    typed += [WORDS, WORDS]
    command("init", ALICE, "--seal", "passphrase")
    typed += [OTHER]
    assert_refused(command("seal", "passphrase"), "is not the one")
    typed += [WORDS, OTHER, OTHER]
    assert command("seal", "passphrase").code == 0
    assert typed == []


def test_what_it_is_needs_no_key(command: Command) -> None:
    """For programs too; a key file is not exchanged for another one."""
    assert_refused(command("seal"), "xmpp-e2e init")
    command("init", ALICE)
    key = path_for(ALICE).with_suffix(".key").read_bytes()
    done = command("seal", "key-file")
    assert done.code == 0
    assert "nothing was changed" in done.err
    assert path_for(ALICE).with_suffix(".key").read_bytes() == key
    path_for(ALICE).with_suffix(".key").unlink()
    assert command("seal", "--json").data == {"account": ALICE, "seal": "key-file"}


def test_init_does_not_change_a_seal(command: Command, home: Path) -> None:
    """It names the command that does."""
    command("init", ALICE)
    done = command("init", ALICE, "--seal", "passphrase", "--passphrase-file", file(home, WORDS))
    assert_refused(done, "sealed with a key-file", "xmpp-e2e seal passphrase")
    assert command("init", ALICE, "--seal", "key-file").code == 0


def test_a_store_without_a_key_is_no_account(command: Command) -> None:
    """What a killed `init` leaves: other commands do not make a key of another kind in passing."""
    SQLStore.open(path_for(ALICE)).close()
    assert_refused(command("fingerprint", ALICE), "has no key on this machine")
    assert command("init", ALICE, "--json").data["created"]


# --- online ----------------------------------------------------------------------------------------------------------


async def test_a_message_from_somebody_who_has_a_passphrase(people: People) -> None:
    """Real processes, with the real derivation; what programs need from now on is what the command uses."""
    assert (await people.run("alice", "seal", "passphrase", XMPP_E2E_NEW_PASSPHRASE=WORDS)).code == 0
    bob, ready = await people.listen("bob")
    words = ("send", ready["jid"], "-m", "hello", *people.server)
    sent = await people.run("alice", *words, XMPP_E2E_PASSPHRASE=WORDS)
    assert sent.code == 0, sent.err
    message = await bob.event("message")
    assert (message["body"], message["encrypted"]) == ("hello", True)
