"""A loopback server with three accounts, slixmpp clients on it, and a bare TCP client that sends anything."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from slixmpp import ClientXMPP

from xmpp_loopback import LoopbackServer, no_tls, offline, online

ACCOUNTS = {"alice": "alice's", "bob": "bob's", "carol": "carol's"}
PATIENCE = 10.0


@pytest.fixture
async def server() -> AsyncIterator[LoopbackServer]:
    async with LoopbackServer(accounts=ACCOUNTS) as running:
        yield running


@pytest.fixture
async def make(server: LoopbackServer) -> AsyncIterator[Callable[..., ClientXMPP]]:
    made: list[ClientXMPP] = []

    def build(jid: str, password: str | None = None, plugins: tuple[str, ...] = (), **options: str) -> ClientXMPP:
        right = ACCOUNTS.get(jid.partition("@")[0], "")
        client = ClientXMPP(jid, right if password is None else password, ssl_context=no_tls(), **options)
        for plugin in plugins:
            client.register_plugin(plugin)
        made.append(client)
        return client

    yield build
    for client in made:
        await offline(client)


@pytest.fixture
def log_in(server: LoopbackServer, make: Callable[..., ClientXMPP]) -> Callable[..., Awaitable[ClientXMPP]]:
    async def build(jid: str, *plugins: str) -> ClientXMPP:
        client = make(jid, plugins=plugins)
        await online(client, server)
        return client

    return build


@dataclass
class Wire:
    """A bare TCP client that sends what the test says."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def say(self, text: str) -> None:
        self.writer.write(text.encode())
        await self.writer.drain()

    async def hear(self, until: str) -> str:
        async with asyncio.timeout(PATIENCE):
            return (await self.reader.readuntil(until.encode())).decode()

    async def end(self) -> str:
        async with asyncio.timeout(PATIENCE):
            return (await self.reader.read()).decode()

    async def header(self, to: str = "localhost") -> str:
        await self.say(
            f"<?xml version='1.0'?><stream:stream to='{to}' version='1.0' xmlns='jabber:client' "
            "xmlns:stream='http://etherx.jabber.org/streams'>"
        )
        return await self.hear("</stream:features>")

    async def log_in(self, user: str) -> None:
        await self.header()
        proof = base64.b64encode(f"\0{user}\0{ACCOUNTS[user]}".encode()).decode()
        await self.say(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{proof}</auth>")
        await self.hear("</success>")
        await self.header()

    async def bind(self, user: str, resource: str) -> None:
        await self.log_in(user)
        await self.say(
            f"<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>{resource}</resource></bind></iq>"
        )
        assert f"<jid>{user}@localhost/{resource}</jid>" in await self.hear("</iq>")

    async def enable(self) -> str:
        """Turn on stream management; return the token of a resumption."""
        await self.say("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
        return (await self.hear("/>")).partition(" id='")[2].partition("'")[0]


@pytest.fixture
async def open_wire() -> AsyncIterator[Callable[[LoopbackServer], Awaitable[Wire]]]:
    opened: list[Wire] = []

    async def build(server: LoopbackServer) -> Wire:
        opened.append(Wire(*await asyncio.open_connection("127.0.0.1", server.port)))
        return opened[-1]

    yield build
    for each in opened:
        each.writer.close()
        await each.writer.wait_closed()


@pytest.fixture
def wire(server: LoopbackServer, open_wire: Callable[[LoopbackServer], Awaitable[Wire]]) -> Callable[[], Awaitable[Wire]]:
    return lambda: open_wire(server)


class Events:
    """Collects one event of a client, in order."""

    def __init__(self, client: ClientXMPP, event: str) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        client.add_event_handler(event, self.queue.put_nowait)

    async def take(self) -> Any:
        async with asyncio.timeout(PATIENCE):
            return await self.queue.get()

    @property
    def empty(self) -> bool:
        return self.queue.empty()


@pytest.fixture
def events() -> type[Events]:
    return Events


@pytest.fixture
def settle() -> Callable[..., Awaitable[None]]:
    """Waits until all stanzas that these clients sent are handled, and all stanzas to them have arrived."""

    async def settled(*clients: ClientXMPP) -> None:
        for _ in range(2):
            for client in clients:
                await client.get_roster(timeout=PATIENCE)

    return settled
