"""Rotations on real clients: each address hears of one, the user's last word stands, and a failed read locks nobody out."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from slixmpp_e2e.store import SQLStore, StoreError, StoreReason
from slixmpp_e2e.trust import own_key as own_key_module
from slixmpp_e2e.trust import store_poller
from slixmpp_e2e.trust.own_key import Identity, OwnKeyLoader, load_own_key, rotate_own_key
from tests.slixmpp_e2e.env import ALICE, BOB, BOTS, Env, Events, e2e, until

ALICES, BOBS = "alice@localhost", "bob@localhost"
SECRET = "the treasure is under the oak"


async def test_each_address_of_a_component_is_told(env: Env) -> None:
    """Each has keys of its own, and the rotation is stored for each."""
    component = await env.component(accept_from="anyone")
    alice = await env.client(ALICE)
    bots = [f"{name}@{BOTS}" for name in ("one", "two")]
    for bot in bots:
        await e2e(component).trust.pin(ALICES, e2e(alice).fingerprint, own_jid=bot)
        await e2e(alice).trust.pin(bot, e2e(component).fingerprint)
    rotated = Events(component, "e2e_key_rotated")
    await e2e(alice).rotate_own_key()
    for bot in bots:
        link = await until(e2e(alice).connect(f"{bot}/x"))
        await until(link.wait_open())
    assert [(await rotated.take()).session.own_jid for _ in bots] == [f"{bot}/x" for bot in bots]
    for bot in bots:
        assert [key.verified_by for key in e2e(component).trust.show(ALICES, own_jid=bot).keys] == ["retired", "rotation"]


@pytest.mark.parametrize("how", ["pinned again", "in the trust file"])
async def test_old_key_that_was_taken_back_is_not_retired_again(env: Env, tmp_path: Path, how: str) -> None:
    """Alice's next hello repeats the statement."""
    alice, config = await env.client(ALICE), {}
    old = e2e(alice).fingerprint
    if how == "in the trust file":
        trust_file = tmp_path / "trust.toml"
        trust_file.write_text(f'["{ALICES}"]\npin = "{old}"\n')
        trust_file.chmod(0o600)
        config = {"trust_file": str(trust_file)}
    bob = await env.client(BOB, **config)
    await env.settle(alice, bob)
    if not config:
        await e2e(bob).trust.pin(ALICES, old)
    ours, _ = await env.session(alice, bob)
    rotated = Events(bob, "e2e_key_rotated")
    await e2e(alice).rotate_own_key()
    await rotated.take()
    await until(ours.wait_closed())
    await e2e(bob).trust.forget(ALICES, old)
    if not config:
        await e2e(bob).trust.pin(ALICES, old)
    await env.session(alice, bob)
    await env.settle(alice, bob)
    key = e2e(bob)._client.peers.known_keys(ALICES, BOBS).find(old)
    assert key is not None
    assert (key.verified_by, key.blocked) == ("pin", False)
    assert len(rotated) == 0


# --- our own key -----------------------------------------------------------------------------------------------------


def failing_once(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The next read of our own key fails. Return what was read."""
    genuine, reads = own_key_module._read, []

    def read(store: SQLStore, *, anew: bool = False) -> Identity:
        reads.append("read")
        if len(reads) == 1:
            raise StoreError(store.path, "it cannot be read now", StoreReason.UNUSABLE)
        return genuine(store, anew=anew)

    monkeypatch.setattr(own_key_module, "_read", read)
    return reads


async def test_read_of_our_rotated_key_that_fails_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old key stays until the new one can be read."""
    with SQLStore.open(tmp_path / "store.db") as store:
        old = load_own_key(store)
        loader = OwnKeyLoader(asyncio.get_running_loop, store, in_thread=False, on_loaded=lambda error: None)
        new = rotate_own_key(store, ALICES)
        failing_once(monkeypatch)
        with pytest.raises(StoreError, match="cannot be read now"):
            loader.current()
        assert loader.is_loaded
        assert loader.own_key == old
        assert loader.current().own_key == new
        assert await until(loader.wait_loaded()) == new


async def test_program_whose_key_cannot_be_read_once(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process has rotated it: the program says that it could not look, and has the new key at the next look."""
    monkeypatch.setattr(store_poller, "POLL_SECONDS", 0.05)
    alice, bob = await env.pair()
    await e2e(bob).trust.pin(ALICES, e2e(alice).fingerprint)
    await env.session(alice, bob)
    rotated, heard = Events(bob, "e2e_key_rotated"), Events(bob, "message")
    own = Events(alice, "e2e_own_key_rotated")
    with SQLStore.open(e2e(alice)._store.path) as store:
        new = rotate_own_key(store, ALICES).fingerprint
    reads = failing_once(monkeypatch)
    assert (await own.take()).new == new
    assert len(reads) == 2
    assert (await rotated.take()).new == new
    await env.settle(alice, bob)
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    message = await heard.take()
    assert (message["body"], str(message["e2e"]["assurance"])) == (SECRET, "verified")
    assert e2e(alice).fingerprint == new
