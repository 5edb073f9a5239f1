"""The embedded loopback server as a server of the scenes."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Self

from slixmpp import ClientXMPP, ComponentXMPP

import xmpp_loopback as loopback
from interop.servers.daemon import ACCOUNTS, COMPONENT, COMPONENT_SECRET
from interop.servers.setup import Setup

LOG_STANZAS = 10
"""Stanzas that an error quotes. The embedded server keeps no other log."""
LOG_CHARACTERS = 300
"""Characters of each quoted stanza: the rest is base64."""


class Loopback:
    """One server. Use it as an async context manager. It has no TLS and listens on 127.0.0.1 only."""

    name = "Loopback"
    version = version("xmpp-e2e")
    """Our own version: the server is part of this distribution."""

    def __init__(
        self,
        domain: str = "a.test",
        accounts: Mapping[str, str] = ACCOUNTS,
        *,
        friends: bool = True,
    ) -> None:
        """``accounts`` maps names to passwords; ``friends`` makes all accounts contacts of each other."""
        self.domain = domain
        self.accounts = dict(accounts)
        self._forgotten = 0
        components = {f"{COMPONENT}.{domain}": COMPONENT_SECRET}
        self._server = loopback.LoopbackServer(domain, self.accounts, mutual=friends, components=components)

    async def __aenter__(self) -> Self:
        await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._server.close()

    @classmethod
    def of(cls, setup: Setup) -> Self:
        """Create the server for a scene."""
        return cls(friends=setup.friends)

    @property
    def port(self) -> int:
        """The port for clients, once started."""
        return self._server.port

    @property
    def hooks(self) -> list[loopback.Hook]:
        """Hooks that see every stanza, and may change it."""
        return self._server.hooks

    @property
    def software(self) -> tuple[str, ...]:
        """Name and version."""
        return (f"{self.name} {self.version}",)

    @property
    def domains(self) -> tuple[str]:
        """The domain that it serves."""
        return (self.domain,)

    def jid(self, account: str) -> str:
        """Return the bare JID of ``account``."""
        return f"{account}@{self.domain}"

    def connect(self, client: ClientXMPP) -> None:
        """Connect ``client`` without TLS."""
        loopback.connect(client, self._server)

    def handled(self) -> list[loopback.HandledStanza]:
        """Return every stanza that it received from a client or sent to one, in order."""
        return self._server.handled[self._forgotten :]

    def component_client(self) -> ComponentXMPP:
        """Return the component, not yet connected."""
        (domain,) = self._server.components
        return ComponentXMPP(domain, COMPONENT_SECRET, "127.0.0.1", self._server.port)

    def forget_handled(self) -> None:
        """Forget what was handled so far."""
        self._forgotten = len(self._server.handled)

    def save_logs(self, folder: Path) -> None:
        """Write everything that it handled to ``folder``."""
        lines = [f"{handled.direction.value} {handled.client} {handled.text}\n" for handled in self._server.handled]
        (folder / "loopback.txt").write_text("".join(lines), encoding="utf-8")

    def log_tail(self) -> str:
        """Return the last stanzas, shortened."""
        last = self._server.handled[-LOG_STANZAS:]
        return "\n".join(f"{handled.direction.value} {handled.client} {handled.text[:LOG_CHARACTERS]}" for handled in last)
