"""Summarize the samples, with median, spread, comparison, target and verdict, as Markdown and as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from statistics import median

from OpenSSL import SSL

from interop.bench.rows import TABLES, How, Row, Verdict
from interop.bench.stage import Samples

LOAD = "load average before"
Machine = Mapping[str, str | int | float]
PREFACE = """\
# Benchmark

`make bench` writes this file; `{command}` did this time. It runs plaintext slixmpp, the same program with
`register_plugin("e2e")`, and others, in turn (A B A B …), on the same server on the loopback. Each client is a process of
its own. "Measured" is with our plugin and "beside" plaintext, unless a row says otherwise. Each cell is the median of the
rounds, with the lowest and the highest. What is compared are two measurements of the same round: ratios or differences. Only
these carry over to other machines. A target is met if the median meets it. The samples are in [results.json](results.json).
"""
BUSY = """\
**The machine was busy with other work.** Times and their ratios are too high, because the clients had to wait for a core;
most of all where there are many steps. CPU times are more accurate, and bytes are exact.
"""
IDLE_LOAD = 0.5
"""A load average above this means that something else runs on the machine."""
NOTES = """\
The server is a default Prosody without rate limits, unless a row says otherwise. By default Prosody holds small writes back
for up to 40 ms, until TCP acknowledges the one before (Nagle's algorithm), which delays several writes in a row, and the first
plaintext message after a login. "Without Nagle" is its setting `network_settings = { nagle = false }`.

"First message" is the time from `send_message()` to the other's handler. Both clients are online and know each other's
presence, and the address is a bare JID. With encryption, this includes opening a session. "50 ms a link" delays each
direction between each client and the server by 50 ms: one way from client to client takes 100 ms. "Pipelined" sends 20 messages
in each turn of the event loop through an open session. There is no TLS between client and server. CPU is that of the whole
client process. OMEMO keeps its keys in memory, and has the peer's list of devices before the first message. Of many sessions,
one process opens all, by three accounts, with addresses of one component, which is another process; a hundred of them are
spoken to.
"""


def machine(servers: Iterable[str], load: float) -> Machine:
    """Return the facts about the machine and its software that influence the numbers; ``load`` is the load average
    before."""
    return {
        "cores": os.cpu_count() or 0,
        LOAD: round(load, 1),
        "python": platform.python_version(),
        "slixmpp": version("slixmpp"),
        "slixmpp-omemo": version("slixmpp-omemo"),
        "openssl": SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode().split()[1],
        "servers": ", ".join(servers),
    }


def spread(values: Sequence[float], digits: int) -> str:
    """Return ``median (lowest to highest)``, or a dash."""
    if not values:
        return "-"
    middle, low, high = (f"{value:,.{digits}f}" for value in (median(values), min(values), max(values)))
    return f"{middle} ({low} to {high})" if len(values) > 1 else middle


def markdown(samples: Samples, facts: Machine, command: str) -> str:
    """Return the results as tables; rows of which nothing was measured are left out."""
    rounds = max(len(values) for kinds in samples.values() for names in kinds.values() for values in names.values())
    lines = [
        PREFACE.format(command=command),
        *([BUSY] if float(facts[LOAD]) > IDLE_LOAD else []),
        f"{rounds} rounds; " + "; ".join(f"{name} {value}" for name, value in facts.items()) + ".",
        "",
        f"Targets: {_summary(samples)}.",
        "",
    ]
    for heading, rows in TABLES.items():
        if shown := [row for row in rows if row.verdict(samples) is not Verdict.NOT_MEASURED or _is_missing(row, samples)]:
            lines += [f"## {heading}", "", *_table(shown, samples), ""]
    return "\n".join([*lines, NOTES])


def as_json(samples: Samples, facts: Machine) -> str:
    """Return every sample, in the order of the rounds."""
    return json.dumps({"machine": facts, "samples": samples}, indent=1) + "\n"


def _is_missing(row: Row, samples: Samples) -> bool:
    """Whether only ours is missing, of something that has a target: then the row says so."""
    other, ours = row.numbers(samples)
    return bool(other and not ours and row.target)


def _summary(samples: Samples) -> str:
    verdicts = Counter(row.verdict(samples) for rows in TABLES.values() for row in rows if row.target)
    return ", ".join(f"{verdicts[verdict]} {verdict.value.strip('*')}" for verdict in Verdict if verdicts[verdict])


def _table(rows: Iterable[Row], samples: Samples) -> Iterator[str]:
    yield "| what | unit | beside | measured | compared | target | verdict |"
    yield "|---|---|---|---|---|---|---|"
    for row in rows:
        other, ours = (spread(values, row.digits) for values in row.numbers(samples))
        signs = {How.RATIO: " times", How.DIFFERENCE: f" {row.unit} more", How.ALONE: f" {row.unit}"}
        compared = spread(row.compared(samples), row.digits if row.how is How.DIFFERENCE else 2)
        if row.how is How.ALONE:
            other = compared = "-"
        target = f"{'≥' if row.target.at_least else '≤'} {row.target.bound:g}{signs[row.how]}" if row.target else "-"
        yield f"| {row.title} | {row.unit} | {other} | {ours} | {compared} | {target} | {row.verdict(samples).value or '-'} |"
