"""Start the servers, and take every measurement for every kind of clients in turn (A B A B …)."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from interop.bench import measures, memory, wire
from interop.bench.kinds import KINDS
from interop.bench.measures import Values
from interop.bench.pair import DOMAIN, PASSWORD, Ground, Pair, account
from interop.bench.sizes import Sizes
from interop.bench.worker import WorkerProcess
from interop.servers.daemon import Daemon
from interop.servers.ejabberd import Ejabberd
from interop.servers.prosody import Prosody

STARTED = time.monotonic()
OMEMO_PAIRS = 12
"""Pairs of accounts that OMEMO needs in a round, at most."""
OPEN_PROSODY = """
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
tap_record = false
"""
"""No TLS to the server, so that the proxy can read, and no log of stanzas, which costs time."""

Accounts = Mapping[str, str]
Contacts = Collection[Collection[str]]
SERVERS: Mapping[str, Callable[[Accounts, Contacts], Daemon]] = {
    "prosody": lambda accounts, friends: Prosody(DOMAIN, accounts, friends=friends, extra=OPEN_PROSODY),
    "prompt": lambda accounts, friends: Prosody(
        DOMAIN, accounts, friends=friends, extra=f"{OPEN_PROSODY}network_settings = {{ nagle = false }}\n"
    ),
    "limits": lambda accounts, friends: Prosody(DOMAIN, accounts, friends=friends, limits=True, extra=OPEN_PROSODY),
    "ejabberd": lambda accounts, friends: Ejabberd(DOMAIN, accounts, friends=friends, benchmark=True),
}
"""By name. By default Prosody holds small writes back for up to 40 ms, until TCP acknowledges the one before (Nagle's
algorithm); ``prompt`` does not. ``limits`` are those of Debian's package."""

Take = Callable[[Pair, Ground, Sizes], Awaitable[Values]]
Samples = dict[str, dict[str, dict[str, list[float]]]]
"""Server to kind to value to one number for each round."""
BOTH = ("plaintext", "e2e")


@dataclass(frozen=True)
class Measure:
    """One measurement."""

    take: Take
    kinds: Mapping[str, tuple[str, ...]]
    """The kinds of clients to compare, by server."""


MEASURES: Mapping[str, Measure] = {
    "echo": Measure(
        measures.echo,
        {"prosody": ("plaintext", "e2e", "caps", "sm", "e2e_sm", "omemo"), "prompt": BOTH, "ejabberd": BOTH},
    ),
    "first": Measure(
        measures.first, {"prosody": (*BOTH, "omemo"), "prompt": BOTH, "ejabberd": BOTH, "limits": BOTH}
    ),
    "rate": Measure(
        measures.rate,
        {
            "prosody": ("plaintext", "e2e", "caps", "sm", "e2e_sm", "omemo"),
            "prompt": BOTH,
            "ejabberd": BOTH,
            "limits": BOTH,
        },
    ),
    "large": Measure(measures.large, {"prosody": BOTH}),
    "far": Measure(wire.far, {"prosody": (*BOTH, "omemo")}),
    "bytes": Measure(wire.count_bytes, {"prosody": (*BOTH, "omemo")}),
    "bulk": Measure(measures.bulk, {"prosody": ("ibb", "e2e")}),
}
"""What is measured in every round, in this order."""
MEMORY = "memory"
"""What is measured once, at the beginning: it takes as long as some rounds."""
NAMES = (*MEASURES, MEMORY)


@dataclass(frozen=True)
class Choice:
    """What is to be measured."""

    names: Collection[str] = NAMES
    servers: Collection[str] = tuple(SERVERS)
    kinds: Collection[str] = tuple(KINDS)

    def tasks(self) -> Iterator[tuple[str, str, str]]:
        """Yield measurement, server and kind, in the order of a round: what is compared comes one after the other."""
        for name in MEASURES:
            for server, kinds in MEASURES[name].kinds.items():
                for kind in kinds:
                    if name in self.names and server in self.servers and kind in self.kinds:
                        yield name, server, kind

    @property
    def memory(self) -> bool:
        """Whether many sessions are to be measured."""
        return MEMORY in self.names and "prosody" in self.servers and "e2e" in self.kinds

    @property
    def grounds(self) -> list[str]:
        """The servers that are needed."""
        needed = {server for _, server, _ in self.tasks()} | ({"prosody"} if self.memory else set())
        return [name for name in SERVERS if name in needed]


async def measure(rounds: int, sizes: Sizes, folder: Path, choice: Choice) -> tuple[Samples, list[str]]:
    """Return all samples, and the versions of the servers. ``folder`` is for stores. Raises `WrongResult`, `ClientFailed`."""
    samples: Samples = {}
    async with AsyncExitStack() as running:
        grounds = {name: await running.enter_async_context(_ground(name, rounds)) for name in choice.grounds}
        if choice.memory:
            _tell(MEMORY)
            _keep(samples, "prosody", "e2e", await memory.sessions(grounds["prosody"], sizes, folder))
        for number in range(rounds if any(choice.tasks()) else 0):
            _tell(f"round {number + 1} of {rounds}")
            place = folder / str(number)
            place.mkdir()
            await _round(samples, grounds, sizes, place, choice)
        return samples, sorted({ground.software for ground in grounds.values()})


async def _round(samples: Samples, grounds: Mapping[str, Ground], sizes: Sizes, folder: Path, choice: Choice) -> None:
    """Take the measurements of one round. Each kind has new processes in each round, so that none influences another."""
    async with AsyncExitStack() as running:
        pairs: dict[str, Pair] = {}
        for name, server, kind in choice.tasks():
            if kind not in pairs:
                alice, bob = [await running.enter_async_context(WorkerProcess()) for _ in range(2)]
                pairs[kind] = Pair(alice, bob, kind, folder)
            _tell(f"  {name}, {server}, {KINDS[kind].title}")
            _keep(samples, server, kind, await MEASURES[name].take(pairs[kind], grounds[server], sizes))


def _tell(what: str) -> None:
    """Say what is measured now, and since when we run."""
    print(f"{time.monotonic() - STARTED:6.0f} s {what}", file=sys.stderr)


def _keep(samples: Samples, server: str, kind: str, values: Values) -> None:
    kept = samples.setdefault(server, {}).setdefault(kind, {})
    for name, value in values.items():
        kept.setdefault(name, []).append(value)


@asynccontextmanager
async def _ground(name: str, rounds: int) -> AsyncIterator[Ground]:
    """Start a server with pairs of accounts, each of which is the other's only contact."""
    pairs = OMEMO_PAIRS * rounds if name == "prosody" else 0
    friends = [(account("alice", number), account("bob", number)) for number in range(pairs + 1)]
    names = [*(name for pair in friends for name in pair), *(account("opener", number) for number in range(memory.OPENERS))]
    async with SERVERS[name](dict.fromkeys(names, PASSWORD), friends) as server:
        software = f"{server.name} {server.version}"
        yield Ground(server.port, software, server.component_port, count(1), name == "limits")
