"""The figures of many seeds, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from interop.chaos.check import Broken
from interop.chaos.play import Outcome

COLUMNS = ("servers", "seed", "given", "arrived", "delivered", "failed", "of them arrived", "repeated", "cut off")
PROMISES = {"lost untold": (Broken.LOST, Broken.BELIED), "twice": (Broken.REPEATED,), "reordered": (Broken.REORDERED,)}
"""What the table counts of the broken promises; the last column has the rest."""


def markdown(outcomes: Sequence[Outcome]) -> str:
    """Return the table: one row for each seed, both directions together, and their sums."""
    rows = [[str(cell) for cell in (outcome.plan.server, outcome.plan.seed, *_figures(outcome))] for outcome in outcomes]
    sums = [str(sum(int(row[column]) for row in rows)) for column in range(2, len(COLUMNS) + len(PROMISES) + 1)]
    heads = [*COLUMNS, *PROMISES, "other faults"]
    table = [heads, ["---"] * len(heads), *rows, ["all", "", *sums]]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in table) + "\n"


def _figures(outcome: Outcome) -> list[int]:
    both = list(outcome.verdict.values())
    told = [
        sum(getattr(each, name) for each in both)
        for name in ("given", "arrived", "delivered", "failed", "failed_but_arrived", "repeated", "cut_off")
    ]
    named = [sum(len(each.broken.get(how, ())) for each in both for how in hows) for hows in PROMISES.values()]
    every = sum(len(numbers) for each in both for numbers in each.broken.values())
    return [*told, *named, every - sum(named)]
