"""The one-way trips, iqs and bytes of an opening, counted with real clients on a server."""

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
from slixmpp_e2e.verification.tasks import SessionTasks
from slixmpp_e2e.xmpp.turn_writer import LATE_SECONDS
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e, until
from xmpp_e2e.inner import stream_management
from xmpp_e2e.negotiate.jingle import NS_JINGLE
from xmpp_e2e.types import Assurance
from xmpp_loopback import Direction, LoopbackServer, online

DELAY = 0.01
"""Seconds for which a slow server holds each stanza: a client has said all that it has to say before the next comes."""


class Trips:
    """Counts one-way trips: a stanza is one trip further than the furthest stanza that its sender had received."""

    def __init__(self) -> None:
        self._sent: dict[tuple[str, str, str], int] = {}
        self._received: dict[str, int] = {}

    def watch(self, client: ClientXMPP) -> None:
        """Follow what a client writes and reads. Call this once the plugin is loaded."""

        def read(stanza: Element) -> None:
            came = self._sent.get(self._key(stanza, stanza.get("from", "")), 0)
            self._received[client.boundjid.full] = max(came, self.reached(client))

        def written(stanza: StanzaBase) -> StanzaBase:
            ours = client.boundjid.full
            self._sent[self._key(stanza.xml, ours)] = self.reached(client) + 1
            return stanza

        spawn = client._spawn_event

        def spawned(element: Element) -> None:
            read(element)
            spawn(element)

        vars(client)["_spawn_event"] = spawned
        client.add_filter("out_sync", written)

    def reached(self, client: ClientXMPP) -> int:
        return self._received.get(client.boundjid.full, 0)

    def again(self) -> None:
        self._sent.clear()
        self._received.clear()

    @staticmethod
    def _key(stanza: Element, sender: str) -> tuple[str, str, str]:
        return sender, stanza.get("id", ""), stanza.get("type", "")


def slow(server: LoopbackServer) -> None:
    loop = asyncio.get_running_loop()

    def keep(stanza: Element, sender: str) -> None:
        loop.call_later(DELAY, server.route, stanza, sender)

    server.hooks.append(keep)


@dataclass
class Cost:
    """The cost of one opening, until everything is acknowledged."""

    trips: int
    """One-way trips until the first stanza is delivered."""
    assurance: Assurance
    requests: list[tuple[str, str]]
    """The iqs of type set, as the server got them: the sender, and the Jingle action or the name in XEP-0047."""
    results: int
    """The number of iqs that acknowledge them."""
    signalling: dict[str, int]
    """Bytes of the iqs with Jingle, by sender."""
    transport: dict[str, int]
    """Bytes inside the bytestream, by sender."""


def cost(env: Env, since: int, trips: int, assurance: Assurance) -> Cost:
    costs = Cost(trips, assurance, [], 0, {ALICE: 0, BOB: 0}, {ALICE: 0, BOB: 0})
    asked = set()
    for handled in env.server.handled[since:]:
        iq = handled.element
        if handled.direction is not Direction.RECEIVED or iq.get("to") not in (ALICE, BOB):
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
    env: Env, prepare: Callable[[LoopbackServer], None] | None, known: bool, shared: Sequence[str] = (), **bobs: Any
) -> Cost:
    trips = Trips()
    alice, bob = env.make(ALICE, load=False), env.make(BOB, load=False)
    for client, config, peer in ((alice, {}, BOB), (bob, bobs, ALICE)):
        env.load(client, **config)
        trips.watch(client)
        for method in shared:
            e2e(client)._store.put_secret(JID(peer).bare, method, KEY_ID, bytes(range(32)))
        await online(client, env.server)
    if known:
        ended = Events(bob, "e2e_session_closed")
        ours, _ = await env.session(alice, bob)
        await until(ours.close())
        await ended.take()
    if prepare is not None:
        prepare(env.server)
    await env.settle(alice, bob)
    since = len(env.server.handled)
    trips.again()
    heard: asyncio.Future[tuple[int, Any]] = asyncio.get_running_loop().create_future()
    bob.add_event_handler("message", lambda message: heard.set_result((trips.reached(bob), message)))
    started = Events(alice, "e2e_session_opened")
    alice.send_message(mto=BOB, mbody="the first of all")
    reached, message = await until(heard)
    assert message["body"] == "the first of all"
    assert message["e2e"]["session"] is not None
    link = (await started.take()).session
    for _ in range(2):  # the last answer is late
        await asyncio.sleep(LATE_SECONDS)
        await env.settle(alice, bob)
    assert e2e(alice).sessions() == (link,)
    return cost(env, since, reached, link.assurance)


INITIATE, ACCEPT, OPEN = (ALICE, "session-initiate"), (BOB, "session-accept"), (ALICE, "open")
DATA, ANSWER = (ALICE, "data"), (BOB, "data")


@pytest.mark.parametrize("server", [None, slow], ids=["prompt", "slow"])
@pytest.mark.parametrize("known", [False, True], ids=["vouched", "known"])
@pytest.mark.parametrize(
    ("taken", "trips", "requests", "signalling", "transport"),
    [
        # what finishes the handshake and the first stanza share a block, and so do Bob's done and 34 bytes that acknowledge it
        (True, 3, [INITIATE, ACCEPT, OPEN, DATA, ANSWER], {ALICE: 2770, BOB: 3320}, {ALICE: 1070, BOB: 600}),
        # the ClientHello, which was in the initiate in vain, and its answer take a block each
        (False, 5, [INITIATE, ACCEPT, OPEN, DATA, ANSWER, DATA, ANSWER], {ALICE: 2770, BOB: 790}, {ALICE: 2530, BOB: 2480}),
    ],
    ids=["flights", "the peer ignores flights"],
)
async def test_an_opening_costs_no_more(
    env: Env,
    server: Callable[[LoopbackServer], None] | None,
    known: bool,
    taken: bool,
    trips: int,
    requests: list[tuple[str, str]],
    signalling: dict[str, int],
    transport: dict[str, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream_management, "ACK_SECONDS", 60)  # what acknowledges later, and is counted elsewhere
    spent = await opening(env, server, known, fast_open=taken)
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
    env: Env, monkeypatch: pytest.MonkeyPatch, shared: list[str], taken: bool, trips: int
) -> None:
    """It takes five trips with a key, seven with a password, nine with both, and two more without flights.

    Computations take no time here, since stanzas that come meanwhile would count as their cause.
    """
    answer = lambda _, session, computation: session.answer_prompt(computation, computation.run())  # noqa: E731
    monkeypatch.setattr(SessionTasks, "compute", answer)
    spent = await opening(env, slow, False, shared, fast_open=taken)
    assert spent.assurance is Assurance.VERIFIED
    assert spent.trips == trips
    assert spent.results == len(spent.requests)


async def test_a_verified_key_costs_nothing_later(env: Env) -> None:
    spent = await opening(env, slow, True, ["psk", "srp"])
    assert spent.assurance is Assurance.VERIFIED
    assert spent.trips == 3
    assert spent.requests == [INITIATE, ACCEPT, OPEN, DATA, ANSWER]
