"""Prosody and ejabberd that federate, each with its own domain."""

from __future__ import annotations

import heapq
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from slixmpp import ClientXMPP, ComponentXMPP

from interop.servers.ca import Authority
from interop.servers.daemon import ACCOUNTS, Daemon, HandledElement
from interop.servers.ejabberd import Ejabberd
from interop.servers.name_server import NameServer
from interop.servers.prosody import Peer, Prosody
from interop.servers.setup import DEFAULT_SETUP, Setup

ALICE: Mapping[str, str] = {name: ACCOUNTS[name] for name in ("alice", "carol")}
BOB: Mapping[str, str] = {name: ACCOUNTS[name] for name in ("bob", "dave")}


class Federation:
    """Both servers as one. Use it as an async context manager."""

    def __init__(
        self,
        prosody: Mapping[str, str] = ALICE,
        ejabberd: Mapping[str, str] = BOB,
        *,
        domains: tuple[str, str] = ("a.test", "e.test"),
        setup: Setup = DEFAULT_SETUP,
        path: Callable[[int], Awaitable[int]] | None = None,
    ) -> None:
        """``prosody`` and ``ejabberd`` map the names of their accounts to passwords; a name is only on one of them. With
        ``friends`` in ``setup``, accounts of both domains are contacts. The component is Prosody's. ``path`` gets the port
        of each server for the other one, and returns the port by which the other one reaches it."""
        if both := prosody.keys() & ejabberd.keys():
            raise ValueError(f"on both servers: {', '.join(sorted(both))}")
        self.accounts = {**prosody, **ejabberd}
        self._passwords = (prosody, ejabberd)
        self._domains = domains
        self._setup = setup
        self._path = path or _direct
        self._running = AsyncExitStack()

    @classmethod
    def of(cls, setup: Setup) -> Self:
        """Create them with Alice and Carol on Prosody, Bob and Dave on ejabberd."""
        return cls(setup=setup)

    @classmethod
    def swapped(cls, setup: Setup) -> Self:
        """Create them with Bob and Dave on Prosody, Alice and Carol on ejabberd."""
        return cls(BOB, ALICE, setup=setup)

    async def __aenter__(self) -> Self:
        authority, names = Authority(), NameServer()
        (alices, bobs), (ours, theirs) = self._passwords, self._domains
        contacts = [
            [f"{name}@{domain}" for name in accounts if self._setup.friends]
            for accounts, domain in ((bobs, theirs), (alices, ours))
        ]
        async with AsyncExitStack() as running:
            await running.enter_async_context(names)
            # Each must learn the other's port, which is certain only once it is in use. ejabberd looks it up when it sends,
            # so it starts first; Prosody gets it at its start.
            self.ejabberd = await running.enter_async_context(
                Ejabberd.of(
                    self._setup,
                    domain=theirs,
                    accounts=bobs,
                    contacts=contacts[1],
                    name_server=names.port,
                    authority=authority,
                )
            )
            self.prosody = await running.enter_async_context(
                Prosody.of(
                    self._setup,
                    domain=ours,
                    accounts=alices,
                    contacts=contacts[0],
                    peer=Peer(theirs, await self._path(_port(self.ejabberd))),
                    authority=authority,
                )
            )
            names.ports[ours] = names.ports[self.prosody.component] = await self._path(_port(self.prosody))
            self._running = running.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._running.__aexit__(kind, error, traceback)

    @property
    def software(self) -> tuple[str, ...]:
        """Names and versions of both."""
        return (*self.prosody.software, *self.ejabberd.software)

    @property
    def component(self) -> str:
        """The domain of Prosody's component."""
        return self.prosody.component

    def component_client(self) -> ComponentXMPP:
        """Return the component, not yet connected."""
        return self.prosody.component_client()

    @property
    def domains(self) -> tuple[str, str]:
        """Both domains. To know that everything has arrived, ask the other one: stanzas keep their order on the way."""
        return self._domains

    def jid(self, account: str) -> str:
        """Return the bare JID of ``account``."""
        return self.home(account).jid(account)

    def connect(self, client: ClientXMPP) -> None:
        """Connect ``client`` to the server of its domain."""
        self.home(client.boundjid.local).connect(client)

    def handled(self) -> list[HandledElement]:
        """Return what both received from their clients and sent to them, in order; not what they sent to each other."""
        return list(heapq.merge(self.prosody.handled(), self.ejabberd.handled(), key=lambda handled: handled.at))

    def forget_handled(self) -> None:
        """Forget what was handled so far."""
        for server in (self.prosody, self.ejabberd):
            server.forget_handled()

    def save_logs(self, folder: Path) -> None:
        """Copy the logs of both, and everything that they handled, to ``folder``."""
        for server in (self.prosody, self.ejabberd):
            server.save_logs(folder)

    def log_tail(self) -> str:
        """Return the last lines of both logs."""
        return f"{self.prosody.log_tail()}\n{self.ejabberd.log_tail()}"

    def home(self, account: str) -> Daemon:
        """Return the server of ``account``."""
        return self.prosody if account in self.prosody.accounts else self.ejabberd


async def _direct(port: int) -> int:
    return port


def _port(server: Daemon) -> int:
    assert server.s2s_port is not None, "it was started without"
    return server.s2s_port
