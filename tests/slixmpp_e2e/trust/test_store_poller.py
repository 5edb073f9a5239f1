"""What is decided about keys in another process reaches the sessions that this one has; nothing is asked without need."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e.store import SQLStore, StoreError, StoreFull, path_for
from slixmpp_e2e.trust import store_poller as watch
from slixmpp_e2e.trust.store_poller import Watch
from tests.forked import Forked
from tests.slixmpp_e2e.world import ALICE, BOB, PATIENCE, Heard, World, e2e, until
from xmpp_e2e.errors import UntrustedKey
from xmpp_e2e.identity import Assurance, Fingerprint
from xmpp_e2e_cli.__main__ import main

OTHER = Fingerprint(bytes(range(32)))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has a second to spare."""
    monkeypatch.setattr(watch, "WATCH_SECONDS", 0.01)


async def pair(world: World, tmp_path: Path, **config: str) -> tuple[ClientXMPP, ClientXMPP]:
    """Alice, whose store is where the command looks for it, and Bob."""
    store = path_for("alice@localhost", tmp_path / "xmpp-e2e")
    alice, bob = await world.client(ALICE, store=str(store), **config), await world.client(BOB)
    await world.settle(alice, bob)
    return alice, bob


async def command(tmp_path: Path, *words: str) -> None:
    """What Alice types in another window."""
    environment = os.environ | {"XDG_DATA_HOME": str(tmp_path)}
    nothing = os.open(os.devnull, os.O_RDWR)
    process = Forked(main, ["trust", *words, "--account", "alice@localhost"], (nothing, nothing, 2), environment, tmp_path)
    os.close(nothing)
    assert await asyncio.to_thread(process.wait, PATIENCE) == 0


async def test_a_pin_in_another_process_lets_a_held_message_go(world: World, tmp_path: Path) -> None:
    """`xmpp-e2e trust pin`, as the message to the user says, while the bot runs: the very session that waited opens."""
    alice, bob = await pair(world, tmp_path, trust_model="server-untrusted")
    heard, failed = Heard(bob, "message"), Heard(alice, "e2e_send_failed")
    alice.send_message(mto=BOB, mbody="for Bob only")
    link = await until(e2e(alice).connect(BOB))
    assert not link.is_open
    await command(tmp_path, "pin", "bob@localhost", str(link.fingerprint))
    assert await heard.bodies(1) == ["for Bob only"]
    await until(link.opened())
    assert link.assurance is Assurance.VERIFIED
    assert len(failed) == 0
    assert world.in_clear("for Bob only") == []


async def test_a_block_in_another_process_ends_an_open_session(world: World, tmp_path: Path) -> None:
    """And what is sent afterwards is refused, not sent in clear."""
    alice, bob = await pair(world, tmp_path)
    ended, failed = Heard(alice, "e2e_session_end"), Heard(alice, "e2e_send_failed")
    ours, _ = await world.session(alice, bob)
    await command(tmp_path, "block", "bob@localhost", str(ours.fingerprint))
    assert isinstance((await ended.take()).detail.error, UntrustedKey)
    alice.send_message(mto=BOB, mbody="for Bob only")
    assert isinstance((await failed.take()).error, UntrustedKey)
    assert world.in_clear("for Bob only") == []


async def test_forgetting_the_other_key_in_another_process_lets_the_session_go_on(world: World, tmp_path: Path) -> None:
    """The key that was pinned was the mistake."""
    alice, _ = await pair(world, tmp_path)
    await e2e(alice).trust.pin(BOB, OTHER)
    link = await until(e2e(alice).connect(BOB))
    assert not link.is_open
    with SQLStore.open(e2e(alice).memory.path) as other:
        other.forget("bob@localhost", OTHER, 2.0)
    await until(link.opened())


# --- the watch alone -------------------------------------------------------------------------------------------------


class Watched:
    """A watch over a store, what it told, and another process."""

    def __init__(self, path: Path) -> None:
        self.own, self.elsewhere = SQLStore.open(path), SQLStore.open(path)
        self.sessions = 1
        self.told: asyncio.Queue[str] = asyncio.Queue()
        self.looks: asyncio.Queue[None] = asyncio.Queue()
        self.error: StoreError | None = None
        self.said: list[StoreError] = []
        self.loop = asyncio.get_running_loop()
        self.watch = Watch(self, self.own)

    def has_sessions(self) -> bool:
        self.looks.put_nowait(None)
        return self.sessions > 0

    def store_failed(self, error: StoreError) -> None:
        self.said.append(error)

    def trust_changed(self, bare: str) -> None:
        if self.error is not None:
            raise self.error
        self.told.put_nowait(bare)

    async def look(self, times: int = 1) -> None:
        """Until it has begun to look so many times from now on, and finished before that."""
        while not self.looks.empty():
            self.looks.get_nowait()
        for _ in range(times):
            await until(self.looks.get())

    def taken(self) -> list[str]:
        """What was told."""
        return [self.told.get_nowait() for _ in range(self.told.qsize())]


@pytest.fixture
def watched(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[], Watched]:
    """Makes one, inside the event loop."""

    def make() -> Watched:
        made = Watched(tmp_path / "store.db")
        request.addfinalizer(made.own.close)
        request.addfinalizer(made.elsewhere.close)
        return made

    return make


async def test_decisions_are_told_and_nothing_else(watched: Callable[[], Watched]) -> None:
    """What was decided before, first contacts and policies judge no session anew; each decision does, once."""
    made = watched()
    made.elsewhere.pin("before@localhost", OTHER, 1.0)
    made.watch.start()
    made.elsewhere.accept("first@localhost", OTHER, Assurance.VOUCHED, "route", 1.0)
    made.elsewhere.mark_seen("first@localhost", 1.0)
    await made.look(2)
    assert made.taken() == []
    made.elsewhere.pin("pinned@localhost", OTHER, 1.0)
    made.elsewhere.block("blocked@localhost", OTHER, 1.0)
    made.elsewhere.forget("first@localhost", None, 1.0)
    await made.look(3)
    assert made.taken() == ["blocked@localhost", "first@localhost", "pinned@localhost"]
    made.watch.stop()


async def test_a_second_session_hides_no_decision_from_the_first(watched: Callable[[], Watched]) -> None:
    """What was decided since the last look is still to be told when another one begins."""
    made = watched()
    made.watch.start()
    made.elsewhere.pin("pinned@localhost", OTHER, 1.0)
    made.watch.start()
    assert await until(made.told.get()) == "pinned@localhost"
    made.watch.stop()


async def test_without_sessions_nobody_looks(watched: Callable[[], Watched], monkeypatch: pytest.MonkeyPatch) -> None:
    """The last look finds none and makes no other; the next session begins anew."""
    made = watched()
    made.watch.start()
    made.sessions = 0
    await made.look()
    timers: list[float] = []
    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", lambda seconds, look: timers.append(seconds))
    made.watch.start()
    assert timers == [watch.WATCH_SECONDS]
    made.watch._look()
    assert timers == [watch.WATCH_SECONDS]


async def test_a_store_that_fails_is_said_once_and_asked_again(watched: Callable[[], Watched]) -> None:
    """A decision is not lost because the disk was full when it was to be read."""
    made = watched()
    made.watch.start()
    made.error = StoreFull(made.elsewhere.path, "the disk is full")
    made.elsewhere.pin("pinned@localhost", OTHER, 1.0)
    await made.look(4)
    assert made.taken() == []
    assert made.said == [made.error]
    made.error = None
    assert await until(made.told.get()) == "pinned@localhost"
    made.watch.stop()


async def test_what_never_looked_can_be_stopped(watched: Callable[[], Watched]) -> None:
    """A plugin is unloaded that has had no session."""
    made = watched()
    made.watch.stop()
    assert made.watch._timer is None


async def test_an_unloaded_plugin_looks_no_more(world: World) -> None:
    """Its store is closed."""
    alice, bob = await world.pair()
    await world.session(alice, bob)
    timer = e2e(alice).switchboard._watch._timer
    assert timer is not None
    world.unload(alice)
    assert timer.cancelled()
