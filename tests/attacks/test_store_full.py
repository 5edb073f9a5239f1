"""The disk is full or the file is locked when a session is made: the user is told, and the connection lives on."""

from __future__ import annotations

from pathlib import Path

import pytest

from slixmpp_e2e.store.errors import StoreError
from tests.slixmpp_e2e.env import BOB, Env, Events, e2e

SECRET = "the treasure is under the oak"


@pytest.mark.parametrize("method", ["known_keys", "remember_key", "record_e2e_use", "policy", "has_used_e2e"])
@pytest.mark.parametrize("side", ["offers", "is offered"])
async def test_a_store_that_fails_fails_the_session(
    env: Env, method: str, side: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever cannot be read or written: nothing goes in clear, no exception ends the client's stream."""
    alice, bob = await env.pair()
    broken = e2e(alice if side == "offers" else bob)._store
    lost = [Events(client, "disconnected") for client in (alice, bob)]
    failed = Events(alice, "e2e_send_failed")

    def full(*args: object) -> object:
        raise StoreError(Path("store.db"), "the disk is full")

    monkeypatch.setattr(broken, method, full)
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    await env.settle(alice, bob)
    await env.settle(alice, bob)
    assert not any(map(len, lost))
    assert env.in_clear(SECRET) == []
    assert [record for record in caplog.records if record.exc_info] == []
    if side == "offers":
        assert "the disk is full" in str(await failed.take())
        assert not e2e(alice).sessions()
