"""A peer who goes away and comes back, in every way in which that happens, gets all that was written, once and in order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from slixmpp import ClientXMPP

from interop.harness import Harness
from interop.helpers import Events, next_message, say, session

MESSAGES = 5


async def unavailable(harness: Harness, bob: ClientXMPP) -> Callable[[], Awaitable[None]]:
    """Bob says that they are unavailable, and then that they are there."""
    bob.send_presence(ptype="unavailable")

    async def back() -> None:
        bob.send_presence()

    return back


async def cut(harness: Harness, bob: ClientXMPP) -> Callable[[], Awaitable[None]]:
    """Bob's connection is cut, and they connect again."""
    await harness.cut(bob)

    async def back() -> None:
        await harness.log_in(bob)
        bob.send_presence()

    return back


async def invisible(harness: Harness, bob: ClientXMPP) -> Callable[[], Awaitable[None]]:
    """Bob is unavailable to Alice alone, and then there again. Neither server has the command for it (XEP-0186)."""
    bob.send_presence(pto=harness.jid("alice"), ptype="unavailable")

    async def back() -> None:
        bob.send_presence(pto=harness.jid("alice"))

    return back


async def run(harness: Harness) -> None:
    """Both write while Bob is away, and when they are back."""
    alice, bob = await harness.e2e_client("alice"), await harness.e2e_client("bob")
    await session(alice, bob)
    clients = (alice, bob)
    heard, delivered, failed = (
        {client: Events(client, event) for client in clients} for event in ("message", "e2e_delivered", "e2e_send_failed")
    )
    for leave in (unavailable, cut, invisible):
        gone = Events(alice, "presence_unavailable")
        words = [f"{leave.__name__} {number}" for number in range(MESSAGES)]
        back = await leave(harness, bob)
        await gone.take()
        for word in words:
            say(alice, bob.boundjid, word)
        await back()
        for word in words:
            say(bob, alice.boundjid, word)
        for client in clients:
            assert [await heard[client].body() for _ in words] == words
            assert [await next_message(delivered[client]) for _ in words] == words
    await harness.settle(*clients)
    assert not any(len(events) for each in (heard, failed) for events in each.values())
    assert (
        harness.find_text(
            *(f"{leave.__name__} {number}" for leave in (unavailable, cut, invisible) for number in range(MESSAGES))
        )
        == []
    )
