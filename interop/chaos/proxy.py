"""A TCP path that can be cut at any byte, delay, and swallow what passes."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
CHUNK = 1 << 16
"""Bytes that are read at once, and so delayed as one."""


class Link:
    """A path to a port of this machine. Use it as an async context manager."""

    def __init__(self, to: int) -> None:
        self.delay = 0.0
        """Seconds of delay in each direction. Bytes stay in order."""
        self.dropping = False
        """Swallow everything. What has lost bytes must be cut before anything passes again: see `cut_all`."""
        self.cuts: deque[int] = deque()
        """After how many bytes, in both directions together, the next connections to carry any are cut."""
        self.to = to
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
                self._one_way(self._here[0], self._there[1]),
                self._one_way(self._there[0], self._here[1]),
            )
        finally:
            self.cut()

    async def _one_way(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # An end that was cut shows as an error or as an end of what it reads, and closes the other one.
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                if self._link.delay:
                    await asyncio.sleep(self._link.delay)
                if self._link.dropping:
                    continue
                passed, cut = self._link.pass_bytes(data)
                writer.write(passed)
                if cut:
                    self.cut()
                    return
                await writer.drain()
        with contextlib.suppress(OSError, RuntimeError):
            writer.write_eof()
