"""Decisions about keys by another process reach our sessions, and no session means no polling."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e.store import SQLStore, StoreError, StoreReason, path_for
from slixmpp_e2e.trust import store_poller
from slixmpp_e2e.trust.store_poller import StorePoller
from tests.forked import Forked
from tests.slixmpp_e2e.env import ALICE, BOB, PATIENCE, Env, Events, e2e, until
from xmpp_e2e.errors import UntrustedKey
from xmpp_e2e.types import Assurance, Fingerprint
from xmpp_e2e_cli.__main__ import main

OTHER = Fingerprint(bytes(range(32)))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_poller, "POLL_SECONDS", 0.01)


async def pair(env: Env, tmp_path: Path, **config: str) -> tuple[ClientXMPP, ClientXMPP]:
    store = path_for("alice@localhost", tmp_path / "xmpp-e2e")
    alice, bob = await env.client(ALICE, store_path=str(store), **config), await env.client(BOB)
    await env.settle(alice, bob)
    return alice, bob


async def command(tmp_path: Path, *words: str) -> None:
    environment = os.environ | {"XDG_DATA_HOME": str(tmp_path)}
    nothing = os.open(os.devnull, os.O_RDWR)
    process = Forked(main, ["trust", *words, "--account", "alice@localhost"], (nothing, nothing, 2), environment, tmp_path)
    os.close(nothing)
    assert await asyncio.to_thread(process.wait, PATIENCE) == 0


async def test_a_pin_in_another_process_releases_a_queued_message(env: Env, tmp_path: Path) -> None:
    """`xmpp-e2e trust pin` opens the waiting session of a running bot."""
    alice, bob = await pair(env, tmp_path, trust_model="server-untrusted")
    heard, failed = Events(bob, "message"), Events(alice, "e2e_send_failed")
    alice.send_message(mto=BOB, mbody="for Bob only")
    link = await until(e2e(alice).connect(BOB))
    assert not link.is_open
    await command(tmp_path, "pin", "bob@localhost", str(link.fingerprint))
    assert await heard.bodies(1) == ["for Bob only"]
    await until(link.wait_open())
    assert link.assurance is Assurance.VERIFIED
    assert len(failed) == 0
    assert env.in_clear("for Bob only") == []


async def test_a_block_in_another_process_ends_an_open_session(env: Env, tmp_path: Path) -> None:
    alice, bob = await pair(env, tmp_path)
    ended, failed = Events(alice, "e2e_session_closed"), Events(alice, "e2e_send_failed")
    ours, _ = await env.session(alice, bob)
    await command(tmp_path, "block", "bob@localhost", str(ours.fingerprint))
    assert isinstance((await ended.take()).error, UntrustedKey)
    alice.send_message(mto=BOB, mbody="for Bob only")
    assert isinstance((await failed.take()).error, UntrustedKey)
    assert env.in_clear("for Bob only") == []


async def test_forgetting_the_other_key_in_another_process_opens_the_session(env: Env, tmp_path: Path) -> None:
    """The pinned key was a mistake."""
    alice, _ = await pair(env, tmp_path)
    await e2e(alice).trust.pin(BOB, OTHER)
    link = await until(e2e(alice).connect(BOB))
    assert not link.is_open
    with SQLStore.open(e2e(alice)._store.path) as other:
        other.forget("bob@localhost", OTHER, 2.0)
    await until(link.wait_open())


class Polled:
    """A poller, what it reported, and a store that is opened twice, as by two processes."""

    def __init__(self, path: Path) -> None:
        self.own, self.elsewhere = SQLStore.open(path), SQLStore.open(path)
        self.sessions = 1
        self.reported: asyncio.Queue[str] = asyncio.Queue()
        self.looks: asyncio.Queue[None] = asyncio.Queue()
        self.error: StoreError | None = None
        self.errors: list[StoreError] = []
        self.poller = StorePoller(
            asyncio.get_running_loop,
            self.own,
            has_sessions=self.has_sessions,
            on_keys_changed=self.keys_changed,
            on_policy_changed=self.reported.put_nowait,
            check_own_key=lambda: None,
            on_error=self.errors.append,
        )

    def has_sessions(self) -> bool:
        self.looks.put_nowait(None)
        return self.sessions > 0

    def keys_changed(self, bare: str) -> None:
        if self.error is not None:
            raise self.error
        self.reported.put_nowait(bare)

    async def look(self, times: int = 1) -> None:
        while not self.looks.empty():
            self.looks.get_nowait()
        for _ in range(times):
            await until(self.looks.get())

    def taken(self) -> list[str]:
        return [self.reported.get_nowait() for _ in range(self.reported.qsize())]


@pytest.fixture
def polled(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[], Polled]:
    def make() -> Polled:
        made = Polled(tmp_path / "store.db")
        request.addfinalizer(made.own.close)
        request.addfinalizer(made.elsewhere.close)
        return made

    return make


async def test_only_decisions_are_reported(polled: Callable[[], Polled]) -> None:
    made = polled()
    made.elsewhere.pin("before@localhost", OTHER, 1.0)
    made.poller.start()
    made.elsewhere.remember_key("first@localhost", OTHER, Assurance.VOUCHED, "route", 1.0)
    made.elsewhere.record_e2e_use("first@localhost", 1.0)
    await made.look(2)
    assert made.taken() == []
    made.elsewhere.pin("pinned@localhost", OTHER, 1.0)
    made.elsewhere.block("blocked@localhost", OTHER, 1.0)
    made.elsewhere.forget("first@localhost", None, 1.0)
    await made.look(3)
    assert made.taken() == ["blocked@localhost", "first@localhost", "pinned@localhost"]
    made.poller.stop()


async def test_a_second_session_hides_no_decision_from_the_first(polled: Callable[[], Polled]) -> None:
    """A decision since the last look is reported even if another session begins in between."""
    made = polled()
    made.poller.start()
    made.elsewhere.pin("pinned@localhost", OTHER, 1.0)
    made.poller.start()
    assert await until(made.reported.get()) == "pinned@localhost"
    made.poller.stop()


async def test_there_is_no_polling_without_sessions(polled: Callable[[], Polled], monkeypatch: pytest.MonkeyPatch) -> None:
    """The last look sets no timer; the next session begins again."""
    made = polled()
    made.poller.start()
    made.sessions = 0
    await made.look()
    timers: list[float] = []
    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", lambda seconds, look: timers.append(seconds))
    made.poller.start()
    assert timers == [store_poller.POLL_SECONDS]
    made.poller._poll()
    assert timers == [store_poller.POLL_SECONDS]


async def test_a_failing_store_is_reported_once_and_polled_again(polled: Callable[[], Polled]) -> None:
    """A decision is not lost when the disk is full."""
    made = polled()
    made.poller.start()
    made.error = StoreError(made.elsewhere.path, "the disk is full", StoreReason.FULL)
    made.elsewhere.pin("pinned@localhost", OTHER, 1.0)
    await made.look(4)
    assert made.taken() == []
    assert made.errors == [made.error]
    made.error = None
    assert await until(made.reported.get()) == "pinned@localhost"
    made.poller.stop()


async def test_a_poller_that_never_started_can_be_stopped(polled: Callable[[], Polled]) -> None:
    made = polled()
    made.poller.stop()
    assert made.poller._timer is None


async def test_an_unloaded_plugin_does_not_poll(env: Env) -> None:
    alice, bob = await env.pair()
    await env.session(alice, bob)
    timer = e2e(alice)._client._poller._timer
    assert timer is not None
    env.unload(alice)
    assert timer.cancelled()


async def test_our_own_decision_is_no_news(polled: Callable[[], Polled]) -> None:
    """Whoever decided has read it, and a session that has begun since must not take its own key for one known before."""
    made = polled()
    made.poller.start()
    made.elsewhere.pin("pinned@localhost", OTHER, 1.0)
    made.own.pin("own@localhost", OTHER, 1.0)
    made.poller.keys.skip("own@localhost")
    await made.look(2)
    assert made.taken() == ["pinned@localhost"]
    made.poller.stop()
