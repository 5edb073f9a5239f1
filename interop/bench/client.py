"""A worker process with one client or many. It reads orders as JSON lines from standard input and answers each with a
line on standard output. ``interop.bench.measurements`` gives the orders."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from slixmpp import JID, ClientXMPP, Message

import slixmpp_e2e
from interop.helpers import e2e
from xmpp_loopback import no_tls, offline

HOST = "127.0.0.1"
PATIENCE = 60.0
"""Timeout in seconds. Everything takes milliseconds or a few seconds."""
WORD = "Wherefore-art-thou"
"""A word in every body: if it can be read on the wire, the message can be read."""
BODY_BYTES = 200
IN_ONE_TURN = 20
"""Messages that the sender sends before it yields to the event loop, as a relaying program does."""

Answer = dict[str, Any]


class Wrong(Exception):
    """The measurement is worthless: something was lost, altered, or came the wrong way."""


def bodies(kind: str, count: int) -> list[str]:
    """Return the bodies of one measurement. All of them differ."""
    return [f"{kind} {number} {WORD} ".ljust(BODY_BYTES, "x") for number in range(count)]


class Worker:
    """Executes the orders, and keeps the messages received since the last check."""

    def __init__(self) -> None:
        self.crowd: list[ClientXMPP] = []
        self._heard: list[tuple[float, str, Message]] = []
        self._due, self._there, self._echo = 0, asyncio.Event(), False

    @property
    def _client(self) -> ClientXMPP:
        return self.crowd[0]

    async def login(self, port: int, jid: str, password: str, store: str | None, echo: bool) -> Answer:
        """Come online, with end-to-end encryption if there is a ``store``."""
        client = _make(jid, password, store)
        self.crowd.append(client)
        self._echo = echo
        client.add_event_handler("message", self.hear)
        await _log_in(client, port)
        client.send_presence()
        return await self.settle()

    async def come(self, port: int, jids: list[str], password: str, store: str) -> Answer:
        """Bring many clients with one key online. They send no presence and accept sessions with anyone."""
        clients = [_make(jid, password, store, accept_from="anyone") for jid in jids]
        self.crowd += clients
        await asyncio.gather(*(_log_in(client, port) for client in clients))
        return {}

    async def logout(self) -> Answer:
        """Log out all clients."""
        for client in self.crowd:
            await offline(client)
            if "e2e" in client.plugin:
                plugins: Any = client.plugin
                plugins.disable("e2e")
        await asyncio.sleep(0.01)  # the plugin removes its features in the background
        self.crowd.clear()
        return {}

    async def settle(self) -> Answer:
        """Return when everything that was sent to us has arrived: presence and capabilities of others."""
        for _ in range(2):
            await self._client.get_roster(timeout=PATIENCE)
        return {}

    async def send(self, to: str, kind: str, count: int) -> Answer:
        """Send messages as fast as possible. ``start`` is the time of the first."""
        texts = bodies(kind, count)
        start = time.monotonic()
        for number, body in enumerate(texts, 1):
            self._client.send_message(mto=JID(to), mbody=body, mtype="chat")
            if number % IN_ONE_TURN == 0:
                await asyncio.sleep(0)
        return {"start": start}

    async def echoes(self, to: str, count: int) -> Answer:
        """Send messages one by one, each after the answer to the one before. ``seconds`` are the round trips."""
        seconds = []
        for body in bodies("echo", count):
            start = time.monotonic()
            self._client.send_message(mto=JID(to), mbody=body, mtype="chat")
            await self._until_heard(1)
            seconds.append(self._heard[0][0] - start)
            self._check([body])
        return {"seconds": seconds}

    async def heard(self, kind: str, count: int) -> Answer:
        """Wait for the other's messages and check them. ``last`` is the time of the last one. Raises `Wrong`."""
        await self._until_heard(count)
        last = self._heard[count - 1][0]
        self._check(bodies(kind, count))
        return {"last": last}

    async def close(self) -> Answer:
        """Close all sessions."""
        if "e2e" in self._client.plugin:
            await e2e(self._client).close()
        return {}

    async def open(self, peers: list[str]) -> Answer:
        """Open a session with each peer, one after the other."""
        for peer in peers:
            link = await e2e(self._client).connect(peer)
            await link.wait_open()
        count = len(e2e(self._client).sessions())
        return {"open": count}

    async def cost(self) -> Answer:
        """Return the resources of this process: ``rss`` in bytes, ``cpu`` in seconds, and ``counted``, the CPU seconds
        after this measurement."""
        before = time.process_time()
        gc.collect()
        return {"cpu": before, "rss": _rss(), "counted": time.process_time()}

    def hear(self, message: Message) -> None:
        body = message["body"]
        self._heard.append((time.monotonic(), body, message))
        if self._echo and body.startswith("echo "):
            message.reply(body).send()
        if len(self._heard) == self._due:
            self._there.set()

    async def _until_heard(self, count: int) -> None:
        self._due = count
        self._there.clear()
        try:
            if len(self._heard) < count:
                async with asyncio.timeout(PATIENCE):
                    await self._there.wait()
        except TimeoutError:
            raise Wrong(f"{len(self._heard)} of {count} messages came") from None

    def _check(self, texts: list[str]) -> None:
        """Check that these messages arrived, and inside a session if there is encryption."""
        heard, self._heard = self._heard, []
        if [body for _, body, _ in heard] != texts:
            raise Wrong(f"{len(heard)} messages came, which are not the {len(texts)} that were sent, in their order")
        if "e2e" in self._client.plugin and any(message["e2e"]["session"] is None for _, _, message in heard):
            raise Wrong("a message did not come inside a session")


def _make(jid: str, password: str, store: str | None, **settings: Any) -> ClientXMPP:
    client = ClientXMPP(jid, password, ssl_context=no_tls())
    # No TLS to the server, so that the proxy can read along.
    client.enable_direct_tls = client.enable_starttls = False
    client.enable_plaintext = True
    login = client.plugin["feature_mechanisms"]
    login.unencrypted_plain, login.use_mech = True, "PLAIN"
    if store is not None:
        client.register_plugin("e2e", {"store_path": store, **settings}, module=slixmpp_e2e)
    return client


def _rss() -> int:
    """Return the resident memory of this process in bytes."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


async def _log_in(client: ClientXMPP, port: int) -> None:
    bound: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    client.add_event_handler("session_start", lambda _: bound.set_result(None), disposable=True)
    client.connect(HOST, port)
    async with asyncio.timeout(PATIENCE):
        await bound


async def serve() -> None:
    """Execute orders until standard input ends."""
    loop, reader, worker = asyncio.get_running_loop(), asyncio.StreamReader(limit=1 << 20), Worker()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        order = json.loads(line)
        do: Callable[..., Awaitable[Answer]] = getattr(worker, order.pop("do"))
        try:
            answer = await do(**order)
        except Wrong as error:
            answer = {"wrong": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    asyncio.run(serve())
