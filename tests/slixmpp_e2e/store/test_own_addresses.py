"""The addresses of a component share one store, and neither keys nor secrets nor attempts in it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slixmpp_e2e.store import SQLStore, StoreReason, key_table
from tests.slixmpp_e2e.store.expect import store_error
from tests.slixmpp_e2e.store.processes import execute
from xmpp_e2e.types import Assurance, Fingerprint

BOB, EVE = "bob@example.org", "eve@example.org"
ECHO, HELP, BOTS = "echo@bots.example.org", "help@bots.example.org", "bots.example.org"
A, C = Fingerprint(b"A" * 32), Fingerprint(b"C" * 32)
OLD = Path(__file__).with_name("before_migrations.sql")
OLD_KEY = bytes.fromhex("ea5381ff7d5c831c5ae6f8979a1d1c0c9f897ec1bbc329a06709bc3494e7e784")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLStore]:
    with SQLStore.open(tmp_path / "store.db") as opened:
        opened.component = BOTS
        yield opened


@pytest.fixture
def old(tmp_path: Path) -> Iterator[SQLStore]:
    """A store from before addresses were told apart: one key of Bob's is verified, Eve's only one is blocked."""
    path = tmp_path / "old.db"
    connection = sqlite3.connect(path)
    connection.executescript(OLD.read_text())
    connection.close()
    path.with_suffix(".key").write_bytes(OLD_KEY)
    with SQLStore.open(path) as opened:
        opened.component = BOTS
        yield opened


def decide(store: SQLStore, decision: str, key: Fingerprint, own: str) -> object:
    made: dict[str, Callable[[], object]] = {
        "prove": lambda: store.remember_key(BOB, key, Assurance.VERIFIED, "sas", 2.0, own),
        "pin": lambda: store.pin(BOB, key, 2.0, own),
        "accept": lambda: store.accept(BOB, key, 2.0, own),
        "doubt": lambda: store.doubt(BOB, key, 2.0, own),
        "block": lambda: store.block(BOB, key, 2.0, own),
        "forget": lambda: store.forget(BOB, key, 2.0, own),
    }
    return made[decision]()


DECISIONS = pytest.mark.parametrize("decision", ["prove", "pin", "accept", "doubt", "block", "forget"])


@DECISIONS
def test_a_decision_at_one_address_is_none_at_another(store: SQLStore, decision: str) -> None:
    for own in (ECHO, HELP, BOTS):
        store.remember_key(BOB, A, Assurance.VOUCHED, "route", 1.0, own)
        if decision == "doubt":
            store.pin(BOB, A, 1.5, own)
    before, noted = store.known_keys(BOB, HELP), store.history(BOB, HELP)
    assert decide(store, decision, A, ECHO)
    assert store.known_keys(BOB, ECHO) != before
    assert [store.known_keys(BOB, own) for own in (HELP, BOTS)] == [before, before]
    assert store.history(BOB, HELP) == noted
    assert (store.peers(), store.remembers(BOB), store.remembers(EVE)) == ((BOB,), True, False)


def test_secrets_and_attempts_are_of_one_address(store: SQLStore, tmp_path: Path) -> None:
    store.put_secret(BOB, "psk", "1", b"of echo", ECHO)
    store.put_secret(BOB, "psk", "1", b"of help", HELP)
    assert [store.secret(BOB, "psk", "1", own) for own in (ECHO, HELP, BOTS)] == [b"of echo", b"of help", None]
    assert store.forget_secret(BOB, "psk", "1", ECHO)
    assert [store.secret_ids(BOB, "psk", own) for own in (ECHO, HELP)] == [(), ("1",)]
    assert [store.count_failed_attempt(BOB, "srp", own) for own in (ECHO, ECHO, HELP)] == [1, 2, 1]
    assert [store.failed_attempts(BOB, "srp", own) for own in (ECHO, HELP, None)] == [2, 1, 3]
    store.clear_failed_attempts(BOB, "srp", ECHO)
    assert [store.failed_attempts(BOB, "srp", own) for own in (ECHO, HELP, None)] == [0, 1, 1]
    store.clear_failed_attempts(BOB, "srp")
    assert store.failed_attempts(BOB, "srp") == 0


def test_a_secret_opens_at_its_own_address_only(store: SQLStore) -> None:
    """Who can write the store cannot have one address use another's secret."""
    store.put_secret(BOB, "psk", "1", b"of echo", ECHO)
    execute(store.path, f"UPDATE secrets SET own = '{HELP}'")
    with store_error(StoreReason.SECRET_DAMAGED):
        store.secret(BOB, "psk", "1", HELP)


def test_a_client_has_one_address(store: SQLStore) -> None:
    store.component = None
    store.pin(BOB, A, 1.0, "alice@example.org")
    store.put_secret(BOB, "psk", "1", b"key", "alice@example.org")
    assert store.known_keys(BOB) == store.known_keys(BOB, "alice@example.org")
    assert store.known_keys(BOB).any_verified
    assert store.secret(BOB, "psk", "1") == b"key"


def test_what_was_known_before_holds_at_each_address_at_first(old: SQLStore) -> None:
    (key,) = old.known_keys(BOB).keys
    assert key.assurance is Assurance.VERIFIED
    for own in (ECHO, HELP):
        assert old.known_keys(BOB, own).keys == (key,)
        assert old.known_keys(EVE, own).keys[0].blocked
    assert not old.remember_key(BOB, key.fingerprint, Assurance.VOUCHED, "route", 9.0, ECHO)
    assert old.secret(BOB, "psk", "1") == b"correct horse battery staple"


@DECISIONS
def test_what_was_known_before_is_decided_about_at_one_address(old: SQLStore, decision: str) -> None:
    """Also to forget a key here leaves it there, and it does not come back."""
    (key,) = before = old.known_keys(BOB).keys
    about = A if decision in ("prove", "pin", "accept") else key.fingerprint
    assert decide(old, decision, about, ECHO)
    now = {one.fingerprint: one for one in old.known_keys(BOB, ECHO).keys}
    assert now != {key.fingerprint: key}
    assert (key.fingerprint in now) == (decision != "forget")
    assert (about in now) == (decision != "forget")
    assert [change.what for change in old.history(BOB, ECHO)][3] == "inherited"
    for own in (HELP, BOTS, ""):
        assert old.known_keys(BOB, own).keys == before
    assert decide(old, "block", C, ECHO)
    assert old.known_keys(BOB, ECHO).find(key.fingerprint) == now.get(key.fingerprint)


def test_a_migrated_store_is_one_of_a_client_too(old: SQLStore) -> None:
    old.component = None
    old.pin(BOB, A, 7.0, "alice@example.org")
    assert [change.what for change in old.history(BOB)] == ["accepted", "pinned", "forgotten", "pinned"]


def test_made_up_addresses_do_not_fill_the_store(store: SQLStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_table, "KEYS_AT_ALL_ADDRESSES", 3)
    for number in range(3):
        store.remember_key(BOB, A, Assurance.VOUCHED, "route", 1.0, f"{number}@{BOTS}")
    with store_error(StoreReason.TOO_MANY_KEYS, match="3 keys of bob@example.org are remembered"):
        store.remember_key(BOB, A, Assurance.VOUCHED, "route", 1.0, ECHO)
    assert store.pin(BOB, A, 1.0, ECHO)
    assert store.remember_key(EVE, A, Assurance.VOUCHED, "route", 1.0, ECHO)
