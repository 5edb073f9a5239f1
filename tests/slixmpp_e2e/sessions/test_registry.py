"""Who may open a session, what happens when both sides open one at once, and when one follows another."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any
from xml.etree.ElementTree import Element, canonicalize, fromstring

import pytest
from slixmpp.exceptions import IqError

from slixmpp_e2e.sessions.admission import allow_list as callers
from slixmpp_e2e.settings import ConfigError
from tests.slixmpp_e2e.world import ALICE, BOB, PAYLOADS, Heard, World, an_offer, e2e, jingle, turns, until
from xmpp_e2e.errors import PeerRefused
from xmpp_loopback import Subscription, hostile

# --- at the same instant ---------------------------------------------------------------------------------------------


def crossing(world: World) -> hostile.Hold:
    """A server that keeps the first offer back until the second one has come, so that they cross for certain."""
    hold = hostile.Hold(world.server, jingle("session-initiate"))
    world.server.interfere.append(hold)
    return hold


async def test_two_who_write_at_the_same_instant_share_one_session(world: World) -> None:
    """Five times, by crossed offers: both messages arrive, one session is left, and nobody is told of a failure."""
    alice, bob = await world.pair()
    hold = crossing(world)
    names = ("message", "e2e_session_start", "e2e_session_failed", "e2e_send_failed")
    heard = {(client, name): Heard(client, name) for client in (alice, bob) for name in names}
    for number in range(5):
        hold.open = False
        alice.send_message(mto=BOB, mbody=f"to Bob {number}")
        bob.send_message(mto=ALICE, mbody=f"to Alice {number}")
        await until(hold.caught(2))
        hold.release()
        assert await heard[alice, "message"].bodies(1) == [f"to Alice {number}"]
        assert await heard[bob, "message"].bodies(1) == [f"to Bob {number}"]
        links = [(await heard[client, "e2e_session_start"].take()).session for client in (alice, bob)]
        assert links[0].sid == links[1].sid
        assert links[0].role is not links[1].role
        await world.settle(alice, bob)
        assert [len(list(e2e(client).switchboard.sessions)) for client in (alice, bob)] == [1, 1]
        await asyncio.gather(*(until(link.close()) for link in links))
        await world.settle(alice, bob)
    assert not any(map(len, heard.values()))
    assert world.in_clear("to Bob", "to Alice") == []


class Interleaved:
    """A server that keeps all that Alice and Bob say to each other, and delivers the next word of either by the throw of a
    die: each one's own order is kept (RFC 6120 §10.1), and anything may cross anything."""

    def __init__(self, world: World) -> None:
        self._server = world.server
        self._said: dict[str, deque[Element]] = {ALICE: deque(), BOB: deque()}
        world.server.interfere.append(self)

    def __call__(self, stanza: Element, sender: str) -> Element | None:
        if stanza.get("to", "").partition("/")[0] not in ("alice@localhost", "bob@localhost"):
            return stanza
        self._said[sender].append(stanza)
        return None

    async def deliver(self, seed: int, until_done: Callable[[], bool]) -> None:
        """``seed`` decides also whose words are slow."""
        die = Random(seed)
        bias = die.choice((0.02, 0.3, 0.5, 0.7, 0.98))
        while not until_done() or any(self._said.values()):
            sender = ALICE if die.random() < bias else BOB
            if self._said[sender]:
                self._server.route(self._said[sender].popleft(), sender)
            await turns(die.choice((1, 1, 5)))


@pytest.mark.slow
@pytest.mark.parametrize("to", ["full", "bare"])
async def test_two_who_write_at_the_same_instant_in_every_order(world: World, to: str) -> None:
    """A hundred times in all, three messages each, everything delayed by chance: each arrives once and in order, one session
    is left, and nobody is told of a failure."""
    alice, bob = await world.pair()
    names = ("message", "e2e_session_failed", "e2e_send_failed")
    heard = {(client, name): Heard(client, name) for client in (alice, bob) for name in names}
    inboxes = [heard[client, "message"] for client in (alice, bob)]
    for run in range(50):
        server = Interleaved(world)
        for number in range(3):
            alice.send_message(mto=BOB if to == "full" else "bob@localhost", mbody=f"to Bob {number}")
            bob.send_message(mto=ALICE if to == "full" else "alice@localhost", mbody=f"to Alice {number}")
        await until(server.deliver(run, lambda: [len(inbox) for inbox in inboxes] == [3, 3]))
        world.server.interfere.clear()
        for inbox, name in zip(inboxes, ("Alice", "Bob"), strict=True):
            assert await inbox.bodies(3) == [f"to {name} {number}" for number in range(3)]
        await world.settle(alice, bob)
        [ours], [theirs] = (e2e(client).sessions() for client in (alice, bob))
        assert (ours.sid, ours.role) != (theirs.sid, theirs.role)
        assert ours.sid == theirs.sid
        await until(asyncio.gather(*(link.close() for link in (ours, theirs))))
        await world.settle(alice, bob)
    assert not any(map(len, heard.values()))
    assert world.in_clear("to Bob", "to Alice") == []


async def test_two_who_connect_at_the_same_instant_get_the_same_session(world: World) -> None:
    """The side whose offer gave way gets the peer's session, and does not wait for its own for ever."""
    alice, bob = await world.pair()
    hold = crossing(world)
    connecting = [
        asyncio.create_task(e2e(client).connect(to, require="vouched")) for client, to in ((alice, BOB), (bob, ALICE))
    ]
    await until(hold.caught(2))
    hold.release()
    links = [await until(task) for task in connecting]
    assert links[0].sid == links[1].sid
    await until(asyncio.gather(*(link.opened() for link in links)))


# --- who may ---------------------------------------------------------------------------------------------------------


async def refusal(world: World, to: str, payload: str) -> str:
    """How an iq of Carol's, who has no plugin, is answered, but for its id and from whom it is."""
    carol = await world.client("carol@localhost/c", load=False)
    iq = carol.make_iq_set(ito=to)
    iq.xml.append(fromstring(payload))
    with pytest.raises(IqError) as caught:
        await until(iq.send())
    return canonicalize(str(caught.value.iq)).replace(iq["id"], "ID").replace(to, "TO")


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS.keys())
@pytest.mark.parametrize("accept_from", ["roster", [], ["bob@localhost"], ["elsewhere.example"]])
async def test_a_stranger_gets_the_answer_of_an_unknown_resource(world: World, accept_from: Any, payload: str) -> None:
    """Word for word: he does not learn that we are there, nor that we have encryption."""
    world.server.set_subscription("alice@localhost", "carol@localhost", Subscription.NONE)
    alice = await world.client(ALICE, accept_from=accept_from)
    await world.settle(alice)
    assert await refusal(world, ALICE, payload) == await refusal(world, "alice@localhost/nowhere", payload)


@pytest.mark.parametrize(
    ("accept_from", "subscription", "welcome"),
    [
        ("roster", Subscription.BOTH, True),
        ("roster", Subscription.FROM, True),
        ("roster", Subscription.TO, False),
        ("roster", Subscription.NONE, False),
        ("anyone", Subscription.NONE, True),
        (["bob@localhost"], Subscription.NONE, True),
        (["localhost"], Subscription.NONE, True),
        (["BOB@localhost/other"], Subscription.NONE, True),
        (["carol@localhost", "elsewhere.example"], Subscription.BOTH, False),
        ([], Subscription.BOTH, False),
    ],
)
async def test_who_may_open_a_session(world: World, accept_from: Any, subscription: Subscription, welcome: bool) -> None:
    """Those who see our presence, anybody, or the accounts and domains of a list."""
    world.server.set_subscription("alice@localhost", "bob@localhost", subscription)
    alice, bob = await world.client(ALICE, accept_from=accept_from), await world.client(BOB)
    await world.settle(alice, bob)
    heard, failed = Heard(alice, "message"), Heard(bob, "e2e_send_failed")
    bob.send_message(mto=ALICE, mbody="hello")
    if welcome:
        assert await heard.bodies(1) == ["hello"]
    else:
        report = await failed.take()
        assert isinstance(report.error, PeerRefused)
        assert "service-unavailable" in str(report)
    assert world.in_clear("hello") == []


async def test_whom_we_have_written_to_may_write_back(world: World) -> None:
    """When the session is over his answer opens another one, though accept_from names nobody; nobody else may."""
    alice, bob = await world.client(ALICE, accept_from=[]), await world.client(BOB)
    carol = await world.client("carol@localhost/c")
    await world.settle(alice, bob, carol)
    heard, failed = {client: Heard(client, "message") for client in (alice, bob)}, Heard(carol, "e2e_send_failed")
    alice.send_message(mto=BOB, mbody="a question")
    assert await heard[bob].bodies(1) == ["a question"]
    [link] = e2e(alice).switchboard.sessions
    await until(link.opened())
    await e2e(alice).close()
    await world.settle(alice, bob)
    bob.send_message(mto=ALICE, mbody="an answer")
    carol.send_message(mto=ALICE, mbody="may I")
    assert await heard[alice].bodies(1) == ["an answer"]
    assert isinstance((await failed.take()).error, PeerRefused)


async def test_offers_may_cross_whoever_is_accepted(world: World) -> None:
    """Each accepts nobody and writes first: both messages arrive, for neither is a stranger to the other any more."""
    alice, bob = await world.client(ALICE, accept_from=[]), await world.client(BOB, accept_from=[])
    await world.settle(alice, bob)
    hold, heard = crossing(world), {client: Heard(client, "message") for client in (alice, bob)}
    alice.send_message(mto=BOB, mbody="to Bob")
    bob.send_message(mto=ALICE, mbody="to Alice")
    await until(hold.caught(2))
    hold.release()
    assert [await heard[client].bodies(1) for client in (alice, bob)] == [["to Alice"], ["to Bob"]]


async def test_whom_we_have_written_to_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ones of longest ago are forgotten; each of them may write when he is written to again."""
    monkeypatch.setattr(callers, "APPROACHED", 2)
    known = e2e(world.make(ALICE, accept_from=[])).switchboard.callers
    for name in ("bob", "carol", "bob", "dave"):
        known.approach(f"{name}@localhost")
    assert [name for name in ("bob", "carol", "dave") if known.is_listed(f"{name}@localhost/x")] == ["bob", "dave"]


async def test_who_may_open_a_session_can_be_changed(world: World) -> None:
    """At run time, in every form and by the roster; sessions that are there go on, and a wrong word changes nothing."""
    world.server.set_subscription("alice@localhost", "bob@localhost", Subscription.NONE)
    alice, bob = await world.client(ALICE, accept_from=[]), await world.client(BOB)
    heard, failed = Heard(alice, "message"), Heard(bob, "e2e_send_failed")

    async def welcome() -> bool:
        await world.settle(alice, bob)
        bob.send_message(mto=ALICE, mbody="hello")
        while not len(heard) and not len(failed):
            await turns(1)
        came = len(heard) == 1
        await (heard if came else failed).take()
        return came

    assert not await welcome()
    e2e(alice).set_accept_from("anyone")
    assert await welcome()
    e2e(alice).set_accept_from([])
    assert await welcome()  # through the session that is there
    await e2e(alice).close()
    assert not await welcome()
    with pytest.raises(ConfigError):
        e2e(alice).set_accept_from("everybody")
    assert not await welcome()
    e2e(alice).set_accept_from(["localhost"])
    assert await welcome()
    await e2e(alice).close()
    await until((await e2e(alice).connect(BOB)).opened())
    await e2e(alice).close()
    e2e(alice).set_accept_from("roster")
    assert not await welcome()
    world.server.set_subscription("alice@localhost", "bob@localhost", Subscription.FROM)
    assert await welcome()


async def test_our_own_other_devices_are_welcome(world: World) -> None:
    """They are in no roster; each has a key of its own."""
    one, two = await world.client("alice@localhost/one"), await world.client("alice@localhost/two")
    await world.settle(one, two)
    heard = Heard(two, "message")
    one.send_message(mto="alice@localhost/two", mbody="note to self")
    assert str((await heard.take())["e2e"]["assurance"]) == "vouched"


async def test_a_message_to_our_own_account_goes_to_the_other_devices(world: World) -> None:
    """The server tells us our own presence too; no session is tried with ourselves."""
    one, two = await world.client("alice@localhost/one"), await world.client("alice@localhost/two")
    await world.settle(one, two)
    heard, failed = Heard(two, "message"), Heard(one, "e2e_session_failed")
    one.send_message(mto="alice@localhost", mbody="note to self")
    assert await heard.bodies(1) == ["note to self"]
    await world.settle(one, two)
    assert [link.peer for link in e2e(one).switchboard.sessions] == ["alice@localhost/two"]
    assert len(failed) == 0


@pytest.mark.parametrize("sender", ["localhost", "localhost/x", "bob@localhost"])
async def test_only_a_client_can_open_a_session(world: World, monkeypatch: pytest.MonkeyPatch, sender: str) -> None:
    """A server or an account is nobody to talk to, whoever is welcome otherwise."""
    alice = await world.client(ALICE, accept_from="anyone")
    refused = []
    iqs = e2e(alice).switchboard.iqs
    monkeypatch.setattr(iqs, "error", lambda iq, error: refused.append((iq["id"], error.condition)))
    offer = await an_offer(world)
    world.server.inject(ALICE, f"<iq type='set' id='o' from='{sender}' to='{ALICE}'>{offer}</iq>")
    await world.settle(alice)
    assert refused == [("o", "service-unavailable")]


async def test_a_message_to_our_own_full_jid_is_not_sent(world: World) -> None:
    """There is no session with oneself, and a server must not read it either."""
    alice = await world.client(ALICE, policy="require")
    failed = Heard(alice, "e2e_send_failed")
    alice.send_message(mto=ALICE, mbody="note to self")
    await failed.take()
    assert world.in_clear("note to self") == []


# --- how they follow each other ---------------------------------------------------------------------------------------


async def test_a_newer_session_takes_the_place_of_an_older_one(world: World) -> None:
    """A peer who lost his state opens again: the newest carries what is sent, the older one ends by farewells."""
    alice, bob = await world.pair()
    old, _ = await world.session(alice, bob)
    ended, started, heard = Heard(alice, "e2e_session_end"), Heard(alice, "e2e_session_start"), Heard(bob, "message")
    world.unload(bob)
    await turns()
    world.load(bob, accept_from="anyone")
    await world.settle(bob, alice)
    bob.send_message(mto=ALICE, mbody="here again")
    new = (await started.take()).session
    assert (await ended.take()).session is old
    alice.send_message(mto=BOB, mbody="welcome back")
    assert (await heard.take())["body"] == "welcome back"
    assert e2e(alice).sessions() == (new,)


async def test_a_message_that_is_sent_while_a_session_closes_opens_the_next(world: World) -> None:
    """Neither lost nor reported: nobody outside can know that the session was about to end."""
    alice, bob = await world.pair()
    ours, _ = await world.session(alice, bob)
    heard, failed = Heard(bob, "message"), Heard(alice, "e2e_send_failed")
    alice.send_message(mto=BOB, mbody="goodbye")
    assert await heard.bodies(1) == ["goodbye"]
    ours.end()
    alice.send_message(mto=BOB, mbody="one more thing")
    assert await heard.bodies(1) == ["one more thing"]
    assert await until(ours.ended()) is None
    assert len(failed) == 0


async def test_the_presence_of_a_peer_who_leaves_ends_his_session(world: World) -> None:
    """His path is gone; this is no clean end."""
    alice, bob = await world.pair()
    ours, _ = await world.session(alice, bob)
    ended = Heard(alice, "e2e_session_end")
    bob.send_presence(ptype="unavailable")
    happened = await ended.take()
    assert happened.session is ours
    assert happened.detail.clean is False
    assert "went offline" in str(happened.detail.error)
