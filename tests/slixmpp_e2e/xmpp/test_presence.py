"""Presence tells who is online, over a resumption too, and right after a login nobody counts as offline."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from slixmpp import Presence

from slixmpp_e2e.errors import PeerOffline
from slixmpp_e2e.xmpp import presence as presence_module
from slixmpp_e2e.xmpp.presence import PresenceCache
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e, until
from tests.slixmpp_e2e.messages.stanzas import MUC, stanza
from xmpp_loopback import Subscription, reconnect

OURS, BARE, STRANGER = "alice@localhost", "bob@localhost", "eve@evil.test"


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
async def known() -> PresenceCache:
    return PresenceCache(time.monotonic, lambda account: account != STRANGER)


async def names(known: PresenceCache) -> list[str]:
    return [jid.partition("/")[2] for jid in await known.online(OURS, BARE)]


async def test_the_best_resource_comes_first(known: PresenceCache) -> None:
    for resource, priority in (("low", "-5"), ("none", ""), ("high", "7"), ("odd", "x"), ("moved", "9")):
        known.update(OURS, presence(resource, None, priority))
    known.update(OURS, presence("moved", None, "-9"))
    assert await names(known) == ["high", "none", "odd", "low", "moved"]


async def test_the_roster_of_slixmpp_is_loaded(known: PresenceCache) -> None:
    resources: Any = {"low": {"priority": -1}, "none": {}, "high": {"priority": 5}}
    roster: Any = {BARE: SimpleNamespace(resources=resources), "carol@localhost": SimpleNamespace(resources={})}
    known.load_roster(OURS, roster)
    assert await names(known) == ["high", "none", "low"]
    assert list(known._contacts) == [(OURS, BARE)]


async def test_presence_is_awaited_only_after_a_login(known: PresenceCache) -> None:
    with pytest.raises(StopIteration):
        known.online(OURS, BARE).send(None)


@pytest.mark.parametrize("kind", ["unavailable", "error"])
async def test_a_resource_that_leaves_is_forgotten(known: PresenceCache, kind: str) -> None:
    known.update(OURS, presence("a"))
    known.update(OURS, presence("b"))
    for other in (presence("a", "subscribe"), presence("", "unavailable"), presence(""), presence("a", "probe")):
        known.update(OURS, other)
    known.update("another@localhost", presence("a", kind))
    assert await names(known) == ["a", "b"]
    known.update(OURS, presence("a", kind))
    assert await names(known) == ["b"]
    known.update(OURS, presence("b", kind))
    assert not known._contacts


async def test_what_is_kept_is_bounded(known: PresenceCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence_module, "RESOURCES", 2)
    monkeypatch.setattr(presence_module, "CONTACTS", 2)
    for resource in "abc":
        known.update(OURS, presence(resource))
    assert await names(known) == ["a", "b"]
    for account in ("one@localhost", "two@localhost"):
        known.update(account, presence("a"))
    assert await names(known) == []
    assert [key[0] for key in known._contacts] == ["one@localhost", "two@localhost"]


async def test_strangers_take_no_contacts_place(known: PresenceCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many send presence; of theirs the last are kept. Who becomes a contact is one from their next presence on."""
    monkeypatch.setattr(presence_module, "STRANGERS", 2)
    known.update(OURS, presence("a"))
    stranger = presence("x")
    stranger["from"] = f"{STRANGER}/x"
    for number in range(20_000):
        known.update(f"{number % 3}@localhost", stranger)
    assert await names(known) == ["a"]
    assert list(known._strangers) == [("0@localhost", STRANGER), ("1@localhost", STRANGER)]
    known._is_contact = lambda account: True
    known.update("1@localhost", stranger)
    assert (len(known._strangers), len(known._contacts)) == (1, 2)
    assert await known.online("1@localhost", STRANGER) == [f"{STRANGER}/x"]
    assert await known.online("0@localhost", STRANGER) == [f"{STRANGER}/x"]


async def test_who_is_in_the_roster_is_no_stranger(env: Env) -> None:
    """Until the roster has come, nobody is: simple bots never ask for it."""
    env.server.set_subscription("alice@localhost", "bob@localhost", Subscription.TO)
    env.server.set_subscription("alice@localhost", "carol@localhost", Subscription.NONE)
    alice = env.make(ALICE, accept_from="anyone")
    allowed = e2e(alice)._client.allow_list
    await reconnect(alice, env.server)
    assert allowed.is_in_roster("carol@localhost")
    await alice.get_roster()
    await env.settle(alice)
    accounts = ("alice@localhost", "bob@localhost", "carol@localhost", "eve@evil.test")
    assert [allowed.is_in_roster(account) for account in accounts] == [True, True, False, False]


async def test_a_message_right_after_the_login_waits_for_presence(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that is sent before the contact's presence can have come is encrypted, not plaintext as to a stranger."""
    bob = await env.client(BOB)
    monkeypatch.setattr(presence_module, "ARRIVAL_SECONDS", 10.0)
    alice, heard = env.make(ALICE), Events(bob, "message")
    alice.add_event_handler("session_start", lambda event: alice.send_message(mto="bob@localhost", mbody="good morning"))
    assert not await reconnect(alice, env.server)
    alice.send_presence()
    await alice.get_roster()
    assert str((await heard.take())["e2e"]["assurance"]) == "vouched"
    assert env.in_clear("good morning") == []


async def test_the_wait_after_the_login_ends(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """A contact who has not appeared by then is offline, and later nobody is waited for."""
    monkeypatch.setattr(presence_module, "ARRIVAL_SECONDS", 0.1)
    alice = await env.client(ALICE, policy="require")
    failed = Events(alice, "e2e_send_failed")
    for _ in range(2):
        alice.send_message(mto="bob@localhost", mbody="anybody?")
        assert isinstance((await failed.take()).error, PeerOffline)
    assert not e2e(alice)._client._presence._arriving


async def test_who_is_online_is_known_after_a_resumption(env: Env) -> None:
    bob = await env.client(BOB)
    alice = await env.client(ALICE, "xep_0198")
    await env.settle(alice, bob)
    ended, heard = Events(alice, "disconnected"), Events(bob, "message")
    env.server.disconnect(ALICE)
    await ended.take()
    assert await reconnect(alice, env.server)
    assert not alice.client_roster["bob@localhost"].resources
    alice.send_message(mto="bob@localhost", mbody="still there?")
    assert str((await heard.take())["e2e"]["assurance"]) == "vouched"
    assert env.in_clear("still there?") == []


async def test_a_new_stream_begins_with_nobody(env: Env) -> None:
    """A peer who left while we were away is not taken for online."""
    alice, bob = await env.pair(policy="require")
    ended = Events(alice, "disconnected")
    env.server.disconnect(ALICE)
    await ended.take()
    gone = Events(bob, "disconnected")
    env.server.disconnect(BOB)
    await gone.take()
    assert not await reconnect(alice, env.server)
    failed = Events(alice, "e2e_send_failed")
    alice.send_message(mto="bob@localhost", mbody="anybody?")
    assert "cannot be reached" in str((await failed.take()).error)
    with pytest.raises(PeerOffline):
        await until(e2e(alice).connect("bob@localhost"))


async def test_the_occupants_of_a_room_are_not_kept(env: Env) -> None:
    """A busy room has thousands of occupants, and none of them is a peer."""
    alice = await env.client(ALICE)
    online = Events(alice, "presence_available")
    alice.send(stanza("presence", "", MUC, to="room@localhost/alice"))
    await env.settle(alice)
    env.server.inject(ALICE, f"<presence from='room@localhost/bob' to='{ALICE}'/>")
    while (await online.take())["from"].full != "room@localhost/bob":
        pass
    assert not [key for key in e2e(alice)._client._presence._contacts if key[1] == "room@localhost"]


async def test_several_bots_of_a_component_share_the_room(known: PresenceCache) -> None:
    """Five with 5,000 contacts each: nobody counts as offline."""
    for bot in range(5):
        for number in range(5000):
            stanza = presence("x")
            stanza["from"] = f"{number}@localhost/x"
            known.update(f"{bot}@bots.localhost", stanza)
    assert len({*known._contacts, *known._strangers}) == 25_000
