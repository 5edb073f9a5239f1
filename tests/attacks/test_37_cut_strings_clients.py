"""Attack 37 end to end: a server between two real clients sees that strings differ before the people do, and cuts both lines.

He may try again as often as they do: each time is a new session, with one try, and they are told of each that was cut.
"""

from __future__ import annotations

import asyncio

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e.prompts import Compare
from slixmpp_e2e.sessions.driver import Link
from tests.slixmpp_e2e.world import ALICE, BOB, Heard, World, e2e, until
from xmpp_e2e.errors import E2EError
from xmpp_e2e.identity import Assurance
from xmpp_e2e.negotiate.jingle import Reason
from xmpp_loopback import Relay

TRIES = 3


class Slow:
    """Somebody who looks for as long as the test likes, and then says that it is the same."""

    def __init__(self) -> None:
        self.seen: asyncio.Queue[str] = asyncio.Queue()
        self.looked = asyncio.Event()

    async def __call__(self, shown: Compare) -> bool:
        self.seen.put_nowait(shown.text)
        await self.looked.wait()
        return True


async def cut(world: World, alice: ClientXMPP, bob: ClientXMPP, people: list[Slow]) -> tuple[tuple[Link, Link], set[str]]:
    """One session, in which they have their strings before them when the line is cut; the session, and the strings."""
    relay = Relay(world.server.inject, ALICE, BOB, asks=frozenset({"sas"}))
    world.server.interfere[:] = [relay]
    ours, theirs = await world.session(alice, bob)
    verifying = asyncio.ensure_future(ours.verify_sas(people[0]))
    strings = {await until(person.seen.get()) for person in people}
    assert relay.near.shown != relay.far.shown
    for end in (relay.near, relay.far):
        end.session.close(0.0, Reason.GONE)
        end.pump()
    with pytest.raises(E2EError) as caught:
        await until(verifying)
    assert caught.value.explain()
    await until(theirs.ended())
    return (ours, theirs), strings


async def test_every_run_that_is_cut_pins_nothing(world: World) -> None:
    """New strings each time; whoever says "the same" when it is over has said it to nobody, and both are as sure as before."""
    people = [Slow(), Slow()]
    alice, bob = await world.client(ALICE), await world.client(BOB, sas=people[1])
    told = [Heard(client, "e2e_verify_cut") for client in (alice, bob)]
    strings: set[str] = set()
    links: list[Link] = []
    for _ in range(TRIES):
        session, shown = await cut(world, alice, bob, people)
        links += session
        strings |= shown
    assert len(strings) == 2 * TRIES
    for person in people:
        person.looked.set()
    await world.settle(alice, bob)
    assert {link.assurance for link in links} == {Assurance.VOUCHED}
    for heard, client, peer in zip(told, (alice, bob), (BOB, ALICE), strict=True):
        assert [(await heard.take()).count for _ in range(TRIES)] == list(range(1, TRIES + 1))
        assert e2e(client).memory.failures(peer.partition("/")[0], "sas") == TRIES
        assert not e2e(client).switchboard._store.remembered(peer.partition("/")[0]).any_verified
