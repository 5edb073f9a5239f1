"""Who is online: learnt from presence, kept over a resumption, and nobody is taken for offline right after a login."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from slixmpp import Presence

from slixmpp_e2e.errors import PeerOffline
from slixmpp_e2e.xmpp import presence as presences
from slixmpp_e2e.xmpp.presence import Presences
from tests.slixmpp_e2e.world import ALICE, BOB, Heard, World, e2e, until
from xmpp_loopback import back_online

OURS, BARE = "alice@localhost", "bob@localhost"


def presence(resource: str, kind: str | None = None, priority: str = "") -> Presence:
    stanza = Presence()
    stanza["from"] = f"{BARE}/{resource}" if resource else BARE
    if kind:
        stanza.xml.set("type", kind)
    if priority:
        stanza.xml.append(stanza.xml.makeelement("{jabber:client}priority", {}))
        stanza.xml[0].text = priority
    return stanza


@pytest.fixture
async def known() -> Presences:
    return Presences(asyncio.get_running_loop())


async def names(known: Presences) -> list[str]:
    return [jid.partition("/")[2] for jid in await known.online(OURS, BARE)]


async def test_the_best_resource_comes_first(known: Presences) -> None:
    """By priority; nonsense counts as 0, and the last presence of a resource counts."""
    for resource, priority in (("low", "-5"), ("none", ""), ("high", "7"), ("odd", "x"), ("moved", "9")):
        known.notice(OURS, presence(resource, None, priority))
    known.notice(OURS, presence("moved", None, "-9"))
    assert await names(known) == ["high", "none", "odd", "low", "moved"]


async def test_what_slixmpp_knows_is_adopted(known: Presences) -> None:
    """Who is online, with his priorities; who is not has no place."""
    resources: Any = {"low": {"priority": -1}, "none": {}, "high": {"priority": 5}}
    roster: Any = {BARE: SimpleNamespace(resources=resources), "carol@localhost": SimpleNamespace(resources={})}
    known.adopt(OURS, roster)
    assert await names(known) == ["high", "none", "low"]
    assert list(known._known) == [(OURS, BARE)]


async def test_who_is_not_there_is_waited_for_only_after_a_login(known: Presences) -> None:
    """Later on the answer is there at once."""
    with pytest.raises(StopIteration):
        known.online(OURS, BARE).send(None)


@pytest.mark.parametrize("kind", ["unavailable", "error"])
async def test_who_leaves_is_forgotten(known: Presences, kind: str) -> None:
    """Resource by resource; subscriptions and what comes from a bare JID change nothing."""
    known.notice(OURS, presence("a"))
    known.notice(OURS, presence("b"))
    for other in (presence("a", "subscribe"), presence("", "unavailable"), presence(""), presence("a", "probe")):
        known.notice(OURS, other)
    known.notice("another@localhost", presence("a", kind))
    assert await names(known) == ["a", "b"]
    known.notice(OURS, presence("a", kind))
    assert await names(known) == ["b"]
    known.notice(OURS, presence("b", kind))
    assert not known._known


async def test_what_is_kept_is_bounded(known: Presences, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resources of an account, and accounts: the one that was heard of longest ago goes."""
    monkeypatch.setattr(presences, "RESOURCES", 2)
    monkeypatch.setattr(presences, "ACCOUNTS", 2)
    for resource in "abc":
        known.notice(OURS, presence(resource))
    assert await names(known) == ["a", "b"]
    for account in ("one@localhost", "two@localhost"):
        known.notice(account, presence("a"))
    assert await names(known) == []
    assert [key[0] for key in known._known] == ["one@localhost", "two@localhost"]


async def test_a_message_right_after_the_login_waits_for_presence(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """To a bare JID, sent before the contact's presence can be here: inside, not in clear as to a stranger."""
    bob = await world.client(BOB)
    monkeypatch.setattr(presences, "ARRIVAL_SECONDS", 10.0)
    alice, heard = world.make(ALICE), Heard(bob, "message")
    alice.add_event_handler("session_start", lambda event: alice.send_message(mto="bob@localhost", mbody="good morning"))
    assert not await back_online(alice, world.server)
    alice.send_presence()
    await alice.get_roster()
    assert str((await heard.take())["e2e"]["assurance"]) == "vouched"
    assert world.in_clear("good morning") == []


async def test_the_wait_after_the_login_ends(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has not appeared by then is offline; later nobody is waited for at all."""
    monkeypatch.setattr(presences, "ARRIVAL_SECONDS", 0.1)
    alice = await world.client(ALICE, policy="require")
    failed = Heard(alice, "e2e_send_failed")
    for _ in range(2):
        alice.send_message(mto="bob@localhost", mbody="anybody?")
        assert isinstance((await failed.take()).error, PeerOffline)
    assert not e2e(alice).switchboard.presences._waiting


async def test_who_is_online_is_known_after_a_resumption(world: World) -> None:
    """slixmpp's roster forgets it: a first message to a contact's bare JID would leave in clear."""
    bob = await world.client(BOB)
    alice = await world.client(ALICE, "xep_0198")
    await world.settle(alice, bob)
    ended, heard = Heard(alice, "disconnected"), Heard(bob, "message")
    world.server.disconnect(ALICE)
    await ended.take()
    assert await back_online(alice, world.server)
    assert not alice.client_roster["bob@localhost"].resources
    alice.send_message(mto="bob@localhost", mbody="still there?")
    assert str((await heard.take())["e2e"]["assurance"]) == "vouched"
    assert world.in_clear("still there?") == []


async def test_a_new_stream_begins_with_nobody(world: World) -> None:
    """Who left while we were away must not be taken for online."""
    alice, bob = await world.pair(policy="require")
    ended = Heard(alice, "disconnected")
    world.server.disconnect(ALICE)
    await ended.take()
    gone = Heard(bob, "disconnected")
    world.server.disconnect(BOB)
    await gone.take()
    assert not await back_online(alice, world.server)
    failed = Heard(alice, "e2e_send_failed")
    alice.send_message(mto="bob@localhost", mbody="anybody?")
    assert "cannot be reached" in str((await failed.take()).error)
    with pytest.raises(PeerOffline):
        await until(e2e(alice).connect("bob@localhost"))


async def test_the_occupants_of_a_room_are_not_kept(world: World) -> None:
    """A busy room has thousands, and none of them is a peer."""
    alice = await world.client(ALICE)
    online = Heard(alice, "presence_available")
    for stanza in (alice.make_presence(pto="room@localhost/alice"),):
        stanza.xml.append(stanza.xml.makeelement("{http://jabber.org/protocol/muc}x", {}))
        stanza.send()
    await world.settle(alice)
    world.server.inject(ALICE, f"<presence from='room@localhost/bob' to='{ALICE}'/>")
    while (await online.take())["from"].full != "room@localhost/bob":
        pass
    assert not [key for key in e2e(alice).switchboard.presences._known if key[1] == "room@localhost"]
