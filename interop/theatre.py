"""Scenes, the servers on which they can be played, and how it went."""

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

from interop.servers.ejabberd import Ejabberd
from interop.servers.federation import Federation
from interop.servers.loopback import Loopback
from interop.servers.process import ServerFailed
from interop.servers.prosody import Prosody
from interop.servers.setup import ORDINARY, Setup
from interop.stage import Server, Stage

SCENES = Path(__file__).parent / "scenes"
SCENE_SECONDS = 600.0
"""The longest takes some three minutes: a hundred openings at 3 kB/s. One that hangs is a failure, not the end of the run."""

Play: TypeAlias = Callable[[Stage], Awaitable[None]]
Make: TypeAlias = Callable[[Setup], AbstractAsyncContextManager[Server]]
SERVERS: Mapping[str, Make] = {
    "loopback": Loopback.of,
    "prosody": Prosody.of,
    "ejabberd": Ejabberd.of,
    "federation": Federation.of,
    "exchanged": Federation.exchanged,
}
"""Each server by the name that ``--server`` takes. In a federation Alice's server comes first, in the other Bob's."""
WITHOUT_LIMITS = "it limits no rates"
LIMITED = MappingProxyType({"loopback": WITHOUT_LIMITS, "exchanged": "the slower server decides"})
"""Where Debian's limits are not tried."""


@dataclass(frozen=True)
class Scene:
    """One behaviour, played on one server at a time."""

    name: str
    """The module's name."""
    title: str
    play: Play
    setup: Setup = ORDINARY
    not_on: Mapping[str, str] = field(default_factory=dict)
    """Where it is not played, by the names of `SERVERS`, and why not."""


@dataclass(frozen=True)
class Result:
    """How one scene went on one server."""

    scene: Scene
    server: str
    """By the name of `SERVERS`."""
    software: tuple[str, ...]
    """Names and versions."""
    error: BaseException | None
    log: str = ""
    """The last that the server had to say, and where the rest is."""

    @property
    def passed(self) -> bool:
        """It raised nothing."""
        return self.error is None


def scenes() -> list[Scene]:
    """
    All scenes by name. Each is a module with ``async def play(stage)``; its title is the first line of its docstring. It may
    have a ``SETUP``, and ``NOT_ON`` with reasons. It is there twice, the second time under Debian's limits, unless it has a
    reason in ``NOT_LIMITED``.
    """
    found = []
    for path in sorted(SCENES.glob("[!_]*.py")):
        module = importlib.import_module(f"interop.scenes.{path.stem}")
        title = (module.__doc__ or path.stem).strip().splitlines()[0]
        setup, not_on = getattr(module, "SETUP", ORDINARY), getattr(module, "NOT_ON", {})
        scene = Scene(path.stem, title, module.play, setup, {**(LIMITED if setup.limits else {}), **not_on})
        found.append(scene)
        if not setup.limits:
            reason = getattr(module, "NOT_LIMITED", None)
            nowhere = dict.fromkeys(SERVERS, reason) if reason else {}
            found.append(replace(scene, setup=replace(setup, limits=True), not_on={**LIMITED, **nowhere, **not_on}))
    return found


class Theatre:
    """Plays scenes. A server is kept for the next scene if that wants the same, and none has failed on it."""

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

    async def play(self, scene: Scene, name: str) -> Result:
        """Play ``scene`` on the server of this name."""
        try:
            server = await self._server_for(name, scene.setup)
        except ServerFailed as error:
            return Result(scene, name, (), error)
        async with Stage(server) as stage:
            play = asyncio.wait_for(scene.play(stage), SCENE_SECONDS)
            (failure,) = await asyncio.gather(play, return_exceptions=True)
        log = ""
        if failure is not None:
            folder = Path(tempfile.mkdtemp(prefix=f"xmpp-e2e-failed-{scene.name}-{name}-"))
            server.save_logs(folder)
            log = f"{server.log_tail()}\nAll that the server logged, and what it handled, is in {folder}."
            try:
                await self._close()
            except ServerFailed as ended:
                failure.add_note(str(ended))
        return Result(scene, name, server.software, failure, log)

    async def play_all(self, playbill: Sequence[Scene], names: Sequence[str], told: Callable[[Result], None]) -> list[Result]:
        """Play one after the other, those together that can share a server; ``told`` hears of each."""
        results = []
        for name in names:
            for scene in sorted(playbill, key=lambda scene: repr(scene.setup)):
                if name not in scene.not_on:
                    results.append(await self.play(scene, name))
                    told(results[-1])
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
