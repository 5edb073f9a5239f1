"""Shared keys and passwords: never on the command line, and never repeated in an error."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from slixmpp_e2e.errors import PasswordLocked, TrustFileError, VerificationDeclined
from slixmpp_e2e.store import SQLStore
from slixmpp_e2e.trust.passwords import derive_srp_secret
from slixmpp_e2e.trust.secrets import KEY_ID
from slixmpp_e2e.trust.trust_file.secret_file import decode_psk, encode_psk
from slixmpp_e2e.verification.attempt_limiter import MAX_PASSWORD_ATTEMPTS
from tests.xmpp_e2e_cli.conftest import CommandResult, People, secret_file
from xmpp_e2e.authenticate.psk import KEY_BYTES
from xmpp_e2e_cli.exit_codes import ExitCode, exit_code_of

Command = Callable[..., CommandResult]
ALICE, BOB = "alice@home.test", "bob@home.test"
WORDS = "copper lantern wanders north"


@pytest.fixture
def alice(command: Command) -> Command:
    """The command line of Alice, who has a key."""
    assert command("init", ALICE).code == 0
    return command


def piped(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def stored(kind: str) -> bytes | None:
    """Return the secret in Alice's store for Bob."""
    with SQLStore.for_jid(ALICE) as store:
        assert store.secret_ids(BOB, kind) in ((), (KEY_ID,))
        return store.secret(BOB, kind, KEY_ID)


def file(home: Path, text: str) -> str:
    return str(secret_file(home / "secret.txt", text))


# --- keys ------------------------------------------------------------------------------------------------------------


def test_a_new_key_is_printed(command: Command) -> None:
    """It is different each time and needs no account."""
    one, two = command("psk", "new"), command("psk", "new", "--json")
    assert len(decode_psk(one.out.strip())) == KEY_BYTES
    assert decode_psk(two.data["psk"]) != decode_psk(one.out.strip())
    assert one.err == ""


@pytest.mark.skipif(os.name != "posix", reason="modes are a matter of POSIX")
def test_a_key_that_goes_into_a_file_can_be_used_in_a_trust_file(command: Command, tmp_path: Path) -> None:
    """A shell makes the file so that others can read it, and then ``config check`` would refuse it."""
    path = tmp_path / "key"
    with path.open("w") as opened:
        path.chmod(0o644)
        run = [sys.executable, "-m", "xmpp_e2e_cli", "psk", "new"]
        done = subprocess.run(run, stdout=opened, stderr=subprocess.PIPE, text=True, check=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "Now you alone can" in done.stderr
    rules = secret_file(tmp_path / "trust.toml", '["bob@home.test"]\npsk_file = "key"\n')
    assert command("config", "check", str(rules)).code == 0


def test_a_new_key_for_a_peer_is_stored_too(alice: Command) -> None:
    """It replaces an earlier one. The output names the peer's command."""
    with SQLStore.for_jid(ALICE) as store:
        store.put_secret(BOB, "psk", "another", bytes(32))
    done = alice("psk", "new", BOB)
    assert stored("psk") == decode_psk(done.out.strip())
    assert f"xmpp-e2e psk add {ALICE}" in done.err
    assert "replaces the earlier one" in done.err
    again = alice("psk", "new", BOB, "--json").data
    assert (again["account"], again["peer"], again["replaced"]) == (ALICE, BOB, True)
    assert stored("psk") == decode_psk(again["psk"])


def test_a_key_that_the_peer_has_made(alice: Command, home: Path, monkeypatch: pytest.MonkeyPatch, typed: list[str]) -> None:
    """It comes from a file, standard input or the terminal, and is not printed again."""
    keys = [bytes([number]) * KEY_BYTES for number in range(3)]
    done = alice("psk", "add", BOB, "--file", file(home, encode_psk(keys[0]) + "\n"))
    assert (done.code, done.out, stored("psk")) == (0, "", keys[0])
    piped(monkeypatch, encode_psk(keys[1]).encode() + b"\n")
    told = alice("psk", "add", BOB, "--json")
    assert told.data == {"account": ALICE, "peer": BOB, "done": "stored", "method": "psk", "replaced": True}
    assert stored("psk") == keys[1]
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    typed.append(encode_psk(keys[2]))
    assert alice("psk", "add", BOB).code == 0
    assert stored("psk") == keys[2]
    assert encode_psk(keys[0]) not in done.err + told.err + told.out


@pytest.mark.parametrize("text", [WORDS.encode(), encode_psk(bytes(15)).encode(), b"", b"\xff" * 40, b"psk:" + b"A" * 5000])
def test_what_is_no_key_is_sent_to_passwords(alice: Command, monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    """A key that people invent could be guessed offline."""
    piped(monkeypatch, text)
    done = alice("psk", "add", BOB)
    assert done.code == 1
    assert f"xmpp-e2e password {BOB}" in done.err
    assert WORDS not in done.err
    assert stored("psk") is None


def test_a_key_is_forgotten(alice: Command) -> None:
    alice("psk", "new", BOB)
    assert alice("psk", "forget", BOB).code == 0
    assert stored("psk") is None
    alice("psk", "forget", BOB).ended(1, f"no key is shared with {BOB}")


# --- passwords -------------------------------------------------------------------------------------------------------


def test_a_password_is_asked_for_twice(alice: Command, typed: list[str]) -> None:
    """The store holds only what SRP derives from it."""
    typed += [WORDS, WORDS]
    done = alice("password", BOB)
    assert (done.code, typed) == (0, [])
    assert "weak" not in done.err
    assert stored("srp") == derive_srp_secret(WORDS, ALICE, BOB)
    assert WORDS not in done.out + done.err
    typed += [WORDS, WORDS + "!"]
    differ = alice("password", BOB)
    assert (differ.code, stored("srp")) == (1, derive_srp_secret(WORDS, ALICE, BOB))
    assert "not the same" in differ.err
    typed.append("")
    assert "no password" in alice("password", BOB).err


def test_a_password_from_a_file(alice: Command, home: Path) -> None:
    """A weak password causes a warning."""
    assert "--file" in alice("password", BOB).err
    done = alice("password", BOB, "--file", file(home, "hunter2\n"), "--json")
    assert done.data["method"] == "srp"
    assert "This is a weak password: This is a very common password. About " in done.err
    assert "hunter2" not in done.err + done.out
    assert stored("srp") == derive_srp_secret("hunter2", ALICE, BOB)
    assert alice("password", BOB, "--forget").code == 0
    assert stored("srp") is None
    assert alice("password", BOB, "--forget").code == 1


def test_an_account_without_a_key_is_asked_for_nothing(command: Command, typed: list[str]) -> None:
    """A misspelt account fails before the user types anything."""
    command("password", BOB, "--account", "alcie@home.test").ended(1, "xmpp-e2e init")


def test_unlock(alice: Command, home: Path) -> None:
    """While the password is locked, a new one comes with a reminder."""
    with SQLStore.for_jid(ALICE) as store:
        for _ in range(MAX_PASSWORD_ATTEMPTS):
            store.count_failed_attempt(BOB, "srp")
    assert f"xmpp-e2e trust unlock {BOB}" in alice("password", BOB, "--file", file(home, WORDS)).err
    done = alice("trust", "unlock", BOB)
    assert f"Forgot {MAX_PASSWORD_ATTEMPTS} wrong guesses" in done.out
    assert "somebody has guessed" in done.err
    with SQLStore.for_jid(ALICE) as store:
        assert store.failed_attempts(BOB, "srp") == 0
    again = alice("trust", "unlock", BOB, "--json").data
    assert (again["done"], again["failures"], again["changed"]) == ("unlocked", 0, False)
    assert "was not locked" in alice("trust", "unlock", BOB).out


def test_show_tells_what_is_shared(alice: Command) -> None:
    """It shows that there is a secret and the wrong guesses, never the secret."""
    assert "share" not in alice("trust", "show", BOB).out
    key = alice("psk", "new", BOB).out.strip()
    with SQLStore.for_jid(ALICE) as store:
        for _ in range(MAX_PASSWORD_ATTEMPTS):
            store.count_failed_attempt(BOB, "srp")
    shown, data = alice("trust", "show", BOB), alice("trust", "show", BOB, "--json").data
    assert (data["shared"], data["wrong_guesses"]) == (["key"], MAX_PASSWORD_ATTEMPTS)
    assert "you share a key" in shown.out
    assert f"xmpp-e2e trust unlock {BOB}" in shown.out
    assert key not in shown.out


def test_the_exit_codes_of_proofs() -> None:
    """A locked password is a refused verification; a bad trust file has to be put right first."""
    assert exit_code_of(PasswordLocked("")) is exit_code_of(VerificationDeclined("")) is ExitCode.REFUSED
    assert exit_code_of(TrustFileError("")) is ExitCode.USAGE


# --- between two -----------------------------------------------------------------------------------------------------


async def test_a_key_that_both_have(people: People, home: Path) -> None:
    """Alice's first message is verified under `server-untrusted`."""
    key = (await people.run("alice", "psk", "new", BOB)).out
    assert (await people.run("bob", "psk", "add", ALICE, text=key.encode())).code == 0
    bob, _ = await people.listen("bob")
    done = await people.send("alice", BOB, "-m", "hello", "--trust-model", "server-untrusted")
    assert (done.code, "[verified]" in done.out) == (0, True), done.err
    assert (await bob.event("message"))["assurance"] == "verified"


async def test_a_trust_file_for_a_listener(people: People, home: Path) -> None:
    """It verifies the sender. An error in it later becomes an event."""
    trust = home / "trust.toml"
    trust.write_text(f'["{ALICE}"]\npassword_file = "password"\nmin_assurance = "verified"\n')
    secret_file(home / "password", WORDS)
    bob, _ = await people.listen("bob", "--trust-file", str(trust))
    assert (await people.run("alice", "password", BOB, "--file", str(home / "password"))).code == 0
    done = await people.send("alice", BOB, "-m", "hello")
    assert done.code == 0, done.err
    assert (await bob.event("message"))["assurance"] == "verified"
    trust.write_text("nonsense\n")
    assert "line 1" in (await bob.event("trust_file_failed"))["message"]
    bad = await people.send("alice", BOB, "-m", "x", "--trust-file", str(trust))
    assert (bad.code, "this is not TOML" in bad.err) == (1, True)
