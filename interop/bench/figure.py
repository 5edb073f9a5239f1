"""Draw what matters most as a picture for the README, by matplotlib, which is for benchmarks alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from interop.bench.stage import Samples

COLOURS = {"plaintext": "#8a8f98", "e2e": "#2a78b8", "omemo": "#d08a2e"}
NAMES = {"plaintext": "plaintext", "e2e": "xmpp-e2e", "omemo": "OMEMO"}


@dataclass(frozen=True)
class Panel:
    """One chart: a bar for each kind, in each group."""

    title: str
    values: tuple[tuple[str, str], ...]
    """Label and name of each group's value."""
    digits: int = 0


PANELS = (
    Panel("a message and its answer (ms)", (("", "echo"),), 1),
    Panel("200-byte messages a second, one way", (("", "rate"),)),
    Panel("first message to a new peer (ms)", (("no delay", "first_new"), ("50 ms a link", "first_new_50"))),
)


def can_draw() -> bool:
    """Return whether matplotlib is installed."""
    from importlib.util import find_spec

    return find_spec("matplotlib") is not None


def draw(samples: Samples, path: Path) -> bool:
    """Write the picture; return False, and write nothing, if what it shows was not all measured."""
    of: Any = samples.get("prosody", {})
    needed = [of.get(kind, {}).get(name) for kind in NAMES for panel in PANELS for _, name in panel.values]
    if not all(needed):
        return False
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.6), dpi=110, layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
        _panel(axes, panel, of)
    handles = [figure.axes[0].patches[number] for number in range(len(NAMES))]
    figure.legend(handles, list(NAMES.values()), loc="outside lower center", ncols=len(NAMES), frameon=False, fontsize=9)
    figure.savefig(path, metadata={"Software": None})
    return True


def _panel(axes: Any, panel: Panel, of: Any) -> None:
    width = 0.8 / len(NAMES)
    for group, (_, name) in enumerate(panel.values):
        for place, kind in enumerate(NAMES):
            values: Sequence[float] = of[kind][name]
            middle, at = median(values), group + (place - (len(NAMES) - 1) / 2) * width
            error = [[middle - min(values)], [max(values) - middle]]
            axes.bar(at, middle, width * 0.9, yerr=error, capsize=2, color=COLOURS[kind], error_kw={"lw": 0.8})
            axes.annotate(
                f"{middle:,.{panel.digits}f}", (at, max(values)), (0, 2), textcoords="offset points", ha="center", fontsize=8
            )
    axes.set_title(panel.title, fontsize=10)
    labels = [label for label, _ in panel.values if label]
    axes.set_xticks(range(len(labels)), labels, fontsize=8)
    axes.tick_params(axis="y", labelsize=8)
    axes.margins(y=0.15)
    axes.spines[["top", "right"]].set_visible(False)
