"""A TCP proxy for one client. It delays each direction by a fixed time, and keeps all bytes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
QUIET_SECONDS = 0.1
"""A silence this long means that everything is sent. It is longer than TCP's delayed acknowledgement (40 ms)."""


class Proxy:
    """A path to ``server_port``. Use it as an async context manager."""

    def __init__(self, server_port: int) -> None:
        self.delay = 0.0
        """Seconds of delay in each direction. It may change at any time; bytes stay in order."""
        self.sent, self.received = bytearray(), bytearray()
        """All bytes that the client sent and received. There is no limit: a benchmark sends a few megabytes."""
        self.passed = asyncio.Event()
        """Set when anything has passed."""
        self._server_port = server_port
        self._ends: list[_End] = []
        self._connecting: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.get_running_loop().create_server(self._accept, HOST, 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._connecting:
            task.cancel()
        for end in self._ends:
            end.transport.abort()
        await asyncio.gather(*(end.gone for end in self._ends))

    def __len__(self) -> int:
        """Bytes in both directions."""
        return len(self.sent) + len(self.received)

    def _accept(self) -> _End:
        return _End(self, self.sent, self._connect)

    def _connect(self, client: _End) -> None:
        self._ends.append(client)
        task = asyncio.get_running_loop().create_task(self._join(client))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _join(self, client: _End) -> None:
        def made(server: _End) -> None:
            self._ends.append(server)
            client.join(server)
            server.join(client)

        await asyncio.get_running_loop().create_connection(
            lambda: _End(self, self.received, made), HOST, self._server_port
        )


async def quiet(*proxies: Proxy) -> None:
    """Return when nothing has passed through any proxy for a while."""
    before = -1
    while before != (now := sum(map(len, proxies))):
        before = now
        await asyncio.sleep(QUIET_SECONDS + 2 * max(proxy.delay for proxy in proxies))


class _End(asyncio.Protocol):
    """One of the two connections. It forwards its bytes to the other one, later."""

    transport: asyncio.Transport

    def __init__(self, proxy: Proxy, record: bytearray, made: Callable[[_End], None]) -> None:
        self._proxy, self._record, self._made = proxy, record, made
        self._loop = asyncio.get_running_loop()
        self._other: _End | None = None
        self._under_way: deque[tuple[float, bytes]] = deque()
        self.gone: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._made(self)

    def data_received(self, data: bytes) -> None:
        self._record += data
        self._proxy.passed.set()
        self._send(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set_result(None)
        self._send(b"")

    def join(self, other: _End) -> None:
        """Here is the other one; what has come before it goes there, too."""
        self._other = other
        self._forward()

    def _send(self, data: bytes) -> None:
        """Forward ``data`` later; empty ``data`` closes the other connection."""
        self._under_way.append((self._loop.time() + self._proxy.delay, data))
        if len(self._under_way) == 1:
            self._forward()

    def _forward(self) -> None:
        if self._other is None:
            return
        while self._under_way and self._under_way[0][0] <= self._loop.time():
            _, data = self._under_way.popleft()
            if data:
                self._other.transport.write(data)
            else:
                self._other.transport.close()
        if self._under_way:
            self._loop.call_at(self._under_way[0][0], self._forward)
