"""The store of a component: --account names the address that keys and secrets are of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from slixmpp_e2e.store import SQLStore, path_for
from slixmpp_e2e.trust.own_key import load_own_key
from slixmpp_e2e.trust.passwords import derive_srp_secret
from slixmpp_e2e.trust.secrets import KEY_ID
from slixmpp_e2e.verification.attempt_limiter import MAX_PASSWORD_ATTEMPTS
from tests.xmpp_e2e_cli.conftest import CommandResult, secret_file
from xmpp_e2e.types import Assurance, Fingerprint
from xmpp_e2e_cli.exit_codes import ExitCode

Command = Callable[..., CommandResult]
BOTS, ECHO, HELP = "bots.home.test", "echo@bots.home.test", "help@bots.home.test"
ALICE = "alice@home.test"
KEY = Fingerprint(b"A" * 32)
WORDS = "copper lantern wanders north"


def opened() -> SQLStore:
    store = SQLStore.for_jid(BOTS)
    store.component = BOTS
    return store


@pytest.fixture
def bots(command: Command) -> Command:
    """A command line where the program of a component has made its store."""
    with opened() as store:
        load_own_key(store)
        for address in (ECHO, HELP):
            store.remember_key(ALICE, KEY, Assurance.VOUCHED, "route", 1.0, address)
    return command


def test_a_password_is_derived_for_the_address(bots: Command, tmp_path: Path) -> None:
    file = str(secret_file(tmp_path / "secret.txt", WORDS))
    assert bots("password", ALICE, "--file", file, "--account", ECHO).code == 0
    with opened() as store:
        assert store.secret(ALICE, "srp", KEY_ID, ECHO) == derive_srp_secret(WORDS, ECHO, ALICE)
        assert store.secret_ids(ALICE, "srp", HELP) == ()
    assert bots("trust", "show", ALICE, "--account", ECHO, "--json").data["shared"] == ["password"]
    assert bots("trust", "show", ALICE, "--account", HELP, "--json").data["shared"] == []
    assert bots("password", ALICE, "--forget", "--account", HELP).code == ExitCode.USAGE
    assert bots("password", ALICE, "--forget", "--account", ECHO).code == 0


def test_a_key_is_shared_by_the_address(bots: Command) -> None:
    assert bots("psk", "new", ALICE, "--account", HELP).code == 0
    with opened() as store:
        assert [store.secret_ids(ALICE, "psk", address) for address in (ECHO, HELP)] == [(), (KEY_ID,)]
    assert bots("psk", "forget", ALICE, "--account", HELP).code == 0


@pytest.mark.parametrize("decision", ["pin", "accept", "block", "forget"])
def test_a_decision_is_one_of_the_address(bots: Command, decision: str) -> None:
    with opened() as store:
        before = store.known_keys(ALICE, HELP)
    assert bots("trust", decision, ALICE, str(KEY), "--account", ECHO).code == 0
    with opened() as store:
        assert store.known_keys(ALICE, HELP) == before != store.known_keys(ALICE, ECHO)
    listed = bots("trust", "list", "--account", ECHO, "--json").data["peers"]
    assert list(listed) == ([ALICE] if decision != "forget" else [])


@pytest.mark.parametrize(("account", "left"), [(ECHO, [0, 5]), (BOTS, [0, 0]), (None, [0, 0])])
def test_a_password_is_unlocked_at_one_address_or_all(bots: Command, account: str | None, left: list[int]) -> None:
    with opened() as store:
        for address in (ECHO, HELP):
            for _ in range(MAX_PASSWORD_ATTEMPTS):
                store.count_failed_attempt(ALICE, "srp", address)
    assert bots("trust", "unlock", ALICE, *(["--account", account] if account else [])).code == 0
    with opened() as store:
        assert [store.failed_attempts(ALICE, "srp", address) for address in (ECHO, HELP)] == left


@pytest.mark.parametrize("named", [[], ["--account", BOTS]])
@pytest.mark.parametrize(
    "words",
    [("trust", "list"), ("trust", "show", ALICE), ("trust", "pin", ALICE, str(KEY)), ("psk", "new", ALICE)],
    ids=" ".join,
)
def test_an_address_must_be_named(bots: Command, words: tuple[str, ...], named: list[str]) -> None:
    result = bots(*words, *named)
    assert result.code == ExitCode.USAGE
    assert f"name the one that is meant: --account bot@{BOTS}" in result.err


def test_an_address_of_no_component_has_no_store(bots: Command) -> None:
    assert bots("trust", "list", "--account", "echo@other.test").code == ExitCode.USAGE
    assert not path_for("echo@other.test").exists()
