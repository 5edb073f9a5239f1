"""Sessions that are opened at once, one after another, and as many as there may be."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any
from xml.etree.ElementTree import Element

import pytest

from slixmpp_e2e.alarms import reason_of
from slixmpp_e2e.errors import NotSent, NotSentReason
from slixmpp_e2e.sessions import registry as registry_module
from slixmpp_e2e.sessions.admission.limits import AdmissionLimits
from slixmpp_e2e.sessions.driver import SessionReleased
from slixmpp_e2e.sessions.registry import SessionRegistry
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e, jingle, turns, until
from tests.slixmpp_e2e.messages.fake_sessions import FakeDriver
from xmpp_e2e import events
from xmpp_e2e.errors import SessionCancelled
from xmpp_e2e.states import State
from xmpp_e2e.types import Assurance, Fingerprint


class Interleaved:
    """A server that holds what Alice and Bob say to each other, and delivers the next stanza of either by the throw of a die.

    Each sender's own order is kept (RFC 6120 §10.1); otherwise anything may cross anything."""

    def __init__(self, env: Env) -> None:
        self._server = env.server
        self._said: dict[str, deque[Element]] = {ALICE: deque(), BOB: deque()}
        env.server.hooks.append(self)

    def __call__(self, stanza: Element, sender: str) -> Element | None:
        if stanza.get("to", "").partition("/")[0] not in ("alice@localhost", "bob@localhost"):
            return stanza
        self._said[sender].append(stanza)
        return None

    async def deliver(self, seed: int, until_done: Callable[[], bool]) -> None:
        die = Random(seed)
        bias = die.choice((0.02, 0.3, 0.5, 0.7, 0.98))
        while not until_done() or any(self._said.values()):
            sender = ALICE if die.random() < bias else BOB
            if self._said[sender]:
                self._server.route(self._said[sender].popleft(), sender)
            await turns(die.choice((1, 1, 5)))


@pytest.mark.parametrize("to", ["full", "bare"])
async def test_two_clients_that_write_at_once_in_any_order(env: Env, to: str) -> None:
    alice, bob = await env.pair()
    names = ("message", "e2e_session_failed", "e2e_send_failed")
    heard = {(client, name): Events(client, name) for client in (alice, bob) for name in names}
    inboxes = [heard[client, "message"] for client in (alice, bob)]
    for run in range(50):
        server = Interleaved(env)
        for number in range(3):
            alice.send_message(mto=BOB if to == "full" else "bob@localhost", mbody=f"to Bob {number}")
            bob.send_message(mto=ALICE if to == "full" else "alice@localhost", mbody=f"to Alice {number}")
        await until(server.deliver(run, lambda: [len(inbox) for inbox in inboxes] == [3, 3]))
        env.server.hooks.clear()
        for inbox, name in zip(inboxes, ("Alice", "Bob"), strict=True):
            assert await inbox.bodies(3) == [f"to {name} {number}" for number in range(3)]
        await env.settle(alice, bob)
        [ours], [theirs] = (e2e(client).sessions() for client in (alice, bob))
        assert (ours.sid, ours.role) != (theirs.sid, theirs.role)
        assert ours.sid == theirs.sid
        await until(asyncio.gather(*(link.close() for link in (ours, theirs))))
        await env.settle(alice, bob)
    assert not any(map(len, heard.values()))
    assert env.in_clear("to Bob", "to Alice") == []


async def test_two_clients_that_connect_at_once_get_the_same_session(env: Env) -> None:
    alice, bob = await env.pair()
    hold = env.hold(jingle("session-initiate"))
    connecting = [
        asyncio.create_task(e2e(client).connect(to, require="vouched")) for client, to in ((alice, BOB), (bob, ALICE))
    ]
    await until(hold.caught(2))
    hold.release()
    links = [await until(task) for task in connecting]
    assert links[0].sid == links[1].sid
    await until(asyncio.gather(*(link.wait_open() for link in links)))


async def test_who_closes_a_session_that_is_opening_is_not_given_another(env: Env) -> None:
    alice, _ = await env.pair()
    hold = env.hold(jingle("session-initiate"))
    connecting = asyncio.create_task(e2e(alice).connect(BOB))
    await until(hold.caught(1))
    await until(e2e(alice).close())
    with pytest.raises(SessionCancelled):
        await until(connecting)
    assert not list(e2e(alice)._client.registry)


async def test_a_newer_session_takes_the_place_of_an_older_one(env: Env) -> None:
    alice, bob = await env.pair()
    old, _ = await env.session(alice, bob)
    ended, started, heard = Events(alice, "e2e_session_closed"), Events(alice, "e2e_session_opened"), Events(bob, "message")
    env.unload(bob)
    await turns()
    env.load(bob, accept_from="anyone")
    await env.settle(bob, alice)
    bob.send_message(mto=ALICE, mbody="here again")
    new = (await started.take()).session
    assert (await ended.take()).session is old
    alice.send_message(mto=BOB, mbody="welcome back")
    assert (await heard.take())["body"] == "welcome back"
    assert e2e(alice).sessions() == (new,)


async def test_a_message_that_is_sent_while_a_session_closes_opens_the_next(env: Env) -> None:
    """The message is neither lost nor reported, since its sender cannot know that the session was about to end."""
    alice, bob = await env.pair()
    ours, _ = await env.session(alice, bob)
    heard, failed = Events(bob, "message"), Events(alice, "e2e_send_failed")
    alice.send_message(mto=BOB, mbody="goodbye")
    assert await heard.bodies(1) == ["goodbye"]
    closing = asyncio.create_task(ours.close())
    await turns(1)
    alice.send_message(mto=BOB, mbody="one more thing")
    assert await heard.bodies(1) == ["one more thing"]
    assert await until(closing) is None
    assert len(failed) == 0


async def test_unavailable_presence_ends_the_session_of_that_device(env: Env) -> None:
    """The path to it is gone, so this is no clean end; sessions with other devices go on."""
    alice, bob = await env.pair()
    other = await env.client("bob@localhost/other")
    await env.settle(alice, other)
    ours, _ = await env.session(alice, bob)
    another, _ = await env.session(alice, other)
    ended = Events(alice, "e2e_session_closed")
    bob.send_presence(ptype="unavailable")
    happened = await ended.take()
    assert happened.session is ours
    assert happened.clean is False
    assert "went offline" in str(happened.error)
    assert another.is_open


def offering(is_contact: Callable[[str], bool] = lambda account: True, **limits: int) -> SessionRegistry:
    return SessionRegistry(lambda role, own, peer, needed: FakeDriver(peer, own_jid=own), AdmissionLimits(**limits), is_contact)


def test_one_account_with_ever_new_resources_is_limited() -> None:
    """Each session costs us something, and whoever answers a person writes to whatever resource they write from."""
    registry = offering(sessions_per_peer=3)
    drivers = [registry.ensure((ALICE, f"bob@localhost/{number}")) for number in range(3)]
    with pytest.raises(NotSent, match="3 sessions that we have opened with bob@localhost") as refusal:
        registry.ensure((ALICE, BOB))
    assert refusal.value.reason is NotSentReason.TOO_MANY_SESSIONS
    assert registry.ensure((ALICE, "carol@localhost/1"))
    assert registry.ensure(("other@localhost/1", BOB))
    assert registry.ensure((ALICE, "bob@localhost/2"))
    registry.on_session_event(drivers[0], SessionReleased())
    assert registry.ensure((ALICE, BOB))


def test_strangers_whom_we_answer_leave_places_for_contacts() -> None:
    """A bot answers whoever writes to it: one domain, and all of them together, take so many places and no more."""
    registry = offering(lambda account: account.endswith("home.test"), sessions=8, sessions_per_domain=2)
    opened = []
    for domain in ("a.test", "b.test", "c.test"):
        for number in range(3):
            with suppress(NotSent):
                opened.append(registry.ensure((ALICE, f"user{number}@{domain}/x")))
    assert [driver.peer.partition("@")[2] for driver in opened] == ["a.test/x", "a.test/x", "b.test/x", "b.test/x"]
    for number in range(4):
        registry.ensure((ALICE, f"friend{number}@home.test/x"))
    with pytest.raises(NotSent, match="8 sessions that we have opened with all peers"):
        registry.ensure((ALICE, "friend@home.test/x"))
    for driver in tuple(registry):
        registry.on_session_event(driver, SessionReleased())
    assert not any((registry._offered, registry._places))


async def test_a_contact_has_a_place_among_the_sessions_that_we_open(env: Env) -> None:
    """Strangers have half of them; whoever sees our presence is none."""
    env.server.set_subscription("alice@localhost", "bob@localhost", "to")
    alice = await env.client(ALICE, sessions=2)
    bob, carol = await env.client(BOB), await env.client("carol@localhost/c")
    await env.client("bob@localhost/two")
    await env.settle(alice, bob, carol)
    await e2e(alice).connect(BOB)
    with pytest.raises(NotSent, match="1 sessions that we have opened with"):
        await e2e(alice).connect("bob@localhost/two")
    assert (await e2e(alice).connect("carol@localhost/c")).peer == "carol@localhost/c"


async def test_the_sessions_that_we_open_are_limited(env: Env) -> None:
    """An offer beyond ``sessions`` fails before it begins; the sessions that peers opened do not count."""
    alice = await env.client(ALICE, sessions=1, sessions_per_domain=1)
    bob, carol = await env.client(BOB), await env.client("carol@localhost/c")
    await env.settle(alice, bob, carol)
    await env.session(carol, alice)
    ours, _ = await env.session(alice, bob)
    one, two = Events(bob, "message"), Events(alice, "e2e_send_failed")
    await env.client("bob@localhost/two")
    for _ in range(2):
        alice.send_message(mto="bob@localhost/two", mbody="too many")
        report = await two.take()
        assert reason_of(report.error) is NotSentReason.TOO_MANY_SESSIONS
        assert "raise `sessions`" in str(report)
    with pytest.raises(NotSent) as caught:
        await e2e(alice).connect("bob@localhost/two")
    assert caught.value.reason is NotSentReason.TOO_MANY_SESSIONS
    assert ours.is_open
    assert len(one) == 0
    assert env.in_clear("too many") == []


async def test_ended_sessions_are_remembered_in_bounds(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "ENDED", 2)
    alice, bob = await env.pair()
    sids = []
    for _ in range(3):
        ours, theirs = await env.session(alice, bob)
        await until(asyncio.gather(ours.close(), theirs.wait_closed()))
        await env.settle(alice, bob)
        sids.append(ours.sid)
    registry = e2e(alice)._client.registry
    assert [sid for _, _, sid in registry._ended] == sids[1:]
    assert len(registry._ended_streams) == 2


# --- several open sessions with one full JID -------------------------------------------------------------------------

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
VOUCHED, KNOWN, VERIFIED = Assurance.VOUCHED, Assurance.KNOWN, Assurance.VERIFIED


def opened(*drivers: FakeDriver) -> SessionRegistry:
    """A registry in which these sessions have come to be, and those that are open have opened, in this order."""
    registry = SessionRegistry(lambda role, own_jid, peer, needed: FakeDriver(peer, needed=needed))
    for driver in drivers:
        registry.add(driver)
        if driver.is_open:
            registry.on_session_event(driver, events.SessionOpened(driver.assurance, Fingerprint(KEY)))
    return registry


@pytest.mark.parametrize(
    ("older", "newer", "best"),
    [
        (FakeDriver(BOB, key=KEY), FakeDriver(BOB, key=KEY), "newer"),
        (FakeDriver(BOB, key=KEY), FakeDriver(BOB, key=OTHER_KEY), "older"),
        (FakeDriver(BOB, key=KEY, assurance=KNOWN), FakeDriver(BOB, key=OTHER_KEY), "older"),
        (FakeDriver(BOB, key=KEY), FakeDriver(BOB, key=OTHER_KEY, assurance=VERIFIED), "newer"),
        (FakeDriver(BOB, key=KEY), FakeDriver(BOB, key=KEY, needed=VERIFIED, state=State.DONE_SENT), "none"),
        (FakeDriver(BOB, key=KEY, needed=VERIFIED, state=State.DONE_SENT), FakeDriver(BOB, key=KEY), "none"),
        (FakeDriver(BOB, key=KEY, needed=KNOWN, state=State.DONE_SENT), FakeDriver(BOB, key=KEY, assurance=VERIFIED), "newer"),
    ],
)
def test_no_session_displaces_a_better_one(older: FakeDriver, newer: FakeDriver, best: str) -> None:
    """Nor goes anything through one that falls short of what is demanded of another with the same full JID."""
    registry = opened(older, newer)
    assert registry.open_with(older.target) is {"older": older, "newer": newer, "none": None}[best]
    if best == "none":
        demanding = older if older.min_assurance is VERIFIED else newer
        assert registry.best_with(older.target) is registry.ensure(older.target) is demanding


def test_the_next_best_carries_on_when_the_best_has_ended() -> None:
    shown = {b"1": VOUCHED, b"2": KNOWN, b"3": VOUCHED}
    drivers = [FakeDriver(BOB, key=key * 32, assurance=assurance) for key, assurance in shown.items()]
    registry, order = opened(*drivers), []
    while drivers:
        driver: Any = registry.open_with((ALICE, BOB))
        assert [each for each in drivers if registry.is_outranked(each)] == [each for each in drivers if each is not driver]
        order.append(driver)
        drivers.remove(driver)
        driver.core.state = State.CLOSED
        registry.on_session_event(driver, SessionReleased())
    assert [driver.assurance for driver in order] == [KNOWN, VOUCHED, VOUCHED]
    assert not list(registry)


async def test_a_demand_outlives_a_tie_break(env: Env) -> None:
    """Our offer gives way to the peer's; what we demanded holds for theirs, too, before anything is sent."""
    alice, bob = await env.pair()
    for demand, other in ((alice, bob), (bob, alice)):
        hold = env.hold(jingle("session-initiate"))
        connecting = [
            asyncio.create_task(e2e(demand).connect(other.boundjid.full, require="verified")),
            asyncio.create_task(e2e(other).connect(demand.boundjid.full)),
        ]
        await until(hold.caught(2))
        hold.release()
        mine, theirs = [await until(task) for task in connecting]
        assert mine.sid == theirs.sid
        assert mine.min_assurance is VERIFIED
        heard = Events(other, "message")
        demand.send_message(mto=other.boundjid.full, mbody="wait for it")
        await env.settle(alice, bob)
        assert len(heard) == 0
        await until(mine.close())
        await env.settle(alice, bob)
