"""How many sessions peers may open, how fast, and what honest ones cannot help costs nothing."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any
from xml.etree.ElementTree import Element

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e.errors import TooManySessions
from slixmpp_e2e.messages.queue import Route
from slixmpp_e2e.sessions import registry as sessions
from slixmpp_e2e.sessions.admission import limits as capacity
from slixmpp_e2e.sessions.driver import Link
from tests.slixmpp_e2e.world import ALICE, BOB, PAYLOADS, SID, Heard, World, an_offer, e2e, jingle, until
from xmpp_e2e.errors import JingleError
from xmpp_e2e.negotiate.jingle import NS_JINGLE, NS_SECURITY
from xmpp_loopback import hostile


@pytest.mark.parametrize(
    ("bound", "devices"),
    [
        ("half_open_per_peer", 1),
        ("half_open_per_domain", 3),
        ("half_open", 3),
        ("sessions_per_peer", 1),
        ("sessions_per_domain", 3),
        ("sessions", 3),
    ],
)
async def test_offers_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch, bound: str, devices: int) -> None:
    """Per account, per domain and in all: beyond that the answer is resource-constraint, to try again."""
    alice = await world.client(ALICE, **{bound: 2})
    senders = ["bob@localhost/1", "carol@localhost/1", "bob@localhost/2"][:devices]
    accepted, refused = [], []
    iqs = e2e(alice).switchboard.iqs
    monkeypatch.setattr(iqs, "result", lambda iq: accepted.append(iq["id"]))
    monkeypatch.setattr(iqs, "error", lambda iq, error: refused.append((iq["id"], error.condition)))
    offer = await an_offer(world)
    for number, sender in zip(range(3), itertools.cycle(senders), strict=False):
        text = offer.replace(SID, f"0123456789abcdef{number}")
        world.server.inject(ALICE, f"<iq type='set' id='o{number}' from='{sender}' to='{ALICE}'>{text}</iq>")
    await world.settle(alice)
    assert accepted == ["o0", "o1"]
    assert refused == [("o2", "resource-constraint")]


async def test_no_more_is_opened_than_we_may(world: World) -> None:
    """One session more than `sessions` is refused before it begins, by whichever way it is asked for, and nothing leaves in
    clear; those of peers do not count."""
    alice = await world.client(ALICE, sessions=1, sessions_per_domain=1)
    bob, carol = await world.client(BOB), await world.client("carol@localhost/c")
    await world.settle(alice, bob, carol)
    await world.session(carol, alice)
    ours, _ = await world.session(alice, bob)
    one, two = Heard(bob, "message"), Heard(alice, "e2e_send_failed")
    await world.client("bob@localhost/two")
    for _ in range(2):  # the way is found out, then known
        alice.send_message(mto="bob@localhost/two", mbody="too many")
        report = await two.take()
        assert isinstance(report.error, TooManySessions)
        assert "raise `sessions`" in str(report)
    e2e(alice).switchboard.outbox._routes[ALICE, "bob@localhost/two"] = Route(False, ((ALICE, "bob@localhost/two"),))
    alice.send_message(mto="bob@localhost/two", mbody="too many")
    assert isinstance((await two.take()).error, TooManySessions)
    with pytest.raises(TooManySessions):
        await e2e(alice).connect("bob@localhost/two")
    assert ours.is_open
    assert len(one) == 0
    assert world.in_clear("too many") == []


class Ear:
    """How iqs are answered that a server makes up in the name of a client."""

    def __init__(self, world: World, client: ClientXMPP, sender: str) -> None:
        self._world, self._client, self._sender = world, client, sender
        self._said = 0
        self._answers: dict[str, str] = {}
        world.server.interfere.append(self)

    def __call__(self, stanza: Element, sender: str) -> Element | None:
        id = stanza.get("id", "")
        if not id.startswith("ear") or stanza.get("to") != self._sender:
            return stanza
        error = stanza.find("{jabber:client}error")
        self._answers[id] = "result" if error is None else error[0].tag.rpartition("}")[2]
        return None

    def say(self, payload: str) -> None:
        """One more."""
        to = self._client.boundjid.full
        self._world.server.inject(to, f"<iq type='set' id='ear{self._said}' from='{self._sender}' to='{to}'>{payload}</iq>")
        self._said += 1

    async def answers(self) -> list[str]:
        """What each was answered, in order: ``result``, or the condition."""
        await self._world.settle(self._client)
        return [self._answers[f"ear{number}"] for number in range(self._said)]


async def test_a_flood_is_refused_before_it_costs_anything(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the rate neither the store is asked nor a session made, be it an offer, a block or anything else."""
    alice = await world.client(ALICE, accept_from="anyone")
    switchboard = e2e(alice).switchboard
    refused: list[str] = []
    asked: list[str] = []
    admits = switchboard.admits

    def counted(peer: str) -> bool:
        asked.append(peer)
        return admits(peer)

    monkeypatch.setattr(switchboard.iqs, "error", lambda iq, error: refused.append(error.condition))
    monkeypatch.setattr(switchboard, "admits", counted)
    now = switchboard.loop.time()
    monkeypatch.setattr(switchboard.sessions, "_clock", lambda: now)
    payloads = [PAYLOADS[name] for name in ("session-initiate", "session-info", "data")]
    for number, payload in zip(range(300), itertools.cycle(payloads), strict=False):
        sender = f"user{number}@evil.test/x"
        world.server.inject(ALICE, f"<iq type='set' id='i{number}' from='{sender}' to='{ALICE}'>{payload}</iq>")
    await world.settle(alice)
    assert len(refused) == 300
    assert refused.count("resource-constraint") == 300 - len(asked)
    assert len(asked) == capacity.UNASKED_PER_DOMAIN.burst < 300


@pytest.mark.parametrize("wins", ["his", "ours"])
async def test_an_offer_that_crosses_ours_is_let_through_once(world: World, wins: str) -> None:
    """However many came before: refused for their rate, both would be lost. Nothing else of his is, nor the next offer."""
    alice = await world.client(ALICE, unasked_per_peer=(0.001, 1))
    offer, ear = await an_offer(world), Ear(world, alice, BOB)
    ear.say(PAYLOADS["session-info"])
    ear.say(offer.replace(SID, "0" * 32))
    hold = hostile.Hold(world.server, jingle("session-initiate"))
    world.server.interfere.append(hold)
    await world.client(BOB)
    alice.send_message(mto=BOB, mbody="x")
    await until(hold.caught())
    [ours] = e2e(alice).switchboard.sessions
    ear.say(PAYLOADS["session-info"])
    first = "0" if wins == "his" else "g"  # ours is in hexadecimal
    for number in range(3):
        ear.say(offer.replace(SID, f"{first}{number:031x}"))
    refused = ["resource-constraint"] * 2
    assert await ear.answers() == ["item-not-found", *refused, "result" if wins == "his" else "conflict", *refused]
    assert (ours in e2e(alice).switchboard.sessions) is (wins == "ours")


async def test_an_offer_that_crosses_ours_takes_its_place(world: World) -> None:
    """Though no more sessions of this account may be on their way; the next one is refused."""
    alice = await world.client(ALICE, half_open_per_peer=1)
    other = "bob@localhost/other"
    offer, ears = await an_offer(world), [Ear(world, alice, sender) for sender in (other, BOB)]
    world.server.interfere.append(lambda stanza, sender: None if stanza.get("to") in (other, BOB) else stanza)
    ears[0].say(offer.replace(SID, "0" * 32))
    e2e(alice).switchboard.sessions.ensure(ALICE, BOB)
    for number in range(2):
        ears[1].say(offer.replace(SID, f"{number:032x}"))
    assert [await ear.answers() for ear in ears] == [["result"], ["result", "resource-constraint"]]
    assert [link.peer for link in e2e(alice).switchboard.sessions] == [other, BOB]
    assert len(e2e(alice).switchboard.sessions.capacity) == 1


async def test_an_offer_without_encryption_crosses_none_of_ours(world: World) -> None:
    """It is refused by itself, and ours goes on."""
    alice = await world.client(ALICE)
    offer, ear = await an_offer(world), Ear(world, alice, BOB)
    world.server.interfere.append(lambda stanza, sender: None if stanza.get("to") == BOB else stanza)
    ours = e2e(alice).switchboard.sessions.ensure(ALICE, BOB)
    ear.say(offer.replace(SID, "0" * 32).replace(NS_SECURITY, "urn:x-nothing"))
    assert await ear.answers() == ["result"]
    assert list(e2e(alice).switchboard.sessions) == [ours]


async def test_the_farewell_of_what_ended_just_now_is_free_once(world: World) -> None:
    """Its peer's session-terminate was on its way. Whoever repeats it is told that there is no such session, at his rate."""
    alice, bob = await world.pair(unasked_per_peer=(0.001, 3))
    ear = Ear(world, alice, BOB)
    world.server.interfere.append(lambda stanza, sender: None if jingle("session-terminate")(stanza, sender) else stanza)
    _, theirs = await world.session(alice, bob)  # the offer is ours
    await until(theirs.close())
    await world.settle(alice, bob)
    for action, sid in (("info", theirs.sid), ("terminate", "0123"), *[("terminate", theirs.sid)] * 3, ("terminate", "0123")):
        ear.say(f"<jingle xmlns='{NS_JINGLE}' action='session-{action}' sid='{sid}'/>")
    unknown = "item-not-found"
    assert await ear.answers() == [unknown, unknown, "result", unknown, *["resource-constraint"] * 2]


async def test_what_ended_is_remembered_in_bounds(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that ended longest ago goes first."""
    monkeypatch.setattr(sessions, "_REMEMBER_ENDED", 2)
    alice, bob = await world.pair()
    sids = []
    for _ in range(3):
        ours, theirs = await world.session(alice, bob)
        await until(asyncio.gather(ours.close(), theirs.ended()))
        await world.settle(alice, bob)
        sids.append(ours.sid)
    registry = e2e(alice).switchboard.sessions
    assert [sid for _, _, sid in registry._ended] == sids[1:]
    assert len(registry._ended_streams) == 2


async def test_the_oldest_of_the_greediest_domain_makes_way(world: World) -> None:
    """Its session is told that we are busy, and is gone; the newcomer's goes on."""
    alice = await world.client(ALICE, accept_from="anyone", half_open=2)
    offer = await an_offer(world)
    senders = ["a@evil.test/x", "b@evil.test/x", "c@good.test/x"]
    world.server.interfere.append(lambda stanza, sender: None if stanza.get("to") in senders else stanza)
    for number, sender in enumerate(senders):
        text = offer.replace(SID, f"0123456789abcdef{number}")
        world.server.inject(ALICE, f"<iq type='set' id='o{number}' from='{sender}' to='{ALICE}'>{text}</iq>")
    await world.settle(alice)
    switchboard = e2e(alice).switchboard
    assert [link.peer for link in switchboard.sessions] == senders[1:]
    assert len(switchboard.sessions.capacity) == 2
    [handled] = world.server.mentions("<busy")
    assert "session-terminate" in handled.text
    assert senders[0] in handled.text


async def test_nothing_is_kept_of_an_offer_that_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the core says of it: no place is taken."""

    def refuse(self: Link, jingle: Any) -> None:
        raise JingleError("no", "bad-request")

    alice = await world.client(ALICE)
    offer = (await an_offer(world)).replace(SID, "0123456789abcdef")
    monkeypatch.setattr(Link, "receive_jingle", refuse)
    world.server.inject(ALICE, f"<iq type='set' id='o' from='{BOB}' to='{ALICE}'>{offer}</iq>")
    await world.settle(alice)
    assert len(e2e(alice).switchboard.sessions.capacity) == 0
