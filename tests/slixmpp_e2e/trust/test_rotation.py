"""Our key is rotated, here or by another process: verified sessions tell it, later ones too, and peers go on as before."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from slixmpp import ClientXMPP
from sqlalchemy import func, select, update

from slixmpp_e2e import E2ESession
from slixmpp_e2e.store import Passphrase, SQLStore, StoredOwnKey, StoreReason, read_backup, restore, tables, write_backup
from slixmpp_e2e.trust.own_key import load_own_key, rotate_own_key
from tests.slixmpp_e2e.env import ALICE, BOB, BOTS, Env, Events, e2e, until
from tests.slixmpp_e2e.store.expect import never, store_error
from xmpp_e2e.errors import AuthenticationFailed
from xmpp_e2e.tls.rotation import MAX_ROTATIONS, unpack
from xmpp_e2e.types import Assurance

ALICES, BOBS = "alice@localhost", "bob@localhost"


async def met(env: Env, **bobs: Any) -> tuple[ClientXMPP, ClientXMPP, E2ESession]:
    """Return Alice, Bob who has pinned her key, and her session with him."""
    alice, bob = await env.pair(bobs=bobs)
    await e2e(bob).trust.pin(ALICES, e2e(alice).fingerprint)
    ours, _ = await env.session(alice, bob)
    return alice, bob, ours


def keys(client: ClientXMPP, peer: str) -> list[tuple[str, str, bool]]:
    return [(str(key.fingerprint), key.verified_by, key.blocked) for key in e2e(client).trust.show(peer).keys]


async def exchange(alice: ClientXMPP, bob: ClientXMPP) -> list[str]:
    """Let each say a word to the other, and return what both heard, with its assurance at Bob's."""
    heard, answered = Events(bob, "message"), Events(alice, "message")
    alice.send_message(mto=BOB, mbody="ping", mtype="chat")
    ping = await heard.take()
    bob.send_message(mto=ALICE, mbody="pong", mtype="chat")
    return [f"{ping['body']} {ping['e2e']['assurance']}", *await answered.bodies(1)]


async def test_open_sessions_announce_at_once(env: Env) -> None:
    """By the program itself: the peer is told, the session ends by farewells, and the next is verified."""
    alice, bob, ours = await met(env)
    rotated, own, changed = Events(bob, "e2e_key_rotated"), Events(alice, "e2e_own_key_rotated"), Events(bob, "e2e_key_changed")
    old = e2e(alice).fingerprint
    new = await e2e(alice).rotate_own_key()
    assert new == e2e(alice).fingerprint != old
    event, mine = await rotated.take(), await own.take()
    assert (event.old, event.new) == (mine.old, mine.new) == (old, new)
    assert await until(ours.wait_closed()) is None, "a clean end"
    assert keys(bob, ALICES) == [(str(old), "retired", True), (str(new), "rotation", False)]
    assert await exchange(alice, bob) == ["ping verified", "pong"]
    assert (len(rotated), len(changed)) == (0, 0)
    assert env.in_clear("ping", "pong") == []


async def test_another_process_rotates(env: Env) -> None:
    """The command ``xmpp-e2e identity rotate`` beside a running program: within about a second."""
    alice, bob, ours = await met(env)
    rotated = Events(bob, "e2e_key_rotated")
    with SQLStore.open(e2e(alice)._store.path) as store:
        new = rotate_own_key(store, ALICES).fingerprint
    assert (await rotated.take()).new == new
    assert await until(ours.wait_closed()) is None
    assert e2e(alice).fingerprint == new
    assert await exchange(alice, bob) == ["ping verified", "pong"]


@pytest.mark.parametrize("opens", ["alice", "bob"])
async def test_peer_that_was_away_learns_it_in_the_next_session(env: Env, opens: str) -> None:
    """Twice rotated meanwhile, by a program that is not running: nothing of the old private keys is needed."""
    alice, bob, ours = await met(env)
    await until(ours.close())
    rotated, changed = Events(bob, "e2e_key_rotated"), Events(bob, "e2e_key_changed")
    old, path = e2e(alice).fingerprint, e2e(alice)._store.path
    env.unload(alice)
    with SQLStore.open(path) as store:
        rotate_own_key(store, ALICES)
        new = rotate_own_key(store, ALICES).fingerprint
    env.load(alice)
    await env.settle(alice, bob)
    first, second = (alice, bob) if opens == "alice" else (bob, alice)
    link, _ = await env.session(first, second)
    event = await rotated.take()
    assert (event.old, event.new, len(changed)) == (old, new, 0)
    assert link.assurance is (Assurance.VERIFIED if opens == "bob" else Assurance.KNOWN)
    assert await exchange(alice, bob) == ["ping verified", "pong"]


async def test_key_that_was_only_known_passes_nothing_on(env: Env) -> None:
    """The new key is new to Bob, as it would be without a rotation, and nothing is retired."""
    alice, bob = await env.pair()
    ours, _ = await env.session(alice, bob)
    rotated, changed = Events(bob, "e2e_key_rotated"), Events(bob, "e2e_key_changed")
    await e2e(alice).rotate_own_key()
    assert await until(ours.wait_closed()) is None
    assert await exchange(alice, bob) == ["ping vouched", "pong"]
    assert ((await changed.take()).status, len(rotated)) == ("new", 0)
    assert [method for _, method, _ in keys(bob, ALICES)] == ["route", "route"]


async def test_key_that_the_trust_file_pins_passes_on(env: Env, tmp_path: Path) -> None:
    """Bob's program runs unattended; the file still names the old key."""
    alice = await env.client(ALICE)
    trust_file = tmp_path / "trust.toml"
    trust_file.write_text(f'["{ALICES}"]\npin = "{e2e(alice).fingerprint}"\n')
    trust_file.chmod(0o600)
    bob = await env.client(BOB, trust_file=str(trust_file), trust_model="server-untrusted", policy="require")
    await e2e(alice).trust.pin(BOBS, e2e(bob).fingerprint)
    await env.settle(alice, bob)
    ours, _ = await env.session(alice, bob)
    new = await e2e(alice).rotate_own_key()
    assert await until(ours.wait_closed()) is None
    assert await exchange(alice, bob) == ["ping verified", "pong"]
    assert [str(new), "rotation", False] in map(list, keys(bob, ALICES))


async def test_old_key_is_refused_afterwards(env: Env) -> None:
    """Somebody has it, or an old backup was restored: Bob is told what happened."""
    alice, bob, ours = await met(env)
    path = e2e(alice)._store.path
    with SQLStore.open(path) as store:
        stolen = store.own_key(never)
    rotated, changed = Events(bob, "e2e_key_rotated"), Events(bob, "e2e_key_changed")
    await e2e(alice).rotate_own_key()
    await rotated.take()
    await until(ours.wait_closed())
    env.unload(alice)
    with SQLStore.open(path) as store:
        store.rotate_own_key(lambda stored: stolen)
    env.load(alice)
    await env.settle(alice, bob)
    with pytest.raises(AuthenticationFailed, match="gave up on the session"):
        await until((await until(e2e(alice).connect(BOB))).wait_open())
    event = await changed.take()
    assert (event.status, event.decision) == ("blocked", "reject")
    assert "gave up for another one" in event.text


async def test_session_that_was_opening_announces_when_it_opens(env: Env) -> None:
    alice, bob, ours = await met(env)
    await until(ours.close())
    hold = env.hold(lambda stanza, sender: sender.startswith(BOBS) and "jingle" in "".join(e.tag for e in stanza.iter()))
    rotated = Events(bob, "e2e_key_rotated")
    alice.send_message(mto=BOB, mbody="on its way", mtype="chat")
    heard = Events(bob, "message")
    await until(hold.caught())
    new = await e2e(alice).rotate_own_key()
    hold.release()
    assert (await rotated.take()).new == new
    assert await heard.bodies(1) == ["on its way"]
    assert await exchange(alice, bob) == ["ping verified", "pong"]


async def test_addresses_of_a_component_share_a_rotation(env: Env) -> None:
    """Its key serves all of them: the statement names the domain."""
    component = await env.component(accept_from="anyone")
    bot = f"bot@{BOTS}/x"
    alice = await env.client(ALICE)
    await e2e(alice).trust.pin(bot, e2e(component).fingerprint)
    rotated = Events(alice, "e2e_key_rotated")
    new = await e2e(component).rotate_own_key()
    link = await until(e2e(alice).connect(bot))
    await until(link.wait_open())
    assert link.assurance is Assurance.VERIFIED
    assert (await rotated.take()).new == new


# --- the store -------------------------------------------------------------------------------------------------------


def test_nothing_is_left_of_the_old_key(store: SQLStore) -> None:
    """One identity stays, and the last eight statements."""
    first = load_own_key(store)
    for _ in range(MAX_ROTATIONS + 1):
        last = rotate_own_key(store, ALICES)
    assert load_own_key(store) == last != first
    stored = store.own_key(never)
    rotations = unpack(stored.rotations)
    assert (len(rotations), rotations[-1].new_key) == (MAX_ROTATIONS, last.fingerprint)
    with store._reading() as connection:
        assert connection.execute(select(func.count()).select_from(tables.identity)).scalar() == 1
        assert connection.execute(select(tables.identity.c.generation)).scalar() == MAX_ROTATIONS + 2
    assert first.certificate not in store.path.read_bytes()


def test_rotation_takes_an_identity(store: SQLStore) -> None:
    with store_error(StoreReason.IDENTITY_MISSING, "none to rotate"):
        rotate_own_key(store, ALICES)


def test_a_rotation_that_fails_changes_nothing(store: SQLStore) -> None:
    """The old key stays in use."""
    own = load_own_key(store)

    def fail(stored: StoredOwnKey) -> StoredOwnKey:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.rotate_own_key(fail)
    assert load_own_key(store) == own


@pytest.mark.parametrize("value", ["no base64", base64.b64encode(b"x").decode()])
def test_damaged_statements(store: SQLStore, value: str) -> None:
    """They are no secret, and may be edited: an error, no traceback."""
    load_own_key(store)
    rotate_own_key(store, ALICES)
    with store._writing() as connection:
        connection.execute(update(tables.meta).where(tables.meta.c.name == tables.ROTATIONS).values(value=value))
    with store_error(StoreReason.DAMAGED, "makes no sense"):
        load_own_key(store)


@pytest.mark.usefixtures("quick_derivation")
def test_a_backup_holds_the_statements(store: SQLStore, tmp_path: Path) -> None:
    """An account that moves still tells those peers who have not heard of it."""
    load_own_key(store)
    rotate_own_key(store, ALICES)
    stored = store.own_key(never)
    write_backup(store, tmp_path / "backup", Passphrase(lambda: "correct horse battery staple"))
    restored = tmp_path / "elsewhere.db"
    restore(read_backup(tmp_path / "backup", Passphrase(lambda: "correct horse battery staple")), restored)
    with SQLStore.open(restored) as moved:
        assert moved.own_key(never) == stored
