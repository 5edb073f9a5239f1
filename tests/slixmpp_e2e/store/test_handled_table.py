"""How many stanzas were handled in a session is noted, bounded, and known only to the same two keys."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slixmpp_e2e.store import SQLStore, StoreReason, handled_table
from tests.slixmpp_e2e.store.expect import store_error
from xmpp_e2e.inner.resumption import KEPT_SECONDS, STATES_PER_LINK, Handled, Link
from xmpp_e2e.types import Fingerprint

OURS, BOBS, OTHER = (Fingerprint(letter * 32) for letter in (b"A", b"B", b"C"))
LINK = Link("alice@localhost", "bob@localhost", OURS, BOBS)


def note(store: SQLStore, sid: str, stanzas: int = 1, now: float = 0.0, link: Link = LINK) -> None:
    store.note_handled([Handled(link, sid, stanzas)], now)


def test_the_next_run_knows(tmp_path: Path) -> None:
    with SQLStore.open(tmp_path / "store.db") as store:
        assert store.handled(LINK, "sid") is None
        note(store, "sid", 2)
        note(store, "sid", 7)
    with SQLStore.open(tmp_path / "store.db") as again:
        assert again.handled(LINK, "sid") == 7


def test_a_change_that_comes_late_changes_nothing(store: SQLStore) -> None:
    note(store, "sid", 7)
    note(store, "sid", 2)
    assert store.handled(LINK, "sid") == 7


@pytest.mark.parametrize("changed", [{"peer_account": "carol@localhost"}, {"own_key": OTHER}, {"peer_key": OTHER}])
def test_nobody_else_hears_of_it(store: SQLStore, changed: dict[str, Any]) -> None:
    """A key that has changed is somebody else."""
    note(store, "sid")
    assert store.handled(replace(LINK, **changed), "sid") is None
    assert store.handled(LINK, "other") is None


def test_another_program_with_the_store_knows_too(tmp_path: Path) -> None:
    with SQLStore.open(tmp_path / "store.db") as store, SQLStore.open(tmp_path / "store.db") as beside:
        note(store, "sid", 3)
        assert beside.handled(LINK, "sid") == 3
        note(beside, "sid", 5)
        assert store.handled(LINK, "sid") == 5


def test_addresses_of_a_component_are_told_apart(store: SQLStore) -> None:
    store.component = "bots.localhost"
    one, other = (Link(f"{name}@bots.localhost", "bob@localhost", OURS, BOBS) for name in ("one", "other"))
    note(store, "sid", link=one)
    assert (store.handled(one, "sid"), store.handled(other, "sid")) == (1, None)


def test_the_oldest_of_the_same_keys_go_first(store: SQLStore) -> None:
    note(store, "other", link=Link("alice@localhost", "bob@localhost", OURS, OTHER))
    for number in range(STATES_PER_LINK + 1):
        note(store, str(number))
    assert [store.handled(LINK, str(number)) for number in range(3)] == [None, 1, 1]
    assert store.handled(Link("alice@localhost", "bob@localhost", OURS, OTHER), "other") == 1


def test_the_oldest_of_all_go_first(store: SQLStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handled_table, "LINKS", 3)
    links = [Link("alice@localhost", f"{number}@localhost", OURS, BOBS) for number in range(5)]
    store.note_handled([Handled(link, "sid", 1) for link in links], 0.0)
    assert [store.handled(link, "sid") for link in links] == [None, None, 1, 1, 1]


def test_after_a_day_a_session_is_forgotten(store: SQLStore) -> None:
    note(store, "old", now=0.0)
    note(store, "busy", now=0.0)
    note(store, "busy", 2, now=KEPT_SECONDS)
    note(store, "new", now=KEPT_SECONDS + 1.0)
    assert [store.handled(LINK, sid) for sid in ("old", "busy", "new")] == [None, 2, 1]


def test_a_row_that_makes_no_sense(tmp_path: Path) -> None:
    """The session that needs it fails, rather than saying something wrong."""
    with SQLStore.open(tmp_path / "store.db") as store:
        note(store, "sid")
        with closing(sqlite3.connect(tmp_path / "store.db")) as connection, connection:
            connection.execute("UPDATE handled SET count = 'many'")
        with store_error(StoreReason.DAMAGED, match="a row of the table handled makes no sense"):
            store.handled(LINK, "sid")
