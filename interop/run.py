"""Run every scene on every server and write the matrix: ``python -m interop.run`` from the top of the repository.

The exit code is 0 if every scene passed, 1 if one failed, 2 for wrong usage, and 128 + the signal's number after an
interruption.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import platform
import signal
import sys
import traceback
from collections.abc import Coroutine, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from OpenSSL import SSL

from interop.runner import SERVERS, Result, Runner, Scene, scenes

T = TypeVar("T")
RESULTS = Path(__file__).parent / "RESULTS.md"
COLUMNS = {
    "loopback": "Loopback",
    "prosody": "Prosody",
    "ejabberd": "ejabberd",
    "federation": "Prosody\N{EN DASH}ejabberd",
    "swapped": "ejabberd\N{EN DASH}Prosody",
}
"""The heads of the columns, with Alice's server first."""


async def run_all(chosen: Sequence[Scene], names: Sequence[str]) -> list[Result]:
    """Run all scenes and report each result."""
    async with Runner() as runner:
        return await runner.run_all(chosen, names, report)


def report(result: Result) -> None:
    """Print a line for a result, with the traceback and the log if it failed."""
    limits = " under Debian's limits" if result.scene.setup.limits else ""
    verdict = "passed" if result.passed else "FAILED"
    print(f"{result.scene.name} on {COLUMNS[result.server]}{limits}: {verdict}", file=sys.stderr, flush=True)
    if result.error is not None:
        traceback.print_exception(result.error)
        print(result.log, file=sys.stderr)


def matrix(chosen: Sequence[Scene], results: Sequence[Result]) -> str:
    """Return the results as Markdown. It has no times and dates, so it changes only with behaviour or versions."""
    software = sorted({name for result in results for name in result.software})
    # "OpenSSL 3.5.0 8 Apr 2025"
    openssl = " ".join(SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode().split()[:2])
    versions = ", ".join(f"{name} {version(name)}" for name in ("slixmpp", "pyOpenSSL", "cryptography"))
    lines = [
        "# Interoperability",
        "",
        "`make interop` writes this file. Each scene is a file in `interop/scenes`. In the last columns two servers federate:",
        "Alice is on the first, Bob on the second. What becomes of 10,000 stanzas each way while servers, paths and programs",
        "are killed, suspended and cut is in [chaos/RESULTS.md](chaos/RESULTS.md), by `make soak`.",
        "",
        f"Servers: {', '.join(software)}.",
        f"Clients: {versions}; {openssl}; Python {platform.python_version()}.",
        "",
        *table([scene for scene in chosen if not scene.setup.limits], results),
        "",
        "Under the rate limits of Debian's packages for a client, 10 kB/s on Prosody and 3 kB/s on ejabberd:",
        "",
        *table([scene for scene in chosen if scene.setup.limits], results),
    ]
    return "\n".join(lines) + "\n"


def table(chosen: Sequence[Scene], results: Sequence[Result]) -> list[str]:
    """Return a table with a row for each scene and a column for each server on which any of them runs."""
    verdicts = {
        (result.scene.name, result.scene.setup, result.server): "passed" if result.passed else "**failed**"
        for result in results
    }
    names = [name for name in SERVERS if any(name not in scene.not_on for scene in chosen)]

    def row(scene: Scene) -> str:
        reasons = {name: f"not run: {reason}" for name, reason in scene.not_on.items()}
        cells = [verdicts.get((scene.name, scene.setup, name)) or reasons.get(name, "not run") for name in names]
        return f"| {scene.name} | {scene.title} | {' | '.join(cells)} |"

    heads = [f"| scene | what happens | {' | '.join(COLUMNS[name] for name in names)} |", f"|---|---|{'---|' * len(names)}"]
    return [*heads, *map(row, chosen)]


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m interop.run", description="Run the scenes on real servers.")
    parser.add_argument("scene", nargs="*", help="run only these scenes, by file name; RESULTS.md then stays as it is")
    parser.add_argument("--server", action="append", choices=sorted(SERVERS), help="run on this server only (repeatable)")
    parser.add_argument("--verbose", action="store_true", help="show the clients' logs")
    return parser.parse_args(words)


def interruptible(work: Coroutine[object, object, T]) -> T | signal.Signals:
    """Run ``work``. SIGINT and SIGTERM cancel it, which stops every server, and are returned."""
    caught: list[signal.Signals] = []

    async def watched() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)

        def stop(number: signal.Signals) -> None:
            caught.append(number)
            task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop, number)
        return await task

    try:
        return asyncio.run(watched())
    except asyncio.CancelledError:
        return caught[0]


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = arguments(words)
    # The clients log warnings about everything that the scenes do to them.
    logging.basicConfig(level=logging.INFO if options.verbose else logging.CRITICAL)
    chosen = scenes()
    if unknown := set(options.scene) - {scene.name for scene in chosen}:
        print(f"no such scene: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    chosen = [scene for scene in chosen if not options.scene or scene.name in options.scene]
    results = interruptible(run_all(chosen, options.server or list(SERVERS)))
    if isinstance(results, signal.Signals):
        print(f"interrupted by {results.name}", file=sys.stderr)
        return 128 + results
    if not (options.scene or options.server):
        RESULTS.write_text(matrix(chosen, results), encoding="utf-8")
    failed = sum(not result.passed for result in results)
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
