"""The harness of a scene: one running server, and the slixmpp clients on it."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, cast

from slixmpp import ClientXMPP, ComponentXMPP
from slixmpp.basexmpp import BaseXMPP

import slixmpp_e2e
from xmpp_loopback import LoginFailed, no_tls, offline
from xmpp_loopback.stanza_log import Direction, StanzaLog

LOGIN_SECONDS = 30.0
"""Timeout of a login. It takes a few ms, and more under Debian's limits on a busy machine."""
ROSTER_SECONDS = 30.0
"""Timeout of a roster request, which waits behind everything that the server has yet to send."""
LAST_TURNS = 20
"""Turns of the event loop for an unloaded plugin to remove its features. It offers nothing to wait for."""


class HandledText(Protocol):
    """An element that a server received or sent."""

    @property
    def text(self) -> str:
        """The element as XML text."""


class Server(Protocol):
    """A server as scenes use it. All servers in ``interop.servers`` have this interface."""

    @property
    def software(self) -> tuple[str, ...]:
        """Names and versions of the software, once it runs."""

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains of its accounts: several for servers that federate."""

    @property
    def accounts(self) -> Mapping[str, str]:
        """Names to passwords."""

    def jid(self, account: str) -> str:
        """Return the bare JID of ``account``."""

    def connect(self, client: ClientXMPP) -> None:
        """Make ``client`` trust this server, and start connecting."""

    def component_client(self) -> ComponentXMPP:
        """Return the server's component (XEP-0114), not yet connected."""

    def handled(self) -> Collection[HandledText]:
        """Return every element that it received from a client or sent to one, in order."""

    def forget_handled(self) -> None:
        """Forget what was handled so far."""

    def log_tail(self) -> str:
        """Return the end of its log, for the report of a failure."""

    def save_logs(self, folder: Path) -> None:
        """Save its logs and everything that it handled as files."""


class Harness:
    """The clients of one scene on one server. As a context manager, it logs all of them out at the end."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._clients: list[BaseXMPP] = []
        self._temporary = tempfile.TemporaryDirectory(prefix="xmpp-e2e-harness-")

    async def __aenter__(self) -> Self:
        self.server.forget_handled()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            for client in self._clients:
                await self._log_out(client)
        finally:
            self._temporary.cleanup()

    @property
    def folder(self) -> Path:
        """A folder for the files of the scene, deleted at its end."""
        return Path(self._temporary.name)

    def jid(self, name: str) -> str:
        """Return the bare JID of the account ``name``."""
        return self.server.jid(name)

    async def client(
        self, name: str, resource: str = "harness", prepare: Callable[[ClientXMPP], None] | None = None
    ) -> ClientXMPP:
        """Create an ordinary client of the account ``name`` and bring it online, with presence and roster.

        ``prepare`` registers plugins and handlers before the client connects. Raises `LoginFailed`.
        """
        client = ClientXMPP(f"{self.jid(name)}/{resource}", self.server.accounts[name], ssl_context=no_tls())
        if prepare is not None:
            prepare(client)
        await self.log_in(client)
        client.send_presence()
        await self.settle(client)
        return client

    async def e2e_client(
        self,
        name: str,
        resource: str = "harness",
        prepare: Callable[[ClientXMPP], None] | None = None,
        *,
        device: str | None = None,
        **settings: Any,
    ) -> ClientXMPP:
        """Create a client with the plugin ``e2e``, which gets ``settings``, and bring it online.

        The key store belongs to the ``device``, by default the resource. A client that returns in the same scene with the
        same device has the same key.
        """
        store = self._store(name, device or resource)

        def load(client: ClientXMPP) -> None:
            if prepare is not None:
                prepare(client)
            client.register_plugin("e2e", {"store_path": store, **settings}, module=slixmpp_e2e)

        return await self.client(name, resource, load)

    async def component(self, prepare: Callable[[BaseXMPP], None], **settings: Any) -> ComponentXMPP:
        """Connect the server's component with the plugin ``e2e``. Raises `LoginFailed`."""
        component = self.server.component_client()
        component.enable_direct_tls = False
        prepare(component)
        component.register_plugin("e2e", {"store_path": self._store("component", ""), **settings}, module=slixmpp_e2e)
        self._clients.append(component)
        await log_in(component, component.connect)
        return component

    async def log_in(self, client: ClientXMPP) -> bool:
        """Log in an existing client; return True if it resumed its stream (XEP-0198)."""
        if client not in self._clients:
            self._clients.append(client)
        return await log_in(client, lambda: self.server.connect(client))

    async def log_out(self, client: ClientXMPP) -> None:
        """Log the client out and unload the plugin. Only its store remains."""
        self._clients.remove(client)
        await self._log_out(client)

    async def unload(self, client: BaseXMPP) -> None:
        """Unload the plugin ``e2e``; return when it has cleaned up."""
        plugins: Any = client.plugin
        plugins.disable("e2e")
        for _ in range(LAST_TURNS):
            await asyncio.sleep(0)

    async def cut(self, client: ClientXMPP) -> None:
        """Cut the client's TCP connection."""
        await _hang_up(client)

    async def settle(self, *clients: ClientXMPP) -> None:
        """Return when all stanzas that these clients sent are handled, and all stanzas to them have arrived and are stored."""
        for _ in range(2):
            for client in clients:
                await client.get_roster(timeout=ROSTER_SECONDS)
                # Stanzas keep their order between servers too: this answer arrives after everything before it.
                for domain in self.server.domains:
                    if domain != client.boundjid.domain:
                        query = client.make_iq_get("http://jabber.org/protocol/disco#info", ito=domain)
                        await query.send(timeout=ROSTER_SECONDS)
            for client in clients:
                plugins: Any = client.plugin
                if "e2e" in plugins:
                    await plugins["e2e"]._store.run(tuple)

    def find_text(self, *words: str) -> list[str]:
        """Return the handled elements in which one of ``words`` can be read: plain, escaped, or in base64."""
        log = StanzaLog()
        for handled in self.server.handled():
            log.add(Direction.RECEIVED, "", handled.text)
        found = [handled.text for word in words for handled in log.find_text(word)]
        return [text for text in found if not _asks_own_server(text)]

    def _store(self, name: str, device: str) -> str:
        return str(self.folder / f"{name}-{device.encode().hex()}.db")

    async def _log_out(self, client: BaseXMPP) -> None:
        await offline(cast(ClientXMPP, client))  # works for a component, too
        if "e2e" in client.plugin:
            await self.unload(client)


async def log_in(client: BaseXMPP, connect: Callable[[], object]) -> bool:
    """Connect and bind ``client``; return True if it resumed an earlier stream (XEP-0198). Raises `LoginFailed`."""
    outcome: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def fail(step: str) -> Callable[[object], None]:
        def note(detail: object) -> None:
            if not outcome.done():
                outcome.set_exception(LoginFailed(f"{client.requested_jid}: {step} ({detail})"))

        return note

    def succeed(resumed: bool) -> Callable[[object], None]:
        def note(_: object) -> None:
            if not outcome.done():
                outcome.set_result(resumed)

        return note

    handlers: dict[str, Callable[[object], None]] = {
        "session_start": succeed(False),
        "session_resumed": succeed(True),
        "connection_failed": fail("no connection"),
        "failed_all_auth": fail("the server refused the password"),
        "disconnected": fail("disconnected"),
    }
    for event, handler in handlers.items():
        client.add_event_handler(event, handler)
    connect()
    try:
        async with asyncio.timeout(LOGIN_SECONDS):
            return await outcome
    except BaseException:
        client.cancel_connection_attempt()
        await _hang_up(client)
        raise
    finally:
        for event, handler in handlers.items():
            client.del_event_handler(event, handler)


async def _hang_up(client: BaseXMPP) -> None:
    """End its TCP connection, and return when it is gone.

    slixmpp may be about to do so itself, and its abort() closes before it aborts: asyncio of Python 3.11.2 cannot abort a
    transport of TLS that was closed twice.
    """
    if client.transport is None:
        return
    gone: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    client.add_event_handler("disconnected", gone.set_result, disposable=True)
    if not client.transport.is_closing():
        client.transport.abort()
    await gone


def _asks_own_server(stanza: str) -> bool:
    """Return whether it is our question (XEP-0199) by which a slow server shows that it has read all that came before."""
    return "urn:xmpp:ping" in stanza and re.search(r""" to=["'][^@"']+["']""", stanza) is not None
