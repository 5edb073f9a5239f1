"""The disk is full or the file is locked when a session is made: the user is told, and the connection lives on."""

from __future__ import annotations

from pathlib import Path

import pytest

from slixmpp_e2e.store.errors import StoreError
from tests.slixmpp_e2e.world import BOB, Heard, World, e2e

SECRET = "the treasure is under the oak"


@pytest.mark.parametrize("method", ["remembered", "accept", "mark_seen", "policy", "seen"])
@pytest.mark.parametrize("side", ["offers", "is offered"])
async def test_a_store_that_fails_fails_the_session(
    world: World, method: str, side: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever cannot be read or written: nothing goes in clear, no exception ends the client's stream."""
    alice, bob = await world.pair()
    broken = e2e(alice if side == "offers" else bob).memory
    lost = [Heard(client, "disconnected") for client in (alice, bob)]
    failed = Heard(alice, "e2e_send_failed")

    def full(*args: object) -> object:
        raise StoreError(Path("store.db"), "the disk is full")

    monkeypatch.setattr(broken, method, full)
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    await world.settle(alice, bob)
    await world.settle(alice, bob)
    assert not any(map(len, lost))
    assert world.in_clear(SECRET) == []
    assert [record for record in caplog.records if record.exc_info] == []
    if side == "offers":
        assert "the disk is full" in str(await failed.take())
        assert not e2e(alice).sessions()
