"""What Prosody and ejabberd have in common under test: a child process that serves one domain on 127.0.0.1, on free
ports and from a folder of its own, a certificate that clients verify, and a record of what it handled.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import json
import os
import shutil
import socket
import ssl
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Literal, Self, TypedDict, Unpack

from slixmpp import ClientXMPP, ComponentXMPP

from interop.servers.ca import Authority
from interop.servers.process import Child, ServerFailed

START_SECONDS = 20.0
"""Prosody listens after 0.3 s and ejabberd after 1.5; a machine whose cores are all busy may need many times that."""
PORT_TRIES = 5
"""Between finding a free port and the server's using it somebody else can take it: then another one."""
LOG_LINES = 40
"""How much of the log an error quotes."""
ACCOUNTS: Mapping[str, str] = {"alice": "wonderland", "bob": "builder", "carol": "christmas", "dave": "copperfield"}
"""Whom every server knows unless told otherwise."""
COMPONENT = "bots"
"""The name of the component below the server's domain."""
COMPONENT_SECRET = "of the bots"


class PortTaken(ServerFailed):
    """Somebody else was quicker."""


@dataclass(frozen=True)
class Handled:
    """One element that the server received from a client or sent to one (also SASL and stream management)."""

    at: int
    """When, by the machine's clock: microseconds since the epoch."""
    direction: Literal["in", "out"]
    client: str
    """The client's full JID; empty before it is bound."""
    text: str
    """The element as XML text, ``in`` as it came (the sender not yet stamped), ``out`` as it left."""


@dataclass(frozen=True)
class Layout:
    """Where everything of one server lies, below a folder of its own."""

    root: Path

    @property
    def ca(self) -> Path:
        """The authority's certificate."""
        return self.root / "ca.pem"

    @property
    def log(self) -> Path:
        """What the server logs."""
        return self.root / "server.log"

    @property
    def console(self) -> Path:
        """What it prints: a traceback, if it does not get as far as a log."""
        return self.root / "console.txt"

    @property
    def tap(self) -> Path:
        """What our module inside the server records: a `Handled` as JSON on each line."""
        return self.root / "handled.jsonl"


def free_ports(number: int) -> list[int]:
    """Ports on 127.0.0.1 that nobody used a moment ago, no two alike."""
    with contextlib.ExitStack() as probes:
        bound = [probes.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [probe.getsockname()[1] for probe in bound]


class Terms(TypedDict, total=False):
    """What may be asked of every server; none of it needs to be."""

    friends: bool
    """Is each account a contact of each? By default so."""
    contacts: Collection[str]
    """Bare JIDs elsewhere that each account is subscribed to as well."""
    limits: bool
    """Those of Debian, of which otherwise there are none."""
    authority: Authority | None
    """Who certifies it: unless told otherwise a new one."""


class Daemon(abc.ABC):
    """One server. Use it as an async context manager; each use begins with empty storage."""

    name: ClassVar[str]
    """The software."""
    host = "127.0.0.1"
    version = ""
    """As the running server says, such as ``0.12.3``."""
    port = 0
    """The port for clients (STARTTLS), once started."""
    s2s_port: int | None = None
    """The port for other servers, if it talks to any."""
    component_port = 0
    """The port for its component (XEP-0114)."""

    def __init__(self, domain: str, accounts: Mapping[str, str], *, federated: bool, **terms: Unpack[Terms]) -> None:
        """``accounts`` maps names to passwords. ``federated``: it talks to other servers."""
        self.domain = domain
        self.accounts = dict(accounts)
        self._federated = federated
        self._friends = terms.get("friends", True)
        self._contacts = terms.get("contacts", ())
        self._limits = terms.get("limits", False)
        self._authority = terms.get("authority")
        self._root = Path("/nonexistent")
        self._child: Child | None = None

    async def __aenter__(self) -> Self:
        for _ in range(PORT_TRIES - 1):
            with contextlib.suppress(PortTaken):
                await self._try_to_start()
                return self
        await self._try_to_start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        ended = self._child is None or self._child.ended
        tail = self.log_tail() if ended else ""
        await self._stop()
        if ended and kind is None:
            raise ServerFailed(f"{self.name} ended by itself.\n{tail}")

    @property
    def software(self) -> tuple[str, ...]:
        """Name and version."""
        return (f"{self.name} {self.version}",)

    @property
    def component(self) -> str:
        """The domain of the component that it takes."""
        return f"{COMPONENT}.{self.domain}"

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._child.pid if self._child else None

    @property
    def ca_file(self) -> Path:
        """The authority's certificate, PEM: what a client has to trust."""
        return self._layout.ca

    @property
    def domains(self) -> tuple[str, ...]:
        """Every domain on which a test has clients: one, where there is one server."""
        return (self.domain,)

    def jid(self, account: str) -> str:
        """The bare JID of ``account``."""
        return f"{account}@{self.domain}"

    def connect(self, client: ClientXMPP) -> None:
        """Let ``client`` connect by STARTTLS; it trusts our own authority and nobody else."""
        client.ssl_context = ssl.create_default_context(cafile=self.ca_file)
        # By itself slixmpp tries TLS from the first byte before it tries STARTTLS.
        client.enable_direct_tls = False
        # Inside TLS; the rounds of SCRAM, in Python and in the server, are half of a login.
        client.plugin["feature_mechanisms"].use_mech = "PLAIN"
        client.connect(self.host, self.port)

    def component_client(self) -> ComponentXMPP:
        """The component, which has not begun to connect. It comes without TLS: there is none in XEP-0114."""
        return ComponentXMPP(self.component, COMPONENT_SECRET, self.host, self.component_port)

    def forget(self) -> None:
        """What was handled so far is not told again."""
        with contextlib.suppress(FileNotFoundError):
            # Both servers append, wherever the end may be.
            os.truncate(self._layout.tap, 0)

    def save_logs(self, folder: Path) -> None:
        """Copy what it logged, what it printed and what it handled to ``folder``."""
        for path in {self._layout.log, self._layout.console, self._layout.tap}:
            if path.exists():
                shutil.copyfile(path, folder / f"{self.name}-{path.name}")

    def handled(self) -> list[Handled]:
        """Everything that the server has handled so far, in order. Complete for whatever has had an effect."""
        text = self._layout.tap.read_text(encoding="utf-8") if self._layout.tap.exists() else ""
        # The last line may still be on its way into the file.
        return [Handled(**json.loads(line)) for line in text.split("\n")[:-1]]

    def log_tail(self) -> str:
        """The last lines of what the server logged and printed."""
        # One file for those that print their log.
        paths = dict.fromkeys((self._layout.log, self._layout.console))
        texts = [path.read_text(errors="replace") for path in paths if path.exists()]
        return "\n".join("\n".join(text.splitlines()[-LOG_LINES:]) for text in texts if text)

    @property
    @abc.abstractmethod
    def _layout(self) -> Layout:
        """Where its files are."""

    @abc.abstractmethod
    def _write(self, authority: Authority, contacts: Mapping[str, Collection[str]]) -> Sequence[str]:
        """Write what it starts from (``contacts``: bare JIDs by account); returns the command that starts it."""

    @abc.abstractmethod
    def _environment(self) -> Mapping[str, str]:
        """Variables that it needs beside ours."""

    @abc.abstractmethod
    def _complains_of(self, port: int) -> bool:
        """Whether the log says that somebody else uses ``port``."""

    def _rosters(self) -> dict[str, list[str]]:
        """The contacts of each account: bare JIDs, subscribed both ways."""
        return {
            name: [*(self.jid(other) for other in self.accounts if self._friends and other != name), *self._contacts]
            for name in self.accounts
        }

    def _prepare(self) -> Child:
        """Write everything that it starts from, and start it."""
        self.port, self.component_port, *others = free_ports(3 if self._federated else 2)
        self.s2s_port = others[0] if others else None
        authority = self._authority or Authority()
        self.ca_file.write_bytes(authority.pem)
        command = self._write(authority, self._rosters())
        return Child(command, self._root, self._layout.console, self._environment())

    async def _try_to_start(self) -> None:
        """Be up and serving when this returns; otherwise nothing is left."""
        self._root = Path(tempfile.mkdtemp(prefix=f"xmpp-e2e-{self.name.lower()}-"))
        try:
            self._child = self._prepare()
            async with asyncio.timeout(START_SECONDS):
                await self._ready(self._child)
        except TimeoutError as error:
            tail = self.log_tail()
            await self._stop()
            raise ServerFailed(f"{self.name} was not ready within {START_SECONDS:.0f} s.\n{tail}") from error
        except BaseException:
            await self._stop()
            raise

    async def _ready(self, child: Child) -> None:
        """Return once it serves our domain on our ports."""
        self.version = (await child.ready()).strip()
        ports = [port for port in (self.port, self.s2s_port, self.component_port) if port is not None]
        for port in ports:
            if self._complains_of(port):
                raise PortTaken(f"Somebody else uses port {port}.\n{self.log_tail()}")
        if not self.version:
            raise ServerFailed(f"{self.name} ended while it started.\n{self.log_tail()}")
        for port in ports:
            await self._reach(port)

    async def _reach(self, port: int) -> None:
        try:
            _, writer = await asyncio.open_connection(self.host, port)
        except OSError as error:
            raise ServerFailed(f"{self.name} does not listen on port {port}.\n{self.log_tail()}") from error
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def _stop(self) -> None:
        """End the process, if it runs, and remove its folder. Always leaves neither."""
        child, self._child = self._child, None
        try:
            if child is not None:
                await child.end()
        finally:
            shutil.rmtree(self._root, ignore_errors=True)
