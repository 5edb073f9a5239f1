"""Prosody as a child process: everything of it in a temporary folder, a free port on 127.0.0.1, a domain of its own.

    async with Prosody("a.test", {"alice": "secret"}) as server:
        server.connect(client)        # STARTTLS, verified against server.ca_file
        ...
        assert "hello" in server.handled()[-1].text
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import ssl
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from slixmpp import ClientXMPP

from interop.servers.ca import Authority
from interop.servers.process import Child, ServerFailed, program
from interop.servers.prosody.config import Layout, configuration, write_accounts

START_SECONDS = 20.0
"""Prosody listens after 0.3 s; a machine whose cores are all busy may need many times that."""
PORT_TRIES = 5
"""Between finding a free port and Prosody's using it somebody else can take it: then another one."""
LOG_LINES = 40
"""How much of the log an error quotes."""
ACCOUNTS: Mapping[str, str] = {"alice": "wonderland", "bob": "builder"}
"""Whom every server knows unless told otherwise."""


class _PortTaken(ServerFailed):
    """Somebody else was quicker."""


@dataclass(frozen=True)
class Handled:
    """One element that the server received from a client or sent to one (also SASL and stream management)."""

    direction: Literal["in", "out"]
    client: str
    """The client's full JID; empty before it is bound."""
    text: str
    """The element as XML text, ``in`` as it came (the sender not yet stamped), ``out`` as it left."""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Prosody:
    """One server. Use it as an async context manager; each use begins with empty storage and a new authority."""

    name = "Prosody"
    host = "127.0.0.1"
    version = ""
    """As the running server says, such as ``0.12.3``."""
    port = 0
    """The port for clients (STARTTLS), once started."""

    def __init__(
        self,
        domain: str = "a.test",
        accounts: Mapping[str, str] = ACCOUNTS,
        *,
        friends: bool = True,
        modules: Collection[str] = (),
        limits: bool = False,
        network_backend: str | None = None,
        extra: str = "",
    ) -> None:
        """
        ``accounts`` maps names to passwords; ``friends`` makes each a contact of each. ``modules`` come on top of
        `config.MODULES`. ``limits`` are Debian's (10 kB/s for a client). ``network_backend`` is ``"epoll"`` (Prosody's
        own choice), ``"select"`` or ``"event"``. ``extra`` is Lua for the global section of the configuration.
        """
        self.domain = domain
        self.accounts = dict(accounts)
        self._friends = friends
        self._modules = modules
        self._limits = limits
        self._network_backend = network_backend
        self._extra = extra
        self._layout = Layout(Path("/nonexistent"))
        self._child: Child | None = None

    async def __aenter__(self) -> Self:
        for _ in range(PORT_TRIES - 1):
            with contextlib.suppress(_PortTaken):
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
            raise ServerFailed(f"Prosody ended by itself.\n{tail}")

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._child.pid if self._child else None

    @property
    def ca_file(self) -> Path:
        """The authority's certificate, PEM: what a client has to trust."""
        return self._layout.root / "ca.pem"

    def connect(self, client: ClientXMPP) -> None:
        """Let ``client`` connect by STARTTLS; it trusts our own authority and nobody else."""
        client.ssl_context = ssl.create_default_context(cafile=self.ca_file)
        # By itself slixmpp tries TLS from the first byte before it tries STARTTLS.
        client.enable_direct_tls = False
        client.connect(self.host, self.port)

    def handled(self) -> list[Handled]:
        """Everything that the server has handled so far, in order. Complete for whatever has had an effect."""
        text = self._layout.tap.read_text(encoding="utf-8") if self._layout.tap.exists() else ""
        # The last line may still be on its way into the file.
        return [Handled(**json.loads(line)) for line in text.split("\n")[:-1]]

    def log_tail(self) -> str:
        """The last lines of what the server logged and printed."""
        texts = [path.read_text(errors="replace") for path in (self._layout.log, self._layout.console) if path.exists()]
        return "\n".join("\n".join(text.splitlines()[-LOG_LINES:]) for text in texts if text)

    def _prepare(self) -> None:
        """Write everything that it starts from."""
        layout = self._layout
        self.port = _free_port()
        authority = Authority()
        self.ca_file.write_bytes(authority.pem)
        key, chain = authority.issue(self.domain).write(layout.root, "domain")
        layout.data.mkdir()
        write_accounts(layout.data, self.domain, self.accounts, friends=self._friends)
        layout.config.write_text(
            configuration(
                layout,
                domain=self.domain,
                port=self.port,
                key=key,
                chain=chain,
                modules=self._modules,
                limits=self._limits,
                network_backend=self._network_backend,
                extra=self._extra,
            )
        )

    async def _try_to_start(self) -> None:
        """Be up and serving when this returns; otherwise nothing is left."""
        self._layout = Layout(Path(tempfile.mkdtemp(prefix="xmpp-e2e-prosody-")))
        try:
            self._prepare()
            command = (program("prosody", "prosody"), "--config", str(self._layout.config), "-F")
            self._child = Child(command, self._layout.root, self._layout.console)
            async with asyncio.timeout(START_SECONDS):
                await self._ready(self._child)
        except TimeoutError as error:
            tail = self.log_tail()
            await self._stop()
            raise ServerFailed(f"Prosody was not ready within {START_SECONDS:.0f} s.\n{tail}") from error
        except BaseException:
            await self._stop()
            raise

    async def _ready(self, child: Child) -> None:
        """Return once it serves our domain on our port."""
        self.version = (await child.ready()).strip()
        if not self.version:
            raise ServerFailed(f"Prosody ended while it started.\n{self.log_tail()}")
        if f"Failed to open server port {self.port} " in self._layout.log.read_text(errors="replace"):
            raise _PortTaken(f"Somebody else uses port {self.port}.\n{self.log_tail()}")
        try:
            _, writer = await asyncio.open_connection(self.host, self.port)
        except OSError as error:
            raise ServerFailed(f"Prosody does not listen on port {self.port}.\n{self.log_tail()}") from error
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
            shutil.rmtree(self._layout.root, ignore_errors=True)
