"""The embedded loopback server as a server of the scenes: what `xmpp-e2e demo` runs on, and the tests of the plugin."""

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
"""How much of what it handled an error quotes: it keeps no other log."""
LOG_CHARACTERS = 300
"""Of each: the rest is base64."""


class Loopback:
    """One server. Use it as an async context manager; it has no TLS and listens on 127.0.0.1 only."""

    name = "Loopback"
    version = version("xmpp-e2e")
    """Ours: it is a part of the plugin."""

    def __init__(
        self,
        domain: str = "a.test",
        accounts: Mapping[str, str] = ACCOUNTS,
        *,
        friends: bool = True,
    ) -> None:
        """``accounts`` maps names to passwords; ``friends`` makes each a contact of each."""
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
        """As a scene wants it."""
        return cls(friends=setup.friends)

    @property
    def software(self) -> tuple[str, ...]:
        """Name and version."""
        return (f"{self.name} {self.version}",)

    @property
    def domains(self) -> tuple[str]:
        """The one that it serves."""
        return (self.domain,)

    def jid(self, account: str) -> str:
        """The bare JID of ``account``."""
        return f"{account}@{self.domain}"

    def connect(self, client: ClientXMPP) -> None:
        """Let ``client`` connect without TLS."""
        loopback.connect(client, self._server)

    def handled(self) -> list[loopback.Handled]:
        """Every stanza that it received from a client or sent to one, in order."""
        return self._server.seen[self._forgotten :]

    def component_client(self) -> ComponentXMPP:
        """The component, which has not begun to connect."""
        (domain,) = self._server.components
        return ComponentXMPP(domain, COMPONENT_SECRET, "127.0.0.1", self._server.port)

    def forget(self) -> None:
        """What was handled so far is not told again."""
        self._forgotten = len(self._server.seen)

    def save_logs(self, folder: Path) -> None:
        """Write what it handled to ``folder``."""
        lines = [f"{handled.way.value} {handled.client} {handled.text}\n" for handled in self._server.seen]
        (folder / "loopback.txt").write_text("".join(lines), encoding="utf-8")

    def log_tail(self) -> str:
        """The last stanzas, shortened."""
        last = self._server.seen[-LOG_STANZAS:]
        return "\n".join(f"{handled.way.value} {handled.client} {handled.text[:LOG_CHARACTERS]}" for handled in last)
