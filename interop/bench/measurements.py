"""Measure plaintext slixmpp and the same program with end-to-end encryption in turn, on one server."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from interop.bench.client import WORD
from interop.bench.proxy import Proxy, quiet
from interop.bench.worker import WorkerProcess, WrongResult
from interop.servers.prosody import Prosody
from xmpp_loopback.stanza_log import Direction, StanzaLog

DOMAIN, PASSWORD, KINDS = "a.test", "wonderland", ("plaintext", "e2e")
CROWD_OF_ONE = 50
"""Sessions with one account, fewer than the limit of 64 per peer."""
OPEN_SERVER = """
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
tap_record = false
"""
"""No TLS to the server, so that the proxy can read, and no log of stanzas, which costs time."""
PROMPT_SERVER = f"{OPEN_SERVER}network_settings = {{ nagle = false }}\n"
"""No Nagle's algorithm. By default Prosody holds small writes back for up to 40 ms, until TCP acknowledges the one
before."""

Samples = Mapping[str, Mapping[str, list[float]]]
"""Row to kind to one number for each round."""


@dataclass(frozen=True)
class Row:
    """One measurement."""

    title: str
    unit: str
    digits: int = 0
    """Digits after the decimal point."""


ROWS: Mapping[str, Row] = {
    "opening": Row("first message to a new peer", "ms", 1),
    "opening_prompt": Row("the same, server without Nagle", "ms", 1),
    "again": Row("first message, keys known", "ms", 1),
    "again_prompt": Row("the same, server without Nagle", "ms", 1),
    "opening_far": Row("first message to a new peer, 50 ms a link", "ms"),
    "echo": Row("a message and its answer", "ms", 2),
    "echo_prompt": Row("the same, server without Nagle", "ms", 2),
    "rate": Row("one way, pipelined, bodies of 200 bytes", "messages/s"),
    "cpu_sender": Row("CPU of the sender, pipelined", "µs a message", 1),
    "cpu_receiver": Row("CPU of the receiver, pipelined", "µs a message", 1),
    "bytes_pipelined": Row("bytes that the sender writes, pipelined", "bytes a message"),
    "bytes_pipelined_all": Row("bytes of both clients, both ways, pipelined", "bytes a message"),
    "bytes_alone": Row("bytes that the sender writes, a message alone", "bytes a message"),
    "bytes_alone_all": Row("bytes of both clients, both ways, a message alone", "bytes a message"),
    "memory": Row("memory of an open session, one end", "KiB", 1),
    "cpu_opening": Row("CPU of an opening with a new peer, initiator", "ms", 2),
}


@dataclass(frozen=True)
class Sizes:
    """How often each measurement repeats in a round."""

    openings: int = 4
    far_openings: int = 2
    echoes: int = 100
    messages: int = 4000
    messages_by_proxy: int = 1000
    alone: int = 10
    warm_sessions: int = 20
    """Sessions to open before measuring memory and time: the first one costs more than all others."""
    sessions: int = 200
    far_seconds: float = 0.05
    """The delay in each direction, for each of the two links."""


FULL = Sizes()
QUICK = Sizes(openings=1, far_openings=1, echoes=5, messages=100, messages_by_proxy=50, alone=1, warm_sessions=1, sessions=3)
"""Everything once, to check that it works."""


@dataclass
class Pair:
    """Alice and Bob, each in a worker process, both with encryption or both without."""

    alice: WorkerProcess
    bob: WorkerProcess
    encrypted: bool
    folder: Path
    _logins: int = field(default=0)

    async def login(self, alices_port: int, bobs_port: int) -> None:
        """Bring both online, as new accounts without sessions."""
        self._logins += 1
        for name, worker, port in (("alice", self.alice, alices_port), ("bob", self.bob, bobs_port)):
            store = str(self.folder / f"{name}{self._logins}.db") if self.encrypted else None
            await worker("login", port=port, jid=jid(name), password=PASSWORD, store=store, echo=name == "bob")
        for worker in (self.alice, self.bob):
            await worker("settle")

    async def logout(self) -> None:
        """Log out both."""
        for worker in (self.alice, self.bob):
            await worker("logout")

    async def send(self, kind: str, count: int) -> float:
        """Let Alice send and Bob receive; return the seconds from the first to the last message."""
        start: float = (await self.alice("send", to=jid("bob"), kind=kind, count=count))["start"]
        last: float = (await self.bob("heard", kind=kind, count=count))["last"]
        return last - start


def jid(name: str) -> str:
    """Return the bare JID of an account."""
    return f"{name}@{DOMAIN}"


async def measure(rounds: int, sizes: Sizes, folder: Path) -> tuple[Samples, str]:
    """Return all samples, and the version of the server. ``folder`` is for stores. Raises `WrongResult`, `ClientFailed`."""
    samples: dict[str, dict[str, list[float]]] = {row: defaultdict(list) for row in ROWS}
    crowd = [f"crowd{number}" for number in range(-(-(sizes.sessions + sizes.warm_sessions) // CROWD_OF_ONE))]
    accounts = dict.fromkeys(("alice", "bob", *crowd), PASSWORD)
    async with (
        Prosody(DOMAIN, accounts, extra=OPEN_SERVER) as server,
        Prosody(DOMAIN, accounts, extra=PROMPT_SERVER) as prompt,
    ):
        for number in range(rounds):
            # New processes in each round, so that no round influences the next.
            async with WorkerProcess() as alice, WorkerProcess() as bob:
                for kind in KINDS:
                    place = folder / f"{number}-{kind}"
                    place.mkdir()
                    pair = Pair(alice, bob, kind == "e2e", place)
                    for row, value in (await _round(pair, server.port, prompt.port, sizes)).items():
                        samples[row][kind].append(value)
                    print(f"round {number + 1} of {rounds}: {kind}", file=sys.stderr)
                for row, value in (await _crowd(pair, prompt.port, sizes, crowd)).items():
                    samples[row]["e2e"].append(value)
        return samples, f"{server.name} {server.version}"


async def _round(pair: Pair, port: int, prompt: int, sizes: Sizes) -> dict[str, float]:
    values = {f"{row}_prompt": value for row, value in (await _lone(pair, prompt, sizes)).items()}
    await pair.logout()
    values |= await _lone(pair, port, sizes)
    values |= await _stream(pair, sizes)
    await pair.logout()
    return values | await _by_proxy(pair, port, sizes)


async def _lone(pair: Pair, port: int, sizes: Sizes) -> dict[str, float]:
    """Measure openings, each with new keys, and single messages. The last two clients stay online with a session."""
    first, again = [], []
    for number in range(sizes.openings):
        if number:
            await pair.logout()
        await pair.login(port, port)
        first.append(await pair.send("opening", 1))
        await pair.alice("close")
        again.append(await pair.send("again", 1))
    seconds = (await pair.alice("echoes", to=jid("bob"), count=sizes.echoes))["seconds"]
    await pair.bob("heard", kind="echo", count=sizes.echoes)
    return {"opening": 1000 * median(first), "again": 1000 * median(again), "echo": 1000 * median(seconds)}


async def _stream(pair: Pair, sizes: Sizes) -> dict[str, float]:
    """Measure throughput, without the proxy, which costs time."""
    await pair.send("warm", sizes.messages // 10)
    before = [await worker("cost") for worker in (pair.alice, pair.bob)]
    took = await pair.send("rate", sizes.messages)
    after = [await worker("cost") for worker in (pair.alice, pair.bob)]
    sender, receiver = (1e6 * (b["cpu"] - a["counted"]) / sizes.messages for a, b in zip(before, after, strict=True))
    return {"rate": sizes.messages / took, "cpu_sender": sender, "cpu_receiver": receiver}


async def _by_proxy(pair: Pair, port: int, sizes: Sizes) -> dict[str, float]:
    """Measure with delays, then count bytes without, and at last check whether the wire could be read."""
    far = []
    async with Proxy(port) as alice, Proxy(port) as bob:
        for number in range(sizes.far_openings):
            if number:
                await pair.logout()
            await pair.login(alice.port, bob.port)
            await quiet(alice, bob)
            alice.delay = bob.delay = sizes.far_seconds
            far.append(await pair.send("far", 1))
            await quiet(alice, bob)
            alice.delay = bob.delay = 0.0
        alone = await _bytes(pair, alice, bob, [("alone", 1)] * sizes.alone)
        pipelined = await _bytes(pair, alice, bob, [("pipelined", sizes.messages_by_proxy)])
        await pair.logout()
        check_wire(pair.encrypted, alice, bob)
    return {
        "opening_far": 1000 * median(far),
        "bytes_alone": alone[0],
        "bytes_alone_all": alone[1],
        "bytes_pipelined": pipelined[0],
        "bytes_pipelined_all": pipelined[1],
    }


async def _bytes(pair: Pair, alice: Proxy, bob: Proxy, said: list[tuple[str, int]]) -> tuple[float, float]:
    """Return the bytes for each message: those that Alice writes, and those that both write and read."""
    await quiet(alice, bob)
    sent, passed = len(alice.sent), len(alice) + len(bob)
    for kind, count in said:
        await pair.send(kind, count)
        await quiet(alice, bob)
    messages = sum(count for _, count in said)
    return (len(alice.sent) - sent) / messages, (len(alice) + len(bob) - passed) / messages


def check_wire(encrypted: bool, *proxies: Proxy) -> None:
    """Check that encrypted messages cannot be read on the wire, and that plaintext can: else we looked in the wrong
    place."""
    log = StanzaLog()
    for proxy in proxies:
        for passed in (proxy.sent, proxy.received):
            log.add(Direction.RECEIVED, "", passed.decode())
    read = bool(log.find_text(WORD))
    if read == encrypted:
        raise WrongResult("a message could be read on the wire" if read else "no message was seen on the wire at all")


async def _crowd(pair: Pair, port: int, sizes: Sizes, names: list[str]) -> dict[str, float]:
    """Measure Bob opening sessions with many clients in Alice's process."""
    bob, others, folder = pair.bob, pair.alice, pair.folder
    await bob("login", port=port, jid=jid("bob"), password=PASSWORD, store=str(folder / "bob.db"), echo=False)
    count = sizes.sessions + sizes.warm_sessions
    peers = [f"{jid(names[number // CROWD_OF_ONE])}/{number}" for number in range(count)]
    for name in names:
        mine = [peer for peer in peers if peer.startswith(f"{jid(name)}/")]
        await others("come", port=port, jids=mine, password=PASSWORD, store=str(folder / f"{name}.db"))
    await bob("open", peers=peers[: sizes.warm_sessions])
    before = await bob("cost")
    opened = (await bob("open", peers=peers[sizes.warm_sessions :]))["open"]
    after = await bob("cost")
    if opened != count:
        raise WrongResult(f"{opened} sessions are open, not {count}")
    await pair.logout()
    return {
        "memory": (after["rss"] - before["rss"]) / sizes.sessions / 1024,
        "cpu_opening": 1000 * (after["cpu"] - before["counted"]) / sizes.sessions,
    }
