"""Under Debian's limits `xmpp-e2e send` ends well when a text of 25 kB, and one of 50 kB, has arrived and is acknowledged."""

from __future__ import annotations

from interop import programs
from interop.harness import Harness
from interop.helpers import Events
from interop.servers.setup import Setup

SETUP = Setup(limits=True)

TEXT = "My dear Bob, "
LENGTHS = (25_000, 50_000)


async def run(harness: Harness) -> None:
    """Alice's command writes to Bob, and goes."""
    bob = await harness.e2e_client("bob")
    heard, ended = Events(bob, "message"), Events(bob, "e2e_session_closed")
    for length in LENGTHS:
        text = (TEXT * length)[:length]
        async with programs.send_command(harness, "alice", bob.boundjid.full, text) as command:
            code, printed, logged = await command.end()
        # Whoever exits 0 has been acknowledged: the text is there, and need not be waited for.
        assert (code, len(heard)) == (0, 1), logged
        assert await heard.body() == text
        assert "delivered to" in printed
        assert (await ended.take()).clean
    assert harness.find_text(TEXT) == []
