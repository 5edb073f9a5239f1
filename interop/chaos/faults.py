"""The schedule of faults that a seed makes: what breaks, when, and for how long."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What goes wrong."""

    CUT = "cut"
    """The link's connections are cut, each after some bytes."""
    DELAY = "delay"
    """The link takes its time."""
    DROP = "drop"
    """The link swallows everything, and then its connections are cut."""
    KILL_SERVER = "kill server"
    """SIGKILL, and a start some seconds later."""
    RESTART_SERVER = "restart server"
    """SIGTERM, and a start some seconds later."""
    SUSPEND_SERVER = "suspend server"
    """SIGSTOP, and SIGCONT later."""
    KILL_CLIENT = "kill client"
    RESTART_CLIENT = "restart client"
    SUSPEND_CLIENT = "suspend client"


Span = tuple[float, float]
"""The least and the most seconds of something."""


@dataclass(frozen=True)
class Profile:
    """How much is played: the stanzas of each direction, the seconds in which they are given, and how long faults last."""

    stanzas: int
    seconds: float
    away: Span
    """How long a killed or restarted program is away."""
    suspended_server: Span
    suspended_client: Span
    path: Span
    """How long a link delays or drops."""
    path_faults: int
    """Faults of the links."""
    cuts: int
    """The most connections that one fault cuts, one after the other."""
    settle: int
    """After the last number, the most seconds for what is on its way. What has no final event then gets it at the farewell."""


FULL = Profile(
    stanzas=10_000,
    seconds=400.0,
    away=(0.5, 8),
    suspended_server=(65, 130),
    suspended_client=(5, 30),
    path=(2, 25),
    path_faults=12,
    cuts=5,
    settle=400,
)
"""Ten thousand stanzas each way. A server stands still for longer than our own deadlines are, which are 60 s, and at the end
there is time for what may wait for five minutes (`queue_seconds`)."""
SHORT = Profile(
    stanzas=300,
    seconds=20.0,
    away=(0.1, 1),
    suspended_server=(1, 2),
    suspended_client=(0.5, 1.5),
    path=(0.5, 2),
    path_faults=4,
    cuts=2,
    settle=60,
)
"""Every kind of fault in twenty seconds."""
QUIET = Profile(
    stanzas=300,
    seconds=5.0,
    away=(0, 0),
    suspended_server=(0, 0),
    suspended_client=(0, 0),
    path=(0, 0),
    path_faults=0,
    cuts=0,
    settle=60,
)
"""No fault at all, to see that the harness itself breaks nothing."""

MOST_DELAY = 2.0
"""The longest delay of a link, in seconds each way."""
CUT_BYTES = (1, 60_000)
"""A connection is cut after so many bytes: within the login, within a stanza, or some hundred stanzas later."""


@dataclass(frozen=True)
class Fault:
    """One fault."""

    at: float
    """Seconds after the start."""
    kind: Kind
    target: str
    """The name of a link, a server or a client."""
    seconds: float
    """How long it lasts. A cut waits so long for its bytes, and then does not."""
    cuts: tuple[int, ...] = ()
    """The bytes after which connections are cut, one after the other."""
    delay: float = 0.0
    """Seconds each way."""

    def __str__(self) -> str:
        how = f" after {', '.join(map(str, self.cuts))} bytes" if self.cuts else f" by {self.delay:.2f} s" * bool(self.delay)
        return f"{self.at:6.1f} s: {self.kind} {self.target}{how}, {self.seconds:.1f} s"


def schedule(
    seed: int, profile: Profile, *, clients: Sequence[str], servers: Sequence[str], links: Sequence[str]
) -> list[Fault]:
    """Return the faults in the order of their begin. The same arguments give the same faults.

    Programs fail one after the other, and so do links, but a link may fail while a program does. Each kind occurs, and each
    server is suspended once.
    """
    chance = random.Random(seed)
    if not profile.path_faults:
        return []
    processes = [
        *((Kind.SUSPEND_SERVER, server, profile.suspended_server) for server in servers),
        *((kind, chance.choice(servers), profile.away) for kind in (Kind.KILL_SERVER, Kind.RESTART_SERVER) if servers),
        *((kind, chance.choice(clients), profile.away) for kind in (Kind.KILL_CLIENT, Kind.RESTART_CLIENT)),
        (Kind.SUSPEND_CLIENT, chance.choice(clients), profile.suspended_client),
    ]
    kinds = [Kind.CUT, Kind.DELAY, Kind.DROP]
    paths = [(kinds[number % len(kinds)], chance.choice(links), profile.path) for number in range(profile.path_faults)]
    faults = [*_in_turn(chance, profile, processes), *_in_turn(chance, profile, paths)]
    return sorted(faults, key=lambda fault: fault.at)


def _in_turn(chance: random.Random, profile: Profile, wanted: Sequence[tuple[Kind, str, Span]]) -> list[Fault]:
    """Spread these over the time, in any order, so that none overlap."""
    shuffled = chance.sample(wanted, len(wanted))
    lasting = [chance.uniform(*span) for _, _, span in shuffled]
    free = profile.seconds - sum(lasting)
    if free < 0:
        raise ValueError(f"these faults take {-free:.0f} s more than there are")
    gaps = sorted(chance.uniform(0, free) for _ in shuffled)
    faults, before = [], 0.0
    for (kind, target, _), seconds, gap in zip(shuffled, lasting, gaps, strict=True):
        at, before = before + gap, before + seconds
        cuts = tuple(_bytes(chance) for _ in range(chance.randint(1, profile.cuts))) if kind is Kind.CUT else ()
        delay = chance.uniform(0.05, MOST_DELAY) if kind is Kind.DELAY else 0.0
        faults.append(Fault(at, kind, target, seconds, cuts, delay))
    return faults


def _bytes(chance: random.Random) -> int:
    """Return after how many bytes to cut: any order of magnitude is as likely as any other."""
    least, most = CUT_BYTES
    return int(least * math.pow(most / least, chance.random()))
