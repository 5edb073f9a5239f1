"""Alice and Bob, each in a process of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from interop.bench.client import BODY_BYTES
from interop.bench.kinds import KINDS
from interop.bench.worker import WorkerProcess, WrongResult

DOMAIN, PASSWORD = "a.test", "wonderland"


@dataclass
class Ground:
    """A running server."""

    port: int
    software: str
    component_port: int
    unused: Iterator[int] = field(default_factory=lambda: count(1))
    """Numbers of accounts that nobody has used. OMEMO needs a pair for each identity, since an account collects devices."""
    slow: bool = False
    """It limits the rate: fewer messages are sent."""


@dataclass
class Pair:
    """Two clients of one kind."""

    alice: WorkerProcess
    bob: WorkerProcess
    kind: str
    folder: Path
    _logins: Iterator[int] = field(default_factory=count)
    _to: str = ""

    @asynccontextmanager
    async def online(self, ground: Ground, ports: tuple[int, int] | None = None) -> AsyncIterator[None]:
        """Bring both online with new keys, through ``ports`` if they are not the server's."""
        login = next(self._logins)
        number = next(ground.unused) if KINDS[self.kind].omemo else 0
        for (name, worker), port in zip(self._workers, ports or (ground.port, ground.port), strict=True):
            answer = await worker(
                "login",
                kind=self.kind,
                port=port,
                jid=jid(name, number),
                password=PASSWORD,
                store=str(self.folder / f"{self.kind}-{name}{login}.db"),
                answers=worker is self.bob,
            )
        self._bobs = str(answer["jid"])
        self._to = jid("bob", number)
        for worker, peer in ((self.alice, "bob"), (self.bob, "alice"), (self.alice, "bob")):
            await worker("settle", peer=jid(peer, number))
        yield
        for _, worker in self._workers:
            await worker("logout")

    async def send(self, kind: str, messages: int, size: int = BODY_BYTES, direct: bool = False) -> float | None:
        """Let Alice send and Bob receive; return the seconds from the first to the last message. None if this kind of
        sending does not exist."""
        order = {"to": self._to, "kind": kind, "count": messages, "size": size, "direct": direct}
        sent = await self.alice("send", **order)
        if "absent" in sent:
            return None
        last: float = (await self.bob("heard", kind=kind, count=messages, size=size))["last"]
        return last - float(sent["start"])

    async def first(self, kind: str) -> float:
        """Return the seconds that a single message takes."""
        took = await self.send(kind, 1)
        assert took is not None
        return took

    async def ask(self, kind: str, messages: int) -> list[float]:
        """Let Alice ask and Bob answer, one by one; return the seconds of each."""
        seconds: list[float] = (await self.alice("ask", to=self._to, kind=kind, count=messages))["seconds"]
        await self.bob("heard", kind=kind, count=messages)
        return seconds

    async def send_bytes(self, size: int) -> float:
        """Let Alice send bytes by slixmpp's own IBB; return the seconds."""
        await self.bob("expect_bytes")
        sent = await self.alice("send_bytes", to=self._bobs, size=size)
        if (await self.bob("received_bytes"))["hash"] != sent["hash"]:
            raise WrongResult("other bytes came by IBB than were sent")
        return float(sent["last"]) - float(sent["start"])

    async def costs(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what both processes have used so far."""
        return await self.alice("cost"), await self.bob("cost")

    @property
    def _workers(self) -> tuple[tuple[str, WorkerProcess], tuple[str, WorkerProcess]]:
        return ("alice", self.alice), ("bob", self.bob)


def jid(name: str, number: int = 0) -> str:
    """Return the bare JID of an account."""
    return f"{account(name, number)}@{DOMAIN}"


def account(name: str, number: int = 0) -> str:
    """Return the name of an account."""
    return f"{name}{number or ''}"
