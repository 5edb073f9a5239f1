"""A worker process with one client or a crowd of sessions. It reads orders as JSON lines from standard input and answers each
with a line on standard output. ``interop.bench.worker`` gives the orders."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import logging
import random
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from slixmpp import JID, ClientXMPP, Message

from interop.bench.clients import LARGE_BYTES, PATIENCE, Absent, Direct, Talk, log_in, log_out, make, plugin
from interop.bench.crowd import Crowd
from interop.bench.kinds import KINDS

WORD = "Wherefore-art-thou"
"""A word in every body: if it can be read on the wire, the message can be read."""
BODY_BYTES = 200
IN_ONE_TURN = 20
"""Messages that the sender sends before it yields to the event loop, as a relaying program does."""
THINKING_SECONDS = 0.015
"""How long the answer to a message of the kind ``late`` takes."""
BLOCK_BYTES = 4096
"""Of slixmpp's IBB."""

Answer = dict[str, Any]


class Wrong(Exception):
    """The measurement is worthless: something was lost, altered, or came the wrong way."""


def bodies(kind: str, count: int, size: int = BODY_BYTES) -> list[str]:
    """Return the bodies of one measurement. All of them differ."""
    return [f"{kind} {number} {WORD} ".ljust(size, "x") for number in range(count)]


class Worker(Crowd):
    """Executes the orders, and keeps the messages received since the last check."""

    client: ClientXMPP
    talk: Talk

    def __init__(self) -> None:
        super().__init__()
        self._heard: list[tuple[float, str, Message]] = []
        self._due, self._there, self._answers = 0, asyncio.Event(), False
        self._encrypted = False

    async def login(self, kind: str, port: int, jid: str, password: str, store: str, answers: bool) -> Answer:
        """Bring a client of this kind online. One that ``answers`` sends back what is to be answered."""
        self._answers, self._encrypted = answers, KINDS[kind].e2e
        self.client, self.talk = make(kind, jid, password, store, self.hear)
        await log_in(self.client, port)
        await self.talk.published()
        self.client.send_presence()
        return {"jid": self.client.boundjid.full}

    async def logout(self) -> Answer:
        """Log out."""
        await log_out(self.client)
        if self._encrypted:
            plugins: Any = self.client.plugin
            plugins.disable("e2e")
        await asyncio.sleep(0.01)  # the plugin removes its features in the background
        return {}

    async def settle(self, peer: str) -> Answer:
        """Return when everything that was sent to us has arrived: presence and capabilities of others."""
        await self.talk.meet(JID(peer))
        for _ in range(2):
            await self.client.get_roster(timeout=PATIENCE)
        return {}

    async def send(self, to: str, kind: str, count: int, size: int, direct: bool) -> Answer:
        """Send messages as fast as possible, through the session itself if ``direct``. ``start`` is the time of the first."""
        try:
            talk = Direct(self.client, JID(to)) if direct else self.talk
        except Absent as error:
            return {"absent": str(error)}
        texts, peer, large = bodies(kind, count, size), JID(to), size >= LARGE_BYTES
        turn = 1 if large else IN_ONE_TURN
        start = time.monotonic()
        for number, body in enumerate(texts, 1):
            if large:
                await self.talk.room(peer, size)
            await talk.say(peer, body)
            if number % turn == 0:
                await asyncio.sleep(0)
        return {"start": start}

    async def ask(self, to: str, kind: str, count: int) -> Answer:
        """Send messages one by one, each after the answer to the one before. ``seconds`` are the round trips."""
        seconds, thinking = [], THINKING_SECONDS if kind == "late" else 0.0
        for body in bodies(kind, count):
            start = time.monotonic()
            await self.talk.say(JID(to), body)
            await self._until_heard(1)
            seconds.append(self._heard[0][0] - start - thinking)
            self._check([body])
        return {"seconds": seconds}

    async def heard(self, kind: str, count: int, size: int = BODY_BYTES) -> Answer:
        """Wait for the other's messages and check them. ``last`` is the time of the last one. Raises `Wrong`."""
        await self._until_heard(count)
        last = self._heard[count - 1][0]
        self._check(bodies(kind, count, size))
        return {"last": last}

    async def send_bytes(self, to: str, size: int) -> Answer:
        """Send random bytes by slixmpp's own IBB. The answer has the times, and a hash of the bytes."""
        data = random.Random(size).randbytes(size)
        stream = await plugin(self.client, "xep_0047").open_stream(JID(to), block_size=BLOCK_BYTES)
        start = time.monotonic()
        await stream.sendall(data, timeout=PATIENCE)
        return {"start": start, "last": time.monotonic(), "hash": hashlib.sha256(data).hexdigest()}

    async def expect_bytes(self) -> Answer:
        """Take the next stream of slixmpp's IBB."""
        self._received = bytearray()
        self.client.add_event_handler("ibb_stream_data", lambda stream: self._received.extend(stream.read()))
        return {}

    async def received_bytes(self) -> Answer:
        """Return a hash of the bytes that came."""
        return {"hash": hashlib.sha256(self._received).hexdigest()}

    async def close(self) -> Answer:
        """Close all sessions."""
        if self._encrypted:
            await plugin(self.client, "e2e").close()
        return {}

    async def cost(self) -> Answer:
        """Return the resources of this process: ``rss`` in bytes, ``cpu`` in seconds, and ``counted``, the CPU seconds
        after this measurement."""
        before = time.process_time()
        gc.collect()
        return {"cpu": before, "rss": _rss(), "counted": time.process_time()}

    def hear(self, body: str, message: Message) -> None:
        """Keep a message, and answer it if it asks for that."""
        self._heard.append((time.monotonic(), body, message))
        if self._answers and body.startswith("echo "):
            self.talk.answer(message, body)
        elif self._answers and body.startswith("late "):
            asyncio.get_running_loop().call_later(THINKING_SECONDS, self.talk.answer, message, body)
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
        if not all(self.talk.came_right(message) for _, _, message in heard):
            raise Wrong("a message did not come inside a session")


def _rss() -> int:
    """Return the resident memory of this process in bytes."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


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
