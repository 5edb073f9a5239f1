"""A TCP path that can be cut at any byte, delay, swallow and record what passes."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
CHUNK = 1 << 16
"""Bytes that are read at once, and so delayed as one."""
CHUNKS = 256
"""Chunks under way in each direction: whoever sends more has to wait."""


class Link:
    """A path to a port of this machine. Use it as an async context manager."""

    def __init__(self, to: int, *, record: bool = False) -> None:
        self.delay = 0.0
        """Seconds of delay in each direction. It may change at any time; bytes stay in order."""
        self.dropping = False
        """Swallow everything. What has lost bytes must be cut before anything passes again: see `cut_all`."""
        self.cuts: deque[int] = deque()
        """After how many bytes, in both directions together, the next connections to carry any are cut."""
        self.to = to
        self.record = record
        self.sent, self.received = bytearray(), bytearray()
        """All bytes that the client sent and received, if it is to ``record`` them; there is no limit."""
        self._pairs: set[_Pair] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, HOST, 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        self.cut_all()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut_all(self) -> None:
        """Cut every connection now."""
        for pair in tuple(self._pairs):
            pair.cut()

    def pass_bytes(self, data: bytes) -> tuple[bytes, bool]:
        """Return which of ``data`` passes, and whether the connection is cut after it."""
        if not self.cuts:
            return data, False
        if len(data) < self.cuts[0]:
            self.cuts[0] -= len(data)
            return data, False
        return data[: self.cuts.popleft()], True

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._carry(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection(HOST, self.to)
        except OSError:
            writer.transport.abort()  # the server is away
            return
        pair = _Pair(self, (reader, writer), there)
        self._pairs.add(pair)
        try:
            await pair.carry()
        finally:
            self._pairs.discard(pair)


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Pair:
    """The two connections of one path."""

    def __init__(self, link: Link, here: Stream, there: Stream) -> None:
        self._link, self._here, self._there = link, here, there

    def cut(self) -> None:
        """End both at once, and lose what is under way."""
        for _, writer in (self._here, self._there):
            writer.transport.abort()

    async def carry(self) -> None:
        """Carry bytes both ways until both ends are closed, or the path is cut."""
        try:
            await asyncio.gather(
                self._one_way(self._here[0], self._there[1], self._link.sent),
                self._one_way(self._there[0], self._here[1], self._link.received),
            )
        finally:
            self.cut()

    async def _one_way(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, record: bytearray) -> None:
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(CHUNKS)
        reading = asyncio.get_running_loop().create_task(self._read(reader, under_way, record))
        try:
            await self._write(under_way, writer)
        finally:
            reading.cancel()
            await asyncio.wait({reading})

    async def _read(
        self, reader: asyncio.StreamReader, under_way: asyncio.Queue[tuple[float, bytes]], record: bytearray
    ) -> None:
        """Put what comes on its way, with the time when it arrives; at last nothing."""
        loop, data = asyncio.get_running_loop(), b"to begin with"
        while data:
            try:
                data = await reader.read(CHUNK)
            except OSError:  # it was cut
                data = b""
            if self._link.record:
                record += data
            await under_way.put((loop.time() + self._link.delay, data))

    async def _write(self, under_way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        # An end that was cut shows as an error or as an end of what it reads, and closes the other one.
        with contextlib.suppress(OSError, RuntimeError):
            while (came := await under_way.get())[1]:
                if (left := came[0] - loop.time()) > 0:
                    await asyncio.sleep(left)
                if self._link.dropping:
                    continue
                passed, cut = self._link.pass_bytes(came[1])
                writer.write(passed)
                if cut:
                    self.cut()
                    break
                await writer.drain()
            writer.write_eof()
