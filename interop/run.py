"""Plays every scene on every server and writes the matrix: ``python -m interop.run`` from the top of the repository.

A scene is a module in ``interop/scenes`` with ``async def play(stage)``; its title is ``NAME``, or else the first line
of its docstring. It is played on the servers of its ``SERVERS``, or else on all. It fails by raising. The exit code is 0 if
every scene passed, 1 if one failed, 2 for a mistake in usage, and 128 + the signal's number if it was interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import logging
import platform
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias, TypeVar

from OpenSSL import SSL

from interop.servers.ejabberd import Ejabberd
from interop.servers.federation import Federation
from interop.servers.loopback import Loopback
from interop.servers.prosody import Prosody
from interop.stage import Server, Stage

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
SCENE_SECONDS = 300.0
"""The longest takes half a minute on an idle machine; one that hangs is a failure, not the end of the run."""

T = TypeVar("T")
Play: TypeAlias = Callable[[Stage], Awaitable[None]]
Make: TypeAlias = Callable[[], AbstractAsyncContextManager[Server]]
SERVERS: Mapping[str, Make] = {
    "loopback": Loopback,
    "prosody": Prosody,
    "ejabberd": Ejabberd,
    "federation": Federation,
}
"""Each server by the name that ``--server`` takes."""


@dataclass(frozen=True)
class Scene:
    """One behaviour, played on one server at a time."""

    name: str
    """The module's name."""
    title: str
    play: Play
    servers: Mapping[str, Make] = field(default_factory=lambda: SERVERS)
    """Where it is played, by the names of `SERVERS`: for a scene that wants a server set up in its own way."""


@dataclass(frozen=True)
class Result:
    """How one scene went on one server."""

    scene: Scene
    server: str
    """Its software and version."""
    error: BaseException | None
    log: str = ""
    """The last that the server had to say."""

    @property
    def passed(self) -> bool:
        """It raised nothing."""
        return self.error is None


def scenes() -> list[Scene]:
    """All scenes by name."""
    found = []
    for path in sorted((HERE / "scenes").glob("[!_]*.py")):
        module = importlib.import_module(f"interop.scenes.{path.stem}")
        title = getattr(module, "NAME", None) or (module.__doc__ or path.stem).strip().splitlines()[0]
        found.append(Scene(path.stem, title, module.play, getattr(module, "SERVERS", SERVERS)))
    return found


async def perform(scene: Scene, make: Make) -> Result:
    """Play ``scene`` on a server of its own, so that no scene leaves anything to the next."""
    async with make() as server:
        async with Stage(server) as stage:
            play = asyncio.wait_for(scene.play(stage), SCENE_SECONDS)
            (error,) = await asyncio.gather(play, return_exceptions=True)
        return Result(scene, f"{server.name} {server.version}", error, server.log_tail())


async def perform_all(playbill: Sequence[Scene], servers: Sequence[str]) -> list[Result]:
    """Play one after the other, and tell how each went."""
    results = []
    for scene in playbill:
        for name in servers:
            if name not in scene.servers:
                continue
            result = await perform(scene, scene.servers[name])
            results.append(result)
            print(f"{scene.name} on {result.server}: {'passed' if result.passed else 'FAILED'}", file=sys.stderr)
            if result.error is not None:
                traceback.print_exception(result.error)
                print(result.log, file=sys.stderr)
    return results


def matrix(results: Sequence[Result]) -> str:
    """The results as Markdown. No times and no dates: it changes when behaviour or a version does."""
    servers = sorted({result.server for result in results})
    cells = {(result.scene.name, result.server): "passed" if result.passed else "**failed**" for result in results}
    titles = {result.scene.name: result.scene.title for result in results}
    # "OpenSSL 3.5.0 8 Apr 2025"
    openssl = " ".join(SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode().split()[:2])
    versions = ", ".join(f"{name} {version(name)}" for name in ("slixmpp", "pyOpenSSL", "cryptography"))
    lines = [
        "# Interoperability",
        "",
        "Written by `make interop`. Each scene is a file in `interop/scenes`, played on a server of its own.",
        "",
        f"Clients: {versions}; {openssl}; Python {platform.python_version()}.",
        "",
        f"| scene | what happens | {' | '.join(servers)} |",
        f"|---|---|{'---|' * len(servers)}",
        *(
            f"| {name} | {title} | {' | '.join(cells.get((name, server), 'not played') for server in servers)} |"
            for name, title in titles.items()
        ),
    ]
    return "\n".join(lines) + "\n"


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
        RESULTS.write_text(matrix(results), encoding="utf-8")
    failed = sum(not result.passed for result in results)
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
