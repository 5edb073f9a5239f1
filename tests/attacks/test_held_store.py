"""Another process holds the store for seconds: the event loop goes on, and with it everybody who needs no write."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e.policy import Policy
from slixmpp_e2e.sessions.store_gate import HELD_BLOCKS
from slixmpp_e2e.store import SQLStore, StoreError, StoreReason
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e, turns, until
from tests.slixmpp_e2e.store.processes import Running
from xmpp_e2e.states import State
from xmpp_e2e.types import Fingerprint

CAROL = "carol@localhost/c"
SECRET = "the treasure is under the oak"
HELD_SECONDS = 2.0
PAUSE = HELD_SECONDS / 4
"""Much more than the loop needs for anything on a busy computer, and much less than whoever waits for the lock."""
_TICK = 0.005

HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("ready", flush=True)
sys.stdin.readline()
connection.execute("COMMIT")
"""


@contextmanager
def held(client: ClientXMPP) -> Iterator[Callable[[], None]]:
    """Another process holds the write lock of a client's store, until the end or until what this returns is called."""
    with Running(HOLDER, e2e(client)._store.path) as process:
        assert process.stdout.readline() == "ready\n"

        def release() -> None:
            process.stdin.write("\n")
            process.stdin.flush()

        yield release
        process.rest()


class Pauses:
    """The longest time for which the event loop did nothing else."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.since = asyncio.get_running_loop().time()

    async def watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(_TICK)
            self.longest = max(self.longest, loop.time() - before - _TICK)

    async def reach(self, seconds: float) -> None:
        """Wait until the loop has been watched for so long."""
        await asyncio.sleep(self.since + seconds - asyncio.get_running_loop().time())


@asynccontextmanager
async def watched() -> AsyncIterator[Pauses]:
    pauses = Pauses()
    watching = asyncio.create_task(pauses.watch())
    await turns()
    yield pauses
    await asyncio.sleep(_TICK)
    watching.cancel()


def in_loop(store: SQLStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: let the store write in the event loop, as if there were no thread."""

    def run(call: Any, *args: Any) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        try:
            future.set_result(call(*args))
        except StoreError as error:
            future.set_exception(error)
        return future

    monkeypatch.setattr(store, "run", run)


def keys_on_disk(client: ClientXMPP) -> list[str]:
    with closing(sqlite3.connect(e2e(client)._store.path)) as connection:
        return [peer for (peer,) in connection.execute("SELECT peer FROM trust ORDER BY peer")]


async def talk(one: ClientXMPP, other: ClientXMPP, to: str, count: int) -> None:
    heard = Events(other, "message")
    for number in range(count):
        one.send_message(mto=to, mbody=str(number), mtype="chat")
    assert await heard.bodies(count) == [str(number) for number in range(count)]


async def test_a_held_store_stops_neither_the_loop_nor_open_sessions(env: Env) -> None:
    """A session with somebody new opens once it can be stored who they are; all else goes on both ways."""
    alice, bob = await env.pair()
    carol = await env.client(CAROL)
    await env.session(alice, bob)
    await env.settle(alice, bob, carol)
    heard, failed = Events(carol, "message"), Events(alice, "e2e_send_failed")
    with held(alice) as release:
        async with watched() as pauses:
            alice.send_message(mto=CAROL, mbody=SECRET, mtype="chat")
            pinning = asyncio.create_task(e2e(alice).trust.pin(CAROL, e2e(carol).fingerprint))
            for _ in range(4):
                await talk(alice, bob, BOB, 25)
                await talk(bob, alice, ALICE, 25)
            await pauses.reach(HELD_SECONDS)
            assert not pinning.done()
            assert [session.peer for session in e2e(alice).sessions()] == [BOB]
            release()
            await until(pinning)
            assert await heard.bodies(1) == [SECRET]
            await talk(carol, alice, ALICE, 1)
    assert pauses.longest < PAUSE
    assert len(failed) == 0
    assert env.in_clear(SECRET) == []


async def test_control_in_the_loop_a_held_store_stops_everybody(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob = await env.pair()
    await env.session(alice, bob)
    in_loop(e2e(alice)._store, monkeypatch)
    with held(alice):
        async with watched() as pauses:
            with pytest.raises(StoreError, match="another process holds the store"):
                await e2e(alice).trust.pin(CAROL, e2e(bob).fingerprint)
    assert pauses.longest > HELD_SECONDS


@pytest.mark.parametrize("holds", ["initiator", "responder"])
async def test_a_session_is_not_open_before_its_key_is_stored(env: Env, holds: str) -> None:
    """The peer's early message is read, but nobody hears of it, and the peer hears nothing."""
    alice, bob = await env.pair()
    for client, peer in ((alice, BOB), (bob, ALICE)):  # so that the route waits for nothing
        e2e(client)._store.record_e2e_use(peer.partition("/")[0], 1.0)
    waits = alice if holds == "initiator" else bob
    heard, opened = Events(bob, "message"), Events(waits, "e2e_session_opened")
    with held(waits):
        alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
        while not any(driver._gate.is_closed for driver in e2e(waits)._client.registry):
            await env.settle(bob if waits is alice else alice)
        [driver] = e2e(waits)._client.registry
        for _ in range(3):
            await env.settle(bob if waits is alice else alice)
        assert not driver.is_open
        assert driver.is_writable
        assert e2e(waits).sessions() == ()
        assert len(opened) == 0
        assert waits is alice or len(heard) == 0
        assert keys_on_disk(waits) == []
    session = (await opened.take()).session
    assert session.is_open
    assert keys_on_disk(waits) == [session.peer.partition("/")[0]]
    assert await heard.bodies(1) == [SECRET]
    await talk(alice, bob, BOB, 3)
    await talk(bob, alice, ALICE, 3)


@pytest.mark.parametrize("is_known", [True, False], ids=["known to have encryption", "unknown"])
async def test_a_store_that_stays_held_fails_what_waits_for_it(env: Env, is_known: bool) -> None:
    """The error names the cause; the message is told as lost on its way; the client's stream lives on."""
    alice, bob = await env.pair()
    if is_known:
        e2e(alice)._store.record_e2e_use("bob@localhost", 1.0)
    e2e(alice)._store._database._driver.execute("PRAGMA busy_timeout = 100")
    heard, failed = Events(bob, "message"), Events(alice, "e2e_send_failed")
    ended = Events(alice, "e2e_session_failed")
    with held(alice):
        alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
        error = (await failed.take()).error
        assert "another process holds the store" in str(error)
        assert "another process holds the store" in str((await ended.take()).error)
        assert e2e(alice).sessions() == ()
        assert keys_on_disk(alice) == []
        await env.settle(alice, bob)
    assert len(failed) == 0
    assert await heard.bodies(1) == [SECRET]  # it had left before; whether it has come cannot be told
    await talk(alice, bob, BOB, 1)
    assert await heard.bodies(1) == ["0"]
    assert len(heard) == 0
    assert env.in_clear(SECRET) == []


async def test_a_setting_is_refused_at_once_while_the_store_is_held(env: Env) -> None:
    """A call that waits for nobody cannot wait for another process: it says so, and changes nothing."""
    alice, bob = await env.pair()
    calls: list[Callable[[], object]] = [
        lambda: e2e(alice).set_policy(BOB, "require"),
        lambda: e2e(alice).allow_plaintext(BOB),
        lambda: e2e(alice).secrets.put_key(BOB, bytes(range(32))),
    ]
    with held(alice) as release:
        async with watched() as pauses:
            for call in calls:
                with pytest.raises(StoreError, match="holds the store") as caught:
                    call()
                assert caught.value.reason is StoreReason.BUSY
                await turns()
            pinning = asyncio.create_task(e2e(alice).trust.pin(BOB, e2e(bob).fingerprint))
            await turns()
            with pytest.raises(StoreError, match="holds the store"):  # also while our own thread waits for it
                calls[0]()
            release()
            await until(pinning)
    assert pauses.longest < PAUSE
    for call in calls:
        call()
    assert e2e(alice)._client.peers.of("bob@localhost").policy is Policy.REQUIRE


async def test_who_floods_a_session_that_is_being_stored_ends_it(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks wait unanswered, and so only a few: whoever heeds no answers cannot make us keep more."""
    alice, bob = await env.pair()
    with held(bob):
        alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
        while not any(driver._gate.is_closed for driver in e2e(bob)._client.registry):
            await env.settle(alice)
        [driver] = e2e(bob)._client.registry
        request, payload = bob.make_iq_set(), bob.make_iq_set().xml
        for _ in range(HELD_BLOCKS + 1):
            assert driver.core.state is not State.CLOSED
            driver.receive_ibb(request, payload)
        assert driver.core.state is State.CLOSED
        assert driver._gate._blocks == []
    assert "blocks" in str(await until(driver.closed))


async def test_what_ends_at_once_waits_for_no_store(env: Env) -> None:
    """The plugin is unloaded while the opening of a session is being stored: it fails now, and what it had to say is told."""
    alice, bob = await env.pair()
    e2e(alice)._store.record_e2e_use("bob@localhost", 1.0)
    path, writing = e2e(alice)._store.path, e2e(alice)._store._thread
    failed, ended = Events(alice, "e2e_send_failed"), Events(alice, "e2e_session_failed")
    with held(alice):
        alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
        while not any(driver._gate.is_closed for driver in e2e(alice)._client.registry):
            await env.settle(bob)
        [driver] = e2e(alice)._client.registry
        env.unload(alice)
        assert driver.closed.done()
        assert len(ended) == len(failed) == 1
    await until(asyncio.to_thread(writing.shutdown))
    with closing(sqlite3.connect(path)) as connection:  # it was stored, all the same
        assert connection.execute("SELECT peer FROM trust").fetchall() == [("bob@localhost",)]


WRITER = """
import asyncio, sys
from slixmpp_e2e.store import SQLStore
from xmpp_e2e.states import State
from xmpp_e2e.types import Fingerprint

async def main():
    with SQLStore.open(sys.argv[1]) as store:
        print("ready", flush=True)
        for number in range(100000):
            key = Fingerprint.of(str(number).encode())
            await store.run(store.pin, f"{number}@localhost", key, 1.0)
            print(number, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("told", [1, 7, 40])
def test_a_kill_in_the_middle_of_a_write_takes_back_nothing_that_was_told(tmp_path: Path, told: int) -> None:
    path = tmp_path / "store.db"
    SQLStore.open(path).close()
    with Running(WRITER, path) as process:
        assert process.stdout.readline() == "ready\n"
        for number in range(told):
            assert process.stdout.readline() == f"{number}\n"
        process.kill()
        told += len(process.stdout.read().split())
    with SQLStore.open(path) as store:
        for number in range(told):
            [key] = store.known_keys(f"{number}@localhost").keys
            assert key.fingerprint == Fingerprint.of(str(number).encode())
            assert len(store.history(f"{number}@localhost")) == 1
