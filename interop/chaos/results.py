"""The figures of many seeds, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from interop.chaos.check import Broken
from interop.chaos.play import Outcome

COLUMNS = ("servers", "seed", "given", "arrived", "delivered", "failed", "of them arrived", "repeated", "cut off")
PROMISES = {"lost untold": (Broken.LOST, Broken.BELIED), "twice": (Broken.REPEATED,), "reordered": (Broken.REORDERED,)}
"""What the table counts of the broken promises; the last column has the rest."""


def markdown(outcomes: Sequence[Outcome], words: Sequence[str]) -> str:
    """Return a row for each seed, both directions together, and their sums. ``words``: the command line."""
    rows = [[str(cell) for cell in (outcome.plan.server, outcome.plan.seed, *_figures(outcome))] for outcome in outcomes]
    sums = [str(sum(int(row[column]) for row in rows)) for column in range(2, len(COLUMNS) + len(PROMISES) + 1)]
    heads = [*COLUMNS, *PROMISES, "other faults"]
    table = [heads, ["---"] * len(heads), *rows, ["all", "", *sums]]
    software = sorted({name for outcome in outcomes for name in outcome.software})
    lines = [
        "# Chaos",
        "",
        f"Written by `python -m interop.chaos.run {' '.join(words)}`; `make soak` plays 20 seeds on each.",
        "Two programs count to each other while servers, paths and the programs themselves are killed, restarted, suspended,",
        "cut, delayed and swallowed ([`faults.py`](faults.py)). The verdict ([`check.py`](check.py)) is on what both noted:",
        "each stanza arrives once, in order and inside a session, or its sender is told, by one final event.",
        "",
        f"Servers: {', '.join(software)}. On `federation` Alice is on Prosody, Bob on ejabberd.",
        "",
        *(f"| {' | '.join(cells)} |" for cells in table),
        "",
        "*Failed*: the sender was told so. *Of them arrived*: it was under way when its time was up. *Repeated*: the receiver",
        "was killed in the moment after it had heard it. *Cut off*: the sender was killed before it was told. These are",
        "no faults; the columns after them count broken promises.",
    ]
    return "\n".join(lines) + "\n"


def _figures(outcome: Outcome) -> list[int]:
    both = list(outcome.verdict.values())
    told = [
        sum(getattr(each, name) for each in both)
        for name in ("given", "arrived", "delivered", "failed", "failed_but_arrived", "repeated", "cut_off")
    ]
    named = [sum(len(each.broken.get(how, ())) for each in both for how in hows) for hows in PROMISES.values()]
    every = sum(len(numbers) for each in both for numbers in each.broken.values())
    return [*told, *named, every - sum(named)]
