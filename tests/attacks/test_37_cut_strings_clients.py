"""Attack 37 end to end: a server between two real clients sees that strings differ before the people do, and cuts both lines.

He may try again as often as they do: each time is a new session, with one try, and they are told of each that was cut.
"""

from __future__ import annotations

import asyncio

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e import E2ESession, SasPrompt
from slixmpp_e2e.alarms import explain
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e, until
from xmpp_e2e.errors import E2EError
from xmpp_e2e.negotiate.jingle import Reason
from xmpp_e2e.types import Assurance
from xmpp_loopback import Mitm

TRIES = 3


class Slow:
    """Somebody who looks for as long as the test likes, and then says that it is the same."""

    def __init__(self) -> None:
        self.seen: asyncio.Queue[str] = asyncio.Queue()
        self.looked = asyncio.Event()

    async def __call__(self, shown: SasPrompt) -> bool:
        self.seen.put_nowait(shown.text)
        await self.looked.wait()
        return True


async def cut(
    env: Env, alice: ClientXMPP, bob: ClientXMPP, people: list[Slow]
) -> tuple[tuple[E2ESession, E2ESession], set[str]]:
    """One session, in which they have their strings before them when the line is cut; the session, and the strings."""
    relay = Mitm(env.server.inject, ALICE, BOB, promptable_methods=frozenset({"sas"}))
    env.server.hooks[:] = [relay]
    ours, theirs = await env.session(alice, bob)
    verifying = asyncio.ensure_future(ours.verify_sas(people[0]))
    strings = {await until(person.seen.get()) for person in people}
    assert relay.near.shown != relay.far.shown
    for end in (relay.near, relay.far):
        end.session.close(0.0, Reason.GONE)
        end.pump()
    with pytest.raises(E2EError) as caught:
        await until(verifying)
    assert explain(caught.value)
    await until(theirs.wait_closed())
    return (ours, theirs), strings


async def test_every_run_that_is_cut_pins_nothing(env: Env) -> None:
    """New strings each time; whoever says "the same" when it is over has said it to nobody, and both are as sure as before."""
    people = [Slow(), Slow()]
    alice, bob = await env.client(ALICE), await env.client(BOB, ask_sas=people[1])
    told = [Events(client, "e2e_verification_interrupted") for client in (alice, bob)]
    strings: set[str] = set()
    links: list[E2ESession] = []
    for _ in range(TRIES):
        session, shown = await cut(env, alice, bob, people)
        links += session
        strings |= shown
    assert len(strings) == 2 * TRIES
    for person in people:
        person.looked.set()
    await env.settle(alice, bob)
    assert {link.assurance for link in links} == {Assurance.VOUCHED}
    for heard, client, peer in zip(told, (alice, bob), (BOB, ALICE), strict=True):
        assert [(await heard.take()).count for _ in range(TRIES)] == list(range(1, TRIES + 1))
        assert e2e(client)._store.failed_attempts(peer.partition("/")[0], "sas") == TRIES
        assert not e2e(client)._client._store.known_keys(peer.partition("/")[0]).any_verified
