"""Clients of each kind: how they are made, how they send a message and how they read one.

A process imports our plugin, and OMEMO, only for a client that has it: what is loaded makes garbage collection slower.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, Protocol

from slixmpp import JID, ClientXMPP, Message
from slixmpp.basexmpp import BaseXMPP

from interop.bench.kinds import KINDS

HOST = "127.0.0.1"
PATIENCE = 60.0
"""Timeout in seconds. Everything takes milliseconds or some seconds."""
LARGE_BYTES = 4_096
"""A sender of stanzas that are larger than this minds how much is under way: see `E2E.room`."""
WINDOW_BYTES = 4_000_000
"""Bytes that may be under way in a session. It is less than what a session takes."""

NAMESPACES = ("urn:xmpp:omemo:2", "eu.siacs.conversations.axolotl")
"""The two versions of OMEMO, each with its own list of devices."""

Hear = Callable[[str, Message], None]
"""It gets the body, decrypted, and the message as it came."""


def plugin(client: BaseXMPP, name: str) -> Any:
    """Return a plugin of the client."""
    plugins: Any = client.plugin
    return plugins[name]


class Absent(Exception):
    """There is nothing of that kind to measure."""


class Talk(Protocol):
    """How one client talks."""

    async def published(self) -> None:
        """Return once all is published that others need."""

    async def meet(self, peer: JID) -> None:
        """Get ready for a peer who is online."""

    async def say(self, to: JID, body: str) -> None:
        """Send one message."""

    async def room(self, to: JID, size: int) -> None:
        """Wait until another stanza of ``size`` bytes can be taken."""

    def answer(self, message: Message, body: str) -> None:
        """Send an answer."""

    def came_right(self, message: Message) -> bool:
        """Return whether a message came encrypted, if it has to."""


class Plaintext:
    """slixmpp as it is."""

    def __init__(self, client: ClientXMPP, hear: Hear) -> None:
        self._client = client
        client.add_event_handler("message", lambda message: hear(message["body"], message))

    async def published(self) -> None:
        """There is nothing to be published."""

    async def meet(self, peer: JID) -> None:
        """There is nothing to be known."""

    async def say(self, to: JID, body: str) -> None:
        """Send one message."""
        self._client.send_message(mto=to, mbody=body, mtype="chat")

    async def room(self, to: JID, size: int) -> None:
        """slixmpp takes everything."""

    def answer(self, message: Message, body: str) -> None:
        """Send an answer."""
        message.reply(body).send()

    def came_right(self, message: Message) -> bool:
        """Anything is right."""
        return True


class E2E(Plaintext):
    """The same program with our plugin."""

    async def room(self, to: JID, size: int) -> None:
        """Wait while too much is under way."""
        while sum(session.unacknowledged for session in plugin(self._client, "e2e").sessions(str(to))) * size > WINDOW_BYTES:  # noqa: ASYNC110
            await asyncio.sleep(0.001)  # nothing tells of it

    def came_right(self, message: Message) -> bool:
        """It came inside a session."""
        return message["e2e"]["session"] is not None


class Direct:
    """``session.send_message``, without slixmpp's filters."""

    def __init__(self, client: ClientXMPP, to: JID) -> None:
        self._session: Any = plugin(client, "e2e").sessions(str(to))[0]
        if not hasattr(self._session, "send_message"):
            raise Absent("session.send_message")

    async def say(self, to: JID, body: str) -> None:
        """Send one message in the open session."""
        self._session.send_message(body)


class Omemo:
    """slixmpp-omemo. What it sends is encrypted one by one, and what comes is decrypted in order."""

    def __init__(self, client: ClientXMPP, hear: Hear) -> None:
        self._client, self._hear = client, hear
        self._published = asyncio.Event()
        client.add_event_handler("omemo_initialized", lambda _: self._published.set())
        self._letters: asyncio.Queue[Message] = asyncio.Queue()
        client.add_event_handler("message", self._letters.put_nowait)
        self._reading = asyncio.get_running_loop().create_task(self._read())
        client.add_event_handler("disconnected", lambda _: self._reading.cancel())

    async def published(self) -> None:
        """Return once our keys are on the server."""
        await self._published.wait()

    async def meet(self, peer: JID) -> None:
        """Return once the peer's list of devices is here, as it is among contacts. Keys are still to be fetched."""
        manager = await plugin(self._client, "xep_0384").get_session_manager()
        async with asyncio.timeout(PATIENCE):
            while not await manager.get_device_information(peer.bare):
                for namespace in NAMESPACES:
                    await manager.refresh_device_list(namespace, peer.bare)

    async def say(self, to: JID, body: str) -> None:
        """Encrypt and send one message."""
        letter = self._client.make_message(mto=to, mbody=body, mtype="chat")
        locked, errors = await plugin(self._client, "xep_0384").encrypt_message(letter, to)
        if errors:
            raise RuntimeError(f"OMEMO failed: {errors}")
        locked["to"] = to
        locked.send()

    async def room(self, to: JID, size: int) -> None:
        """Encrypting takes longer than sending."""

    def answer(self, message: Message, body: str) -> None:
        """Send an answer."""
        self._answering = asyncio.get_running_loop().create_task(self.say(message["from"], body))

    def came_right(self, message: Message) -> bool:
        """It was encrypted."""
        return bool(plugin(self._client, "xep_0384").is_encrypted(message))

    async def _read(self) -> None:
        while True:
            letter = await self._letters.get()
            body = letter["body"]
            if self.came_right(letter):
                opened, _ = await plugin(self._client, "xep_0384").decrypt_message(letter)
                body = opened["body"]  # empty if it is about keys
            if body:
                self._hear(body, letter)


def make(kind: str, jid: str, password: str, store: str, hear: Hear) -> tuple[ClientXMPP, Talk]:
    """Create a client, not yet connected."""
    client = ClientXMPP(jid, password, ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    # No TLS to the server, so that the proxy can read along.
    client.enable_direct_tls = client.enable_starttls = False
    client.enable_plaintext = True
    login = client.plugin["feature_mechanisms"]
    login.unencrypted_plain, login.use_mech = True, "PLAIN"
    for name in KINDS[kind].plugins:
        client.register_plugin(name, {"auto_accept": True} if name == "xep_0047" else {})
    if KINDS[kind].omemo:
        add_omemo(client)
        return client, Omemo(client, hear)
    if KINDS[kind].e2e:
        add_e2e(client, store)
        return client, E2E(client, hear)
    return client, Plaintext(client, hear)


def add_e2e(client: BaseXMPP, store: str, **settings: Any) -> None:
    """Register our plugin."""
    import slixmpp_e2e

    client.register_plugin("e2e", {"store_path": store, **settings}, module=slixmpp_e2e)


def add_omemo(client: ClientXMPP) -> None:
    """Register slixmpp-omemo."""
    from slixmpp.plugins import register_plugin

    from interop.scenes.beside_omemo import Omemo as Plugin

    register_plugin(Plugin)
    client.register_plugin("xep_0384")


async def log_in(client: ClientXMPP, port: int) -> None:
    """Connect, and return when the client is bound."""
    bound: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    client.add_event_handler("session_start", lambda _: bound.set_result(None), disposable=True)
    client.connect(HOST, port)
    async with asyncio.timeout(PATIENCE):
        await bound


async def log_out(client: BaseXMPP) -> None:
    """End the stream; return when the connection is gone and no task of slixmpp is left."""
    if client.is_connected():
        await client.disconnect()
    client.cancel_connection_attempt()
    if (sending := client._run_out_filters) is not None:
        sending.cancel()
        await asyncio.wait({sending})
