"""Start the server of the demo. It records everything that it handles, and lets a hook act on stanzas."""

from __future__ import annotations

import contextlib
import enum
import importlib
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from xml.etree.ElementTree import Element

from xmpp_e2e_cli.connection import Server
from xmpp_e2e_cli.errors import ConnectionFailed, ConnectionReason, UsageError, UsageReason
from xmpp_loopback import Direction, Hook, LoopbackServer

PASSWORDS = {"alice": "wonderland", "bob": "builder"}
"""The accounts, on a server that lives for seconds and listens on this machine only."""
DOMAIN = "home.test"
REPOSITORY = Path(__file__).resolve().parents[3]
"""The top of the checkout, which has the folder interop."""


class ServerKind(enum.Enum):
    """The servers to choose from."""

    LOOPBACK = "loopback"
    PROSODY = "prosody"


@dataclass(frozen=True)
class HandledStanza:
    """A stanza that the server received or sent."""

    received: bool
    """True if it came from the client, False if it went to the client."""
    client: str
    """The client's full JID."""
    text: str
    """The text on the wire."""


class DemoServer(Protocol):
    """A running server of the demo."""

    title: str
    """A description for the audience."""
    domain: str
    address: Server
    """The address for clients."""

    def handled(self) -> list[HandledStanza]:
        """Return every stanza so far, in order."""

    def inject(self, to: str, stanza: Element) -> None:
        """Send a stanza to a client (full JID), from any claimed sender. Works only inside `between`."""

    def between(self, hook: Hook) -> contextlib.AbstractAsyncContextManager[None]:
        """Pass each iq between the two participants through ``hook``."""


@dataclass
class Loopback:
    """The embedded server."""

    running: LoopbackServer
    title: str = ""
    domain: str = ""
    address: Server = field(default_factory=Server)

    def __post_init__(self) -> None:
        self.title = f"the embedded server, on 127.0.0.1 port {self.running.port}, in this process"
        self.domain = self.running.domain
        self.address = Server("127.0.0.1", self.running.port, plaintext=True)

    def handled(self) -> list[HandledStanza]:
        """Return every stanza so far, in order."""
        return [HandledStanza(seen.direction is Direction.RECEIVED, seen.client, seen.text) for seen in self.running.handled]

    def inject(self, to: str, stanza: Element) -> None:
        """Send a stanza to a client."""
        self.running.inject(to, stanza)

    @contextlib.asynccontextmanager
    async def between(self, hook: Hook) -> AsyncIterator[None]:
        """Install the hook in the server."""
        self.running.hooks.append(hook)
        try:
            yield
        finally:
            self.running.hooks.remove(hook)


@dataclass
class Prosody:
    """A real Prosody, as a child process."""

    running: Any
    """interop.servers.prosody.Prosody, from the checkout."""
    mitm: Any
    """interop.servers.prosody.mitm.Mitm: it gets all iqs while it is connected."""
    stack: contextlib.AsyncExitStack
    """Closed before the server ends."""
    title: str = ""
    domain: str = ""
    address: Server = field(default_factory=Server)
    mitm_started: bool = False

    def __post_init__(self) -> None:
        running = self.running
        self.title = f"Prosody {running.version}, process {running.pid}, on {running.host} port {running.port}"
        self.domain = running.domain
        self.address = Server(running.host, running.port, running.ca_file)

    def handled(self) -> list[HandledStanza]:
        """Return every stanza so far, in order."""
        return [HandledStanza(seen.direction == "in", seen.client, seen.text) for seen in self.running.handled()]

    def inject(self, to: str, stanza: Element) -> None:
        """Send a stanza to a client."""
        self.mitm.inject(to, stanza)

    @contextlib.asynccontextmanager
    async def between(self, hook: Hook) -> AsyncIterator[None]:
        """Install the hook in the Prosody module. The first use starts the module's component."""
        if not self.mitm_started:
            self.mitm_started = True
            await self.stack.enter_async_context(self.mitm)
        self.mitm.hooks.append(hook)
        try:
            yield
        finally:
            self.mitm.hooks.remove(hook)


@contextlib.asynccontextmanager
async def loopback() -> AsyncIterator[DemoServer]:
    """Run the embedded server."""
    async with LoopbackServer(DOMAIN, PASSWORDS) as running:
        yield Loopback(running)


@contextlib.asynccontextmanager
async def prosody() -> AsyncIterator[DemoServer]:
    """Run a Prosody with a module that can attack. Raises UsageError, ConnectionFailed."""
    if not (REPOSITORY / "interop/servers/prosody/__init__.py").is_file():
        raise UsageError(
            "--server prosody needs a checkout of the repository, whose folder interop starts it", UsageReason.NO_PROSODY
        )
    if str(REPOSITORY) not in sys.path:
        sys.path.append(str(REPOSITORY))
    names = ("prosody", "prosody.mitm", "process")
    interop, mitm, process = (importlib.import_module(f"interop.servers.{name}") for name in names)
    extra = mitm.extra(DOMAIN)
    running = interop.Prosody(DOMAIN, PASSWORDS, modules=(mitm.MODULE,), extra=extra)
    async with contextlib.AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(running)
        except process.ServerFailed as error:
            raise ConnectionFailed(f"Prosody could not be started: {error}", ConnectionReason.UNREACHABLE) from error
        yield Prosody(running, mitm.Mitm(running), stack)


SERVERS: Mapping[ServerKind, Callable[[], contextlib.AbstractAsyncContextManager[DemoServer]]] = {
    ServerKind.LOOPBACK: loopback,
    ServerKind.PROSODY: prosody,
}
