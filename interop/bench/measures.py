"""What is measured with two clients that talk directly to a server. Each function returns values by name."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median, quantiles
from typing import Any

from interop.bench.client import BODY_BYTES
from interop.bench.kinds import KINDS
from interop.bench.pair import Ground, Pair
from interop.bench.sizes import Sizes

Values = dict[str, float]
WARM_ECHOES = 3
"""Answers before anything else is measured. Without one, OMEMO goes on to open a session with each message."""
MICRO, MILLI, MEGA = 1e6, 1e3, 1e6


async def first(pair: Pair, ground: Ground, sizes: Sizes) -> Values:
    """Measure the first message to a new peer, and the first of a second session with known keys."""
    new, known = [], []
    for _ in range(sizes.openings):
        async with pair.online(ground):
            new.append(await pair.first("opening"))
            if not KINDS[pair.kind].omemo:
                await pair.alice("close")
                known.append(await pair.first("again"))
    values = {"first_new": MILLI * median(new)}
    return values | {"first_known": MILLI * median(known)} if known else values


async def echo(pair: Pair, ground: Ground, sizes: Sizes) -> Values:
    """Measure messages and their answers, one at a time: answered at once, and after a while."""
    async with pair.online(ground):
        await pair.ask("echo", WARM_ECHOES)
        before = await pair.costs()
        prompt = await pair.ask("echo", sizes.echoes)
        after = await pair.costs()
        late = await pair.ask("late", sizes.late_echoes)
    asker, answerer = _cpu(before, after, sizes.echoes)
    return {
        "echo": MILLI * median(prompt),
        "echo_p90": MILLI * p90(prompt),
        "echo_late": MILLI * median(late),
        "echo_late_p90": MILLI * p90(late),
        "echo_cpu_asker": asker,
        "echo_cpu_answerer": answerer,
    }


async def rate(pair: Pair, ground: Ground, sizes: Sizes) -> Values:
    """Measure small messages one way, as fast as they go, by slixmpp's API and by that of a session."""
    count = sizes.omemo_messages if KINDS[pair.kind].omemo else sizes.limited_messages if ground.slow else sizes.messages
    async with pair.online(ground):
        await pair.ask("echo", WARM_ECHOES)
        await pair.send("warm", max(1, count // 10))
        values = await _stream(pair, "rate", count)
        if KINDS[pair.kind].e2e:
            values |= await _stream(pair, "direct", count, direct=True)
    return values


async def large(pair: Pair, ground: Ground, sizes: Sizes) -> Values:
    """Measure large messages one way."""
    values: Values = {}
    async with pair.online(ground):
        await pair.send("warm", 1)
        for name, size, count in sizes.large:
            values |= await _stream(pair, f"large_{name}", count, size)
    return values


async def bulk(pair: Pair, ground: Ground, sizes: Sizes) -> Values:
    """Measure megabytes: in stanzas through a session, or by slixmpp's own IBB."""
    async with pair.online(ground):
        if pair.kind == "ibb":
            took: float | None = await pair.send_bytes(sizes.bulk_bytes)
        else:
            await pair.send("warm", 1)
            took = await pair.send("bulk", sizes.bulk_bytes // sizes.bulk_body, sizes.bulk_body)
    assert took is not None
    return {"bulk": sizes.bulk_bytes / MEGA / took}


def p90(seconds: list[float]) -> float:
    """Return the ninetieth percentile."""
    return quantiles(seconds, n=10, method="inclusive")[-1]


async def _stream(pair: Pair, kind: str, count: int, size: int = BODY_BYTES, direct: bool = False) -> Values:
    """Return the rate, and what a message costs both; nothing if there is no such way to send."""
    before = await pair.costs()
    took = await pair.send(kind, count, size, direct)
    if took is None:
        return {}
    sender, receiver = _cpu(before, await pair.costs(), count)
    return {kind: count / took, f"{kind}_cpu_sender": sender, f"{kind}_cpu_receiver": receiver}


def _cpu(before: tuple[Mapping[str, Any], ...], after: tuple[Mapping[str, Any], ...], count: int) -> tuple[float, float]:
    """Return the microseconds of a message, for Alice and for Bob."""
    alice, bob = (MICRO * (b["cpu"] - a["counted"]) / count for a, b in zip(before, after, strict=True))
    return alice, bob
