"""Under Debian's limits a text of 50 kB, and a close right behind it, arrive whole, however long that takes."""

from __future__ import annotations

from interop.harness import Harness
from interop.helpers import Events, say, session
from interop.servers.setup import Setup

SETUP = Setup(limits=True)

TEXT = "My dear Bob, " * 3850


async def run(harness: Harness) -> None:
    """Alice writes a long letter and closes the session in the same turn."""
    alice, bob = await harness.e2e_client("alice"), await harness.e2e_client("bob")
    ours, theirs = await session(alice, bob)
    heard = Events(bob, "message")
    say(alice, bob.boundjid, TEXT)
    assert await ours.close() is None
    assert await heard.body() == TEXT
    assert await theirs.wait_closed() is None
    assert harness.find_text("My dear Bob") == []
