"""The servers of the demonstration: each records all that it handles, and lets somebody in between on command."""

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

from xmpp_e2e_cli.codes import ServerUnreachable, UsageProblem
from xmpp_e2e_cli.connection import Server
from xmpp_loopback import Hook, LoopbackServer, Way

PASSWORDS = {"alice": "wonderland", "bob": "builder"}
"""On servers that live for seconds, on this machine only."""
DOMAIN = "home.test"
REPOSITORY = Path(__file__).resolve().parents[3]
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

    def inject(self, to: str, stanza: Element) -> None:
        """Send a client (full JID) a stanza, from whomever it claims to be. Only while somebody is `between`."""

    def between(self, hook: Hook) -> contextlib.AbstractAsyncContextManager[None]:
        """For so long, what becomes of each iq between the two is up to ``hook``."""


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

    def inject(self, to: str, stanza: Element) -> None:
        """Send a client a stanza."""
        self.running.inject(to, stanza)

    @contextlib.asynccontextmanager
    async def between(self, hook: Hook) -> AsyncIterator[None]:
        """A hook of the server."""
        self.running.interfere.append(hook)
        try:
            yield
        finally:
            self.running.interfere.remove(hook)


@dataclass
class Prosody:
    """A real one, as a child process."""

    running: Any
    """interop.servers.prosody.Prosody, which only a checkout has."""
    middleman: Any
    """interop.servers.prosody.middleman.Middleman: what Prosody hands all iqs to as soon as it is there."""
    stack: contextlib.AsyncExitStack
    """Of what ends before the server does."""
    title: str = ""
    domain: str = ""
    server: Server = field(default_factory=Server)
    arrived: bool = False

    def __post_init__(self) -> None:
        running = self.running
        self.title = f"Prosody {running.version}, process {running.pid}, on {running.host} port {running.port}"
        self.domain = running.domain
        self.server = Server(running.host, running.port, running.ca_file)

    def handled(self) -> list[Handled]:
        """Every stanza so far, in order."""
        return [Handled(seen.direction == "in", seen.client, seen.text) for seen in self.running.handled()]

    def inject(self, to: str, stanza: Element) -> None:
        """Send a client a stanza."""
        self.middleman.inject(to, stanza)

    @contextlib.asynccontextmanager
    async def between(self, hook: Hook) -> AsyncIterator[None]:
        """A hook of the middleman; he comes with the first one, and stays."""
        if not self.arrived:
            self.arrived = True
            await self.stack.enter_async_context(self.middleman)
        self.middleman.hooks.append(hook)
        try:
            yield
        finally:
            self.middleman.hooks.remove(hook)


@contextlib.asynccontextmanager
async def loopback() -> AsyncIterator[Theatre]:
    """The embedded server, running."""
    async with LoopbackServer(DOMAIN, PASSWORDS) as running:
        yield Loopback(running)


@contextlib.asynccontextmanager
async def prosody() -> AsyncIterator[Theatre]:
    """A Prosody of our own, with a module that attacks. NoProsody, ServerUnreachable."""
    if not (REPOSITORY / "interop/servers/prosody/__init__.py").is_file():
        raise NoProsody("--server prosody works from a checkout of the repository, whose folder interop starts it")
    if str(REPOSITORY) not in sys.path:
        sys.path.append(str(REPOSITORY))
    names = ("prosody", "prosody.middleman", "process")
    interop, middleman, process = (importlib.import_module(f"interop.servers.{name}") for name in names)
    extra = middleman.extra(DOMAIN)
    running = interop.Prosody(DOMAIN, PASSWORDS, modules=(middleman.MODULE,), extra=extra)
    async with contextlib.AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(running)
        except process.ServerFailed as error:
            raise ServerUnreachable(f"no Prosody could be started: {error}") from error
        yield Prosody(running, middleman.Middleman(running), stack)


THEATRES: Mapping[Kind, Callable[[], contextlib.AbstractAsyncContextManager[Theatre]]] = {
    Kind.LOOPBACK: loopback,
    Kind.PROSODY: prosody,
}
