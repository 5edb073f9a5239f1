"""The commands that need no server."""

from __future__ import annotations

import io
import json
import re
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import segno

from slixmpp_e2e.store import SQLStore, path_for
from tests.xmpp_e2e_cli.conftest import CommandResult, secret_file
from xmpp_e2e.errors import UntrustedKey
from xmpp_e2e.types import Assurance, Fingerprint
from xmpp_e2e_cli import cmd_keys

KEY, OTHER = Fingerprint(bytes(32)), Fingerprint(bytes(31) + b"\1")
Command = Callable[..., CommandResult]


@pytest.fixture
def alice(command: Command) -> Command:
    """The command line of Alice, who has a key."""
    assert command("init", "alice@home.test").code == 0
    return command


def remember(*keys: Fingerprint) -> None:
    """Let Alice remember a key of Bob."""
    with SQLStore.for_jid("alice@home.test") as store:
        for key in keys:
            store.remember_key("bob@home.test", key, Assurance.VOUCHED, "route", 86400.0 * 365)


# --- keys ------------------------------------------------------------------------------------------------------------


def test_init_makes_a_key_once(command: Command) -> None:
    """The result is the fingerprint. A second run changes nothing."""
    first = command("init", "alice@home.test")
    assert Fingerprint.parse(first.out)
    assert "A random key was written to" in first.err
    second = command("init", "alice@home.test/phone")
    assert (second.code, second.out) == (0, first.out)
    assert "nothing has changed" in second.err
    path = path_for("alice@home.test")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_init_keeps_to_the_users_data_folder(command: Command, home: Path) -> None:
    """XDG_DATA_HOME is honoured, and nothing is written elsewhere."""
    command("init", "alice@home.test")
    assert {path.parent for path in home.rglob("*") if path.is_file()} == {home / "alice/xmpp-e2e"}


@pytest.mark.parametrize("jid", ["", "home.test", "@home.test", "a@b@c", "alice@home.test\n"])
def test_what_is_no_jid_of_a_person_makes_no_store(command: Command, jid: str) -> None:
    """A misspelt JID is refused before anything is written."""
    command("init", jid).ended(1, "JID")
    assert not path_for("x").parent.exists()


def test_the_fingerprint_of_the_only_account_needs_no_name(alice: Command) -> None:
    own = command_data(alice("fingerprint", "--json"))
    assert own["account"] == "alice@home.test"
    assert alice("fingerprint").out == own["fingerprint"] + "\n"


def command_data(done: CommandResult) -> dict[str, Any]:
    """Return the JSON of a command that succeeded."""
    assert done.code == 0, done.err
    data: dict[str, Any] = done.data
    return data


def test_among_several_accounts_one_must_be_named(alice: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """An argument, an option or the environment names it. The error lists the accounts and the option."""
    alice("init", "work@office.test")
    alice("trust", "list").ended(1, "alice@home.test, work@office.test", "--account")
    assert command_data(alice("trust", "list", "--account", "work@office.test", "--json"))["account"] == "work@office.test"
    assert command_data(alice("fingerprint", "work@office.test", "--json"))["account"] == "work@office.test"
    monkeypatch.setenv("XMPP_E2E_JID", "work@office.test")
    assert command_data(alice("fingerprint", "--json"))["account"] == "work@office.test"


def test_an_account_without_a_key_is_sent_to_init(alice: Command) -> None:
    """No store is made: a misspelt account must not leave one behind."""
    wrong = "alcie@home.test"
    for words in (["fingerprint", wrong], ["listen", wrong], ["trust", "list", "--account", wrong]):
        alice(*words).ended(1, "xmpp-e2e init alcie@home.test")
    assert not path_for("alcie@home.test").exists()


def test_without_any_account_init_is_named(command: Command) -> None:
    command("fingerprint").ended(1, "xmpp-e2e init JID")


def test_the_qr_code_fits_a_terminal_and_has_no_colours(alice: Command) -> None:
    """It consists of half blocks in lines of equal width, at most 80 columns."""
    first, *rows = alice("fingerprint", "--qr").out.splitlines()
    assert Fingerprint.parse(first)
    assert {len(row) for row in rows} == {len(rows[0])}
    assert len(rows[0]) <= 80
    assert len(rows) <= 24
    assert set("".join(rows)) == set("█▀▄ ")


# --- trust -----------------------------------------------------------------------------------------------------------


def test_pin_show_block_forget(alice: Command) -> None:
    remember(KEY)
    assert level(alice) == "vouched"
    assert alice("trust", "pin", "bob@home.test/desk", str(KEY)).code == 0
    assert level(alice) == "verified"
    assert "verified before" in alice("trust", "pin", "bob@home.test", str(KEY)).out
    assert alice("trust", "block", "bob@home.test", str(KEY), "--json").data["done"] == "blocked"
    assert level(alice) == "blocked"
    alice("trust", "pin", "bob@home.test", str(KEY)).ended(7, "trust forget")
    assert alice("trust", "forget", "bob@home.test", str(KEY)).code == 0
    assert alice("trust", "list", "--json").data["peers"] == {}
    assert alice("trust", "forget", "bob@home.test").code == 1


def test_a_key_is_pinned_by_its_uri(alice: Command, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """The URI from `fingerprint` is enough. For another account it is an error, which names the right one."""
    with monkeypatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(home / "bob"))
        assert alice("init", "bob@home.test").code == 0
        own = command_data(alice("fingerprint", "--json"))
        assert alice("fingerprint", "--uri").out.strip() == own["uri"]
    done = alice("trust", "pin", own["uri"], "--json")
    assert (done.data["peer"], done.data["fingerprint"], done.data["changed"]) == ("bob@home.test", own["fingerprint"], True)
    assert level(alice) == "verified"
    assert "verified before" in alice("trust", "pin", "bob@home.test", own["uri"]).out
    other = alice("trust", "pin", "carol@home.test", own["uri"])
    assert (other.code, "a key of bob@home.test, and not of carol@home.test" in other.err) == (1, True)
    for words in (["bob@home.test"], ["xmpp:bob@home.test"], [own["uri"], str(KEY)]):
        assert alice("trust", "pin", *words).code == 1


def test_the_qr_code_holds_the_uri(alice: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    genuine = segno.make

    def made(text: str, **options: Any) -> segno.QRCode:
        shown.append(text)
        return genuine(text, **options)

    monkeypatch.setattr(segno, "make", made)
    alice("fingerprint", "--qr")
    assert shown == [alice("fingerprint", "--uri").out.strip()]


def level(command: Command) -> str:
    """Return the assurance and method of Bob's one key."""
    (key,) = command("trust", "show", "bob@home.test", "--json").data["keys"]
    word: str = key["assurance"]
    return word


def test_forget_without_a_fingerprint_forgets_all(alice: Command) -> None:
    remember(KEY, OTHER)
    assert "Forgot 2 keys" in alice("trust", "forget", "bob@home.test").out


def test_show_puts_both_fingerprints_below_each_other(alice: Command) -> None:
    """Both start in the same column, so that users can compare them."""
    remember(KEY)
    done = alice("trust", "show", "bob@home.test")
    columns = {line.index("SHA256:") for line in done.out.splitlines() if "SHA256:" in line}
    assert len(columns) == 1
    assert str(KEY) in done.out
    assert "vouched by route, since 1971-01-01" in done.out
    assert "xmpp-e2e trust pin bob@home.test" in done.err


def test_list_shows_every_peer_with_their_keys(alice: Command) -> None:
    """Results go to stdout; the note that there are none goes to stderr."""
    empty = alice("trust", "list")
    assert (empty.code, empty.out) == (0, "")
    assert "no keys of peers yet" in empty.err
    remember(KEY, OTHER)
    assert [line.strip()[:15] for line in alice("trust", "list").out.splitlines()] == ["bob@home.test", *[str(KEY)[:15]] * 2]


@pytest.mark.parametrize("key", ["SHA256:short", "MD5:00", str(KEY)[:-1], ""])
def test_a_malformed_fingerprint_is_1_and_changes_nothing(alice: Command, key: str) -> None:
    for verb in ("pin", "accept", "block", "forget"):
        assert alice("trust", verb, "bob@home.test", key).code == 1
    assert alice("trust", "list", "--json").data["peers"] == {}


def test_pinning_names_the_other_keys_and_one_can_be_accepted(alice: Command) -> None:
    """What is not verified is held from then on, until it is accepted: then it is shown as such, below verified."""
    remember(KEY, OTHER)
    pinned = alice("trust", "pin", "bob@home.test", str(KEY))
    for command in ("pin", "accept", "block"):
        assert f"xmpp-e2e trust {command} bob@home.test {OTHER}" in pinned.err
    assert alice("trust", "accept", "bob@home.test", str(OTHER), "--json").data["done"] == "accepted"
    assert f"{OTHER}  accepted, not verified, since " in alice("trust", "list").out
    assert "accept" not in alice("trust", "pin", "bob@home.test", str(KEY)).err
    assert "accepted or verified before" in alice("trust", "accept", "bob@home.test", str(KEY)).out
    alice("trust", "block", "bob@home.test", str(OTHER))
    alice("trust", "accept", "bob@home.test", str(OTHER)).ended(7, "trust forget")


def test_what_was_decided_tells_that_open_sessions_go_on(alice: Command) -> None:
    """Other processes notice a decision only after a moment."""
    assert cmd_keys.PROGRAMS_NOTICE in alice("trust", "block", "bob@home.test", str(KEY)).err


# --- trust files -----------------------------------------------------------------------------------------------------


def test_a_trust_file_is_checked(command: Command, home: Path) -> None:
    """It needs no account. Errors name line and key; a warning about a weak password does not repeat it."""
    trust, word = home / "trust.toml", secret_file(home / "word", "hunter2\n")
    trust.write_text(f'["bob@home.test"]\npin = "{KEY}"\npassword_file = "word"\n["home.test"]\npolicy = "require"\n')
    good = command("config", "check", str(trust))
    assert (good.code, good.out) == (0, f"{trust} is valid: rules for 1 account and 1 domain\n")
    assert "the password for bob@home.test is weak" in good.err
    assert "hunter2" not in good.err
    assert command_data(command("config", "check", str(trust), "--json"))["accounts"] == ["bob@home.test"]
    word.chmod(0o644)
    bad = command("config", "check", str(trust))
    assert (bad.code, bad.out) == (1, "")
    assert f"{trust}, line 3, bob@home.test / password_file: other users can read the file" in bad.err
    assert command("config", "check", str(home / "none.toml")).code == 1


def test_comparisons_that_were_cut_are_shown(alice: Command) -> None:
    """A man in the middle cuts a comparison that would reveal it."""
    assert "interrupted comparisons" not in alice("trust", "show", "bob@home.test").out
    with SQLStore.for_jid("alice@home.test") as store:
        store.count_failed_attempt("bob@home.test", "sas")
    assert alice("trust", "show", "bob@home.test", "--json").data["interrupted_comparisons"] == 1
    assert "interrupted comparisons (sas): 1" in alice("trust", "show", "bob@home.test").out


# --- how it says no --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["bogus"],
        ["send"],
        ["send", "bob@home.test", "--bogus"],
        ["listen", "--policy", "sometimes"],
        ["trust", "pin", "bob@home.test"],
        ["demo", "--server", "moon"],
        ["send", "bob@home.test", "-m", "x", "--port", "70000"],
        ["send", "bob@home.test", "--password", "secret"],
    ],
)
def test_a_wrong_command_line_is_1(alice: Command, words: list[str]) -> None:
    """Exit code 1 is for usage, 2 for bugs. There is no option for a password."""
    alice(*words).ended(1)


@pytest.mark.parametrize("words", [["--help"], ["send", "--help"], ["trust", "pin", "--help"]])
def test_help_is_0_and_fits(command: Command, words: list[str]) -> None:
    done = command(*words)
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= 80


def test_send_says_that_it_sends_encrypted_or_not_at_all(alice: Command) -> None:
    """The help says so, and the plaintext trust model is refused."""
    assert "encrypted or not at all (policy `require`)" in alice("send", "--help").out
    assert alice("send", "bob@home.test", "-m", "x", "--trust-model", "server-trusted").code == 1


@pytest.mark.parametrize("words", [["roster", "anyone"], ["anyone", "bob@home.test"], ["bob@@home.test"]])
def test_accept_from_is_one_kind_of_thing(alice: Command, words: list[str]) -> None:
    alice("listen", *(part for word in words for part in ("--accept-from", word))).ended(1, "--accept-from")


@pytest.mark.parametrize("piped", [b"", b" \n", b"\xff\xfe", b"x" * (1024 * 1024 + 1)])
def test_nothing_sensible_on_stdin_is_1(alice: Command, monkeypatch: pytest.MonkeyPatch, piped: bytes) -> None:
    """Empty, not UTF-8, or too long: the command does not connect."""
    monkeypatch.setenv("XMPP_E2E_PASSWORD", "x")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(piped)))
    assert alice("send", "bob@home.test", "--host", "127.0.0.1", "--plaintext-loopback").code == 1


def test_without_a_password_every_way_to_give_one_is_named(alice: Command, tmp_path: Path) -> None:
    done = alice("listen")
    assert done.code == 1
    assert all(way in done.err for way in ("--password-file", "XMPP_E2E_PASSWORD", "keyring"))
    secret_file(tmp_path / "empty", "\n")
    secret_file(tmp_path / "binary", b"\xffsecret")
    for name in ("missing", "empty", "binary"):
        done = alice("listen", "--password-file", str(tmp_path / name))
        assert done.code == 1
        assert "secret" not in done.err


@pytest.mark.parametrize("name", ["missing.pem", "empty.pem"])
def test_a_useless_ca_file_is_1(alice: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """It must not mean that every certificate is trusted."""
    monkeypatch.setenv("XMPP_E2E_PASSWORD", "x")
    (tmp_path / "empty.pem").write_text("")
    assert alice("listen", "--ca-file", str(tmp_path / name)).code == 1


def test_an_error_in_json_is_json(alice: Command) -> None:
    """It goes to stdout and has the exit code."""
    done = alice("trust", "forget", "bob@home.test", "--json")
    assert done.data["exit_code"] == done.code == 1
    assert (done.data["error"], done.data["code"]) == ("UsageError", "key-not-found")
    assert done.err == ""


def test_a_command_that_an_error_names_needs_the_account_if_there_are_several(
    alice: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library's advice names no account, so the command adds it."""

    def untrusted(*_: object) -> None:
        raise UntrustedKey("a key has changed")

    monkeypatch.setattr(cmd_keys.KeyCommands, "list_keys", untrusted)
    alone = alice("trust", "list")
    assert alone.code == 4
    assert "--account" not in alone.err
    alice("init", "work@office.test")
    assert "--account" in alice("trust", "list", "--account", "alice@home.test").err


def test_a_bug_is_2_and_asks_for_a_report(alice: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The traceback is shown for the report."""

    def broken(*_: object) -> None:
        raise RuntimeError("something that nobody thought of")

    monkeypatch.setattr(cmd_keys.KeyCommands, "list_keys", broken)
    alice("trust", "list").ended(2, "nobody thought of", "report")


def test_colours_are_for_terminals_and_no_color_takes_them_away(
    alice: Command, monkeypatch: pytest.MonkeyPatch, colours: None
) -> None:
    """NO_COLOR (no-color.org) and a pipe turn colours off."""
    remember(KEY)
    assert re.search(r"\x1b\[[0-9;]*3[0-9]", alice("trust", "list").out)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", alice("trust", "list").out)
    monkeypatch.delenv("FORCE_COLOR")
    monkeypatch.delenv("NO_COLOR")
    assert "\x1b" not in alice("trust", "list").out


def test_json_is_one_object_a_line(alice: Command) -> None:
    for words in (["init", "alice@home.test"], ["fingerprint"], ["trust", "list"], ["trust", "show", "bob@home.test"]):
        done = alice(*words, "--json")
        assert done.code == 0
        (line,) = done.out.splitlines()
        assert isinstance(json.loads(line), dict)
