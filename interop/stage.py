"""What a scene plays on: one running server, and slixmpp clients that verify its certificate."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from slixmpp import ClientXMPP

LOGIN_SECONDS = 30.0
"""STARTTLS, SASL and binding take a few ms on the loopback; under Debian's limits and a full machine more."""


class Exchange(Protocol):
    """One element that a server handled."""

    @property
    def text(self) -> str:
        """The element as XML text."""


class Server(Protocol):
    """What a scene needs of a server; each in ``interop.servers`` has it."""

    @property
    def name(self) -> str:
        """The software, such as ``Prosody``."""

    @property
    def version(self) -> str:
        """Its version, once it runs."""

    @property
    def host(self) -> str:
        """Where it listens: a loopback address."""

    @property
    def port(self) -> int:
        """The port for clients (STARTTLS)."""

    @property
    def domain(self) -> str:
        """The domain that it serves, and that its certificate is for."""

    @property
    def accounts(self) -> Mapping[str, str]:
        """Name → password."""

    @property
    def ca_file(self) -> Path:
        """The authority behind its certificate, PEM."""

    def handled(self) -> Collection[Exchange]:
        """Every element that it received from a client or sent to one, in order."""


class LoginFailed(Exception):
    """A client of a scene could not log in; the message says at which step."""


class Stage:
    """The clients of one scene on one server. As a context manager it sees all of them off at the end."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._clients: list[ClientXMPP] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for client in self._clients:
            await client.disconnect()

    def jid(self, name: str) -> str:
        """The bare JID of the account ``name``."""
        return f"{name}@{self.server.domain}"

    async def client(
        self, name: str, resource: str = "stage", prepare: Callable[[ClientXMPP], None] | None = None
    ) -> ClientXMPP:
        """
        A client of the account ``name``, online: roster fetched, presence sent. ``prepare`` is called before it
        connects, to register plugins and handlers. Raises `LoginFailed`.
        """
        server = self.server
        client = ClientXMPP(
            f"{self.jid(name)}/{resource}",
            server.accounts[name],
            # Trusts the test's own authority and nobody else.
            ssl_context=ssl.create_default_context(cafile=server.ca_file),
        )
        if prepare is not None:
            prepare(client)
        # By itself slixmpp tries TLS from the first byte before it tries STARTTLS.
        client.enable_direct_tls = False
        self._clients.append(client)
        await log_in(client, server.host, server.port)
        client.send_presence()
        await client.get_roster()
        return client


async def log_in(client: ClientXMPP, host: str, port: int) -> None:
    """Connect and bind ``client``, or raise `LoginFailed` with the first thing that went wrong."""
    outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def fail(step: str) -> Callable[[object], None]:
        def note(detail: object) -> None:
            if not outcome.done():
                outcome.set_exception(LoginFailed(f"{client.requested_jid}: {step} ({detail})"))

        return note

    def succeed(_: object) -> None:
        if not outcome.done():
            outcome.set_result(None)

    handlers: dict[str, Callable[[object], None]] = {
        "session_start": succeed,
        "connection_failed": fail("no connection"),
        "failed_all_auth": fail("the server refused the password"),
        "disconnected": fail("disconnected"),
    }
    for event, handler in handlers.items():
        client.add_event_handler(event, handler)
    client.connect(host, port)
    try:
        async with asyncio.timeout(LOGIN_SECONDS):
            await outcome
    except BaseException:
        for event, handler in handlers.items():
            client.del_event_handler(event, handler)
        client.cancel_connection_attempt()
        with contextlib.suppress(asyncio.CancelledError):
            await client.disconnect(wait=0)
        raise
    for event, handler in handlers.items():
        client.del_event_handler(event, handler)
