"""Attack 53: many sessions of one peer, each of which holds as much of our memory as one may: stanzas that begin and never end,
what nobody takes, requests that are never answered."""

from __future__ import annotations

from collections import Counter
from xml.etree.ElementTree import Element

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e.alarms import reason_of
from slixmpp_e2e.errors import MemoryExceeded, NotSentReason
from slixmpp_e2e.messages.queue_limits import QUEUE_BYTES
from slixmpp_e2e.sessions import memory
from tests.attacks.impostors import Impostors
from tests.pair import identity, talk
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e
from xmpp_e2e.stream import MAX_STANZA
from xmpp_e2e.types import Role
from xmpp_loopback.mitm import NOW, MitmSide

MIB = 2**20
ACCOUNT = 4 * MIB
"""Bytes for one account, instead of 16 MiB."""
MALLORY = "mallory@evil.test"
UNFINISHED = b"<message>" + b"<a b=''/>" * 4000
"""36 kB on the wire, and 1.5 MB of memory."""


class Hostile(MitmSide):
    """A device that opens a session, and then does what it likes. It may take no block."""

    deaf = False

    def _reply(self, request: Element, kind: str) -> None:
        if not (self.deaf and request[0].tag.endswith("}data")):
            super()._reply(request, kind)

    def say(self, data: bytes) -> None:
        """Say this inside TLS."""
        talk(self.session).out._write(data)
        self.pump()


class Attacker(Impostors[Hostile]):
    """The server of the domain evil.test."""

    def __init__(self, env: Env, victim: ClientXMPP) -> None:
        super().__init__(env)
        self.victim = victim

    async def open(self, jid: str) -> Hostile:
        end = Hostile(self._env.server.inject, Role.INITIATOR, jid, ALICE, identity("mallory"))
        end.other = end
        self.ends[jid] = end
        end.session.offer(NOW)
        end.pump()
        for _ in range(3):
            await self._env.settle(self.victim)
        return end


def limit(monkeypatch: pytest.MonkeyPatch, account: int) -> None:
    monkeypatch.setattr(memory.MemoryBudget.__init__, "__defaults__", (account,))


async def victim(env: Env) -> ClientXMPP:
    """Alice, who has a session with a friend."""
    alice, bob = await env.client(ALICE, accept_from="anyone"), await env.client(BOB)
    env.befriend("alice@localhost", "bob@localhost")
    await env.settle(alice, bob)
    await env.session(alice, bob)
    return alice


async def unfinished(env: Env, attacker: Attacker, jids: list[str], data: bytes = UNFINISHED) -> int:
    """Each of these opens a session and begins a stanza in it. Return how much was held at most."""
    limits, most = e2e(attacker.victim)._client.memory, 0
    for jid in jids:
        end = await attacker.open(jid)
        end.say(data)
        for _ in range(4):
            await env.settle(attacker.victim)
            most = max(most, limits.used)
    return most


DEVICES = [f"{MALLORY}/{number}" for number in range(8)]


async def test_stanzas_that_never_end(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they hold in all stays within the share of their account: one session after the other ends, and the user hears why.
    A friend's session goes on."""
    limit(monkeypatch, ACCOUNT)
    alice = await victim(env)
    closed = Events(alice, "e2e_session_closed")
    most = await unfinished(env, Attacker(env, alice), DEVICES)
    assert ACCOUNT / 2 < most <= ACCOUNT + len(UNFINISHED)
    assert len(closed) >= len(DEVICES) - 3
    for _ in range(len(closed)):
        event = await closed.take()
        assert event.session.peer.startswith(MALLORY)
        assert isinstance(event.error, MemoryExceeded)
        assert "fill your memory" in str(event)
    assert BOB in [session.peer for session in e2e(alice).sessions()]


async def test_control_without_the_limit(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: as many sessions hold as many times what one may."""
    limit(monkeypatch, 2**40)
    assert await unfinished(env, Attacker(env, await victim(env)), DEVICES) > 2 * ACCOUNT


async def test_many_accounts(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """All strangers of a domain have one share, and its largest accounts give up: strangers of others lose nothing."""
    limit(monkeypatch, MIB)
    alice = await victim(env)
    attacker = Attacker(env, alice)
    quiet = await attacker.open("quiet@other.test/x")
    quiet.say(UNFINISHED[:6000])
    crowd = [f"user{number}@evil.test/x" for number in range(4 * memory.STRANGERS_PER_DOMAIN)]
    most = await unfinished(env, attacker, crowd, UNFINISHED[:20_000])
    assert most <= (memory.STRANGERS_PER_DOMAIN + 1) * MIB
    peers = Counter(session.peer.partition("@")[2].partition("/")[0] for session in e2e(alice).sessions())
    assert peers["other.test"] == peers["localhost"] == 1
    assert 0 < peers["evil.test"] < len(crowd)


async def test_answers_that_nobody_takes(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """What we write to devices that take nothing waits within the same share, then in the queue, and fails then: the sender is
    told. What is for a friend leaves as before."""
    limit(monkeypatch, ACCOUNT)
    alice = await victim(env)
    attacker, failed = Attacker(env, alice), Events(alice, "e2e_send_failed")
    ends = [await attacker.open(jid) for jid in DEVICES]
    for end in ends:
        end.deaf = True
    limits, most, sent = e2e(alice)._client.memory, 0, 0
    for _ in range(20):
        for end in ends:
            alice.send_message(mto=end.claimed, mbody="x" * (MAX_STANZA - 1000), mtype="chat")
            sent += 1
            most = max(most, limits.used)
    await env.settle(alice)
    assert max(most, limits.used) <= ACCOUNT / 2 + 2 * MAX_STANZA  # the last stanza, and once more in TLS records
    assert len(failed) > 0
    assert sent - len(failed) <= (ACCOUNT / 2 + QUEUE_BYTES) / (MAX_STANZA - 1000) + 2
    event = await failed.take()
    assert reason_of(event.error) is NotSentReason.QUEUE_FULL
    assert limits.has_room(next(driver for driver in e2e(alice)._client.registry if driver.peer == BOB))
