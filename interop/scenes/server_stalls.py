"""Bob's server stands still for 65 s under 500 messages each way: the session outlives that, or the next one resumes it."""

from __future__ import annotations

import asyncio
from typing import Any

from slixmpp import ClientXMPP

from interop.harness import Harness
from interop.helpers import Events, Outcomes, say_both, session
from interop.servers.daemon import Daemon
from interop.servers.federation import Federation

NOT_ON = {"loopback": "it cannot stand still: it is in the process of the clients"}
NOT_LIMITED = "the limits would take longer than the server stands still"

MESSAGES = 500
STILL_SECONDS = 65.0
STALL_SECONDS = 15.0
"""The short setting: both sides give the session up while the server stands still, and resume it."""
OUTCOME_SECONDS = 120.0
"""Between two outcomes: the next session may be tried half a minute later."""


async def run(harness: Harness) -> None:
    """Once with the settings as they are, once with a path that is dead sooner."""
    plays: tuple[tuple[str, dict[str, Any]], ...] = (("outlived", {}), ("resumed", {"stall_seconds": STALL_SECONDS}))
    for name, settings in plays:
        clients = await harness.e2e_client("alice", **settings), await harness.e2e_client("bob", **settings)
        ended, failed = await talk(harness, clients, [f"{name} {number}" for number in range(MESSAGES)])
        if name == "outlived":
            assert (ended, failed) == ([], [])
        else:
            assert ended
            assert not any(each.clean for each in ended)
        assert harness.find_text(name) == []
        for client in clients:
            await harness.log_out(client)


async def talk(harness: Harness, clients: tuple[ClientXMPP, ClientXMPP], words: list[str]) -> tuple[list[Any], list[str]]:
    """Let both write before and while Bob's server stands still. Return the sessions that ended, and what failed."""
    alice, bob = clients
    assert isinstance(harness.server, Daemon | Federation)
    await session(alice, bob)
    heard, ended = ({client: Events(client, name) for client in clients} for name in ("message", "e2e_session_closed"))
    outcomes = {client: Outcomes(client) for client in clients}
    half = len(words) // 2
    say_both(alice, bob, words[:half])
    home = harness.server.home("bob")
    home.suspend()
    try:
        say_both(alice, bob, words[half:])
        await asyncio.sleep(STILL_SECONDS)
    finally:
        home.resume()
    for client, peer in ((alice, bob), (bob, alice)):
        delivered = await outcomes[client].delivered(len(words), OUTCOME_SECONDS)
        assert sorted(delivered + outcomes[client].failed) == sorted(words)
        await harness.settle(*clients)
        assert [str(message["body"]) for message in heard[peer].all()] == delivered
    return [end for each in ended.values() for end in each.all()], [body for each in outcomes.values() for body in each.failed]
