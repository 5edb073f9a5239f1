"""Fixtures of the plugin's tests: an environment with one server or two, and a small disk."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from slixmpp_e2e.store import SQLStore
from slixmpp_e2e.store.key_protection import passphrase
from slixmpp_e2e.xmpp import presence
from tests.slixmpp_e2e.disk import mounted
from tests.slixmpp_e2e.env import ACCOUNTS, BOTS, BOTS_SECRET, Env
from xmpp_loopback import LoopbackServer


@pytest.fixture
async def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Env]:
    monkeypatch.setattr(presence, "ARRIVAL_SECONDS", 0.0)  # do not wait for peers that may yet come online
    async with LoopbackServer(accounts=ACCOUNTS, components={BOTS: BOTS_SECRET}) as server:
        running = Env(server, tmp_path)
        yield running
        await running.end()


@pytest.fixture
async def two_domains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Env]:
    """Alice on a.test, Bob on b.test, and a path between the two."""
    monkeypatch.setattr(presence, "ARRIVAL_SECONDS", 0.0)
    async with LoopbackServer("a.test", ACCOUNTS) as near, LoopbackServer("b.test", ACCOUNTS) as far:
        running = Env(near, tmp_path, far)
        yield running
        await running.end()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLStore]:
    with SQLStore.open(tmp_path / "store.db") as opened:
        yield opened


@pytest.fixture
def quick_derivation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Derive keys of passphrases fast, for tests that do not need their strength."""
    monkeypatch.setattr(passphrase, "MEMORY_KIB", 8)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk") as folder:
        yield folder
