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
from types import TracebackType
from typing import Self

from slixmpp import ClientXMPP

from interop.servers.ca import Authority
from interop.servers.daemon import ACCOUNTS, Daemon, Handled
from interop.servers.ejabberd import Ejabberd
from interop.servers.names import NameServer
from interop.servers.prosody import Peer, Prosody

ALICE: Mapping[str, str] = {"alice": ACCOUNTS["alice"]}
BOB: Mapping[str, str] = {"bob": ACCOUNTS["bob"]}


class Federation:
    """Both servers, as one to whoever only wants to log in. Use it as an async context manager."""

    name = "Prosody + ejabberd"

    def __init__(
        self,
        prosody: Mapping[str, str] = ALICE,
        ejabberd: Mapping[str, str] = BOB,
        *,
        domains: tuple[str, str] = ("a.test", "e.test"),
        friends: bool = True,
        limits: bool = False,
    ) -> None:
        """
        ``prosody`` and ``ejabberd`` map the names of their accounts to passwords; no name is on both. ``friends`` makes
        each account a contact of each, also across. ``limits`` are Debian's.
        """
        if both := prosody.keys() & ejabberd.keys():
            raise ValueError(f"on both servers: {', '.join(sorted(both))}")
        self.accounts = {**prosody, **ejabberd}
        self._passwords = (prosody, ejabberd)
        self._domains = domains
        self._friends = friends
        self._limits = limits
        self._running = AsyncExitStack()

    async def __aenter__(self) -> Self:
        authority, names = Authority(), NameServer()
        (alices, bobs), (ours, theirs) = self._passwords, self._domains
        contacts = [
            [f"{name}@{domain}" for name in accounts if self._friends]
            for accounts, domain in ((bobs, theirs), (alices, ours))
        ]
        async with AsyncExitStack() as running:
            await running.enter_async_context(names)
            # Each must learn the other's port, of which nobody can be sure before it is in use. ejabberd asks whenever
            # it has something to say; Prosody is told when it starts, and so is the second.
            self.ejabberd = await running.enter_async_context(
                Ejabberd(
                    theirs,
                    bobs,
                    friends=self._friends,
                    contacts=contacts[1],
                    limits=self._limits,
                    name_server=names.port,
                    authority=authority,
                )
            )
            self.prosody = await running.enter_async_context(
                Prosody(
                    ours,
                    alices,
                    friends=self._friends,
                    contacts=contacts[0],
                    limits=self._limits,
                    peer=Peer(theirs, _port(self.ejabberd)),
                    authority=authority,
                )
            )
            names.ports[ours] = _port(self.prosody)
            self._running = running.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._running.__aexit__(kind, error, traceback)

    @property
    def version(self) -> str:
        """Both versions, in the order of the name."""
        return f"{self.prosody.version} + {self.ejabberd.version}"

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

    def log_tail(self) -> str:
        """The last that each of them logged."""
        return f"{self.prosody.log_tail()}\n{self.ejabberd.log_tail()}"

    def _server(self, account: str) -> Daemon:
        return self.prosody if account in self.prosody.accounts else self.ejabberd


def _port(server: Daemon) -> int:
    assert server.s2s_port is not None, "it was started without"
    return server.s2s_port
