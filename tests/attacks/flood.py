"""A flood of offers, a thousand a second, at a client that keeps talking. ``make flood`` runs it for a minute.

    python -m tests.attacks.flood 60
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import logging
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from slixmpp import ClientXMPP, Message

from tests.slixmpp_e2e.env import ACCOUNTS, ALICE, BOB, SID, Env, Events, an_offer, e2e, until
from xmpp_e2e.negotiate.jingle import MAX_FLIGHT, NS_JINGLE, NS_SECURITY
from xmpp_loopback import LoopbackServer

CAROL = "carol@localhost/c"
OUTSTANDING = 500
"""Maximum number of offers without an answer. A real server's connection would fill up, too."""
RATE = 1000.0
"""Offers per second."""
ROUND = 50
"""Offers between two messages of the honest clients."""
_TURN = 0.01


def _with_flight(offer: str, data: bytes) -> str:
    """Return the offer with other bytes of TLS."""
    head, begin, rest = offer.partition("<flight>")
    return head + begin + base64.b64encode(data).decode() + rest[rest.index("</flight>") :]


@dataclass
class Flood:
    """Offers of every kind in turn. Their senders never go on."""

    env: Env
    offer: str
    sent: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    most: Counter[str] = field(default_factory=Counter)
    """The highest counts seen at the victim."""

    def __post_init__(self) -> None:
        self._done, self._awaited = asyncio.Event(), -1
        self.env.server.hooks.append(self._swallow)
        stripped = self.offer.replace(NS_SECURITY, "urn:x-nothing")
        self._kinds: list[Callable[[int], tuple[str, str, str]]] = [
            lambda n: (f"user@evil.test/{n}", f"{n:032x}", self.offer),
            lambda n: (f"user{n}@evil.test/x", f"{n:032x}", self.offer),
            lambda n: (f"user{n}@evil{n % 50}.test/x", f"{n:032x}", self.offer),
            lambda n: (f"user{n}@worse.test/x", f"{n:032x}", _with_flight(self.offer, b"\x16\x03\x01" * 5000)),
            lambda n: (f"user{n % 7}@same.test/x", "0" * 32, self.offer),
            lambda n: (f"user{n}@large.test/x", f"{n:032x}", _with_flight(self.offer, bytes(MAX_FLIGHT + 1))),
            lambda n: (f"user{n}@bare.test/x", f"{n:032x}", stripped),
            lambda n: (f"user{n}@torn.test/x", f"{n:032x}", f"<jingle xmlns='{NS_JINGLE}' action='session-initiate'/>"),
            lambda n: (f"bob@localhost/{n}", f"{n:032x}", self.offer),
        ]

    def _swallow(self, stanza: Element, sender: str) -> Element | None:
        """Count what the victim sends to them, and drop it."""
        to = stanza.get("to", "")
        if sender != ALICE or not (".test/" in to or to.removeprefix("bob@localhost/").isdecimal()):
            return stanza
        if (stanza.get("id") or "").startswith("flood"):
            error = stanza.find("{jabber:client}error")
            self.answers["result" if error is None else error[0].tag.rpartition("}")[2]] += 1
            if self.answered == self._awaited:
                self._done.set()
        elif stanza.get("type") == "set":
            self.answers["request"] += 1  # an accept or a terminate, which nobody answers
        return None

    @property
    def answered(self) -> int:
        """Return the number of offers that got an answer."""
        return self.answers.total() - self.answers["request"]

    async def all_answered(self, count: int) -> None:
        """Wait until this many offers have got their answer."""
        self._awaited = count
        if self.answered < count:
            await self._done.wait()

    def send(self) -> None:
        """Send one more offer."""
        sender, sid, offer = self._kinds[self.sent % len(self._kinds)](self.sent)
        iq = f"<iq type='set' id='flood{self.sent}' from='{sender}' to='{ALICE}'>{offer.replace(SID, sid)}</iq>"
        self.env.server.inject(ALICE, iq)
        self.sent += 1

    def look(self, victim: ClientXMPP) -> None:
        """How much is kept at the victim now?"""
        client = e2e(victim)._client
        sessions = client.registry
        seen = {
            "half-open": client.limits.half_open,
            "sessions": len(list(sessions)),
            "requests": len(client._channel._pending),
            "to write": len(client._channel.writer._iqs),
            "timers": len(getattr(client._loop(), "_scheduled", ())),
        }
        for domain in ("evil.test", "worse.test", "localhost"):
            here = (link for link in sessions if link.peer.partition("/")[0].endswith(f"@{domain}") and not link.is_open)
            seen[domain] = sum(1 for _ in here)
        for name, count in seen.items():
            self.most[name] = max(self.most[name], count)


class Inbox:
    """Notes of the messages that a client got. It keeps no stanzas, which would count as memory that the flood takes."""

    def __init__(self, client: ClientXMPP) -> None:
        self.queue: asyncio.Queue[tuple[str, str, bool]] = asyncio.Queue()
        client.add_event_handler("message", self._hear)

    def __len__(self) -> int:
        return self.queue.qsize()

    def _hear(self, message: Message) -> None:
        self.queue.put_nowait((str(message["from"]), message["body"], message["e2e"]["session"] is not None))


@dataclass
class Honest:
    """Two clients that talk with the victim and with each other."""

    victim: ClientXMPP
    bob: ClientXMPP
    carol: ClientXMPP
    said: int = 0

    def __post_init__(self) -> None:
        self._ways = [(self.bob, ALICE), (self.victim, BOB), (self.bob, CAROL), (self.carol, BOB)]
        self.heard = {client: Inbox(client) for client in (self.victim, self.bob, self.carol)}
        self.failed = [Events(client, "e2e_send_failed") for client in self.heard]

    def speak(self) -> None:
        """Send the next word on each way."""
        for client, to in self._ways:
            client.send_message(mto=to, mbody=f"word {self.said}")
        self.said += 1

    async def all_heard(self) -> bool:
        """Check that every word arrived encrypted and in order; return whether nothing failed."""
        for client, speakers in ((self.victim, 1), (self.bob, 2), (self.carol, 1)):
            words: dict[str, list[str]] = {}
            for _ in range(self.said * speakers):
                sender, word, encrypted = await until(self.heard[client].queue.get())
                assert encrypted
                words.setdefault(sender, []).append(word)
            assert list(words.values()) == [[f"word {number}" for number in range(self.said)]] * speakers
        return not any(map(len, self.failed))


def resident() -> int:
    """Return the resident memory of this process, with the server, in bytes (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


async def flood(env: Env, count: int, *, paced: bool, **settings: Any) -> tuple[Flood, Honest, list[int]]:
    """Run ``count`` offers: a thousand a second if ``paced``, otherwise as fast as possible with a clock that pretends this
    rate.

    In the middle Carol opens a first session with the victim. Return the memory in use at each tenth.
    """
    alice = await env.client(ALICE, accept_from="anyone", **settings)
    bob, carol = await env.client(BOB, accept_from="anyone"), await env.client(CAROL, accept_from="anyone")
    attack = Flood(env, await an_offer(env))
    await env.settle(alice, bob, carol)
    honest = Honest(alice, bob, carol)
    await env.session(bob, alice)
    await env.session(carol, bob)
    env.server.stanza_log.enabled = False
    memory, loop, latecomer = [resident()], asyncio.get_running_loop(), True
    began = loop.time()
    if not paced:
        e2e(alice)._client._admission._clock = lambda: began + attack.sent / RATE
    for number in itertools.count(1):
        on_time = int((loop.time() - began) * RATE) if paced else count
        due = min(count, on_time, attack.answered + OUTSTANDING, attack.sent + ROUND)
        while attack.sent < due:
            attack.send()
        attack.look(alice)
        if attack.sent >= honest.said * ROUND:
            honest.speak()
        if attack.sent >= len(memory) * count / 10:
            memory.append(resident())
        if latecomer and attack.sent > count / 2:
            await until((await e2e(carol).connect(ALICE)).wait_open())
            latecomer = False
        if attack.sent == count:
            break
        await asyncio.sleep(_TURN if paced and number % 2 else 0)
    await until(attack.all_answered(count))
    attack.most["seconds"] = round(loop.time() - began)
    return attack, honest, memory


async def main(seconds: float) -> None:
    """Run the flood and print the result."""
    logging.basicConfig(level=logging.CRITICAL)  # clients warn of what is done to them
    with tempfile.TemporaryDirectory() as folder:
        async with LoopbackServer(accounts=ACCOUNTS) as server:
            env = Env(server, Path(folder))
            attack, honest, memory = await flood(env, round(RATE * seconds), paced=True)
            complete = await honest.all_heard()
            await env.end()
    took = attack.most.pop("seconds")
    print(f"{attack.sent} offers in {took} s: {attack.sent / max(took, 1):.0f} a second, each answered: {dict(attack.answers)}")
    print(f"at most at the victim: {dict(attack.most)}")
    print(f"{honest.said} words each way between the honest ones, all heard: {complete}")
    print("memory of the process, MB, at each tenth:", *(round(size / 2**20) for size in memory))


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))
