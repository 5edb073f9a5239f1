"""Several processes write to one store: no setting is lost between a read and a write, and who waits, waits once for all."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from slixmpp_e2e import E2E
from slixmpp_e2e.policy import Policy
from slixmpp_e2e.store import PeerPolicy, SQLStore, StoreError, StoreReason, database, sql_store
from tests.slixmpp_e2e.env import ALICE, BOB, Env, e2e, until
from tests.slixmpp_e2e.store.processes import Running
from xmpp_e2e.types import Fingerprint, TrustModel

BOBS = "bob@localhost"
BUSY_SECONDS = 1.0
"""Instead of five."""
QUEUED = 7

REQUIRES = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
connection.execute("INSERT INTO policy (peer, policy, plaintext_allowed) VALUES ('bob@localhost', 'require', 0)")
connection.execute("INSERT INTO changes (peer, what) VALUES ('bob@localhost', 'policy')")
print("ready", flush=True)
sys.stdin.readline()
connection.execute("COMMIT")
"""


def allow(plugin: E2E) -> None:
    plugin.allow_plaintext(BOB)


def trust(plugin: E2E) -> None:
    plugin.set_policy(BOB, trust_model="server-untrusted")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (allow, PeerPolicy(policy=Policy.REQUIRE, plaintext_allowed=True)),
        (trust, PeerPolicy(policy=Policy.REQUIRE, trust_model=TrustModel.SERVER_UNTRUSTED)),
    ],
)
async def test_require_of_another_process_is_not_overwritten(
    env: Env, monkeypatch: pytest.MonkeyPatch, change: Callable[[E2E], None], expected: PeerPolicy
) -> None:
    """It sets ``require`` while our change waits for it."""
    plugin = e2e(await env.client(ALICE))
    store = plugin._store
    with Running(REQUIRES, store.path) as process:
        assert process.stdout.readline() == "ready\n"
        at_once = store.at_once

        @contextmanager
        def when_we_wait() -> Iterator[None]:
            if not process.stdin.closed:
                process.stdin.write("\n")
                process.stdin.flush()
            with at_once():
                yield

        monkeypatch.setattr(store, "at_once", when_we_wait)
        for _ in range(100):  # each waits for 50 ms
            try:
                change(plugin)
            except StoreError:
                continue
            break
        process.rest()
    assert store.policy(BOBS) == expected
    assert plugin.policy_of(BOB) is Policy.REQUIRE


def test_nobody_writes_between_the_read_and_the_write(store: SQLStore) -> None:
    with SQLStore.open(store.path) as other:
        required = PeerPolicy(policy=Policy.REQUIRE)

        def change(stored: PeerPolicy) -> PeerPolicy:
            with other.at_once(), pytest.raises(StoreError, match="holds the store"):
                other.set_policy(BOBS, required)
            return replace(stored, plaintext_allowed=True)

        store.change_policy(BOBS, change)
        other.change_policy(BOBS, lambda stored: replace(stored, policy=Policy.REQUIRE))
        assert store.policy(BOBS) == PeerPolicy(policy=Policy.REQUIRE, plaintext_allowed=True)


def test_a_change_that_fails_changes_nothing(store: SQLStore) -> None:
    def change(stored: PeerPolicy) -> PeerPolicy:
        raise ValueError("no")

    store.set_policy(BOBS, PeerPolicy(policy=Policy.REQUIRE))
    with pytest.raises(ValueError, match="no"):
        store.change_policy(BOBS, change)
    assert store.policy(BOBS) == PeerPolicy(policy=Policy.REQUIRE)


def locked(path: Path) -> AbstractContextManager[sqlite3.Connection]:
    """Hold the write lock of a store."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    return closing(connection)


async def test_what_waits_behind_a_held_lock_ends_after_one_timeout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writes are made one after the other, and yet the last ends soon after the first: not after seven timeouts."""
    for module in (database, sql_store):
        monkeypatch.setattr(module, "BUSY_SECONDS", BUSY_SECONDS)
    with SQLStore.open(tmp_path / "store.db") as store:
        keys = [Fingerprint(bytes([number]) * 32) for number in range(QUEUED)]
        with locked(store.path):
            began = time.monotonic()
            writes = [store.run(store.pin, BOBS, key, 1.0) for key in keys]
            outcomes = await until(asyncio.gather(*writes, return_exceptions=True))
            took = time.monotonic() - began
        assert [isinstance(each, StoreError) and each.reason for each in outcomes] == [StoreReason.BUSY] * QUEUED
        assert BUSY_SECONDS / 2 < took < 3 * BUSY_SECONDS
        assert store.known_keys(BOBS).keys == ()
        [wait] = store._database._driver.execute("PRAGMA busy_timeout").fetchone()
        assert wait == BUSY_SECONDS * 1000  # what is asked for from now on waits as long as ever
        for key in keys:
            await until(store.run(store.pin, BOBS, key, 2.0))
        assert len(store.known_keys(BOBS).keys) == QUEUED
