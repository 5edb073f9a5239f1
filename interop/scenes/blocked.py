"""A peer blocks somebody and then no longer (XEP-0191): what both wrote meanwhile arrives once and in order, or is told."""

from __future__ import annotations

from slixmpp import ClientXMPP

from interop.harness import Harness
from interop.helpers import Events, Outcomes, plugin, say_both, session

NOT_ON = {"loopback": "it blocks nobody"}

MESSAGES = 5
OUTCOME_SECONDS = 90.0
"""Between two outcomes. What waits for somebody who is away is told after a minute (`offline_seconds`)."""


async def run(harness: Harness) -> None:
    """Both write while Bob blocks Alice, again when the session has ended of that, and when Bob blocks her no longer."""
    alice = await harness.e2e_client("alice")
    bob = await harness.e2e_client("bob", prepare=lambda bob: bob.register_plugin("xep_0191"))
    clients = (alice, bob)
    await session(alice, bob)
    heard, ended = ({client: Events(client, name) for client in clients} for name in ("message", "e2e_session_closed"))
    outcomes = {client: Outcomes(client) for client in clients}
    at_once, meanwhile, then = ([f"{when} {number}" for number in range(MESSAGES)] for when in ("At once", "Meanwhile", "Then"))

    async def arrive(words: list[str]) -> dict[ClientXMPP, list[str]]:
        """Return what failed of what each has written."""
        told = {}
        for client, peer in ((alice, bob), (bob, alice)):
            delivered = await outcomes[client].delivered(len(words), OUTCOME_SECONDS)
            assert sorted(delivered + outcomes[client].failed) == sorted(words)
            told[client], outcomes[client].failed = outcomes[client].failed, []
            await harness.settle(*clients)
            assert [str(message["body"]) for message in heard[peer].all()] == delivered
        return told

    gone = Events(alice, "presence_unavailable")
    await plugin(bob, "xep_0191").block(harness.jid("alice"))
    say_both(alice, bob, at_once)
    for client in clients:
        assert not (await ended[client].take()).clean
    say_both(alice, bob, meanwhile)
    await plugin(bob, "xep_0191").unblock(harness.jid("alice"))
    failed = await arrive(at_once + meanwhile)
    # Bob's server refuses what he sends to her meanwhile (§3.2). ejabberd refuses what Alice sends, and does not tell her by
    # presence, as §3.2 demands
    assert not (failed[alice] and len(gone))
    say_both(alice, bob, then)
    assert await arrive(then) == {alice: [], bob: []}
    assert harness.find_text("At once", "Meanwhile", "Then") == []
