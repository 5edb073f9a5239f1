"""The servers of the demonstration: each records all that it handles, and attacks on command."""

from __future__ import annotations

import contextlib
import enum
import importlib
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from slixmpp_e2e.loopback import LoopbackServer, Way
from slixmpp_e2e.loopback.hostile import swap_fingerprint
from xmpp_e2e_cli.codes import ServerUnreachable, UsageProblem
from xmpp_e2e_cli.connection import Server

PASSWORDS = {"alice": "wonderland", "bob": "builder"}
"""On servers that live for seconds, on this machine only."""
REPOSITORY = Path(__file__).resolve().parents[2]
"""Where the folder interop is, in a checkout."""


class Kind(enum.Enum):
    """Which server the demonstration plays on."""

    LOOPBACK = "loopback"
    PROSODY = "prosody"


@dataclass(frozen=True)
class Handled:
    """One stanza in the server's hands."""

    came: bool
    """From a client, else on its way to one."""
    client: str
    """That client's full JID."""
    text: str
    """As it was on the wire."""


class Theatre(Protocol):
    """A running server."""

    title: str
    """For people."""
    domain: str
    server: Server
    """How clients reach it."""

    def handled(self) -> list[Handled]:
        """Every stanza so far, in order."""

    def swap(self, fingerprint: str) -> None:
        """From now on: put this fingerprint (text of XEP-0320's element) into every session-accept that passes."""


class NoProsody(UsageProblem):
    """There is no Prosody to play on."""

    remedy = "Without --server the demonstration needs nothing but itself."


@dataclass
class Loopback:
    """The embedded server."""

    running: LoopbackServer
    title: str = ""
    domain: str = ""
    server: Server = field(default_factory=Server)

    def __post_init__(self) -> None:
        self.title = f"the embedded server, on 127.0.0.1 port {self.running.port}, in this very process"
        self.domain = self.running.domain
        self.server = Server("127.0.0.1", self.running.port, plaintext=True)

    def handled(self) -> list[Handled]:
        """Every stanza so far, in order."""
        return [Handled(seen.way is Way.RECEIVED, seen.client, seen.text) for seen in self.running.seen]

    def swap(self, fingerprint: str) -> None:
        """From now on: put this fingerprint into every session-accept that passes."""
        self.running.interfere.append(swap_fingerprint(fingerprint, actions=("session-accept",)))


@dataclass
class Prosody:
    """A real one, as a child process."""

    running: Any
    """interop.servers.prosody.Prosody, which only a checkout has."""
    orders: Path
    """The file that mod_tamper reads."""
    title: str = ""
    domain: str = ""
    server: Server = field(default_factory=Server)

    def __post_init__(self) -> None:
        running = self.running
        self.title = f"Prosody {running.version}, process {running.pid}, on {running.host} port {running.port}"
        self.domain = running.domain
        self.server = Server(running.host, running.port, running.ca_file)

    def handled(self) -> list[Handled]:
        """Every stanza so far, in order."""
        return [Handled(seen.direction == "in", seen.client, seen.text) for seen in self.running.handled()]

    def swap(self, fingerprint: str) -> None:
        """From now on: put this fingerprint into every session-accept that passes."""
        self.orders.write_text(fingerprint)


@contextlib.asynccontextmanager
async def loopback() -> AsyncIterator[Theatre]:
    """The embedded server, running."""
    async with LoopbackServer("home.test", PASSWORDS) as running:
        yield Loopback(running)


@contextlib.asynccontextmanager
async def prosody() -> AsyncIterator[Theatre]:
    """A Prosody of our own, with a module that attacks. NoProsody, ServerUnreachable."""
    if not (REPOSITORY / "interop/servers/prosody/__init__.py").is_file():
        raise NoProsody("--server prosody works from a checkout of the repository, whose folder interop starts it")
    if str(REPOSITORY) not in sys.path:
        sys.path.append(str(REPOSITORY))
    interop, process = (importlib.import_module(f"interop.servers.{name}") for name in ("prosody", "process"))
    with tempfile.TemporaryDirectory(prefix="xmpp-e2e-demo-") as folder:
        orders = Path(folder) / "orders"
        extra = f'tamper_file = "{orders}"'
        running = interop.Prosody("home.test", PASSWORDS, modules=("tamper",), extra=extra)
        try:
            await running.__aenter__()
        except process.ServerFailed as error:
            raise ServerUnreachable(f"no Prosody could be started: {error}") from error
        try:
            yield Prosody(running, orders)
        finally:
            await running.__aexit__(*sys.exc_info())


THEATRES: Mapping[Kind, Callable[[], contextlib.AbstractAsyncContextManager[Theatre]]] = {
    Kind.LOOPBACK: loopback,
    Kind.PROSODY: prosody,
}
