"""``python -m interop.bench``, from the top of the repository: measure, and write RESULTS.md, results.json and a picture.

A part is measured in a minute: ``python -m interop.bench --only=echo --server=prosody --kind=plaintext --kind=e2e --rounds=3``
prints it, and writes nothing unless it is told where (``--into``).

The exit code is 0 if every message arrived as it should, however long it took and whatever the targets say. It is 1 if
something was lost, came the wrong way, or could be read on the wire, and 128 + the signal's number after an interruption.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from interop.bench.figure import can_draw, draw
from interop.bench.kinds import KINDS
from interop.bench.results import as_json, machine, markdown
from interop.bench.sizes import FULL, QUICK
from interop.bench.stage import NAMES, SERVERS, Choice, measure
from interop.bench.worker import ClientFailed, WrongResult
from interop.run import interruptible

HERE = Path(__file__).parent
ROUNDS = 5


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m interop.bench", description="Measure what encryption costs.")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"number of rounds (default {ROUNDS})")
    options = {"only": ("measurement", NAMES), "server": ("server", SERVERS), "kind": ("kind of client", KINDS)}
    for option, (what, choices) in options.items():
        parser.add_argument(f"--{option}", action="append", choices=tuple(choices), help=f"only this {what} (repeatable)")
    parser.add_argument("--quick", action="store_true", help="a little of everything, to check that it works")
    parser.add_argument("--into", type=Path, help="folder for the results (a part is only printed by default)")
    return parser.parse_args(words)


def _command(wanted: argparse.Namespace) -> str:
    """Return the command that measures the same, wherever its results go."""
    options = [f"--rounds={wanted.rounds}", *(["--quick"] if wanted.quick else [])]
    options += [f"--{name}={value}" for name in ("only", "server", "kind") for value in getattr(wanted, name) or ()]
    return shlex.join(["python", "-m", "interop.bench", *options])


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    wanted = arguments(words)
    choice = Choice(wanted.only or NAMES, wanted.server or tuple(SERVERS), wanted.kind or tuple(KINDS))
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="xmpp-e2e-bench-") as folder:
        try:
            measured = interruptible(measure(wanted.rounds, QUICK if wanted.quick else FULL, Path(folder), choice))
        except (WrongResult, ClientFailed) as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            return 1
    if isinstance(measured, signal.Signals):
        print(f"interrupted by {measured.name}", file=sys.stderr)
        return 128 + measured
    samples, servers = measured
    facts = machine(servers, load)
    text = markdown(samples, facts, _command(wanted))
    print(text)
    whole = not (wanted.quick or wanted.only or wanted.server or wanted.kind)
    if (into := wanted.into or (HERE if whole else None)) is not None:
        (into / "RESULTS.md").write_text(text, encoding="utf-8")
        (into / "results.json").write_text(as_json(samples, facts), encoding="utf-8")
        if can_draw():
            draw(samples, into / "results.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
