"""Plays every scene on every server and writes the matrix: ``python -m interop.run`` from the top of the repository.

The exit code is 0 if every scene passed, 1 if one failed, 2 for a mistake in usage, and 128 + the signal's number if it was
interrupted.
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

from interop.theatre import SERVERS, Result, Scene, Theatre, scenes

T = TypeVar("T")
RESULTS = Path(__file__).parent / "RESULTS.md"
COLUMNS = {
    "loopback": "Loopback",
    "prosody": "Prosody",
    "ejabberd": "ejabberd",
    "federation": "Prosody\N{EN DASH}ejabberd",
    "exchanged": "ejabberd\N{EN DASH}Prosody",
}
"""The heads of the columns, Alice's server first."""


async def perform_all(playbill: Sequence[Scene], names: Sequence[str]) -> list[Result]:
    """Play them all, and tell how each went."""
    async with Theatre() as theatre:
        return await theatre.play_all(playbill, names, tell)


def tell(result: Result) -> None:
    """One line, or all that is known of a failure."""
    limits = " under Debian's limits" if result.scene.setup.limits else ""
    verdict = "passed" if result.passed else "FAILED"
    print(f"{result.scene.name} on {COLUMNS[result.server]}{limits}: {verdict}", file=sys.stderr, flush=True)
    if result.error is not None:
        traceback.print_exception(result.error)
        print(result.log, file=sys.stderr)


def matrix(playbill: Sequence[Scene], results: Sequence[Result]) -> str:
    """The results as Markdown. No times and no dates: it changes when behaviour or a version does."""
    software = sorted({name for result in results for name in result.software})
    # "OpenSSL 3.5.0 8 Apr 2025"
    openssl = " ".join(SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode().split()[:2])
    versions = ", ".join(f"{name} {version(name)}" for name in ("slixmpp", "pyOpenSSL", "cryptography"))
    lines = [
        "# Interoperability",
        "",
        "Written by `make interop`. Each scene is a file in `interop/scenes`. The last columns are two servers that know each",
        "other by certificates: Alice is on the first, Bob on the second.",
        "",
        f"Servers: {', '.join(software)}.",
        f"Clients: {versions}; {openssl}; Python {platform.python_version()}.",
        "",
        *table([scene for scene in playbill if not scene.setup.limits], results),
        "",
        "With the rates to which Debian's packages limit a client, 10 kB/s on Prosody and 3 kB/s on ejabberd:",
        "",
        *table([scene for scene in playbill if scene.setup.limits], results),
    ]
    return "\n".join(lines) + "\n"


def table(playbill: Sequence[Scene], results: Sequence[Result]) -> list[str]:
    """A row a scene and a column a server, as far as a scene is played on it."""
    verdicts = {
        (result.scene.name, result.scene.setup, result.server): "passed" if result.passed else "**failed**"
        for result in results
    }
    names = [name for name in SERVERS if any(name not in scene.not_on for scene in playbill)]

    def row(scene: Scene) -> str:
        reasons = {name: f"not played: {reason}" for name, reason in scene.not_on.items()}
        cells = [verdicts.get((scene.name, scene.setup, name)) or reasons.get(name, "not played") for name in names]
        return f"| {scene.name} | {scene.title} | {' | '.join(cells)} |"

    heads = [f"| scene | what happens | {' | '.join(COLUMNS[name] for name in names)} |", f"|---|---|{'---|' * len(names)}"]
    return [*heads, *map(row, playbill)]


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m interop.run", description="Play the scenes on real servers.")
    parser.add_argument("scene", nargs="*", help="only these scenes, by file name; RESULTS.md is then left alone")
    parser.add_argument("--server", action="append", choices=sorted(SERVERS), help="only this server (repeatable)")
    parser.add_argument("--verbose", action="store_true", help="show what the clients log")
    return parser.parse_args(words)


def interruptible(work: Coroutine[object, object, T]) -> T | signal.Signals:
    """
    Run ``work``. SIGINT and SIGTERM cancel it: every server is ended in order, and the signal is returned.
    """
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
    """Run; returns the exit code."""
    wanted = arguments(words)
    # The clients warn of everything that the scenes do to them.
    logging.basicConfig(level=logging.INFO if wanted.verbose else logging.CRITICAL)
    playbill = scenes()
    if unknown := set(wanted.scene) - {scene.name for scene in playbill}:
        print(f"no such scene: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    chosen = [scene for scene in playbill if not wanted.scene or scene.name in wanted.scene]
    results = interruptible(perform_all(chosen, wanted.server or list(SERVERS)))
    if isinstance(results, signal.Signals):
        print(f"interrupted by {results.name}", file=sys.stderr)
        return 128 + results
    if not (wanted.scene or wanted.server):
        RESULTS.write_text(matrix(playbill, results), encoding="utf-8")
    failed = sum(not result.passed for result in results)
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
