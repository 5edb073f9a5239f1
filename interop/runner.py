"""Find the scenes, run them on the servers, and collect the results."""

from __future__ import annotations

import asyncio
import importlib
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self, TypeAlias

from interop.harness import Harness, Server
from interop.servers.ejabberd import Ejabberd
from interop.servers.federation import Federation
from interop.servers.loopback import Loopback
from interop.servers.process import ServerFailed
from interop.servers.prosody import Prosody
from interop.servers.setup import DEFAULT_SETUP, Setup

SCENES = Path(__file__).parent / "scenes"
SCENE_SECONDS = 600.0
"""Timeout of a scene. The longest takes six minutes: two hundred openings at 3 kB/s."""

SceneFunction: TypeAlias = Callable[[Harness], Awaitable[None]]
MakeServer: TypeAlias = Callable[[Setup], AbstractAsyncContextManager[Server]]
SERVERS: Mapping[str, MakeServer] = {
    "loopback": Loopback.of,
    "prosody": Prosody.of,
    "ejabberd": Ejabberd.of,
    "federation": Federation.of,
    "swapped": Federation.swapped,
}
"""The servers by the names that ``--server`` takes. Alice is on the first server of ``federation``, on the second of
``swapped``."""
NOT_LIMITED_ON = MappingProxyType({"loopback": "it limits no rates", "swapped": "the slower server decides"})
"""Servers on which no scene runs under Debian's limits, with the reasons."""


@dataclass(frozen=True)
class Scene:
    """One behaviour to check on each server."""

    name: str
    """The module's name."""
    title: str
    run: SceneFunction
    setup: Setup = DEFAULT_SETUP
    not_on: Mapping[str, str] = field(default_factory=dict)
    """Names of servers on which it does not run, with the reasons."""


@dataclass(frozen=True)
class Result:
    """The result of one scene on one server."""

    scene: Scene
    server: str
    """The name of the server, as in `SERVERS`."""
    software: tuple[str, ...]
    """Names and versions."""
    error: BaseException | None
    log: str = ""
    """The end of the server's log, and where to find the rest."""

    @property
    def passed(self) -> bool:
        """Return whether the scene raised nothing."""
        return self.error is None


def scenes() -> list[Scene]:
    """Return all scenes by name.

    Each is a module with ``async def run(harness)``. The first line of its docstring is the title. It may have a ``SETUP``,
    and ``NOT_ON`` with reasons. Each scene appears twice, the second time under Debian's limits, unless it has a reason in
    ``NOT_LIMITED``.
    """
    found = []
    for path in sorted(SCENES.glob("[!_]*.py")):
        module = importlib.import_module(f"interop.scenes.{path.stem}")
        title = (module.__doc__ or path.stem).strip().splitlines()[0]
        setup, not_on = getattr(module, "SETUP", DEFAULT_SETUP), getattr(module, "NOT_ON", {})
        scene = Scene(path.stem, title, module.run, setup, {**(NOT_LIMITED_ON if setup.limits else {}), **not_on})
        found.append(scene)
        if not setup.limits:
            reason = getattr(module, "NOT_LIMITED", None)
            nowhere = dict.fromkeys(SERVERS, reason) if reason else {}
            found.append(replace(scene, setup=replace(setup, limits=True), not_on={**NOT_LIMITED_ON, **nowhere, **not_on}))
    return found


class Runner:
    """Runs scenes. It keeps a server for the next scene with the same setup, unless a scene has failed on it."""

    def __init__(self) -> None:
        self._wanted: tuple[str, Setup] | None = None
        self._server: Server
        self._running = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._close()

    async def run(self, scene: Scene, name: str) -> Result:
        """Run ``scene`` on the server with this name."""
        try:
            server = await self._server_for(name, scene.setup)
        except ServerFailed as error:
            return Result(scene, name, (), error)
        async with Harness(server) as harness:
            running = asyncio.wait_for(scene.run(harness), SCENE_SECONDS)
            (failure,) = await asyncio.gather(running, return_exceptions=True)
        log = ""
        if failure is not None:
            folder = Path(tempfile.mkdtemp(prefix=f"xmpp-e2e-failed-{scene.name}-{name}-"))
            server.save_logs(folder)
            log = f"{server.log_tail()}\nEverything that the server logged and handled is in {folder}."
            try:
                await self._close()
            except ServerFailed as ended:
                failure.add_note(str(ended))
        return Result(scene, name, server.software, failure, log)

    async def run_all(self, chosen: Sequence[Scene], names: Sequence[str], report: Callable[[Result], None]) -> list[Result]:
        """Run the scenes one after the other, sorted so that they share servers; ``report`` gets each result."""
        results = []
        for name in names:
            for scene in sorted(chosen, key=lambda scene: repr(scene.setup)):
                if name not in scene.not_on:
                    results.append(await self.run(scene, name))
                    report(results[-1])
        return results

    async def _server_for(self, name: str, setup: Setup) -> Server:
        if self._wanted != (name, setup):
            await self._close()
            self._server = await self._running.enter_async_context(SERVERS[name](setup))
            self._wanted = name, setup
        return self._server

    async def _close(self) -> None:
        self._wanted = None
        await self._running.aclose()
