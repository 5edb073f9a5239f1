"""Attack 30: one store in the hands of several processes, which are killed in the middle of changes, or hang."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from slixmpp_e2e.alarms import explain
from slixmpp_e2e.store import SQLStore, StoreReason, database
from tests.slixmpp_e2e.store.expect import store_error
from tests.slixmpp_e2e.store.processes import Running
from xmpp_e2e.types import Fingerprint

BOB = "bob@example.org"

WRITES = """
import sys
from slixmpp_e2e.alarms import explain
from slixmpp_e2e.store import SQLStore
from xmpp_e2e.types import Fingerprint
path, name = sys.argv[1:]
with SQLStore.open(path) as store:
    for number in range(10_000):
        store.pin("bob@example.org", Fingerprint.of(f"{name} {number}".encode()), 1.0)
        store.count_failed_attempt("bob@example.org", "srp")
        print(number, flush=True)
"""
HANGS = """
import sys
from slixmpp_e2e.alarms import explain
from slixmpp_e2e.store import SQLStore
store = SQLStore.open(sys.argv[1])
with store._writing() as connection:
    store._keys(connection, "bob@example.org").forget(None, 2.0)
    print("now", flush=True)
    sys.stdin.readline()
"""


def test_what_was_done_before_a_kill_is_there(tmp_path: Path) -> None:
    """Three write at once, and each is killed wherever it happens to be: whatever one had finished is in the store, at most
    one change of each is there besides, and the next process goes on as if nothing had been."""
    path = tmp_path / "store.db"
    finished = {}
    with Running(WRITES, path, "a") as one, Running(WRITES, path, "b") as two, Running(WRITES, path, "c") as three:
        for name, process, lines in (("a", one, 5), ("b", two, 11), ("c", three, 7)):
            for _ in range(lines):
                process.stdout.readline()
            process.kill()
            finished[name] = lines + process.rest().count("\n")
    with SQLStore.open(path) as store:
        kept = {change.fingerprint for change in store.history(BOB)}
        assert kept == {key.fingerprint for key in store.known_keys(BOB).keys}
        for name, count in finished.items():
            assert {Fingerprint.of(f"{name} {number}".encode()) for number in range(count)} <= kept
        done = sum(finished.values())
        assert done <= len(kept) <= done + 3
        assert done <= store.failed_attempts(BOB, "srp") <= done + 3
        store.record_e2e_use(BOB, 1.0)


def test_a_process_that_hangs_in_the_middle_of_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers see the store as it was; whoever writes hears who is in the way; when that one is killed nothing has happened."""
    path = tmp_path / "store.db"
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    with SQLStore.open(path) as store:
        store.pin(BOB, Fingerprint(bytes(32)), 1.0)
        with Running(HANGS, path) as other:
            assert other.stdout.readline() == "now\n"
            os.kill(other.pid, signal.SIGSTOP)
            with store_error(StoreReason.BUSY, match="another process holds the store") as caught:
                store.record_e2e_use(BOB, 1.0)
            assert "End the other program" in explain(caught.value)
            assert store.known_keys(BOB).any_verified
            assert not store.has_used_e2e(BOB)
        store.record_e2e_use(BOB, 1.0)
        assert store.known_keys(BOB).any_verified
