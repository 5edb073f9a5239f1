"""How long the event loop stands still at most while twenty proofs by password go on. ``make pauses`` says it.

Alice and twenty peers, all clients of one event loop in one process, on an embedded server.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from unittest.mock import patch

from slixmpp import ClientXMPP

from slixmpp_e2e.session import E2ESession
from tests.slixmpp_e2e.env import ACCOUNTS, ALICE, Env, e2e, until
from xmpp_e2e.authenticate import power, srp
from xmpp_loopback import LoopbackServer

RUNS = 20
PASSWORD = "correct horse"
_TICK = 0.001


async def longest_pause(work: Awaitable[object]) -> float:
    """Return for how many seconds at most the loop did not turn while ``work`` went on."""
    working = asyncio.ensure_future(work)
    longest, last = 0.0, perf_counter()
    while not working.done():
        await asyncio.sleep(_TICK)
        now = perf_counter()
        longest, last = max(longest, now - last - _TICK), now
    await working
    return longest


@contextmanager
def peers() -> Iterator[list[str]]:
    """The full JIDs of peers, whose accounts exist meanwhile."""
    names = [f"peer{number}" for number in range(RUNS)]
    with patch.dict(ACCOUNTS, dict.fromkeys(names, "a peer's")):
        yield [f"{name}@localhost/p" for name in names]


class Scene:
    """Alice, with a session with each of her peers."""

    def __init__(self, env: Env, jids: list[str]) -> None:
        self._env, self._jids = env, jids
        self._peers: list[ClientXMPP] = []

    async def begin(self) -> None:
        self._alice = await self._env.client(ALICE)
        for jid in self._jids:
            self._peers.append(await self._env.client(jid, accept_from="anyone", ask_password=lambda _: PASSWORD))
        await self._env.settle(self._alice, *self._peers)

    async def sessions(self) -> list[E2ESession]:
        """Open new ones."""
        await until(e2e(self._alice).close())
        for jid in self._jids:
            await e2e(self._alice).trust.forget(jid)
        links = [await e2e(self._alice).connect(jid) for jid in self._jids]
        for link in links:
            await until(link.wait_open())
        return links

    async def pause(self, compute: Callable[[int, int, int], int] = power.power) -> float:
        """Return the longest pause while Alice verifies all of her peers, with powers as ``compute`` makes them."""
        links = await self.sessions()
        with patch.object(srp._srp, "pow", compute), patch.object(power, "power", compute):
            return await longest_pause(asyncio.gather(*(link.verify_password(PASSWORD) for link in links)))

    async def pause_of_messages(self) -> float:
        """Return the longest pause while she says something to all of them instead."""
        links = await self.sessions()

        async def talk() -> None:
            for link in links * 10:
                self._alice.send_message(mto=link.peer, mbody="hello")
                await asyncio.sleep(0)
            await self._env.settle(self._alice, *self._peers)

        return await longest_pause(talk())


async def main() -> None:
    """Measure, and print the result."""
    logging.basicConfig(level=logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder, peers() as jids:
        async with LoopbackServer(accounts=ACCOUNTS) as server:
            env = Env(server, Path(folder))
            scene = Scene(env, jids)
            await scene.begin()
            figures = {
                f"{RUNS} proofs by password": [await scene.pause() for _ in range(3)],
                "the same with Python's pow()": [await scene.pause(pow)],
                "ten messages to each instead": [await scene.pause_of_messages() for _ in range(3)],
            }
            await env.end()
    print("longest pause of the event loop, in ms, each time:")
    for name, pauses in figures.items():
        print(f"{name}:", *(round(pause * 1000) for pause in pauses))


if __name__ == "__main__":
    asyncio.run(main())
