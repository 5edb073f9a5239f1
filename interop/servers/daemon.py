"""The common part of Prosody and ejabberd: a child process that serves one domain on free ports of 127.0.0.1, with its
own folder, a certificate that clients verify, and a log of what it handled."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
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
"""Timeout of a start. Prosody takes 0.3 s and ejabberd 1.5 s, and many times that on a busy machine."""
PORT_TRIES = 5
"""Attempts to start, because another program can take a free port before the server does."""
PORTS = range(12_000, 32_000)
"""The ports of servers. Linux gives those from 32,768 on to connections."""
PORT_SECONDS = 1.0
"""Seconds between attempts to start again on the same ports, which another program may use for a moment."""
LOG_LINES = 40
"""Lines of the log that an error quotes."""
ACCOUNTS: Mapping[str, str] = {"alice": "wonderland", "bob": "builder", "carol": "christmas", "dave": "copperfield"}
"""The default accounts of every server."""
COMPONENT = "bots"
"""The name of the component below the server's domain."""
COMPONENT_SECRET = "of the bots"


class PortTaken(ServerFailed):
    """Another program took the port first."""


@dataclass(frozen=True)
class HandledElement:
    """One element that the server received from a client or sent to one, including SASL and stream management."""

    at: int
    """Microseconds since the epoch, by the machine's clock."""
    direction: Literal["in", "out"]
    client: str
    """The client's full JID; empty before it is bound."""
    text: str
    """The XML text: ``in`` as it arrived, before the server stamped the sender, ``out`` as it left."""


@dataclass(frozen=True)
class Layout:
    """The files of one server, below its own folder."""

    root: Path

    @property
    def ca(self) -> Path:
        """The authority's certificate."""
        return self.root / "ca.pem"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.root / "server.log"

    @property
    def console(self) -> Path:
        """The server's output: a traceback, if it fails before it has a log."""
        return self.root / "console.txt"

    @property
    def tap(self) -> Path:
        """The log of our module inside the server: a `HandledElement` as JSON on each line."""
        return self.root / "handled.jsonl"


def free_ports(number: int) -> list[int]:
    """Return different ports on 127.0.0.1 that were free a moment ago.

    They are below those that the system gives to connections: one of these could have the port of a server that starts again.
    """
    with contextlib.ExitStack() as probes:
        ports: list[int] = []
        while len(ports) < number:
            port = random.choice(PORTS)
            with contextlib.suppress(OSError):
                probes.enter_context(socket.create_server(("127.0.0.1", port)))
                ports.append(port)
        return ports


class ServerOptions(TypedDict, total=False):
    """Options of every server, all of them optional."""

    friends: bool | Collection[Collection[str]]
    """Make every account a contact of every other, which is the default, or those accounts that are in one group."""
    contacts: Collection[str]
    """Bare JIDs in other domains that each account is subscribed to as well."""
    limits: bool
    """Apply Debian's rate limits. By default there are none."""
    authority: Authority | None
    """The authority that certifies the server, by default a new one."""


class Daemon(abc.ABC):
    """One server. Use it as an async context manager; each use begins with empty storage."""

    name: ClassVar[str]
    """The software."""
    host = "127.0.0.1"
    version = ""
    """The version that the running server reports, such as ``0.12.3``."""
    port = 0
    """The port for clients (STARTTLS), once started."""
    s2s_port: int | None = None
    """The port for other servers; None if it does not federate."""
    component_port = 0
    """The port for its component (XEP-0114)."""

    def __init__(self, domain: str, accounts: Mapping[str, str], *, federated: bool, **options: Unpack[ServerOptions]) -> None:
        """``accounts`` maps names to passwords. ``federated`` servers talk to other servers."""
        self.domain = domain
        self.accounts = dict(accounts)
        self._federated = federated
        self._friends = options.get("friends", True)
        self._contacts = options.get("contacts", ())
        self._limits = options.get("limits", False)
        self._authority = options.get("authority")
        self._root = Path("/nonexistent")
        self._command: Sequence[str] = ()
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
        """The domain of its component."""
        return f"{COMPONENT}.{self.domain}"

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._child.pid if self._child else None

    @property
    def ca_file(self) -> Path:
        """The authority's certificate (PEM), which clients have to trust."""
        return self._layout.ca

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains of its accounts: just one."""
        return (self.domain,)

    def jid(self, account: str) -> str:
        """Return the bare JID of ``account``."""
        return f"{account}@{self.domain}"

    def home(self, account: str) -> Self:
        """Return the server of ``account``: this one."""
        assert account in self.accounts
        return self

    def connect(self, client: ClientXMPP) -> None:
        """Connect ``client`` by STARTTLS. It trusts only our own authority."""
        client.ssl_context = ssl.create_default_context(cafile=self.ca_file)
        # By default slixmpp tries direct TLS before STARTTLS.
        client.enable_direct_tls = False
        # PLAIN inside TLS: the rounds of SCRAM would be half of a login.
        client.plugin["feature_mechanisms"].use_mech = "PLAIN"
        client.connect(self.host, self.port)

    async def stop(self) -> None:
        """End the process in order (SIGTERM). `start_again` must follow."""
        await self._running.end()
        self._child = None

    def kill(self) -> None:
        """Kill the process (SIGKILL). `start_again` must follow."""
        self._running.kill()
        self._child = None

    def suspend(self) -> None:
        """Let the process stand still (SIGSTOP), until `resume`."""
        self._running.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let the process go on (SIGCONT)."""
        self._running.signal(signal.SIGCONT)

    async def start_again(self) -> None:
        """Start it after `stop` or `kill`, on the same ports and with what it has stored."""
        for tries_left in reversed(range(PORT_TRIES)):
            child = self._launch()
            try:
                async with asyncio.timeout(START_SECONDS):
                    await self._ready(child)
            except BaseException as error:
                await child.end()
                if not (tries_left and isinstance(error, PortTaken)):
                    raise
                self._layout.log.unlink()  # its complaint would be read again
                await asyncio.sleep(PORT_SECONDS)
            else:
                self._child = child
                return

    @property
    def _running(self) -> Child:
        assert self._child is not None, "it does not run"
        return self._child

    def component_client(self) -> ComponentXMPP:
        """Return the component, not yet connected. XEP-0114 has no TLS."""
        return ComponentXMPP(self.component, COMPONENT_SECRET, self.host, self.component_port)

    def forget_handled(self) -> None:
        """Forget what was handled so far."""
        with contextlib.suppress(FileNotFoundError):
            # Both servers append at the current end.
            os.truncate(self._layout.tap, 0)

    def save_logs(self, folder: Path) -> None:
        """Copy its log, its output and everything that it handled to ``folder``."""
        for path in {self._layout.log, self._layout.console, self._layout.tap}:
            if path.exists():
                shutil.copyfile(path, folder / f"{self.name}-{path.name}")

    def handled(self) -> list[HandledElement]:
        """Return everything that the server has handled, in order. It is complete for all that has had an effect."""
        text = self._layout.tap.read_text(encoding="utf-8") if self._layout.tap.exists() else ""
        # The last line may be incomplete.
        return [HandledElement(**json.loads(line)) for line in text.split("\n")[:-1]]

    def log_tail(self) -> str:
        """Return the last lines of its log and its output."""
        # A server that prints its log has one file for both.
        paths = dict.fromkeys((self._layout.log, self._layout.console))
        texts = [path.read_text(errors="replace") for path in paths if path.exists()]
        return "\n".join("\n".join(text.splitlines()[-LOG_LINES:]) for text in texts if text)

    @property
    @abc.abstractmethod
    def _layout(self) -> Layout:
        """The places of its files."""

    @abc.abstractmethod
    def _write(self, authority: Authority, contacts: Mapping[str, Collection[str]]) -> Sequence[str]:
        """Write its configuration (``contacts``: bare JIDs by account); return the command that starts it."""

    @abc.abstractmethod
    def _environment(self) -> Mapping[str, str]:
        """Environment variables to add to ours."""

    @abc.abstractmethod
    def _complains_of(self, port: int) -> bool:
        """Return whether the log says that ``port`` is taken."""

    def _rosters(self) -> dict[str, list[str]]:
        """Return the contacts of each account: bare JIDs, subscribed both ways."""
        friends = self._friends
        groups = friends if not isinstance(friends, bool) else [self.accounts] if friends else []
        known: dict[str, list[str]] = {name: [] for name in self.accounts}
        for group in groups:
            for name in group:
                known[name] += [self.jid(other) for other in group if other != name]
        return {name: [*others, *self._contacts] for name, others in known.items()}

    def _prepare(self) -> Child:
        """Write its configuration and start it."""
        self.port, self.component_port, *others = free_ports(3 if self._federated else 2)
        self.s2s_port = others[0] if others else None
        authority = self._authority or Authority()
        self.ca_file.write_bytes(authority.pem)
        self._command = self._write(authority, self._rosters())
        return self._launch()

    def _launch(self) -> Child:
        return Child(self._command, self._root, self._layout.console, self._environment())

    async def _try_to_start(self) -> None:
        """Start the server and wait until it serves. A failure leaves nothing behind."""
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
                raise PortTaken(f"Another program uses port {port}.\n{self.log_tail()}")
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
        """End the process and remove its folder, in every case."""
        child, self._child = self._child, None
        try:
            if child is not None:
                await child.end()
        finally:
            shutil.rmtree(self._root, ignore_errors=True)
