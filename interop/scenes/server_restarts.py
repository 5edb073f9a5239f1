"""Bob's server stops and starts again, in order and killed, under 189 messages each way: few offers, and nothing is lost."""

from __future__ import annotations

import asyncio

from interop.harness import Harness
from interop.helpers import Events, Outcomes, say_both, session
from interop.servers.daemon import Daemon, HandledElement
from interop.servers.federation import Federation

NOT_ON = {"loopback": "it cannot be restarted"}
NOT_LIMITED = "sends little: limits change only how long it takes"

MESSAGES = 189
AWAY_SECONDS = 3.0
"""How long the server is down."""
OUTCOME_SECONDS = 90.0
"""Between two outcomes. What waits for somebody who is away is told after a minute (`offline_seconds`)."""
OFFERS = 8
"""The most offers of one restart, of both together: one at a time, with back-off, and two may meet."""


async def run(harness: Harness) -> None:
    """Both write before, while the server is away, and when they are back. Alice stays connected if her server is another."""
    assert isinstance(harness.server, Daemon | Federation)
    clients = alice, bob = await harness.e2e_client("alice"), await harness.e2e_client("bob")
    await session(alice, bob)
    heard = {client: Events(client, "message") for client in clients}
    outcomes = {client: Outcomes(client) for client in clients}
    home = harness.server.home("bob")
    for way in ("in order", "killed"):
        harness.server.forget_handled()
        words = [f"{way} {number}" for number in range(MESSAGES)]
        lost = [client for client in clients if harness.server.home(client.boundjid.local) is home]
        ends = [Events(client, "disconnected") for client in lost]
        say_both(alice, bob, words[:20])
        if way == "killed":
            home.kill()
        else:
            await home.stop()
        for end in ends:
            await end.take()
        say_both(alice, bob, words[20:120])
        await asyncio.sleep(AWAY_SECONDS)
        await home.start_again()
        for client in lost:
            await harness.log_in(client)
            client.send_presence()
        say_both(alice, bob, words[120:])
        for client, peer in ((alice, bob), (bob, alice)):
            delivered = await outcomes[client].delivered(MESSAGES, OUTCOME_SECONDS)
            # Alice does not hear that Bob is away when his server is, and another one: she may be told so.
            assert client not in lost or delivered == words
            assert sorted(delivered + outcomes[client].failed) == sorted(words)
            outcomes[client].failed.clear()
            await harness.settle(*clients)
            assert [str(message["body"]) for message in heard[peer].all()] == delivered
        assert 1 <= offers(harness.server.handled()) <= OFFERS
        assert harness.find_text(way) == []


def offers(handled: list[HandledElement]) -> int:
    """Return how many offers clients have sent."""
    return sum("session-initiate" in each.text for each in handled if each.direction == "in")
