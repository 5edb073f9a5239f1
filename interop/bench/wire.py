"""What is measured through proxies: delays, bytes, and whether the wire can be read."""

from __future__ import annotations

import asyncio
from statistics import median

from interop.bench.client import WORD
from interop.bench.kinds import KINDS
from interop.bench.measures import MILLI, WARM_ECHOES, Values
from interop.bench.pair import Ground, Pair
from interop.bench.sizes import Sizes
from interop.bench.worker import WrongResult
from interop.chaos.proxy import Link
from xmpp_loopback.stanza_log import Direction, StanzaLog

QUIET_SECONDS = 0.1
"""A silence this long means that everything is sent. It is longer than TCP's delayed acknowledgement (40 ms)."""


async def far(pair: Pair, ground: Ground, sizes: Sizes) -> Values:
    """Measure first messages and echoes where every link has a delay."""
    values: Values = {}
    for name, delay in sizes.far_seconds:
        new, known = [], []
        async with Link(ground.port, record=True) as alice, Link(ground.port, record=True) as bob:
            for _ in range(sizes.far_openings):
                async with pair.online(ground, (alice.port, bob.port)):
                    await quiet(alice, bob)
                    alice.delay = bob.delay = delay
                    new.append(await pair.first("opening"))
                    await quiet(alice, bob)
                    await pair.alice("close")
                    await quiet(alice, bob)
                    known.append(await pair.first("again"))
                    echoes = await pair.ask("echo", sizes.far_echoes)
                    await quiet(alice, bob)
                    alice.delay = bob.delay = 0.0
            check_wire(pair.kind, alice, bob)
        values[f"first_new_{name}"] = MILLI * median(new)
        if not KINDS[pair.kind].omemo:
            values[f"first_known_{name}"] = MILLI * median(known)
        values[f"echo_{name}"] = MILLI * median(echoes)
    return values


async def count_bytes(pair: Pair, ground: Ground, sizes: Sizes) -> Values:
    """Count the bytes of both clients, both ways, for messages that are pipelined, and for those that come alone."""
    async with Link(ground.port, record=True) as alice, Link(ground.port, record=True) as bob:
        async with pair.online(ground, (alice.port, bob.port)):
            await pair.ask("echo", WARM_ECHOES)
            alone = await _bytes(pair, alice, bob, [("alone", 1)] * sizes.alone)
            pipelined = await _bytes(pair, alice, bob, [("pipelined", sizes.messages_by_proxy)])
        check_wire(pair.kind, alice, bob)
    return {"bytes_alone": alone, "bytes_pipelined": pipelined}


async def _bytes(pair: Pair, alice: Link, bob: Link, said: list[tuple[str, int]]) -> float:
    await quiet(alice, bob)
    before = _passed(alice, bob)
    for kind, count in said:
        await pair.send(kind, count)
        await quiet(alice, bob)
    return (_passed(alice, bob) - before) / sum(count for _, count in said)


async def quiet(*links: Link) -> None:
    """Return when nothing has passed through any of the links for a while."""
    before = -1
    while before != (now := _passed(*links)):
        before = now
        await asyncio.sleep(QUIET_SECONDS + 2 * max(link.delay for link in links))


def _passed(*links: Link) -> int:
    """Return the bytes that have passed in both directions."""
    return sum(len(link.sent) + len(link.received) for link in links)


def check_wire(kind: str, *links: Link) -> None:
    """Check that encrypted messages cannot be read on the wire, and that plaintext can: else we looked in the wrong
    place."""
    log = StanzaLog()
    for link in links:
        for passed in (link.sent, link.received):
            log.add(Direction.RECEIVED, "", passed.decode())
    read, encrypted = bool(log.find_text(WORD)), KINDS[kind].e2e or KINDS[kind].omemo
    if read == encrypted:
        raise WrongResult("a message could be read on the wire" if read else "no message was seen on the wire at all")
