"""A worker with thousands of sessions in one process: the members of a crowd are the addresses of one component (XEP-0114)."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from slixmpp import JID, ClientXMPP, ComponentXMPP

from interop.bench.clients import HOST, PATIENCE, add_e2e, log_in, log_out, make, plugin

AT_ONCE = 64
"""Sessions that are opened at the same time."""
NO_LIMITS: dict[str, Any] = {
    "accept_from": "anyone",
    **dict.fromkeys(("sessions", "sessions_per_domain", "sessions_per_peer"), 100_000),
    **dict.fromkeys(("half_open", "half_open_of_contacts", "half_open_per_domain", "half_open_per_peer"), 1_000),
    **{
        f"request_rate{whose}": (100_000, 100_000) for whose in ("", "_per_domain", "_per_peer", "_of_contacts")
    },
}
"""So that one account may have as many sessions with one domain."""


class Crowd:
    """The orders of those who have many sessions."""

    def __init__(self) -> None:
        self._counted = 0
        self._all_counted = asyncio.Event()
        self._expected = 0
        self._openers: list[ClientXMPP] = []
        self._opener_of: dict[str, ClientXMPP] = {}

    async def join(self, port: int, domain: str, secret: str, store: str) -> dict[str, Any]:
        """Bring the component online, which accepts sessions for each of its addresses."""
        self._component = ComponentXMPP(domain, secret, HOST, port)
        add_e2e(self._component, store, **NO_LIMITS)
        self._component.add_event_handler("message", self._count)
        bound: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._component.add_event_handler("session_start", lambda _: bound.set_result(None), disposable=True)
        self._component.connect(HOST, port)
        async with asyncio.timeout(PATIENCE):
            await bound
        return {}

    async def leave(self) -> dict[str, Any]:
        """End the component's stream."""
        await log_out(self._component)
        return {}

    async def enter(self, port: int, jid: str, password: str, store: str) -> dict[str, Any]:
        """Bring one more online of those who open the sessions."""
        opener, _ = make("plaintext", jid, password, "", lambda *_: None)
        add_e2e(opener, store, **NO_LIMITS)
        opener.add_event_handler("presence", self._count)
        await log_in(opener, port)
        opener.send_presence()
        await opener.get_roster(timeout=PATIENCE)
        self._openers.append(opener)
        return {"jid": opener.boundjid.full}

    async def quit(self) -> dict[str, Any]:
        """End the streams of those who opened the sessions."""
        for opener in self._openers:
            await log_out(opener)
        return {}

    async def open(self, peers: list[str]) -> dict[str, Any]:
        """Open a session with each, by each opener in turn; return how many there are now."""
        slots = asyncio.Semaphore(AT_ONCE)
        for peer in peers:
            self._opener_of[peer] = self._openers[len(self._opener_of) % len(self._openers)]

        async def one(peer: str) -> None:
            async with slots:
                await (await plugin(self._opener_of[peer], "e2e").connect(peer)).wait_open()

        await asyncio.gather(*map(one, peers))
        return {"open": sum(len(plugin(opener, "e2e").sessions()) for opener in self._openers)}

    async def write_to(self, peers: list[str], times: int) -> dict[str, Any]:
        """Send a message to each, so many times, and wait until all are acknowledged."""
        for number in range(times):
            for peer in peers:
                self._opener_of[peer].send_message(mto=JID(peer), mbody=f"{number}", mtype="chat")
            await asyncio.sleep(0)
        for peer in peers:  # to flush all would look at every session
            await plugin(self._opener_of[peer], "e2e").flush(peer)
        return {}

    async def show(self, to: str, peers: list[str]) -> dict[str, Any]:
        """Send a presence of each of our addresses."""
        for peer in peers:
            self._component.send_presence(pfrom=JID(peer), pto=JID(to))
        return {}

    async def counted(self, count: int) -> dict[str, Any]:
        """Return once so many stanzas have come since the last time."""
        self._expected = count
        async with asyncio.timeout(PATIENCE):
            while self._counted < count:
                self._all_counted.clear()
                await self._all_counted.wait()
        came, self._counted = self._counted, 0
        return {"count": came}

    async def idle(self, seconds: float) -> dict[str, Any]:
        """Do nothing; return the CPU seconds for each second."""
        begin, cpu = time.monotonic(), time.process_time()
        await asyncio.sleep(seconds)
        return {"cpu": (time.process_time() - cpu) / (time.monotonic() - begin)}

    def _count(self, stanza: Any) -> None:
        if stanza["from"].bare == stanza["to"].bare:
            return  # the server shows us our own presence
        self._counted += 1
        if self._counted >= self._expected:
            self._all_counted.set()
