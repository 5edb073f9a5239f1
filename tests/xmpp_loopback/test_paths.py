"""Bytes reach a client in pieces, merged or late, and always in order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from slixmpp import ClientXMPP

from xmpp_loopback import LoopbackServer, paths

LogIn = Callable[..., Awaitable[ClientXMPP]]
Settle = Callable[..., Awaitable[None]]

TEXT = "all that was said, in the order in which it was said"


class Socket:
    """The end of a path: it collects pieces."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self._ended = asyncio.Event()

    def __call__(self, data: bytes) -> None:
        assert not self._ended.is_set()
        if data:
            self.pieces.append(data)
        else:
            self._ended.set()

    async def all(self) -> list[bytes]:
        async with asyncio.timeout(10):
            await self._ended.wait()
        return self.pieces


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (paths.direct, [b"one", b"fourty"]),
        (paths.split(2), [b"on", b"ef", b"ou", b"rt", b"y"]),
        (paths.merge, [b"onefourty"]),
        (paths.late(0.0), [b"one", b"fourty"]),
        (paths.then(paths.merge, paths.split(4)), [b"onef", b"ourt", b"y"]),
    ],
    ids=["direct", "split", "merge", "late", "merge, then split"],
)
async def test_nothing_is_lost_and_the_end_comes_last(path: paths.BytePath, expected: list[bytes]) -> None:
    socket = Socket()
    write = path(socket)
    for data in (b"one", b"fourty", b""):
        write(data)
    assert await socket.all() == expected


@pytest.mark.parametrize("path", [paths.split(1), paths.merge, paths.late(60.0)], ids=["split", "merge", "late"])
async def test_what_waits_is_bounded(path: paths.BytePath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "PATH_LIMIT", 5)
    write = path(lambda data: None)
    write(b"12345")
    with pytest.raises(OverflowError):
        write(b"6")


def test_a_piece_has_a_byte() -> None:
    """Pieces of nothing would never end."""
    with pytest.raises(ValueError, match="at least one"):
        paths.split(0)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    sizes: list[int] = []
    genuine = ClientXMPP.data_received

    def counted(client: Any, data: bytes) -> None:
        sizes.append(len(data))
        genuine(client, data)

    monkeypatch.setattr(ClientXMPP, "data_received", counted)
    return sizes


async def chat(log_in: LogIn, events: Any) -> list[str]:
    alice, bob = await log_in("alice@localhost/x"), await log_in("bob@localhost/y")
    got = events(bob, "message")
    for number in range(10):
        alice.send_message("bob@localhost/y", f"{TEXT}: {number}")
    return [(await got.take())["body"] for _ in range(10)]


async def test_a_client_reads_split_stanzas_in_pieces(
    server: LoopbackServer, log_in: LogIn, events: Any, reads: list[int]
) -> None:
    """No read of a client's socket brings more than one piece; every stanza arrives whole, from the login on."""
    server.path = paths.split(50)
    assert await chat(log_in, events) == [f"{TEXT}: {number}" for number in range(10)]
    assert max(reads) <= 50


async def test_a_client_reads_merged_stanzas_at_once(
    server: LoopbackServer, log_in: LogIn, events: Any, reads: list[int]
) -> None:
    server.path = paths.merge
    assert await chat(log_in, events) == [f"{TEXT}: {number}" for number in range(10)]
    assert max(reads) > 3 * len(TEXT)


async def test_raw_bytes_reach_the_client(server: LoopbackServer, wire: Callable[[], Awaitable[Any]], events: Any) -> None:
    """They may be half a character or no XML. The log has them as well as it can."""
    alice = await wire()
    await alice.bind("alice", "x")
    server.inject("alice@localhost/x", b"\xff\xfe<")
    assert await alice.reader.readexactly(3) == b"\xff\xfe<"
    assert server.handled[-1].text == "\ufffd\ufffd<"
    with pytest.raises(KeyError):
        server.inject("alice@localhost/other", b"x")


async def test_the_last_words_come_through_a_path(server: LoopbackServer, wire: Callable[[], Awaitable[Any]]) -> None:
    server.path = paths.split(7)
    alice = await wire()
    await alice.bind("alice", "x")
    await alice.say("<unheard-of/>")
    assert (await alice.end()).endswith("</stream:error></stream:stream>")
