"""Presence tells who is online, over a resumption too, and right after a login nobody counts as offline."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest
from slixmpp import Presence

from slixmpp_e2e.errors import PeerOffline
from slixmpp_e2e.xmpp import presence as presence_module
from slixmpp_e2e.xmpp.presence import PLACES, RESOURCES, PresenceCache
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e, turns, until
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
    assert list(known._contacts.pairs) == [(OURS, BARE)]


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
    assert not known._contacts.pairs


async def test_what_is_kept_is_bounded(known: PresenceCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence_module, "RESOURCES", 2)
    monkeypatch.setattr(presence_module, "PLACES", 2)
    for resource in "abc":
        known.update(OURS, presence(resource))
    assert await names(known) == ["a", "b"]
    for account in ("one@localhost", "two@localhost"):
        known.update(account, presence("a"))
    assert await names(known) == []
    assert [key[0] for key in known._contacts.pairs] == ["one@localhost", "two@localhost"]


async def test_strangers_take_no_contacts_place() -> None:
    """However many send presence; of theirs the last are kept. Who becomes a contact is one from their next presence on."""
    known = PresenceCache(time.monotonic, lambda account: account != STRANGER, places_of_strangers=2)
    known.update(OURS, presence("a"))
    stranger = presence("x")
    stranger["from"] = f"{STRANGER}/x"
    for number in range(20_000):
        known.update(f"{number % 3}@localhost", stranger)
    assert await names(known) == ["a"]
    assert list(known._strangers.pairs) == [("0@localhost", STRANGER), ("1@localhost", STRANGER)]
    known._is_contact = lambda account: True
    known.update("1@localhost", stranger)
    assert (len(known._strangers.pairs), len(known._contacts.pairs)) == (1, 2)
    assert list(await known.online("1@localhost", STRANGER)) == [f"{STRANGER}/x"]
    assert list(await known.online("0@localhost", STRANGER)) == [f"{STRANGER}/x"]


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
    assert not [key for key in e2e(alice)._client._presence._contacts.pairs if key[1] == "room@localhost"]


def user(number: int, resource: str, domain: str = "localhost") -> Presence:
    stanza = Presence()
    stanza["from"] = f"{number}@{domain}/{resource}"
    return stanza


async def crowd(is_contact: bool, places_of_strangers: int) -> PresenceCache:
    """Five bots with 5,000 users each, who have one or two devices."""
    known = PresenceCache(time.monotonic, lambda account: is_contact, places_of_strangers)
    for bot in range(5):
        for number in range(5000):
            for resource in "xy"[: 1 + number % 2]:
                known.update(f"{bot}@bots.localhost", user(number, resource))
    return known


@pytest.mark.parametrize("is_contact", [True, False])
async def test_several_bots_of_a_component_share_the_room(is_contact: bool) -> None:
    """Nobody counts as offline, whether the bots have written to them or not."""
    known = await crowd(is_contact, PLACES)
    for bot in range(5):
        for number in range(5000):
            expected = [f"{number}@localhost/{resource}" for resource in "xy"[: 1 + number % 2]]
            assert list(await known.online(f"{bot}@bots.localhost", f"{number}@localhost")) == expected


async def test_what_is_bounded_is_the_number_of_resources(known: PresenceCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that of accounts: with sixteen each they would take sixteen times as much. Nor do long addresses take more."""
    monkeypatch.setattr(presence_module, "PLACES", 64)
    for number in range(100):
        for resource in range(20):
            known.update(OURS, user(number, str(resource)))
    assert [len(each) for each in known._contacts.pairs.values()] == [RESOURCES] * 4
    assert known._contacts.places == 64
    for number in range(100):
        known.update(OURS, user(number, "x" * 1000))
    assert (len(known._contacts.pairs), known._contacts.places) == (64 // 3, 63)
    for number in range(100):
        stanza = user(number, "x" * 1000)
        stanza["type"] = "unavailable"
        known.update(OURS, stanza)
    assert (len(known._contacts.pairs), known._contacts.places) == (0, 0)


class Probing:
    """What a component knows, whose clock stands, and whom it asks."""

    def __init__(self) -> None:
        """The answer of a server is waited for as long as a test takes."""
        self.now, self.asked = 100.0, list[tuple[str, str]]()
        self.known = PresenceCache(
            lambda: self.now, lambda account: False, PLACES, lambda own, account: self.asked.append((own, account))
        )

    def ask(self) -> asyncio.Task[dict[str, int]]:
        return asyncio.get_running_loop().create_task(self.known.online(OURS, BARE))


@pytest.mark.parametrize(
    ("answer", "online"),
    [
        (presence("x"), [f"{BARE}/x"]),
        (presence("x", "unavailable"), []),
        (presence("", "unavailable"), []),
        (presence("", "unsubscribed"), []),
        (presence("", "error"), []),
    ],
    ids=["available", "resource gone", "unavailable", "unsubscribed", "error"],
)
async def test_a_component_asks_for_the_presence_of_whom_it_writes_to(answer: Presence, online: list[str]) -> None:
    """Once on a stream. All who write meanwhile wait for the answer, and nobody does later."""
    probing = Probing()
    waiting = [probing.ask(), probing.ask()]
    await turns()
    assert probing.asked == [(OURS, BARE)]
    assert not any(task.done() for task in waiting)
    assert probing.known.update(OURS, answer) is not bool(answer["from"].resource)
    for task in waiting:
        assert list(await until(task)) == online
    assert list(await until(probing.ask())) == online
    assert probing.asked == [(OURS, BARE)]
    assert not probing.known.update(OURS, answer), "it answers nothing now"
    probing.known.reset()
    again = probing.ask()
    await turns()
    assert probing.asked == [(OURS, BARE)] * 2
    again.cancel()


async def test_what_says_nothing_of_who_is_online_ends_no_wait() -> None:
    probing = Probing()
    waiting = probing.ask()
    await turns()
    probing.known.update(OURS, presence("", "subscribed"))
    probing.known.update("other@bots.localhost", presence("", "unsubscribed"))
    await turns()
    assert not waiting.done()
    waiting.cancel()


async def test_who_is_not_told_of_waits_no_longer_than_after_a_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence_module, "ARRIVAL_SECONDS", 0.01)
    assert await until(Probing().ask()) == {}


async def test_nobody_is_asked_for_who_is_known() -> None:
    probing = Probing()
    probing.known.update(OURS, presence("x"))
    assert list(await until(probing.ask())) == [f"{BARE}/x"]
    assert probing.asked == []


@pytest.mark.parametrize("written", ["before", "after"])
async def test_those_to_whom_a_component_has_written_come_first(written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A component has no roster. A flood takes their places from those only to whom no bot has written."""
    monkeypatch.setattr(presence_module, "PLACES", 100)
    known = PresenceCache(time.monotonic, lambda account: False, places_of_strangers=100)
    if written == "before":
        known.note_written_to(OURS, "0@localhost")
    for number in range(2):
        known.update(OURS, user(number, "x"))
    if written == "after":
        known.note_written_to(OURS, "0@localhost")
    for number in range(20_000):
        known.update(OURS, user(number, "x", "evil.test"))
    assert list(await known.online(OURS, "0@localhost")) == ["0@localhost/x"]
    assert list(await known.online(OURS, "1@localhost")) == []
    assert known._contacts.places + known._strangers.places == 100


async def test_those_to_whom_we_have_written_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence_module, "WRITTEN", 2)
    known = PresenceCache(time.monotonic, lambda account: False)
    for number in (0, 1, 0, 2):
        known.note_written_to(OURS, f"{number}@localhost")
        known.update(OURS, user(number, "x"))
    assert list(known._written) == [(OURS, "0@localhost"), (OURS, "2@localhost")]


async def test_who_is_written_to_is_no_stranger(env: Env) -> None:
    bots, bob = await env.component(), await env.client(BOB, accept_from="anyone")
    bob.send_presence(pto="echo@bots.localhost")
    pair = ("echo@bots.localhost", "bob@localhost")
    await env.settle(bob)
    known = e2e(bots)._client._presence
    assert (pair in known._contacts.pairs, pair in known._strangers.pairs) == (False, True)
    heard = Events(bob, "message")
    bots.send_message(mto="bob@localhost", mfrom="echo@bots.localhost/x", mbody="hello")
    assert str((await heard.take())["e2e"]["assurance"]) == "vouched"
    assert (pair in known._contacts.pairs, pair in known._strangers.pairs) == (True, False)


@pytest.mark.parametrize(("written", "priority"), [("5000" * 1000, 127), ("-129", -128)])
async def test_a_priority_is_a_small_number(known: PresenceCache, written: str, priority: int) -> None:
    known.update(OURS, presence("a", None, written))
    assert known._contacts.pairs[OURS, BARE] == {f"{BARE}/a": priority}
