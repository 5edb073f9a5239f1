"""Summarize the samples, with median, spread and ratio, as Markdown and as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from statistics import median

from OpenSSL import SSL

from interop.bench.measurements import KINDS, ROWS, Samples

LOAD = "load average before"
Machine = Mapping[str, str | int | float]
PREFACE = """\
# Benchmark

`make bench` writes this file. It runs plaintext slixmpp and the same program with `register_plugin("e2e")` in turn (A B A B
…), on one Prosody on the loopback without limits. Each client is a process of its own. Each cell is the median of the
rounds, with the lowest and the highest; a ratio compares two measurements of the same round. Only the ratios carry over
to other machines. The samples are in [results.json](results.json).
"""
BUSY = """\
**The machine was busy with other work.** Times and their ratios are too high, because the clients had to wait for a core;
most of all where there are many steps. CPU times are more accurate, and bytes are exact.
"""
IDLE_LOAD = 0.5
"""A load average above this means that something else runs on the machine."""
NOTES = """\
"First message" is the time from `send_message()` to the other's handler. Both clients are online and know each other's
presence, and the address is a bare JID. With encryption, this includes opening a session. "50 ms a link" delays each
direction between each client and the server by 50 ms: one way from client to client takes 100 ms. "Without Nagle" uses the
server's setting `network_settings = { nagle = false }`. By default the server holds small writes back for up to 40 ms, which
delays several writes in a row. "Pipelined" sends 20 messages in each turn of the event loop through an open session. There
is no TLS between client and server, so bytes are those of XMPP. CPU is that of the whole client process. Memory and CPU of
an opening are those of one client that opens sessions with many others, one after the other.
"""


def machine(server: str, load: float) -> Machine:
    """Return the facts about the machine and its software that influence the numbers; ``load`` is the load average
    before."""
    return {
        "cores": os.cpu_count() or 0,
        LOAD: round(load, 1),
        "python": platform.python_version(),
        "slixmpp": version("slixmpp"),
        "openssl": SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode().split()[1],
        "server": server,
    }


def ratios(samples: Mapping[str, Sequence[float]]) -> list[float]:
    """Return encrypted divided by plaintext, for each round; empty if only one of them was measured."""
    plain, encrypted = (samples.get(kind, ()) for kind in KINDS)
    return [b / a for a, b in zip(plain, encrypted, strict=bool(plain and encrypted))]


def spread(values: Sequence[float], digits: int) -> str:
    """Return ``median (lowest to highest)``, or a dash."""
    if not values:
        return "-"
    middle, low, high = (f"{value:,.{digits}f}" for value in (median(values), min(values), max(values)))
    return f"{middle} ({low} to {high})"


def markdown(samples: Samples, facts: Machine) -> str:
    """Return the results as a table."""
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
    """Return every sample, in the order of the rounds."""
    rows = {name: {"unit": row.unit, **samples[name]} for name, row in ROWS.items()}
    return json.dumps({"machine": facts, "rows": rows}, indent=1) + "\n"
