"""The disk fills up while sessions run: what needs nothing of it goes on, what does fails aloud, and nothing is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e.sessions.driver import Link
from slixmpp_e2e.store import SQLStore, StoreFull
from tests.slixmpp_e2e.disk import exhaust
from tests.slixmpp_e2e.world import ALICE, BOB, Heard, World, e2e, until
from xmpp_e2e.identity import Assurance

CAROL = "carol@localhost/c"


@dataclass
class Full:
    """Alice, whose disk is full, in a session with Bob; and Carol, whom she has never met."""

    alice: ClientXMPP
    bob: ClientXMPP
    carol: ClientXMPP
    link: Link
    ballast: Path


@pytest.fixture
async def full(world: World, disk: Path) -> AsyncIterator[Full]:
    alice, bob = await world.client(ALICE, store=str(disk / "alice.db")), await world.client(BOB)
    link, _ = await world.session(alice, bob)
    carol = await world.client(CAROL)
    await world.settle(alice, bob, carol)
    ballast = exhaust(disk)
    lost = [Heard(client, "disconnected") for client in (alice, bob, carol)]
    yield Full(alice, bob, carol, link, ballast)
    assert not any(map(len, lost))


def assert_says_so(error: BaseException) -> None:
    assert isinstance(error, StoreFull)
    assert "alice.db: the disk is full" in str(error)
    assert "Nothing was lost" in error.explain()
    assert "Make room and try again" in error.explain()


async def test_a_running_session_goes_on(full: Full) -> None:
    """There is nothing to be written for a stanza, nor for another session with somebody who is known."""
    heard, replies = Heard(full.bob, "message"), Heard(full.alice, "message")
    for word in ("in the old session", "in a new one"):
        full.alice.send_message(mto=BOB, mbody=word)
        full.bob.send_message(mto=ALICE, mbody=word)
        assert await heard.bodies(1) == await replies.bodies(1) == [word]
        await until(full.link.close())
    (link,) = e2e(full.alice).sessions()
    assert link.assurance is Assurance.KNOWN


async def test_what_its_user_decides_is_refused_aloud_and_nothing_is_lost(full: Full) -> None:
    """A pin that cannot be kept is no pin; the session lives, and with room the same call succeeds."""
    store, bob = e2e(full.alice).memory, e2e(full.bob).fingerprint
    before = store.remembered("bob@localhost"), store.history("bob@localhost")
    with pytest.raises(StoreFull) as caught:
        await e2e(full.alice).trust.pin(BOB, bob)
    assert_says_so(caught.value)
    assert (store.remembered("bob@localhost"), store.history("bob@localhost")) == before
    assert full.link.is_open
    assert full.link.assurance.name == "VOUCHED"
    full.ballast.unlink()
    await e2e(full.alice).trust.pin(BOB, bob)
    assert full.link.assurance.name == "VERIFIED"
    with SQLStore.open(store.path) as other:  # as whoever opens it next
        assert other.remembered("bob@localhost").any_verified


async def test_a_stranger_who_cannot_be_remembered_gets_no_session(world: World, full: Full) -> None:
    """Both users are told, nothing that he said is delivered, or that we would say in clear; with room he is welcome."""
    ended, heard = Heard(full.alice, "e2e_session_end"), Heard(full.alice, "message")
    failed, unsent = Heard(full.carol, "e2e_send_failed"), Heard(full.alice, "e2e_send_failed")
    full.carol.send_message(mto=ALICE, mbody="said in vain")
    happened = await ended.take()
    assert happened.peer == CAROL
    assert_says_so(happened.detail.error)
    assert (await failed.take()).stanza["body"] == "said in vain"
    full.alice.send_message(mto=CAROL, mbody="unsaid words")
    assert_says_so((await unsent.take()).error)
    assert full.link.is_open
    full.ballast.unlink()
    full.carol.send_message(mto=ALICE, mbody="said again")
    assert await heard.bodies(1) == ["said again"]
    assert e2e(full.alice).memory.peers() == ("bob@localhost", "carol@localhost")
    assert world.in_clear("said in vain", "unsaid words", "said again") == []
