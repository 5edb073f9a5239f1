"""A program ends and starts again with the same store: what it has had does not come again."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing as closing_file
from dataclasses import dataclass
from typing import Any

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e.sessions import handled_counts
from slixmpp_e2e.sessions.handled_counts import HandledCounts
from tests.slixmpp_e2e.env import BOB, Env, Events, block, e2e, turns, until
from xmpp_loopback import online

BODIES = ["0", "1", "2"]
BOB_2 = f"{BOB}2"


@dataclass
class Cut:
    """Alice has sent, and Bob has got it all; nothing that he says comes through."""

    env: Env
    alice: ClientXMPP
    bob: ClientXMPP
    delivered: Events
    store: str

    async def end(self, how: str) -> None:
        """Bob's program ends."""
        lost = Events(self.bob, "disconnected")
        if how == "unload":
            self.env.unload(self.bob)
            await turns()
        if how == "abort":
            self.bob.abort()
        else:
            await until(self.bob.disconnect())
        await lost.take()

    async def restart(self, jid: str = BOB) -> Events:
        """Bob's next run, with the same store. Return what it hears."""
        self.env.server.hooks.clear()
        again = self.env.make(jid, store_path=self.store)
        heard = Events(again, "message")
        await online(again, self.env.server)
        return heard

    async def acknowledged(self) -> list[str]:
        return [(await self.delivered.take()).stanza["body"] for _ in BODIES]


async def cut(env: Env) -> Cut:
    return await cut_between(env, *await env.pair(offline_seconds=60, disconnect_seconds=0.1))


async def cut_between(env: Env, alice: ClientXMPP, bob: ClientXMPP) -> Cut:
    await env.session(alice, bob)
    heard, delivered = Events(bob, "message"), Events(alice, "e2e_delivered")
    env.hold(lambda stanza, sender: sender == BOB and block(stanza, sender))
    for body in BODIES:
        alice.send_message(mto=BOB, mbody=body, mtype="chat")
    assert await heard.bodies(3) == BODIES
    return Cut(env, alice, bob, delivered, str(e2e(bob)._store.path))


@pytest.mark.parametrize("jid", [BOB, BOB_2], ids=["same resource", "another"])
@pytest.mark.parametrize("how", ["disconnect", "unload", "abort"])
async def test_nothing_comes_twice(env: Env, how: str, jid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next session between the same keys resumes, whatever its resource. Nothing was noted before the end."""
    monkeypatch.setattr(handled_counts, "NOTE_SECONDS", 3600.0)
    path = await cut(env)
    failed = Events(path.alice, "e2e_send_failed")
    await path.end(how)
    heard = await path.restart(jid)
    path.alice.send_message(mto=jid, mbody="next", mtype="chat")
    assert await heard.bodies(1) == ["next"]
    assert sorted([*await path.acknowledged(), (await path.delivered.take()).stanza["body"]]) == [*BODIES, "next"]
    assert not len(failed)


async def test_who_only_closes_has_noted_all(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program may end without ``disconnect()``."""
    monkeypatch.setattr(handled_counts, "NOTE_SECONDS", 3600.0)
    path = await cut(env)
    closing = asyncio.ensure_future(e2e(path.bob).close())
    await turns()
    path.alice.abort()  # whom he waits for
    await until(closing)
    with closing_file(sqlite3.connect(path.store)) as connection:
        assert connection.execute("SELECT count FROM handled").fetchall() == [(3,)]


async def test_without_the_note_all_comes_twice(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control."""
    monkeypatch.setattr(handled_counts, "NOTE_SECONDS", 3600.0)
    path = await cut(env)
    monkeypatch.setattr(HandledCounts, "note_now", lambda self: None)
    await path.end("disconnect")
    heard = await path.restart()
    assert await heard.bodies(3) == BODIES
    assert await path.acknowledged() == BODIES


async def test_who_is_killed_gets_again_what_came_last(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL leaves no time for a note, but what came earlier is noted."""
    noted, on_noted = asyncio.Event(), HandledCounts._on_noted

    def tell(self: HandledCounts, *of: Any) -> None:
        on_noted(self, *of)
        noted.set()

    monkeypatch.setattr(HandledCounts, "_on_noted", tell)
    monkeypatch.setattr(handled_counts, "NOTE_SECONDS", 0.2)
    path = await cut(env)
    await until(noted.wait())
    monkeypatch.setattr(handled_counts, "NOTE_SECONDS", 3600.0)
    monkeypatch.setattr(HandledCounts, "note_now", lambda self: None)
    last = Events(path.bob, "message")
    path.alice.send_message(mto=BOB, mbody="last", mtype="chat")
    assert await last.bodies(1) == ["last"]
    await path.end("abort")
    heard = await path.restart()
    assert await path.acknowledged() == BODIES
    assert await heard.bodies(1) == ["last"]
    assert (await path.delivered.take()).stanza["body"] == "last"
    assert not len(heard)


async def test_both_start_again(env: Env) -> None:
    """Alice's program was told that its stanzas may have arrived: nothing of them is sent again."""
    path = await cut(env)
    failed = Events(path.alice, "e2e_send_failed")
    await path.end("disconnect")
    await until(path.alice.disconnect())
    told = [(await failed.take()).stanza["body"] for _ in BODIES]
    assert told == BODIES
    heard = await path.restart()
    alice = await env.client("alice@localhost/a", offline_seconds=60)
    alice.send_message(mto=BOB, mbody="next", mtype="chat")
    assert await heard.bodies(1) == ["next"]


async def test_another_program_with_the_same_store_knows_what_came(env: Env) -> None:
    """It has had its own session with Alice before, and has read nothing of the other's since."""
    alice, bob = await env.pair(offline_seconds=60, disconnect_seconds=0.1)
    beside = await env.client(BOB_2, store_path=str(e2e(bob)._store.path))
    await env.session(alice, beside)
    heard = Events(beside, "message")
    path = await cut_between(env, alice, bob)
    await path.end("disconnect")
    assert await path.acknowledged() == BODIES
    alice.send_message(mto=BOB_2, mbody="next", mtype="chat")
    assert await heard.bodies(1) == ["next"]
