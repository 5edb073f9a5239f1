"""How bytes come to a client's socket: in pieces, many at once, or late. TCP (RFC 9293) promises their order, nothing more.

``server.path = split(100)`` holds for the connections that are made from then on. `then` puts one behind another.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

Write: TypeAlias = Callable[[bytes], None]
"""Takes bytes on their way to a client; ``b""`` is the end of them."""
Path: TypeAlias = Callable[[Write], Write]
"""Stands in front of a connection's socket: is given the socket's `Write`, once for each connection, and returns its own."""

PATH_LIMIT = 64 * 1024 * 1024
"""Bytes that a path keeps for one connection, as many as a client may leave unread; more is a mistake in the test."""
TURNS = 4
"""Turns of the event loop in which a client in the same loop has read what was written, before more is."""


def straight(write: Write) -> Write:
    """At once and as it is."""
    return write


def then(near: Path, far: Path) -> Path:
    """Through ``near`` first, then through ``far``, which is next to the socket."""
    return lambda write: near(far(write))


def split(size: int) -> Path:
    """In pieces of at most ``size`` bytes, wherever that cuts: a client in the same event loop reads each by itself."""
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
    """All that is written within a few turns of the event loop comes as one piece."""

    def everything(waiting: bytearray) -> bytes:
        taken = bytes(waiting)
        waiting.clear()
        return taken

    return _Queue(write, everything)


def late(seconds: float) -> Path:
    """By real time, for demonstrations; a test lets `hostile.Delay` count the trips instead."""

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
    """Writes what ``take`` takes out of all that waits, every few turns of the event loop; nothing happens by time."""

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
