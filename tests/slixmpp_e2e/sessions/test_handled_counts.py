"""What has come is noted soon, off the stanzas' path, and at an end at once."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from slixmpp_e2e.sessions import handled_counts
from slixmpp_e2e.sessions.handled_counts import HandledCounts
from slixmpp_e2e.store import SQLStore, StoreError, StoreReason
from tests.slixmpp_e2e.env import until
from xmpp_e2e.inner.resumption import Link
from xmpp_e2e.stream.acks import AckState
from xmpp_e2e.types import Fingerprint

LINK = Link("alice@localhost", "bob@localhost", Fingerprint(b"A" * 32), Fingerprint(b"B" * 32))
ANY: Any = None


class Counts:
    """Counts of one session, and what goes wrong with the store."""

    def __init__(self, store: SQLStore) -> None:
        self.store = store
        self.errors: list[StoreError] = []
        self.counts = HandledCounts(asyncio.get_running_loop, store, self.errors.append)
        self._state = AckState("sid", ("", ""))

    def take(self, count: int = 1) -> None:
        """The host takes stanzas."""
        for _ in range(count):
            self.counts.resumptions.note_taken(LINK, self._state)
            self.counts.on_session_event(ANY, ANY)

    @property
    def noted(self) -> int | None:
        return self.store.handled(LINK, "sid")


@pytest.fixture
async def counts(store: SQLStore) -> Counts:
    return Counts(store)


class Failing:
    """A store that cannot write, until it can."""

    def __init__(self, store: SQLStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls, self.works, note = 0, False, store.note_handled

        def note_handled(*of: Any) -> None:
            self.calls += 1
            if not self.works:
                raise StoreError(store.path, "the disk is full", StoreReason.FULL)
            note(*of)

        monkeypatch.setattr(store, "note_handled", note_handled)


async def test_at_an_end_all_is_noted_at_once(counts: Counts) -> None:
    counts.take(3)
    counts.counts.note_now()
    assert counts.noted == 3


async def test_many_stanzas_are_one_change(counts: Counts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handled_counts, "NOTE_SECONDS", 0.0)
    writes = Failing(counts.store, monkeypatch)
    writes.works = True
    counts.take(100)
    noted = asyncio.Event()
    monkeypatch.setattr(counts.counts, "_on_noted", lambda *of: noted.set())
    await until(noted.wait())
    assert (counts.noted, writes.calls) == (100, 1)
    counts.counts.note_now()  # nothing has changed
    assert writes.calls == 1


@pytest.mark.parametrize("at_end", [False, True])
async def test_what_could_not_be_noted_is_tried_again(counts: Counts, at_end: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody is told once, not each second."""
    store = Failing(counts.store, monkeypatch)

    async def note() -> None:
        if at_end:
            counts.counts.note_now()
        else:
            counts.counts._note_soon()
            await until(counts.store.run(tuple))
            await asyncio.sleep(0)

    for _ in range(2):
        counts.take()
        await note()
    assert [error.reason for error in counts.errors] == [StoreReason.FULL]
    store.works = True
    await note()
    assert counts.noted == 2
    store.works = False
    counts.take()
    await note()
    assert len(counts.errors) == 2


async def test_a_store_that_is_closed(store: SQLStore) -> None:
    """A program may unload us while stanzas come."""
    counts = Counts(store)
    store.end()
    counts.take()
    counts.counts._note_soon()
    counts.counts.note_now()
    assert not counts.errors


async def test_an_end_while_another_program_writes(counts: Counts) -> None:
    """Nobody waits for it in the event loop, and it is noted all the same."""
    counts.take(3)
    with closing(sqlite3.connect(counts.store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        counts.counts.note_now()
        assert counts.noted is None
        other.execute("ROLLBACK")
    await until(counts.store.run(tuple))
    assert counts.noted == 3
    assert not counts.errors
