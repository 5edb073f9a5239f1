"""Plays every scene on every server and writes the matrix: ``python -m interop.run`` from the top of the repository.

A scene is a module in ``interop/scenes`` with ``async def play(stage)``; its title is ``NAME``, or else the first line
of its docstring. It fails by raising. The exit code is 1 if any did.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import platform
import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias

from interop.servers.prosody import Prosody
from interop.stage import Server, Stage

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
SCENE_SECONDS = 120.0
"""No scene takes half a minute; one that hangs is a failure, not the end of the run."""

Play: TypeAlias = Callable[[Stage], Awaitable[None]]
SERVERS: Mapping[str, Callable[[], AbstractAsyncContextManager[Server]]] = {
    "prosody": Prosody,
}
"""Each server by the name that ``--server`` takes."""


@dataclass(frozen=True)
class Scene:
    """One behaviour, played on one server at a time."""

    name: str
    """The module's name."""
    title: str
    play: Play


@dataclass(frozen=True)
class Result:
    """How one scene went on one server."""

    scene: Scene
    server: str
    """Its software and version."""
    error: BaseException | None

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
        found.append(Scene(path.stem, title, module.play))
    return found


async def perform(scene: Scene, make: Callable[[], AbstractAsyncContextManager[Server]]) -> Result:
    """Play ``scene`` on a server of its own, so that no scene leaves anything to the next."""
    async with make() as server:
        async with Stage(server) as stage:
            play = asyncio.wait_for(scene.play(stage), SCENE_SECONDS)
            (error,) = await asyncio.gather(play, return_exceptions=True)
        return Result(scene, f"{server.name} {server.version}", error)


def matrix(results: Sequence[Result]) -> str:
    """The results as Markdown. No times and no dates: it changes when behaviour or a version does."""
    servers = sorted({result.server for result in results})
    cells = {(result.scene.name, result.server): "passed" if result.passed else "**failed**" for result in results}
    titles = {result.scene.name: result.scene.title for result in results}
    versions = ", ".join(f"{name} {version(name)}" for name in ("slixmpp", "pyOpenSSL", "cryptography"))
    lines = [
        "# Interoperability",
        "",
        "Written by `make interop`. Each scene is a file in `interop/scenes`, played on a server of its own.",
        "",
        f"{versions}; Python {platform.python_version()}.",
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
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Run; returns the exit code."""
    wanted = arguments(words)
    playbill = scenes()
    if unknown := set(wanted.scene) - {scene.name for scene in playbill}:
        print(f"no such scene: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    results = []
    for scene in playbill:
        if wanted.scene and scene.name not in wanted.scene:
            continue
        for server in wanted.server or SERVERS:
            result = asyncio.run(perform(scene, SERVERS[server]))
            results.append(result)
            print(f"{scene.name} on {result.server}: {'passed' if result.passed else 'FAILED'}", file=sys.stderr)
            if result.error is not None:
                traceback.print_exception(result.error)
    if not (wanted.scene or wanted.server):
        RESULTS.write_text(matrix(results), encoding="utf-8")
    failed = sum(not result.passed for result in results)
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
