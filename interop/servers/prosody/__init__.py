"""Prosody as a child process, with a temporary folder, a free port on 127.0.0.1 and its own domain.

    async with Prosody("a.test", {"alice": "secret"}) as server:
        server.connect(client)        # STARTTLS, verified against server.ca_file
        ...
        assert "hello" in server.handled()[-1].text
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Self, Unpack

from interop.servers.ca import Authority
from interop.servers.daemon import ACCOUNTS, COMPONENT_SECRET, Daemon, HandledElement, ServerOptions
from interop.servers.process import program
from interop.servers.prosody.config import Layout, Peer, configuration, write_accounts
from interop.servers.setup import Setup

__all__ = ["ACCOUNTS", "HandledElement", "Peer", "Prosody"]


class Prosody(Daemon):
    """One server. Use it as an async context manager. Each use begins with empty storage and, by default, a new
    authority."""

    name = "Prosody"

    def __init__(
        self,
        domain: str = "a.test",
        accounts: Mapping[str, str] = ACCOUNTS,
        *,
        modules: Collection[str] = (),
        network_backend: str | None = None,
        extra: str = "",
        peer: Peer | None = None,
        privileges: bool = False,
        **options: Unpack[ServerOptions],
    ) -> None:
        """``accounts`` maps names to passwords. ``modules`` are loaded in addition to `config.MODULES`.
        ``network_backend`` is ``"epoll"`` (Prosody's default), ``"select"`` or ``"event"``. ``extra`` is Lua for the
        global section of the configuration. ``peer`` is the only server that it federates with; both need
        certificates of one ``authority``. ``privileges`` let the component act for users.
        Debian's ``limits`` are 10 kB/s for a client."""
        super().__init__(domain, accounts, federated=peer is not None, **options)
        self._modules = modules
        self._network_backend = network_backend
        self._extra = extra
        self._peer = peer
        self._privileges = privileges

    @classmethod
    def of(cls, setup: Setup, **more: Any) -> Self:
        """Create the server for a scene."""
        modules = ("mam",) if setup.archive else ()
        more.setdefault("privileges", setup.privileges)
        return cls(friends=setup.friends, modules=modules, limits=setup.limits, **more)

    @property
    def _layout(self) -> Layout:
        return Layout(self._root)

    def _write(self, authority: Authority, contacts: Mapping[str, Collection[str]]) -> Sequence[str]:
        layout = self._layout
        key, chain = authority.issue(self.domain, self.component).write(layout.root, "domain")
        layout.data.mkdir()
        write_accounts(layout.data, self.domain, self.accounts, contacts)
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
                s2s_port=self.s2s_port,
                peer=self._peer,
                component=(self.component, COMPONENT_SECRET, self.component_port),
                privileges=self._privileges,
            )
        )
        return program("prosody", "prosody"), "--config", str(layout.config), "-F"

    def _environment(self) -> Mapping[str, str]:
        return {}

    def _complains_of(self, port: int) -> bool:
        log = self._layout.log
        return log.exists() and f"Failed to open server port {port} " in log.read_text(errors="replace")
