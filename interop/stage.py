"""What a scene plays on: one running server, and slixmpp clients that it lets in."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, cast

from slixmpp import ClientXMPP, ComponentXMPP
from slixmpp.basexmpp import BaseXMPP

import slixmpp_e2e
from xmpp_loopback import no_tls, offline
from xmpp_loopback.record import Record, Way

LOGIN_SECONDS = 30.0
"""STARTTLS, SASL and binding take a few ms on the loopback; under Debian's limits and a full machine more."""
ROSTER_SECONDS = 30.0
"""The same for a roster, which waits behind whatever the server has yet to send."""
LAST_TURNS = 20
"""Turns of the event loop in which a plugin that was unloaded takes its features back: it waits for nobody."""


class Exchange(Protocol):
    """One element that a server handled."""

    @property
    def text(self) -> str:
        """The element as XML text."""


class Server(Protocol):
    """What a scene needs of a server; each in ``interop.servers`` has it."""

    @property
    def software(self) -> tuple[str, ...]:
        """Name and version of each that it stands for, once it runs."""

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains on which it has accounts: several if it stands for servers that talk to each other."""

    @property
    def accounts(self) -> Mapping[str, str]:
        """Name → password."""

    def jid(self, account: str) -> str:
        """The bare JID of ``account``."""

    def connect(self, client: ClientXMPP) -> None:
        """Tell ``client`` whom to trust, and let it begin to connect."""

    def component_client(self) -> ComponentXMPP:
        """The component that it takes (XEP-0114), which has not begun to connect."""

    def handled(self) -> Collection[Exchange]:
        """Every element that it received from a client or sent to one, in order."""

    def forget(self) -> None:
        """What was handled so far is not told again."""

    def log_tail(self) -> str:
        """The last that it has to say for itself, for whoever looks into a failure."""

    def save_logs(self, folder: Path) -> None:
        """All that it has to say for itself, as files."""


class LoginFailed(Exception):
    """A client of a scene could not log in; the message says at which step."""


class Stage:
    """The clients of one scene on one server. As a context manager it sees all of them off at the end."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._clients: list[BaseXMPP] = []
        self._temporary = tempfile.TemporaryDirectory(prefix="xmpp-e2e-stage-")

    async def __aenter__(self) -> Self:
        self.server.forget()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            for client in self._clients:
                await self._see_off(client)
        finally:
            self._temporary.cleanup()

    @property
    def folder(self) -> Path:
        """For the files of the scene, until it ends."""
        return Path(self._temporary.name)

    def jid(self, name: str) -> str:
        """The bare JID of the account ``name``."""
        return self.server.jid(name)

    async def client(
        self, name: str, resource: str = "stage", prepare: Callable[[ClientXMPP], None] | None = None
    ) -> ClientXMPP:
        """
        An ordinary client of the account ``name``, online: presence sent, roster fetched. ``prepare`` is called before it
        connects, to register plugins and handlers. Raises `LoginFailed`.
        """
        client = ClientXMPP(f"{self.jid(name)}/{resource}", self.server.accounts[name], ssl_context=no_tls())
        if prepare is not None:
            prepare(client)
        await self.enter(client)
        client.send_presence()
        await self.settle(client)
        return client

    async def encrypted(
        self,
        name: str,
        resource: str = "stage",
        prepare: Callable[[ClientXMPP], None] | None = None,
        *,
        device: str | None = None,
        **settings: Any,
    ) -> ClientXMPP:
        """
        The same with the plugin ``e2e``, which gets ``settings``. Key and memory are those of the ``device``, which is the
        resource unless told otherwise: when it comes back in the same scene it is the same device.
        """
        store = self._store(name, device or resource)

        def load(client: ClientXMPP) -> None:
            if prepare is not None:
                prepare(client)
            client.register_plugin("e2e", {"store": store, **settings}, module=slixmpp_e2e)

        return await self.client(name, resource, load)

    async def component(self, prepare: Callable[[BaseXMPP], None], **settings: Any) -> ComponentXMPP:
        """The server's component with the plugin ``e2e``, connected. Raises `LoginFailed`."""
        component = self.server.component_client()
        component.enable_direct_tls = False
        prepare(component)
        component.register_plugin("e2e", {"store": self._store("component", ""), **settings}, module=slixmpp_e2e)
        self._clients.append(component)
        await log_in(component, component.connect)
        return component

    async def enter(self, client: ClientXMPP) -> bool:
        """Log in a client that was made elsewhere, or was here before: True if it resumed its stream (XEP-0198)."""
        if client not in self._clients:
            self._clients.append(client)
        return await log_in(client, lambda: self.server.connect(client))

    async def leave(self, client: ClientXMPP) -> None:
        """Log out in order and unload the plugin; nothing of the client is left but what it stored."""
        self._clients.remove(client)
        await self._see_off(client)

    async def unload(self, client: BaseXMPP) -> None:
        """Unload the plugin ``e2e``, and return when it has cleaned up."""
        plugins: Any = client.plugin
        plugins.disable("e2e")
        for _ in range(LAST_TURNS):
            await asyncio.sleep(0)

    async def cut(self, client: ClientXMPP) -> None:
        """Its TCP connection is gone, without a word."""
        await _hang_up(client)

    async def settle(self, *clients: ClientXMPP) -> None:
        """Return when all that these clients sent before was handled, and what the server sent them has arrived."""
        for _ in range(2):
            for client in clients:
                await client.get_roster(timeout=ROSTER_SECONDS)
                # Between servers stanzas keep their order too: an answer from there comes after all that came before.
                for domain in self.server.domains:
                    if domain != client.boundjid.domain:
                        question = client.make_iq_get("http://jabber.org/protocol/disco#info", ito=domain)
                        await question.send(timeout=ROSTER_SECONDS)

    def readable(self, *words: str) -> list[str]:
        """What the server handled in which one of ``words`` can be read: as it is, escaped, or inside base64."""
        record = Record()
        for handled in self.server.handled():
            record.add(Way.RECEIVED, "", handled.text)
        return [handled.text for word in words for handled in record.mentions(word)]

    def _store(self, name: str, device: str) -> str:
        return str(self.folder / f"{name}-{device.encode().hex()}.db")

    async def _see_off(self, client: BaseXMPP) -> None:
        await offline(cast(ClientXMPP, client))  # which does for a component, too
        if "e2e" in client.plugin:
            await self.unload(client)


async def log_in(client: BaseXMPP, connect: Callable[[], object]) -> bool:
    """
    Let ``client`` ``connect`` and bind, or raise `LoginFailed` with the first thing that went wrong. True if it resumed an
    earlier stream (XEP-0198) instead.
    """
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
