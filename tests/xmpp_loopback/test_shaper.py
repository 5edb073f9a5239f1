"""The embedded server reads so much of a client and no more, and loses nothing of it."""

from __future__ import annotations

import asyncio

import pytest

from xmpp_loopback import RateLimit
from xmpp_loopback.shaper import Shaper


@pytest.mark.parametrize("piece", [100, 7_000])
async def test_it_reads_at_its_rate(piece: int) -> None:
    loop, data = asyncio.get_running_loop(), bytes(range(250)) * 28
    read, done = bytearray(), loop.create_future()

    def take(part: bytes) -> None:
        read.extend(part)
        if len(read) == len(data):
            done.set_result(loop.time())

    began = loop.time()
    shaper = Shaper(RateLimit(20_000, 2_000), take)
    for start in range(0, len(data), piece):
        shaper.take(data[start : start + piece])
    assert len(read) <= 2_100
    async with asyncio.timeout(10):
        assert await done - began >= 0.24
    assert bytes(read) == data


async def test_what_was_not_read_of_a_lost_connection_is_forgotten() -> None:
    read = bytearray()
    shaper = Shaper(RateLimit(1e6, 10), read.extend)
    shaper.take(bytes(20))
    shaper.stop()
    shaper.stop()
    await asyncio.sleep(0.1)
    assert len(read) == 10
