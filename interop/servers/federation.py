"""Two servers that talk to each other: Prosody for one domain and ejabberd for another, on free ports of 127.0.0.1.

    async with Federation() as servers:            # alice@a.test on Prosody, bob@e.test on ejabberd
        servers.connect(client)                    # to the server of its domain
        ...
        assert "hello" in servers.ejabberd.handled()[-1].text

Each proves its domain to the other by a certificate of one authority (RFC 6120 §13.7.1, XEP-0178), and by nothing else:
no dialback, no entry in /etc/hosts, no port 5269.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from slixmpp import ClientXMPP, ComponentXMPP

from interop.servers.ca import Authority
from interop.servers.daemon import ACCOUNTS, Daemon, Handled
from interop.servers.ejabberd import Ejabberd
from interop.servers.names import NameServer
from interop.servers.prosody import Peer, Prosody
from interop.servers.setup import ORDINARY, Setup

ALICE: Mapping[str, str] = {name: ACCOUNTS[name] for name in ("alice", "carol")}
BOB: Mapping[str, str] = {name: ACCOUNTS[name] for name in ("bob", "dave")}


class Federation:
    """Both servers, as one to whoever only wants to log in. Use it as an async context manager."""

    def __init__(
        self,
        prosody: Mapping[str, str] = ALICE,
        ejabberd: Mapping[str, str] = BOB,
        *,
        domains: tuple[str, str] = ("a.test", "e.test"),
        setup: Setup = ORDINARY,
    ) -> None:
        """
        ``prosody`` and ``ejabberd`` map the names of their accounts to passwords; no name is on both. In ``setup`` friends
        are friends also across; the component is Prosody's.
        """
        if both := prosody.keys() & ejabberd.keys():
            raise ValueError(f"on both servers: {', '.join(sorted(both))}")
        self.accounts = {**prosody, **ejabberd}
        self._passwords = (prosody, ejabberd)
        self._domains = domains
        self._setup = setup
        self._running = AsyncExitStack()

    @classmethod
    def of(cls, setup: Setup) -> Self:
        """Alice and Carol on Prosody, Bob and Dave on ejabberd."""
        return cls(setup=setup)

    @classmethod
    def exchanged(cls, setup: Setup) -> Self:
        """The other way round."""
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
            # Each must learn the other's port, of which nobody can be sure before it is in use. ejabberd asks whenever
            # it has something to say; Prosody is told when it starts, and so is the second.
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
                    peer=Peer(theirs, _port(self.ejabberd)),
                    authority=authority,
                )
            )
            names.ports[ours] = names.ports[self.prosody.component] = _port(self.prosody)
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
        """The component, which has not begun to connect."""
        return self.prosody.component_client()

    @property
    def domains(self) -> tuple[str, str]:
        """Both. Whoever waits until all has arrived asks the other one too: stanzas keep their order on the way."""
        return self._domains

    def jid(self, account: str) -> str:
        """The bare JID of ``account``."""
        return self._server(account).jid(account)

    def connect(self, client: ClientXMPP) -> None:
        """Let ``client`` connect to the server of its domain."""
        self._server(client.boundjid.local).connect(client)

    def handled(self) -> list[Handled]:
        """What both have received from their clients and sent to them, in order; not what they said to each other."""
        return list(heapq.merge(self.prosody.handled(), self.ejabberd.handled(), key=lambda handled: handled.at))

    def forget(self) -> None:
        """What was handled so far is not told again."""
        for server in (self.prosody, self.ejabberd):
            server.forget()

    def save_logs(self, folder: Path) -> None:
        """Copy what both logged and handled to ``folder``."""
        for server in (self.prosody, self.ejabberd):
            server.save_logs(folder)

    def log_tail(self) -> str:
        """The last that each of them logged."""
        return f"{self.prosody.log_tail()}\n{self.ejabberd.log_tail()}"

    def _server(self, account: str) -> Daemon:
        return self.prosody if account in self.prosody.accounts else self.ejabberd


def _port(server: Daemon) -> int:
    assert server.s2s_port is not None, "it was started without"
    return server.s2s_port
