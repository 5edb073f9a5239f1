"""A world for every test: `tests.slixmpp_e2e.world`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from slixmpp_e2e.xmpp import presence as presences
from tests.slixmpp_e2e.disk import mounted
from tests.slixmpp_e2e.world import ACCOUNTS, BOTS, BOTS_SECRET, World
from xmpp_loopback import LoopbackServer


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(presences, "ARRIVAL_SECONDS", 0.0)  # nobody is waited for who may yet come
    async with LoopbackServer(accounts=ACCOUNTS, components={BOTS: BOTS_SECRET}) as server:
        running = World(server, tmp_path)
        yield running
        await running.end()


@pytest.fixture
async def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """Alice on a.test, Bob on b.test, and a path between the two."""
    monkeypatch.setattr(presences, "ARRIVAL_SECONDS", 0.0)
    async with LoopbackServer("a.test", ACCOUNTS) as near, LoopbackServer("b.test", ACCOUNTS) as far:
        running = World(near, tmp_path, far)
        yield running
        await running.end()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of the test's own: `tests.slixmpp_e2e.disk`."""
    with mounted(tmp_path / "disk") as folder:
        yield folder
