"""The disk fills up while sessions run: what needs no room goes on, what does fails with an error, and nothing is lost."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e import E2ESession
from slixmpp_e2e.store import SQLStore, StoreError, StoreReason
from tests.slixmpp_e2e.disk import exhaust
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e, until
from tests.slixmpp_e2e.store.expect import store_error
from xmpp_e2e.types import Assurance

CAROL = "carol@localhost/c"


@dataclass
class Full:
    """Alice, whose disk is full, in a session with Bob; and Carol, a stranger."""

    alice: ClientXMPP
    bob: ClientXMPP
    carol: ClientXMPP
    session: E2ESession
    ballast: Path


@pytest.fixture
async def full(env: Env, disk: Path) -> AsyncIterator[Full]:
    alice, bob = await env.client(ALICE, store_path=str(disk / "alice.db")), await env.client(BOB)
    session, _ = await env.session(alice, bob)
    carol = await env.client(CAROL)
    await env.settle(alice, bob, carol)
    with closing(sqlite3.connect(disk / "alice.db")) as connection:  # the journal's own room would do for a while
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    ballast = exhaust(disk)
    lost = [Events(client, "disconnected") for client in (alice, bob, carol)]
    yield Full(alice, bob, carol, session, ballast)
    assert not any(map(len, lost))


def assert_full(error: BaseException) -> None:
    assert isinstance(error, StoreError)
    assert error.reason is StoreReason.FULL


async def test_a_running_session_goes_on(full: Full) -> None:
    """Neither a stanza nor another session with a known peer needs to write to the store."""
    heard, replies = Events(full.bob, "message"), Events(full.alice, "message")
    for word in ("in the old session", "in a new one"):
        full.alice.send_message(mto=BOB, mbody=word)
        full.bob.send_message(mto=ALICE, mbody=word)
        assert await heard.bodies(1) == await replies.bodies(1) == [word]
        await until(full.session.close())
    (session,) = e2e(full.alice).sessions()
    assert session.assurance is Assurance.KNOWN


async def test_a_decision_that_cannot_be_stored_is_refused_and_loses_nothing(full: Full) -> None:
    store, key = e2e(full.alice)._store, e2e(full.bob).fingerprint
    before = store.known_keys("bob@localhost"), store.history("bob@localhost")
    with store_error(StoreReason.FULL):
        await e2e(full.alice).trust.pin(BOB, key)
    assert (store.known_keys("bob@localhost"), store.history("bob@localhost")) == before
    assert full.session.is_open
    assert str(full.session.assurance) == "vouched"
    full.ballast.unlink()
    await e2e(full.alice).trust.pin(BOB, key)
    assert full.session.assurance is Assurance.VERIFIED
    with SQLStore.open(store.path) as other:
        assert other.known_keys("bob@localhost").any_verified


async def test_a_stranger_who_cannot_be_remembered_gets_no_session(env: Env, full: Full) -> None:
    """Both users hear of it; nothing of theirs is delivered, and nothing of ours leaves in plaintext. With room it works."""
    ended, heard = Events(full.alice, "e2e_session_failed"), Events(full.alice, "message")
    failed, arrived = Events(full.carol, "e2e_send_failed"), Events(full.carol, "message")
    full.carol.send_message(mto=ALICE, mbody="said in vain")
    closed = await ended.take()
    assert closed.peer == CAROL
    assert_full(closed.error)
    assert (await failed.take()).stanza["body"] == "said in vain"
    try:
        await e2e(full.alice).send(full.alice.make_message(CAROL, "unsaid words"))
    except StoreError as error:
        assert_full(error)
    else:  # Carol, whose own disk has room, had it before she heard of the end
        assert await arrived.bodies(1) == ["unsaid words"]
    assert full.session.is_open
    full.ballast.unlink()
    full.carol.send_message(mto=ALICE, mbody="said again")
    assert await heard.bodies(1) == ["said again"]
    assert e2e(full.alice)._store.peers() == ("bob@localhost", "carol@localhost")
    assert env.in_clear("said in vain", "unsaid words", "said again") == []
