"""What an opening costs, counted and not timed: one-way trips, iqs, bytes. By real clients on a server, all layers included."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

import pytest
from slixmpp import JID, ClientXMPP
from slixmpp.xmlstream.stanzabase import StanzaBase

from slixmpp_e2e.trust.secrets import KEY_ID
from slixmpp_e2e.verification.verifier import Proofs
from tests.slixmpp_e2e.world import ALICE, BOB, Heard, World, e2e, until
from xmpp_e2e.identity import Assurance
from xmpp_e2e.negotiate.jingle import NS_JINGLE
from xmpp_loopback import LoopbackServer, Way, online

DELAY = 0.01
"""Seconds that a slow server keeps each stanza: enough that everything a client has to say is said before the next comes."""


class Trips:
    """Counts one-way trips by cause: a stanza is one trip further than the furthest that its sender had received."""

    def __init__(self) -> None:
        self._sent: dict[tuple[str, str, str], int] = {}
        self._received: dict[str, int] = {}

    def watch(self, client: ClientXMPP) -> None:
        """Follow what a client writes and reads. Before any plugin is loaded."""

        def read(stanza: StanzaBase) -> StanzaBase:
            came = self._sent.get(self._key(stanza.xml, stanza.xml.get("from", "")), 0)
            self._received[client.boundjid.full] = max(came, self.reached(client))
            return stanza

        def written(stanza: StanzaBase) -> StanzaBase:
            ours = client.boundjid.full
            self._sent[self._key(stanza.xml, ours)] = self.reached(client) + 1
            return stanza

        client.add_filter("in", read)
        client.add_filter("out_sync", written)

    def reached(self, client: ClientXMPP) -> int:
        """Trips of the furthest that this client has received."""
        return self._received.get(client.boundjid.full, 0)

    def again(self) -> None:
        """Count from here."""
        self._sent.clear()
        self._received.clear()

    @staticmethod
    def _key(stanza: Element, sender: str) -> tuple[str, str, str]:
        return sender, stanza.get("id", ""), stanza.get("type", "")


def slow(server: LoopbackServer) -> None:
    """Let every stanza take a while, in order."""
    loop = asyncio.get_running_loop()

    def keep(stanza: Element, sender: str) -> None:
        loop.call_later(DELAY, server.route, stanza, sender)

    server.interfere.append(keep)


@dataclass
class Cost:
    """Of one opening, until everything is acknowledged."""

    trips: int
    """One way, until the first stanza is delivered."""
    assurance: Assurance
    requests: list[tuple[str, str]]
    """The iqs of type set, as the server got them: who sent it, and its Jingle action or its name in XEP-0047."""
    results: int
    """The iqs that acknowledge them."""
    signalling: dict[str, int]
    """Bytes of the iqs with Jingle, by sender."""
    transport: dict[str, int]
    """Bytes inside the bytestream, by sender."""


def cost(world: World, since: int, trips: int, assurance: Assurance) -> Cost:
    """Add up what the server has got."""
    costs = Cost(trips, assurance, [], 0, {ALICE: 0, BOB: 0}, {ALICE: 0, BOB: 0})
    asked = set()
    for handled in world.server.seen[since:]:
        iq = handled.element
        if handled.way is not Way.RECEIVED or iq.get("to") not in (ALICE, BOB):
            continue
        payload: Any = iq[0] if len(iq) else None
        if iq.get("type") != "set":
            costs.results += iq.get("id") in asked
            continue
        asked.add(iq.get("id"))
        if payload.tag == f"{{{NS_JINGLE}}}jingle":
            costs.requests.append((handled.client, payload.get("action")))
            costs.signalling[handled.client] += len(handled.text.encode())
        else:
            costs.requests.append((handled.client, payload.tag.rpartition("}")[2]))
            costs.transport[handled.client] += len(base64.b64decode(payload.text or ""))
    return costs


async def opening(
    world: World,
    prepare: Callable[[LoopbackServer], None] | None,
    known: bool,
    shared: Sequence[str] = (),
    **bobs: Any,
) -> Cost:
    """Alice's first message to Bob, who is online as she is: whatever is to be known about him by presence, she knows.
    ``shared``: methods for which both have the same secret."""
    trips = Trips()
    alice, bob = world.make(ALICE, load=False), world.make(BOB, load=False)
    for client, config, peer in ((alice, {}, BOB), (bob, bobs, ALICE)):
        trips.watch(client)
        world.load(client, **config)
        for method in shared:
            e2e(client).memory.put_secret(JID(peer).bare, method, KEY_ID, bytes(range(32)))
        await online(client, world.server)
    if known:
        ended = Heard(bob, "e2e_session_end")
        ours, _ = await world.session(alice, bob)
        await until(ours.close())
        await ended.take()
    if prepare is not None:
        prepare(world.server)
    await world.settle(alice, bob)
    since = len(world.server.seen)
    trips.again()
    heard: asyncio.Future[tuple[int, Any]] = asyncio.get_running_loop().create_future()
    bob.add_event_handler("message", lambda message: heard.set_result((trips.reached(bob), message)))
    started = Heard(alice, "e2e_session_start")
    alice.send_message(mto=BOB, mbody="the first of all")
    reached, message = await until(heard)
    assert message["body"] == "the first of all"
    assert message["e2e"]["session"] is not None
    link = (await started.take()).session
    await world.settle(alice, bob)
    assert e2e(alice).sessions() == (link,)
    return cost(world, since, reached, link.assurance)


INITIATE, ACCEPT, OPEN = (ALICE, "session-initiate"), (BOB, "session-accept"), (ALICE, "open")
DATA, ANSWER = (ALICE, "data"), (BOB, "data")


@pytest.mark.parametrize("server", [None, slow], ids=["prompt", "slow"])
@pytest.mark.parametrize("known", [False, True], ids=["vouched", "known"])
@pytest.mark.parametrize(
    ("taken", "trips", "requests", "signalling", "transport"),
    [
        # what finishes the handshake and the first stanza share a block
        (True, 3, [INITIATE, ACCEPT, OPEN, DATA, ANSWER], {ALICE: 2770, BOB: 3320}, {ALICE: 1070, BOB: 600}),
        # the ClientHello, which was in the initiate in vain, and its answer take a block each
        (False, 5, [INITIATE, ACCEPT, OPEN, DATA, ANSWER, DATA, ANSWER], {ALICE: 2770, BOB: 790}, {ALICE: 2530, BOB: 2480}),
    ],
    ids=["flights", "the peer ignores flights"],
)
async def test_an_opening_costs_no_more(
    world: World,
    server: Callable[[LoopbackServer], None] | None,
    known: bool,
    taken: bool,
    trips: int,
    requests: list[tuple[str, str]],
    signalling: dict[str, int],
    transport: dict[str, int],
) -> None:
    """Three trips and five iqs with flights, five and seven without; each iq is acknowledged, and bytes are bounded."""
    spent = await opening(world, server, known, fast_open=taken)
    assert spent.assurance is (Assurance.KNOWN if known else Assurance.VOUCHED)
    assert spent.trips == trips
    assert spent.requests == requests
    assert spent.results == len(requests)
    for client in (ALICE, BOB):
        assert spent.signalling[client] <= signalling[client]
        assert spent.transport[client] <= transport[client]


@pytest.mark.parametrize(
    ("shared", "taken", "trips"),
    [(["psk"], True, 5), (["srp"], True, 7), (["psk", "srp"], True, 9), (["psk", "srp"], False, 11)],
    ids=["psk", "srp", "psk and srp", "psk and srp, the peer ignores flights"],
)
async def test_a_proof_costs_no_more(
    world: World, monkeypatch: pytest.MonkeyPatch, shared: list[str], taken: bool, trips: int
) -> None:
    """Five trips with a key, seven with a password and nine with both, and two more without flights. Powers take no time here:
    what is answered meanwhile would count as their cause."""
    monkeypatch.setattr(Proofs, "compute", lambda _, link, computation: link.answer(computation, computation.run()))
    spent = await opening(world, slow, False, shared, fast_open=taken)
    assert spent.assurance is Assurance.VERIFIED
    assert spent.trips == trips
    assert spent.results == len(spent.requests)


async def test_what_is_proved_costs_nothing_later(world: World) -> None:
    """The next session with the same keys takes three trips and five iqs, as if nothing were shared."""
    spent = await opening(world, slow, True, ["psk", "srp"])
    assert spent.assurance is Assurance.VERIFIED
    assert spent.trips == 3
    assert spent.requests == [INITIATE, ACCEPT, OPEN, DATA, ANSWER]
