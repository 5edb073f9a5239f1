"""What is made of the samples: median, spread and ratio, as Markdown and as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from statistics import median

from OpenSSL import SSL

from interop.bench.rounds import KINDS, ROWS, Samples

LOAD = "load average before"
Machine = Mapping[str, str | int | float]
PREFACE = """\
# Benchmark

Written by `make bench`. Plaintext slixmpp and the same program with `register_plugin("e2e")` in turn (A B A B …), on one
Prosody on the loopback, which has no limits. Each client is a process of its own. Each cell is the median of the rounds,
with the lowest and the highest; the ratio is that of the two measured in the same round. Only the ratios carry over to
other machines. The samples are in [results.json](results.json).
"""
BUSY = """\
**The machine was busy with other work.** Times, and ratios of times, are too high by what the clients had to wait for a core,
and most where there are many steps; CPU times are less wrong, and bytes are not.
"""
IDLE_LOAD = 0.5
"""A load average above this says that somebody else works here: before a run nothing of ours does."""
NOTES = """\
"First message" is from `send_message()` until the other's handler has it: both are online and know each other's
presence, the address is a bare JID; with encryption a session is opened on the way. "50 ms a link" is 50 ms each way
between each client and the server: one way from client to client is 100 ms. "Without Nagle" is the server's setting
`network_settings = { nagle = false }`: by default it holds back small writes by up to 40 ms, which whoever sends several in
a row has to wait for. "Pipelined": 20 messages in each turn of the event loop, a session is open. There is no TLS between
client and server, so bytes are those of XMPP. CPU is that of the whole client process. Memory and CPU of an opening are
those of one client that opens sessions one after the other with many.
"""


def machine(server: str, load: float) -> Machine:
    """What of the machine and its software matters to the numbers; ``load`` is its load average before."""
    return {
        "cores": os.cpu_count() or 0,
        LOAD: round(load, 1),
        "python": platform.python_version(),
        "slixmpp": version("slixmpp"),
        "openssl": SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode().split()[1],
        "server": server,
    }


def ratios(samples: Mapping[str, Sequence[float]]) -> list[float]:
    """Encrypted by plaintext, round for round; empty if only one of them was measured."""
    plain, encrypted = (samples.get(kind, ()) for kind in KINDS)
    return [b / a for a, b in zip(plain, encrypted, strict=bool(plain and encrypted))]


def spread(values: Sequence[float], digits: int) -> str:
    """``median (lowest to highest)``, or a dash."""
    if not values:
        return "-"
    middle, low, high = (f"{value:,.{digits}f}" for value in (median(values), min(values), max(values)))
    return f"{middle} ({low} to {high})"


def markdown(samples: Samples, facts: Machine) -> str:
    """The table."""
    rounds = max(len(values) for kinds in samples.values() for values in kinds.values())
    lines = [
        PREFACE,
        *([BUSY] if float(facts[LOAD]) > IDLE_LOAD else []),
        f"{rounds} rounds; " + "; ".join(f"{name} {value}" for name, value in facts.items()) + ".",
        "",
        "| what | unit | plaintext | e2e | ratio |",
        "|---|---|---|---|---|",
    ]
    for name, row in ROWS.items():
        plain, encrypted = (spread(samples[name].get(kind, ()), row.digits) for kind in KINDS)
        lines.append(f"| {row.title} | {row.unit} | {plain} | {encrypted} | {spread(ratios(samples[name]), 2)} |")
    return "\n".join([*lines, "", NOTES])


def as_json(samples: Samples, facts: Machine) -> str:
    """Every sample, in the order of the rounds."""
    rows = {name: {"unit": row.unit, **samples[name]} for name, row in ROWS.items()}
    return json.dumps({"machine": facts, "rows": rows}, indent=1) + "\n"
