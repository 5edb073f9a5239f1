"""``python -m interop.bench``, from the top of the repository: measure, and write RESULTS.md and results.json.

The exit code is 0 if every message arrived as it should, however long it took. It is 1 if something was lost, came the
wrong way, or could be read on the wire, and 128 + the signal's number after an interruption.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from interop.bench.measurements import FULL, QUICK, measure
from interop.bench.results import as_json, machine, markdown
from interop.bench.worker import ClientFailed, WrongResult
from interop.run import interruptible

HERE = Path(__file__).parent
ROUNDS = 5


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m interop.bench", description="Measure what encryption costs.")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"number of rounds (default {ROUNDS})")
    parser.add_argument("--quick", action="store_true", help="a little of everything, to check that it works")
    parser.add_argument("--into", type=Path, help="folder for the results (--quick only prints them by default)")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    wanted = arguments(words)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="xmpp-e2e-bench-") as folder:
        try:
            measured = interruptible(measure(wanted.rounds, QUICK if wanted.quick else FULL, Path(folder)))
        except (WrongResult, ClientFailed) as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            return 1
    if isinstance(measured, signal.Signals):
        print(f"interrupted by {measured.name}", file=sys.stderr)
        return 128 + measured
    samples, server = measured
    facts = machine(server, load)
    text = markdown(samples, facts)
    print(text)
    into = wanted.into or (None if wanted.quick else HERE)
    if into is not None:
        (into / "RESULTS.md").write_text(text, encoding="utf-8")
        (into / "results.json").write_text(as_json(samples, facts), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
