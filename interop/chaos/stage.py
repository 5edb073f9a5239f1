"""The servers, the links to them, and the two programs."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from interop.chaos.check import Line, What
from interop.chaos.client import Orders
from interop.chaos.proxy import Link
from interop.servers.daemon import Daemon
from interop.servers.ejabberd import Ejabberd
from interop.servers.federation import ALICE, BOB, Federation
from interop.servers.loopback import Loopback
from interop.servers.process import Child
from interop.servers.prosody import Prosody
from xmpp_loopback import Hook

ROOT = Path(__file__).parents[2]
CLIENTS = ("alice", "bob")
LEAVE_SECONDS = 90.0
"""From SIGTERM to SIGKILL for a program, which may wait for acknowledgements. A program that needs SIGKILL has failed."""


@dataclass(frozen=True)
class Stage:
    """What runs: the servers by the names that faults have for them, and the links to them."""

    servers: Mapping[str, Daemon]
    """Empty for the embedded server, which runs in our own process."""
    links: Mapping[str, Link]
    """One for each client, by its name; between servers, ``to prosody`` and ``to ejabberd``."""
    accounts: Mapping[str, tuple[str, str, str | None]]
    """Clients to bare JID, password and the file of the authority."""
    software: tuple[str, ...]
    """Names and versions of the servers."""


class Program:
    """One of the two programs: a process, started again after each end, with one journal."""

    def __init__(self, orders: Orders, console: Path) -> None:
        self._orders, self._console, self._journal = orders, console, Path(orders.journal)
        self._lines: list[Line] = []
        self._read = 0
        self._child: Child | None = None

    def start(self) -> None:
        """Start it."""
        command = sys.executable, "-m", "interop.chaos.client", json.dumps(asdict(self._orders))
        self._child = Child(command, ROOT, self._console, {"PYTHONPATH": ":".join(map(str, (ROOT, *sys.path)))})

    async def stop(self) -> None:
        """End it in order (SIGTERM)."""
        if (child := self._child) is not None:
            await child.end(LEAVE_SECONDS)
            self._child = None

    def kill(self) -> None:
        """Kill it (SIGKILL), and note that in its journal."""
        if (child := self._child) is not None:
            child.kill()
            self._child = None
            with self._journal.open("a") as journal:
                journal.write(json.dumps({"at": time.monotonic(), "what": What.KILLED}) + "\n")

    def suspend(self) -> None:
        """Let it stand still."""
        assert self._child is not None
        self._child.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._child is not None
        self._child.signal(signal.SIGCONT)

    def journal(self) -> list[Line]:
        """Return its journal so far."""
        if self._journal.exists():
            with self._journal.open("rb") as file:
                file.seek(self._read)
                text = file.read()
            text = text[: text.rfind(b"\n") + 1]  # without a line that is being written
            self._read += len(text)
            self._lines += [Line(**{**line, "what": What(line["what"])}) for line in map(json.loads, text.splitlines())]
        return self._lines

    def console(self) -> str:
        """Return what it has printed."""
        return self._console.read_text(errors="replace") if self._console.exists() else ""


@asynccontextmanager
async def embedded(hooks: Sequence[Hook] = ()) -> AsyncIterator[Stage]:
    """Both clients on the embedded server, which changes stanzas by ``hooks``."""
    async with Loopback() as server, Link(server.port) as alice, Link(server.port) as bob:
        server.hooks.extend(hooks)
        accounts = {name: (server.jid(name), server.accounts[name], None) for name in CLIENTS}
        yield Stage({}, {"alice": alice, "bob": bob}, accounts, server.software)


@asynccontextmanager
async def alone(make: Callable[[], Daemon]) -> AsyncIterator[Stage]:
    """Both clients on one server."""
    async with make() as server, Link(server.port) as alice, Link(server.port) as bob:
        accounts = {name: (server.jid(name), server.accounts[name], str(server.ca_file)) for name in CLIENTS}
        yield Stage({server.name.lower(): server}, {"alice": alice, "bob": bob}, accounts, server.software)


@asynccontextmanager
async def federated(prosody: Mapping[str, str], ejabberd: Mapping[str, str]) -> AsyncIterator[Stage]:
    """Each client on a server of its own."""
    async with AsyncExitStack() as running:
        between: list[Link] = []

        async def path(port: int) -> int:
            between.append(await running.enter_async_context(Link(port)))
            return between[-1].port

        both = await running.enter_async_context(Federation(prosody, ejabberd, path=path))
        servers = {server.name.lower(): server for server in (both.prosody, both.ejabberd)}
        homes = {name: both.prosody if name in prosody else both.ejabberd for name in CLIENTS}
        links = {name: await running.enter_async_context(Link(homes[name].port)) for name in CLIENTS}
        links |= {"to ejabberd": between[0], "to prosody": between[1]}
        accounts = {name: (both.jid(name), both.accounts[name], str(homes[name].ca_file)) for name in CLIENTS}
        yield Stage(servers, links, accounts, both.software)


STAGES: Mapping[str, Callable[[], AbstractAsyncContextManager[Stage]]] = {
    "loopback": embedded,
    "prosody": lambda: alone(Prosody),
    "ejabberd": lambda: alone(Ejabberd),
    "federation": lambda: federated(ALICE, BOB),
    "swapped": lambda: federated(BOB, ALICE),
}
"""By the names that ``--server`` takes, as those of the scenes."""


async def until(seconds: float, start: float) -> None:
    """Return so many seconds after ``start``, a time of the event loop."""
    await asyncio.sleep(max(0.0, start + seconds - asyncio.get_running_loop().time()))
