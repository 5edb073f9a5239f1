"""The environment of the plugin's tests: a loopback server or two, and slixmpp clients that have the plugin loaded."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar
from xml.etree.ElementTree import Element, SubElement

import pytest
from slixmpp import JID, ClientXMPP, ComponentXMPP, Iq
from slixmpp.basexmpp import BaseXMPP
from slixmpp.exceptions import IqError

import slixmpp_e2e
from slixmpp_e2e import E2E
from slixmpp_e2e.session import E2ESession
from xmpp_e2e.negotiate.jingle import NS_JINGLE
from xmpp_e2e.transport.ibb import NS_IBB
from xmpp_loopback import Federation, LoopbackServer, component_online, hostile, no_tls, offline, online, to_text

T = TypeVar("T")

ACCOUNTS = {"alice": "alice's", "bob": "bob's", "carol": "carol's"}
ALICE, BOB = "alice@localhost/a", "bob@localhost/b"
ALICE_AT_A, BOB_AT_B = "alice@a.test/a", "bob@b.test/b"
"""In an environment of two domains."""
BOTS, BOTS_SECRET = "bots.localhost", "component's"
"""A component."""
SID = "$sid"
"""A placeholder for a sid, which no base64 text contains by chance."""
_ACTIONS = ("session-initiate", "session-accept", "session-info", "session-terminate", "nonsense")
_BLOCKS = ("open", "data", "close")
PAYLOADS = {
    **{action: f"<jingle xmlns='{NS_JINGLE}' action='{action}' sid='0123456789abcdef'/>" for action in _ACTIONS},
    **{name: f"<{name} xmlns='{NS_IBB}' sid='0123456789abcdef'/>" for name in _BLOCKS},
}
"""Iqs about a session, or a bytestream, that is not there."""
PATIENCE = float(os.environ.get("PATIENCE", "20"))
"""Timeout of everything that is awaited, which takes milliseconds."""


class Events:
    """The events of one name that a client got, in order."""

    def __init__(self, client: BaseXMPP, event: str) -> None:
        self._queue: asyncio.Queue[Any] = asyncio.Queue()
        client.add_event_handler(event, self._queue.put_nowait)

    def __len__(self) -> int:
        return self._queue.qsize()

    async def take(self) -> Any:
        async with asyncio.timeout(PATIENCE):
            return await self._queue.get()

    async def bodies(self, count: int) -> list[str]:
        return [(await self.take())["body"] for _ in range(count)]


class Env:
    """One server, or two that a path joins, and every client that the test makes."""

    def __init__(self, server: LoopbackServer, folder: Path, far: LoopbackServer | None = None) -> None:
        self.server = server
        self.servers = {one.domain: one for one in (server, far) if one is not None}
        self._path = Federation(server, far) if far is not None else None
        self.alice, self.bob = (ALICE, BOB) if far is None else (ALICE_AT_A, BOB_AT_B)
        self._folder = folder
        self._clients: list[BaseXMPP] = []

    @property
    def far(self) -> LoopbackServer:
        return self.servers["b.test"]

    @property
    def path(self) -> Federation:
        assert self._path is not None
        return self._path

    def befriend(self, one: str, other: str) -> None:
        """Subscribe two accounts of different domains to each other's presence."""
        for owner, contact in ((one, other), (other, one)):
            if (server := self.servers.get(JID(owner).domain)) is not None:
                server.set_subscription(owner, contact, "both")

    def make(self, jid: str, *plugins: str, load: bool = True, **config: Any) -> ClientXMPP:
        """Return a client that is not connected yet. ``plugins`` are loaded before ours, which gets ``config``."""
        client = ClientXMPP(jid, ACCOUNTS[jid.partition("@")[0]], ssl_context=no_tls())
        for plugin in plugins:
            client.register_plugin(plugin)
        if load:
            self.load(client, **config)
        self._clients.append(client)
        return client

    async def component(self, domain: str = BOTS, **config: Any) -> ComponentXMPP:
        component = ComponentXMPP(domain, BOTS_SECRET)
        self.load(component, **config)
        self._clients.append(component)
        await component_online(component, self.server)
        return component

    def load(self, client: BaseXMPP, **config: Any) -> None:
        """Load the plugin. What is for a peer who is offline fails at once, if ``config`` does not say otherwise."""
        store = self._folder / (client.requested_jid.full.replace("/", "-") + ".db")
        client.register_plugin("e2e", {"store_path": str(store), "offline_seconds": 0.01, **config}, module=slixmpp_e2e)

    async def client(self, jid: str, *plugins: str, load: bool = True, **config: Any) -> ClientXMPP:
        client = self.make(jid, *plugins, load=load, **config)
        await online(client, self.servers[client.requested_jid.domain])
        return client

    async def pair(
        self, alices: dict[str, Any] | None = None, bobs: dict[str, Any] | None = None, **config: Any
    ) -> tuple[ClientXMPP, ClientXMPP]:
        """Return Alice and Bob, online, with each other's presence; ``config`` is for both."""
        if self._path is not None:
            self.befriend(self.alice, self.bob)
        alice = await self.client(self.alice, **config, **(alices or {}))
        bob = await self.client(self.bob, **config, **(bobs or {}))
        await self.settle(alice, bob)
        return alice, bob

    def unload(self, client: BaseXMPP) -> None:
        plugins: Any = client.plugin
        plugins.disable("e2e")

    async def session(self, alice: ClientXMPP, bob: ClientXMPP) -> tuple[E2ESession, E2ESession]:
        started = Events(bob, "e2e_session_opened")
        ours = await e2e(alice).connect(bob.boundjid.full)
        await until(ours.wait_open())
        return ours, (await started.take()).session

    async def settle(self, *clients: ClientXMPP) -> None:
        """Wait until what was on its way has come, and what came is stored and told."""
        for _ in range(2):
            for client in clients:
                await client.get_roster(timeout=PATIENCE)
            for client in clients:
                if "e2e" in client.plugin:
                    await until(e2e(client)._store.run(tuple))

    def hold(self, matches: Callable[[Element, str], bool]) -> hostile.Hold:
        """Let the server keep such stanzas back until the test says otherwise."""
        self.server.hooks.append(held := hostile.Hold(self.server, matches))
        return held

    def in_clear(self, *words: str) -> list[str]:
        servers = self.servers.values()
        return [handled.text for word in words for server in servers for handled in server.find_text(word)]

    async def end(self) -> None:
        for client in self._clients:
            if "e2e" in client.plugin:
                self.unload(client)
                await turns()
            await offline(client)


def e2e(client: BaseXMPP) -> E2E:
    return slixmpp_e2e.of(client)


def token_of(client: BaseXMPP, session: E2ESession) -> str:
    return e2e(client)._client.sessions.token_of(session._driver)


async def until(awaited: Awaitable[T]) -> T:
    """Wait, but not for ever."""
    return await asyncio.wait_for(awaited, PATIENCE)


async def turns(number: int = 20) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


SECRET = "attack at dawn"
QUERY = "{urn:example:query}query"


def ask(client: BaseXMPP, to: str) -> asyncio.Future[Iq]:
    iq = client.make_iq_get(ito=to)
    SubElement(iq.xml, QUERY).text = f"{SECRET}?"
    answer: asyncio.Future[Iq] = iq.send(timeout=20)
    return answer


async def refused(answer: asyncio.Future[Iq]) -> str:
    """Return the text of the error that answers a request; a timeout is no answer."""
    with pytest.raises(IqError) as caught:
        await until(answer)
    return str(caught.value.iq["error"]["text"])


def echo(client: BaseXMPP) -> None:
    def answer(message: Any) -> None:
        if message["type"] in ("chat", "normal"):
            message.reply(f"echo: {message['body']}").send()

    client.add_event_handler("message", answer)


def block(stanza: Element, sender: str) -> bool:
    return stanza.find("{http://jabber.org/protocol/ibb}data") is not None


def jingle(action: str) -> Callable[[Element, str], bool]:
    """Match the Jingle stanzas of an action, for the hooks of the server."""

    def matches(stanza: Element, sender: str) -> bool:
        element = stanza.find("{urn:xmpp:jingle:1}jingle")
        return element is not None and element.get("action") == action

    return matches


async def an_offer(env: Env) -> str:
    """Return a session-initiate to Alice by this very software, with its ClientHello, and SID for both its sids."""
    hold = env.hold(jingle("session-initiate"))
    model = await env.client("bob@localhost/model")
    model.send_message(mto=ALICE, mbody="x")
    await until(hold.caught())
    [(stanza, _)] = hold._held
    offer = stanza.find(f"{{{NS_JINGLE}}}jingle")
    assert offer is not None
    hold.discard()
    env.server.hooks.clear()
    sids = [element.get("sid", "") for element in offer.iter() if element.get("sid")]
    text = to_text(offer)
    for sid in sids:
        text = text.replace(sid, SID)
    return text
