"""Programs that say something and go lose nothing, in whatever way they end, and their peer reads a clean end."""

from __future__ import annotations

import asyncio
from pathlib import Path

from slixmpp import ClientXMPP, Message

from interop import programs
from interop.harness import Harness
from interop.helpers import Events
from interop.programs.notifiers import MESSAGES, SIGNALLED, WAYS

NOTIFIERS = Path(programs.__file__).with_name("notifiers.py")
AT_ONCE = 3
"""How many programs run at the same time."""
NOT_ON = dict.fromkeys(("federation", "swapped"), "one server is enough for how a program ends")
NOT_LIMITED = "sends little: limits change only how long it takes"


async def run(harness: Harness) -> None:
    """Alice's programs notify Bob, at his full and at his bare JID."""
    bob = await harness.e2e_client("bob")
    heard: dict[str, list[str]] = {way: [] for way in WAYS}

    def hear(message: Message) -> None:
        heard[message["from"].resource.removeprefix("by-")].append(message["body"])

    bob.add_event_handler("message", hear)
    ended = Events(bob, "e2e_session_closed")
    free = asyncio.Semaphore(AT_ONCE)

    async def play(way: str, to: str) -> None:
        async with free:
            await notify(harness, bob, way, to)

    addresses = (bob.boundjid.bare, bob.boundjid.full)
    await asyncio.gather(*(play(way, addresses[number % 2]) for number, way in enumerate(WAYS)))
    assert heard == {way: [f"said by {way}: {number}" for number in range(MESSAGES)] for way in WAYS}
    for _ in WAYS:
        end = await ended.take()
        assert end.clean, f"Bob read no clean end of {end.peer}: {end.error}"
    assert harness.find_text("said by") == []


async def notify(harness: Harness, bob: ClientXMPP, way: str, to: str) -> None:
    """Run one program to its end. It must end well, and have nothing to complain of."""
    jid, password = f"{harness.jid('alice')}/by-{way}", harness.server.accounts["alice"]
    async with programs.running(harness, "alice", NOTIFIERS, way, jid, password, to, f"said by {way}:") as program:
        if way in SIGNALLED:
            assert await program.line() == "ready"
            await harness.settle(bob)
            program.signal(SIGNALLED[way])
        code, _, logged = await program.end()
    assert (code, logged) == (0, ""), f"{way}: exit code {code}\n{logged}"
