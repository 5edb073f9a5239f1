"""The path that the chaos harness breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from interop.chaos.proxy import HOST, Link

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def path(record: bool = False) -> AsyncIterator[tuple[Link, Stream, Stream]]:
    """A link, and both ends of a connection through it."""
    accepted: asyncio.Future[Stream] = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(lambda *stream: accepted.set_result(stream), HOST, 0)
    async with asyncio.timeout(20), server, Link(server.sockets[0].getsockname()[1], record=record) as link:
        here = await asyncio.open_connection(HOST, link.port)
        there = await accepted
        yield link, here, there
        for _, writer in (here, there):
            writer.transport.abort()


async def rest(reader: asyncio.StreamReader) -> bytes:
    """Return all until the end, whichever end it is."""
    got = b""
    try:
        while data := await reader.read(1000):
            got += data
    except OSError:
        pass
    return got


async def test_bytes_pass_both_ways_and_so_does_the_end() -> None:
    """Without faults it is a cable."""
    async with path() as (_, here, there):
        here[1].write(b"to be")
        there[1].write(b"or not")
        assert (await there[0].readexactly(5), await here[0].readexactly(6)) == (b"to be", b"or not")
        here[1].write_eof()
        assert await there[0].read() == b""
        there[1].write(b"and more")
        there[1].close()
        assert await here[0].read() == b"and more"


async def test_it_cuts_at_the_byte() -> None:
    """Bytes of both directions count; what came before the cut arrives."""
    async with path() as (link, here, there):
        link.cuts.append(7)
        here[1].write(b"123")
        assert await there[0].readexactly(3) == b"123"
        there[1].write(b"456789")
        assert await rest(here[0]) == b"4567"
        assert await rest(there[0]) == b""
        assert not link.cuts


async def test_it_delays() -> None:
    """Each direction, and what is written last arrives last, though its own delay is over before; one delay is not added to
    another."""
    async with path() as (link, here, there):
        loop = asyncio.get_running_loop()
        link.delay, start = 0.4, loop.time()
        here[1].write(b"first")
        await asyncio.sleep(0.2)
        link.delay = 0.0
        here[1].write(b"second")
        assert await there[0].readexactly(11) == b"firstsecond"
        assert loop.time() - start >= 0.4
        link.delay, start = 1.5, loop.time()
        for _ in range(4):
            there[1].write(b"more")
            await asyncio.sleep(0.1)
        assert await here[0].readexactly(16) == 4 * b"more"
        assert 1.8 <= loop.time() - start < 2.9


async def test_it_records_if_it_is_to() -> None:
    """What the client sends and receives, apart."""
    for record in (True, False):
        async with path(record) as (link, here, there):
            here[1].write(b"to be")
            there[1].write(b"or not")
            assert (await there[0].readexactly(5), await here[0].readexactly(6)) == (b"to be", b"or not")
            assert (bytes(link.sent), bytes(link.received)) == ((b"to be", b"or not") if record else (b"", b""))


async def test_it_drops_until_it_is_cut() -> None:
    """What is swallowed does not come later."""
    async with path() as (link, here, there):
        here[1].write(b"heard")
        assert await there[0].readexactly(5) == b"heard"
        link.dropping = True
        here[1].write(b"swallowed")
        await asyncio.sleep(0.05)
        link.dropping = False
        link.cut_all()
        assert await rest(there[0]) == await rest(here[0]) == b""


async def test_without_a_server_connections_end_at_once() -> None:
    """A client sees that its server is away."""
    async with path() as (_, _, there):
        port = there[1].get_extra_info("sockname")[1]
    async with asyncio.timeout(20), Link(port) as link:
        reader, writer = await asyncio.open_connection(HOST, link.port)
        assert await rest(reader) == b""
        writer.transport.abort()
