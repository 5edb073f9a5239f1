"""Attack 49 on real clients: a rotation comes while Bob decides about the same keys, or while his store cannot be written.

The core has judged it by what was known then. What is stored first counts, and nobody hears of a key that was refused.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e import E2E
from slixmpp_e2e.store import StoreError, StoreReason
from tests.attacks.test_held_store import held
from tests.slixmpp_e2e.env import ALICE, BOB, PATIENCE, Env, Events, e2e, jingle, turns, until
from tests.slixmpp_e2e.store.expect import never
from xmpp_e2e.types import Fingerprint

ALICES, BOBS, MALLORY = "alice@localhost", "bob@localhost", "alice@localhost/m"
SECRET = "the treasure is under the oak"
VERIFIED_ONLY = {"trust_model": "server-untrusted", "policy": "require"}
ANY = {"any key": {}, "verified only": VERIFIED_ONLY}
TERMS = pytest.mark.parametrize("terms", ANY.values(), ids=ANY)


@contextmanager
def busy(client: ClientXMPP) -> Iterator[Callable[[], None]]:
    """The store's thread has something else to do, until the end or until what this returns is called."""
    go = threading.Event()
    e2e(client)._store.run(go.wait, PATIENCE)
    try:
        yield go.set
    finally:
        go.set()


async def waits(client: ClientXMPP, other: ClientXMPP, sessions: int = 1) -> None:
    """Wait until as many sessions of a client wait for its store."""
    async with asyncio.timeout(PATIENCE):
        while sum(driver._gate.is_closed for driver in e2e(client)._client.registry) < sessions:
            await env_turn(other)


async def env_turn(client: ClientXMPP) -> None:
    await client.get_roster(timeout=PATIENCE)
    await turns()


class Told:
    """What a client hears."""

    def __init__(self, client: ClientXMPP) -> None:
        self.messages, self.rotated = Events(client, "message"), Events(client, "e2e_key_rotated")
        self.opened, self.failed = Events(client, "e2e_session_opened"), Events(client, "e2e_session_failed")
        self.changed = Events(client, "e2e_key_changed")

    @property
    def counts(self) -> tuple[int, int, int]:
        """Of messages, open sessions and rotations."""
        return len(self.messages), len(self.opened), len(self.rotated)


@dataclass
class Scene:
    """Bob has verified ``old``, which Alice gave up for ``new`` when they had no session."""

    env: Env
    alice: ClientXMPP
    bob: ClientXMPP
    old: Fingerprint
    new: Fingerprint
    told: Told

    async def settle(self) -> None:
        for _ in range(3):
            await self.env.settle(self.alice, self.bob)

    def says(self, body: str = SECRET) -> None:
        self.alice.send_message(mto=BOB, mbody=body, mtype="chat")

    async def meanwhile(self, decide: Callable[[], Awaitable[object]]) -> None:
        """Alice comes with the new key. Bob's decision is written before the rotation, which is judged already."""
        with busy(self.bob) as go:
            deciding = asyncio.ensure_future(decide())
            await turns()
            self.says()
            await waits(self.bob, self.alice)
            self.env.hold(jingle("session-initiate"))  # what was not acknowledged would come in the next session
            go()
            await until(deciding)
        await self.settle()

    def keys(self) -> dict[Fingerprint, tuple[str, bool]]:
        known = e2e(self.bob)._client.peers.known_keys(ALICES, BOBS).keys
        return {key.fingerprint: (key.verified_by, key.blocked) for key in known}

    async def assert_refused(self) -> None:
        """Nothing opened, nothing came, nobody was told of a rotation, and the new key is not verified."""
        await self.told.failed.take()
        await self.settle()
        assert self.told.counts == (0, 0, 0)
        assert e2e(self.bob).sessions() == ()
        assert not e2e(self.bob)._store.known_keys(ALICES, BOBS).is_verified(self.new)
        assert "retired" not in [method for method, _ in self.keys().values()]
        assert self.env.in_clear(SECRET) == []


async def scene(env: Env, **bobs: Any) -> Scene:
    alice, bob = await env.pair(bobs=bobs)
    old = e2e(alice).fingerprint
    await e2e(bob).trust.pin(ALICES, old)
    ours, _ = await env.session(alice, bob)
    await until(ours.close())
    await env.settle(alice, bob)
    return Scene(env, alice, bob, old, await e2e(alice).rotate_own_key(), Told(bob))


# --- decisions that are stored first ---------------------------------------------------------------------------------

Decide = Callable[[E2E, Fingerprint, Fingerprint], Awaitable[object]]

DECISIONS: dict[str, Decide] = {
    "block new": lambda bob, old, new: bob.trust.block(ALICES, new),
    "block old": lambda bob, old, new: bob.trust.block(ALICES, old),
    "forget old": lambda bob, old, new: bob.trust.forget(ALICES, old),
    "forget all": lambda bob, old, new: bob.trust.forget(ALICES),
    "doubt old": lambda bob, old, new: bob._store.run(bob._store.doubt, ALICES, old, 1.0, BOBS),
}


@TERMS
@pytest.mark.parametrize("decide", DECISIONS.values(), ids=DECISIONS)
async def test_decision_before_the_rotation_is_stored(env: Env, decide: Decide, terms: dict[str, str]) -> None:
    """The rotation rests on a key that is not verified any more, or leads to one that is refused."""
    it = await scene(env, **terms)
    await it.meanwhile(lambda: decide(e2e(it.bob), it.old, it.new))
    await it.assert_refused()


@TERMS
async def test_decision_about_another_key_ends_nothing(env: Env, terms: dict[str, str]) -> None:
    """It is read when the rotation is stored, not before."""
    it = await scene(env, **terms)
    failed = Events(it.alice, "e2e_send_failed")
    await it.meanwhile(lambda: e2e(it.bob).trust.block(ALICES, Fingerprint(bytes(32))))
    assert await it.told.messages.bodies(1) == [SECRET]
    await it.settle()
    assert it.told.counts == (0, 1, 1)
    assert (len(it.told.failed), len(it.told.changed), len(failed)) == (0, 0, 0)
    assert it.keys()[it.old] == ("retired", True)
    assert it.keys()[it.new] == ("rotation", False)


@TERMS
async def test_block_behind_the_rotation(env: Env, terms: dict[str, str]) -> None:
    """Bob asks for it while the rotation waits. Until it is stored the key is verified; then nothing comes any more."""
    it = await scene(env, **terms)
    failed = Events(it.alice, "e2e_send_failed")
    with busy(it.bob) as go:
        it.says()
        await waits(it.bob, it.alice)
        blocking = asyncio.ensure_future(e2e(it.bob).trust.block(ALICES, it.new))
        await turns()
        go()
        await until(blocking)
        delivered = len(it.told.messages)
    await it.settle()
    it.says("late")
    await failed.take()
    await it.settle()
    assert len(it.told.messages) == delivered
    assert e2e(it.bob).sessions() == ()
    assert it.keys()[it.new] == ("rotation", True)
    assert it.env.in_clear(SECRET, "late") == []


@TERMS
async def test_a_fork_of_the_old_key(env: Env, terms: dict[str, str]) -> None:
    """Mallory stole it: both name a successor, and both come before either is stored. Only the first counts."""
    alice, bob = await env.pair(bobs=terms)
    mallory = await env.client(MALLORY)
    stolen = e2e(alice)._store.own_key(never)
    e2e(mallory)._store.rotate_own_key(lambda stored: stolen)
    e2e(mallory)._own_key.refresh()
    old = e2e(alice).fingerprint
    await e2e(bob).trust.pin(ALICES, old)
    for client in (alice, mallory):
        link = await until(e2e(client).connect(BOB))
        await until(link.wait_open())
        await until(link.close())
    await env.settle(alice, bob, mallory)
    first, second = await e2e(alice).rotate_own_key(), await e2e(mallory).rotate_own_key()
    told = Told(bob)
    with busy(bob) as go:
        alice.send_message(mto=BOB, mbody="from Alice", mtype="chat")
        await waits(bob, alice)
        mallory.send_message(mto=BOB, mbody=SECRET, mtype="chat")
        await waits(bob, mallory, 2)
        go()
    failed = await told.failed.take()
    for _ in range(3):
        await env.settle(alice, bob, mallory)
    assert failed.session.peer == MALLORY
    assert await told.messages.bodies(1) == ["from Alice"]
    assert told.counts == (0, 1, 1)
    rotated = await told.rotated.take()
    assert (rotated.old, rotated.new) == (old, first)
    known = e2e(bob)._store.known_keys(ALICES, BOBS)
    assert known.is_verified(first)
    assert not known.is_verified(second)


@pytest.mark.parametrize("first", ["block", "opening"])
async def test_block_of_the_key_of_a_first_contact(env: Env, first: str) -> None:
    """Without a rotation, too: while the opening is being stored, nothing was delivered, and nothing is afterwards."""
    alice, bob = await env.pair()
    e2e(alice)._store.record_e2e_use(BOBS, 1.0)
    told, key = Told(bob), e2e(alice).fingerprint
    with busy(bob) as go:
        if first == "block":
            blocking = asyncio.ensure_future(e2e(bob).trust.block(ALICES, key))
            await turns()
        alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
        await waits(bob, alice)
        if first == "opening":
            blocking = asyncio.ensure_future(e2e(bob).trust.block(ALICES, key))
            await turns()
        go()
        await until(blocking)
        delivered = len(told.messages)
    for _ in range(3):
        await env.settle(alice, bob)
    assert len(told.messages) == delivered
    assert first == "opening" or told.counts == (0, 0, 0)
    assert e2e(bob).sessions() == ()
    assert e2e(bob)._store.known_keys(ALICES, BOBS).keys[0].blocked


# --- what Bob writes meanwhile ---------------------------------------------------------------------------------------

REFUSALS = {name: DECISIONS[name] for name in ("block new", "block old", "forget old")}


@pytest.mark.parametrize("decide", REFUSALS.values(), ids=REFUSALS)
async def test_what_bob_wrote_for_a_key_that_he_refused(env: Env, decide: Decide) -> None:
    """His stanza waits for the store with the session: it fails, and reaches nobody."""
    it = await scene(env, **VERIFIED_ONLY)
    heard, unsent = Events(it.alice, "message"), Events(it.bob, "e2e_send_failed")
    with busy(it.bob) as go:
        deciding = asyncio.ensure_future(decide(e2e(it.bob), it.old, it.new))
        await turns()
        it.bob.send_message(mto=ALICE, mbody=SECRET, mtype="chat")
        await waits(it.bob, it.alice)
        [driver] = e2e(it.bob)._client.registry
        for _ in range(3):
            await env_turn(it.alice)
        assert driver.is_writable
        go()
        await until(deciding)
    await unsent.take()
    await it.assert_refused()
    assert len(heard) == 0


async def test_control_what_bob_wrote(env: Env) -> None:
    """It is sent when the rotation is stored."""
    it = await scene(env, **VERIFIED_ONLY)
    heard = Events(it.alice, "message")
    with busy(it.bob) as go:
        it.bob.send_message(mto=ALICE, mbody=SECRET, mtype="chat")
        await waits(it.bob, it.alice)
        assert len(heard) == 0
        go()
    assert await heard.bodies(1) == [SECRET]


# --- writes that fail ------------------------------------------------------------------------------------------------


@TERMS
async def test_rotation_that_cannot_be_stored(env: Env, monkeypatch: pytest.MonkeyPatch, terms: dict[str, str]) -> None:
    """What is written next could be: it must not store the new key as verified. The next session tells the rotation."""
    it = await scene(env, **terms)
    store = e2e(it.bob)._store

    def fail(*_: object) -> bool:
        raise StoreError(store.path, "there is no room", StoreReason.FULL)

    with monkeypatch.context() as patch:
        patch.setattr(store, "rotate_key", fail)
        it.says()
        await it.assert_refused()
    it.says("again")
    message = await it.told.messages.take()
    assert (message["body"], str(message["e2e"]["assurance"])) == ("again", "verified")
    assert (await it.told.rotated.take()).new == it.new


@TERMS
async def test_another_process_holds_the_store_for_too_long(env: Env, terms: dict[str, str]) -> None:
    """The rotation waits in vain; by the time of the next write the store is free."""
    it = await scene(env, **terms)
    e2e(it.bob)._store._database._driver.execute("PRAGMA busy_timeout = 100")
    with held(it.bob) as release:
        it.says()
        await waits(it.bob, it.alice)
        [driver] = e2e(it.bob)._client.registry
        storing = driver._gate._storing
        assert storing is not None
        env.hold(jingle("session-initiate"))
        await asyncio.wait([storing])
        release()
    await it.assert_refused()


# --- what is told ----------------------------------------------------------------------------------------------------


async def test_rotation_is_told_though_the_peer_goes_offline(env: Env) -> None:
    """A server can say so whenever it likes. It is stored, so Bob hears of it."""
    it = await scene(env)
    with busy(it.bob) as go:
        it.says()
        await waits(it.bob, it.alice)
        it.env.server.inject(BOB, f"<presence from='{ALICE}' to='{BOB}' type='unavailable'/>")
        async with asyncio.timeout(PATIENCE):
            while list(e2e(it.bob)._client.registry):
                await env_turn(it.alice)
        go()
    rotated = await it.told.rotated.take()
    assert (rotated.old, rotated.new) == (it.old, it.new)
    await it.settle()
    assert len(it.told.rotated) == 0, "once"
    assert it.keys() == {it.old: ("retired", True), it.new: ("rotation", False)}
