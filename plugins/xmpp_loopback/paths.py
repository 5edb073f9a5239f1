"""Change how bytes reach a client's socket: split, merged or late. TCP (RFC 9293) keeps their order and promises no more.

``server.path = split(100)`` applies to connections that are made afterwards. `then` combines two paths.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

Write: TypeAlias = Callable[[bytes], None]
"""Takes bytes on their way to a client; ``b""`` ends the stream."""
BytePath: TypeAlias = Callable[[Write], Write]
"""Called once for each connection with the socket's `Write`; returns the `Write` that replaces it."""

PATH_LIMIT = 64 * 1024 * 1024
"""Maximum number of bytes that a path keeps for one connection. More is a mistake in the test."""
TURNS = 4
"""Turns of the event loop after which a client in the same loop has read what was written."""


def direct(write: Write) -> Write:
    """Pass bytes at once and unchanged."""
    return write


def then(near: BytePath, far: BytePath) -> BytePath:
    """Pass bytes through ``near`` first, then through ``far``, which is next to the socket."""
    return lambda write: near(far(write))


def split(size: int) -> BytePath:
    """Split into pieces of at most ``size`` bytes. A client in the same event loop reads each piece separately."""
    if size < 1:
        raise ValueError(f"a piece has at least one byte, not {size}")

    def path(write: Write) -> Write:
        def piece(waiting: bytearray) -> bytes:
            taken = bytes(waiting[:size])
            del waiting[:size]
            return taken

        return _Queue(write, piece)

    return path


def merge(write: Write) -> Write:
    """Merge everything that is written within a few turns of the event loop into one piece."""

    def everything(waiting: bytearray) -> bytes:
        taken = bytes(waiting)
        waiting.clear()
        return taken

    return _Queue(write, everything)


def late(seconds: float) -> BytePath:
    """Delay bytes by real time, for demonstrations. Tests use `hostile.Delay` instead."""

    def path(write: Write) -> Write:
        waiting: deque[bytes] = deque()
        size = 0

        def deliver() -> None:
            nonlocal size
            data = waiting.popleft()
            size -= len(data)
            write(data)

        def later(data: bytes) -> None:
            nonlocal size
            size += len(data)
            _bounded(size)
            waiting.append(data)
            asyncio.get_running_loop().call_later(seconds, deliver)

        return later

    return path


class _Queue:
    """Writes what ``take`` takes from the waiting bytes, every few turns of the event loop. Nothing happens by time."""

    def __init__(self, write: Write, take: Callable[[bytearray], bytes]) -> None:
        self._write, self._take = write, take
        self._waiting = bytearray()
        self._ended = False
        self._turning = False

    def __call__(self, data: bytes) -> None:
        self._waiting += data
        self._ended = self._ended or not data
        _bounded(len(self._waiting))
        if not self._turning:
            self._turning = True
            self._turn(TURNS)

    def _turn(self, left: int) -> None:
        if left:
            asyncio.get_running_loop().call_soon(self._turn, left - 1)
            return
        if self._waiting:
            self._write(self._take(self._waiting))
            self._turn(TURNS)
            return
        self._turning = False
        if self._ended:
            self._write(b"")


def _bounded(size: int) -> None:
    if size > PATH_LIMIT:
        raise OverflowError(f"more than {PATH_LIMIT} bytes wait on a path")
