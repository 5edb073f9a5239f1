"""The sources of a password, their order, and the accounts on a machine."""

from __future__ import annotations

import getpass
import os
import sys
import types
from pathlib import Path

import pytest
from slixmpp import JID

from slixmpp_e2e.alarms import explain, words
from slixmpp_e2e.store import path_for
from slixmpp_e2e.trust.trust_file.secret_file import SECRET_FILE_BYTES
from tests.xmpp_e2e_cli.conftest import secret_file
from xmpp_e2e_cli import account
from xmpp_e2e_cli.account import password_for
from xmpp_e2e_cli.errors import UsageError, UsageReason

ALICE = JID("alice@home.test/phone")


@pytest.fixture
def keyring(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], str]:
    """A keyring with these entries."""
    entries: dict[tuple[str, str], str] = {}
    package, errors = types.ModuleType("keyring"), types.ModuleType("keyring.errors")

    class KeyringError(Exception):
        """The package's error."""

    def get_password(service: str, name: str) -> str | None:
        if ("locked", "") in entries:
            raise KeyringError
        return entries.get((service, name))

    package.__dict__["get_password"] = get_password
    package.__spec__ = types.SimpleNamespace()  # type: ignore[assignment]
    errors.__dict__["KeyringError"] = KeyringError
    monkeypatch.setitem(sys.modules, "keyring", package)
    monkeypatch.setitem(sys.modules, "keyring.errors", errors)
    return entries


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The prompts that a user at the terminal has seen."""
    questions: list[str] = []

    def answer(prompt: str) -> str:
        questions.append(prompt)
        return "typed"

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(getpass, "getpass", answer)
    return questions


def test_the_order_is_file_environment_keyring_prompt(
    keyring: dict[tuple[str, str], str], asked: list[str], tmp_path: Path
) -> None:
    """The most explicit source wins; the prompt is the last."""
    file = secret_file(tmp_path / "password", "from file\r\nmore")
    keyring["xmpp-e2e", "alice@home.test"] = "from keyring"
    assert password_for(ALICE, file, {"XMPP_E2E_PASSWORD": "from environment"}) == "from file"
    assert password_for(ALICE, None, {"XMPP_E2E_PASSWORD": "from environment"}) == "from environment"
    assert password_for(ALICE, None, {}) == "from keyring"
    assert asked == []
    keyring.clear()
    assert password_for(ALICE, None, {}) == "typed"
    assert asked == ["Password of alice@home.test: "]


def test_a_locked_keyring_is_passed_over(keyring: dict[tuple[str, str], str], asked: list[str]) -> None:
    """Most servers have none."""
    keyring["locked", ""] = ""
    assert password_for(ALICE, None, {}) == "typed"


def test_without_the_package_keyring_nothing_is_missing(monkeypatch: pytest.MonkeyPatch, asked: list[str]) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert password_for(ALICE, None, {}) == "typed"


def test_a_huge_file_is_no_password_file(tmp_path: Path) -> None:
    file = secret_file(tmp_path / "password", b"x" * (SECRET_FILE_BYTES + 1))
    with pytest.raises(UsageError) as caught:
        password_for(ALICE, file, {})
    assert caught.value.reason is UsageReason.PASSWORD_NEEDED


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_file_that_others_can_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    """The error tells the cause, the attack and the way out, and not the secret."""
    file = secret_file(tmp_path / "password", "hunter2\n")
    file.chmod(mode)
    with pytest.raises(UsageError, match=rf"{file}.*{mode:04o}.*chmod 600") as caught:
        password_for(ALICE, file, {})
    assert caught.value.reason is UsageReason.FILE_NOT_PRIVATE
    assert all(words(caught.value))
    assert "hunter2" not in explain(caught.value)


def test_a_pipe_serves_as_a_file() -> None:
    """As the shell makes one: ``--password-file <(pass show xmpp)``."""
    reader, writer = os.pipe()
    os.write(writer, b"from a pipe\n")
    os.close(writer)
    assert password_for(ALICE, Path(f"/dev/fd/{reader}"), {}) == "from a pipe"
    os.close(reader)


def test_accounts_are_found_by_their_stores() -> None:
    """The names are exact, whatever their files are called; other files do not count."""
    names = ["alice@home.test", "größe@home.test", "50%2f@home.test"]
    for name in names:
        store, _, _ = account.make_store(JID(name))
        store.close()
    (path_for("x").parent / "notes.txt").write_text("")
    assert account.initialized_accounts() == sorted(JID(name).bare for name in names)
