"""A resource of negative priority gets nothing that is for the bare JID (RFC 6121 §8.5.2.1.1)."""

from __future__ import annotations

from interop.harness import Harness
from interop.helpers import Events, say, session


async def run(harness: Harness) -> None:
    """Bob's second client stands aside, though Alice has a session with it."""
    alice = await harness.e2e_client("alice")
    came = Events(alice, "presence_available")
    desk, aside = await harness.e2e_client("bob", "desk"), await harness.e2e_client("bob", "aside")
    aside.send_presence(ppriority=-1)
    priorities = dict[str, int]()
    while priorities.get(aside.boundjid.full) != -1 or desk.boundjid.full not in priorities:
        presence = await came.take()
        priorities[presence["from"].full] = presence["priority"]
    await session(alice, aside)
    heard = {device: Events(device, "message") for device in (desk, aside)}
    say(alice, harness.jid("bob"), "To Bob.")
    say(alice, aside.boundjid, "To the one aside.")
    assert await heard[desk].body() == "To Bob."
    assert await heard[aside].body() == "To the one aside."
    await harness.settle(alice, desk, aside)
    assert not any(map(len, heard.values()))
    assert harness.find_text("To Bob", "To the one aside") == []
