"""What users of the tests of verification share, say and see."""

from __future__ import annotations

import asyncio

from slixmpp import ClientXMPP

from slixmpp_e2e import SasPrompt
from slixmpp_e2e.trust.passwords import derive_srp_secret
from tests.slixmpp_e2e.env import e2e

ALICES, BOBS = "alice@localhost", "bob@localhost"
KEY = bytes(range(32))


def share(client: ClientXMPP, peer: str, method: str, secret: bytes) -> None:
    e2e(client)._store.put_secret(peer, method, "1", secret)


def of(password: str) -> bytes:
    return derive_srp_secret(password, ALICES, BOBS)


async def says(password: str | None) -> str | None:
    return password


async def agrees(prompt: SasPrompt) -> bool:
    return True


class Looks:
    """A user who looks at short strings, and answers when the test lets them."""

    def __init__(self, same: bool = True, *, at_once: bool = True) -> None:
        self.seen: asyncio.Queue[SasPrompt] = asyncio.Queue()
        self.same, self.decides = same, asyncio.Event()
        if at_once:
            self.decides.set()

    async def __call__(self, prompt: SasPrompt) -> bool:
        self.seen.put_nowait(prompt)
        await self.decides.wait()
        return self.same
