"""Thousands of sessions in one process: what they keep, and whether each stanza then costs more."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from interop.bench.measures import MICRO, MILLI, Values
from interop.bench.pair import PASSWORD, Ground, jid
from interop.bench.sizes import Sizes
from interop.bench.worker import WorkerProcess, WrongResult
from interop.servers.daemon import COMPONENT, COMPONENT_SECRET

WARM_SESSIONS = 20
"""Sessions to open before measuring memory: the first costs more than all others."""
OPENERS = 3
"""Accounts that open sessions, all in one process: a component keeps keys of 4,096 sessions with one account."""
TIMES = 10
"""Messages to each of those that are spoken to, and presences of each."""
KIBI = 1024


async def sessions(ground: Ground, sizes: Sizes, folder: Path) -> Values:
    """Let one process open sessions with more and more addresses of a component, in another process."""
    domain = f"{COMPONENT}.{jid('').partition('@')[2]}"
    async with WorkerProcess() as opener, WorkerProcess() as accepter:
        store = str(folder / "component.db")
        await accepter("join", port=ground.component_port, domain=domain, secret=COMPONENT_SECRET, store=store)
        for number in range(OPENERS):
            store = str(folder / f"opener{number}.db")
            full = (await opener("enter", port=ground.port, jid=jid("opener", number), password=PASSWORD, store=store))["jid"]
        peers = [f"member{number}@{domain}/x" for number in range(max(sizes.sessions) + WARM_SESSIONS)]
        both, values, done = (opener, accepter), Values(), WARM_SESSIONS
        await _open(opener, peers[:done], done)
        empty = [await worker("cost") for worker in both]
        for count in sizes.sessions:
            before = [await worker("cost") for worker in both]
            await _open(opener, peers[done : count + WARM_SESSIONS], count + WARM_SESSIONS)
            now = [await worker("cost") for worker in both]
            opened, done = count + WARM_SESSIONS - done, count + WARM_SESSIONS
            for side, a, b, c in zip(("opener", "accepter"), empty, before, now, strict=True):
                values[f"memory_{side}_{count}"] = (c["rss"] - a["rss"]) / count / KIBI
                values[f"opening_cpu_{side}_{count}"] = MILLI * (c["cpu"] - b["counted"]) / opened
            spoken = peers[WARM_SESSIONS : WARM_SESSIONS + sizes.spoken_to]
            values |= {f"{name}_{count}": value for name, value in (await _costs(opener, accepter, spoken, full)).items()}
            for side, worker in zip(("opener", "accepter"), both, strict=True):
                cpu = (await worker("idle", seconds=sizes.idle_seconds))["cpu"]
                values[f"idle_{side}_{count}"] = MILLI * cpu / count * 1_000
        await opener("quit")
        await accepter("leave")
    return values


async def _open(opener: WorkerProcess, peers: list[str], expected: int) -> None:
    for start in range(0, len(peers), 500):
        answer = await opener("open", peers=peers[start : start + 500])
    if answer["open"] != expected:
        raise WrongResult(f"{answer['open']} sessions are open, not {expected}")


async def _costs(opener: WorkerProcess, accepter: WorkerProcess, peers: list[str], full: str) -> Values:
    """Return what a message costs both ends, and what a presence costs, in microseconds."""
    count = TIMES * len(peers)
    await opener("write_to", peers=peers, times=1)
    await accepter("counted", count=len(peers))
    before = await opener("cost"), await accepter("cost")
    await opener("write_to", peers=peers, times=TIMES)
    await accepter("counted", count=count)
    after = await opener("cost"), await accepter("cost")
    for _ in range(TIMES):
        await accepter("show", to=full, peers=peers)
    await opener("counted", count=count)
    seen = await opener("cost")
    return {
        "stanza_cpu_sender": _micro(before[0], after[0], count),
        "stanza_cpu_receiver": _micro(before[1], after[1], count),
        "presence_cpu": _micro(after[0], seen, count),
    }


def _micro(before: Mapping[str, Any], after: Mapping[str, Any], count: int) -> float:
    return MICRO * float(after["cpu"] - before["counted"]) / count
