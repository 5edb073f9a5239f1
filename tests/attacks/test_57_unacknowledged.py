"""Attack 57: what we send is taken and never acknowledged, by a peer's program or by a server that swallows it."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element

import pytest
from slixmpp import Iq

from slixmpp_e2e.errors import PeerSilent
from slixmpp_e2e.sessions import ack_watch
from slixmpp_e2e.sessions.stall import STALL_PARTS, STALL_SECONDS
from tests.pair import BOB, message
from tests.slixmpp_e2e.env import Env, Events, block
from tests.slixmpp_e2e.sessions.test_driver import Harness
from xmpp_e2e.inner.stream_management import StreamManagement
from xmpp_e2e.stream import acks
from xmpp_e2e.transport.ibb import HIGH_WATER
from xmpp_loopback.stanzas import IQ

DAY = 24 * 60
"""Minutes."""


class Hoarder:
    """Bob's program takes everything, and acknowledges as many stanzas as the test says."""

    def __init__(self, harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
        self._harness = harness
        self._management = management = harness.bob.session._conversation.management  # type: ignore[union-attr]
        genuine = StreamManagement.acknowledge
        monkeypatch.setattr(StreamManagement, "acknowledge", lambda self: None if self is management else genuine(self))
        self.asked = 0
        """How many times Alice has asked."""
        monkeypatch.setitem(StreamManagement._ON_ELEMENT, acks.R, self._on_request)

    def _on_request(self, management: StreamManagement, element: Element, now: float) -> None:
        self.asked += management is self._management

    def acknowledge(self, count: int) -> None:
        self._management._context.out.element(acks.build_answer(count))
        self._harness.answer()
        self._harness.loop.pass_time(0)


@pytest.fixture
async def harness() -> Harness:
    return Harness()


async def test_who_acknowledges_nothing_is_asked_and_then_left(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = harness.open()
    bob = Hoarder(harness, monkeypatch)
    driver.send(message("did it arrive?"))
    harness.loop.pass_time(STALL_SECONDS - 1)
    assert bob.asked == 0
    harness.loop.pass_time(2)
    assert (bob.asked, driver.is_open) == (1, True)
    harness.loop.pass_time(STALL_SECONDS)
    assert isinstance(harness.failure, PeerSilent)
    assert BOB in str(harness.failure)
    assert len(driver.core.unacknowledged) == 1, "the next session sends it again"
    harness.assert_nothing_is_left()


async def test_a_program_that_goes_on_writing_does_not_keep_it(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = harness.open()
    Hoarder(harness, monkeypatch)
    assert write(harness, DAY) <= 5
    assert isinstance(harness.failure, PeerSilent)
    assert not driver.is_open


def write(harness: Harness, minutes: int, hoarder: Hoarder | None = None) -> int:
    """The program says ten words a minute; one is acknowledged. Return after how many minutes the session has ended."""
    for minute in range(minutes):
        for _ in range(10):
            harness.driver.send(message("x" * 100))
        harness.loop.pass_time(60)
        if not harness.driver.is_open:
            return minute
        if hoarder is not None:
            hoarder.acknowledge(minute + 1)
    return minutes


async def test_nor_does_a_word_now_and_then(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    harness.open()
    assert write(harness, DAY, Hoarder(harness, monkeypatch)) <= 10
    assert isinstance(harness.failure, PeerSilent)


async def test_control_one_word_was_enough(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: where any acknowledgement counts as progress, what waits grows for as long as the attacker likes."""
    monkeypatch.setattr(ack_watch, "STALL_PARTS", 2**40)
    harness.open()
    assert write(harness, 100, Hoarder(harness, monkeypatch)) == 100


async def test_who_is_slow_is_not_left(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their program takes a minute for each of ten stanzas, or needs to be asked."""
    driver = harness.open()
    bob = Hoarder(harness, monkeypatch)
    for _ in range(10):
        driver.send(message("a large task"))
    for count in range(10):
        harness.loop.pass_time(STALL_SECONDS - 1)
        bob.acknowledge(count + 1)
    assert (bob.asked, driver.is_open, driver.core.awaited) == (0, True, 0)
    driver.send(message("another one"))
    harness.loop.pass_time(2 * STALL_SECONDS - 1)
    assert (bob.asked, driver.is_open) == (1, True)
    bob.acknowledge(11)
    harness.loop.pass_time(10 * STALL_SECONDS)
    assert (bob.asked, driver.is_open) == (1, True)


async def test_nor_is_who_waits_for_our_own_bytes(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow path brings them block by block: the peer cannot acknowledge what it does not have."""
    driver = harness.open()
    Hoarder(harness, monkeypatch)
    harness.silent = True
    for _ in range(2):
        driver.send(message("x" * 250_000))
    for _ in range(8):
        harness.loop.pass_time(STALL_SECONDS - 1)
        for _ in range(len(harness.line.unanswered) // 2):
            harness.line.unanswered.pop(0)()
        harness.loop.pass_time(0)
        assert driver.is_open


class Flood:
    """Bob has much to say, for which his line is slow: so many blocks a minute come through, in order."""

    def __init__(self, harness: Harness, blocks: int) -> None:
        self._harness, self._blocks = harness, blocks
        self._held: list[Any] = []
        harness.answer = self._answer  # type: ignore[method-assign]

    def _answer(self) -> None:
        session, ibb = self._harness.bob.session, self._harness._ibb
        assert ibb is not None
        while session.next_event() is not None:
            pass
        while ibb.backlog < HIGH_WATER and (data := session.data_to_send()):
            ibb.send(data)
        self._held += ibb.stanzas_to_send()

    def pass_minutes(self, minutes: int, says: int = 0) -> int:
        """Return after how many the session has ended, or nothing has been unacknowledged any more."""
        driver, ibb = self._harness.driver, self._harness._ibb
        assert ibb is not None
        for minute in range(minutes):
            for _ in range(says):
                self._harness.bob.session.send_stanza(message("x" * 4000))
            self._answer()
            for _ in range(self._blocks):
                if self._held and driver.is_open:
                    tag, payload = self._held.pop(0)
                    driver.receive_ibb(Iq(), payload)
                    ibb.acknowledged(tag)
                    self._answer()
            self._harness.loop.pass_time(60)
            if not driver.is_open or not driver.core.awaited:
                return minute
        return minutes


async def test_nor_is_who_has_much_to_say_on_a_slow_line(harness: Harness) -> None:
    """Their acknowledgement stands behind what they have said before."""
    driver = harness.open()
    flood = Flood(harness, blocks=40)
    for _ in range(20):
        harness.bob.session.send_stanza(message("x" * 100_000))
    flood.pass_minutes(1)
    driver.send(message("did it arrive?"))
    assert 10 < flood.pass_minutes(30) < 30
    assert driver.is_open
    assert not driver.core.awaited


async def test_who_goes_on_talking_does_not_keep_it(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = harness.open()
    Hoarder(harness, monkeypatch)
    flood = Flood(harness, blocks=40)
    driver.send(message("did it arrive?"))
    assert flood.pass_minutes(DAY, says=40) <= (STALL_PARTS + 3) * STALL_SECONDS / 60
    assert isinstance(harness.failure, PeerSilent)


def swallow(env: Env, sender: str) -> list[Element]:
    """The server takes the blocks of a sender, and answers them for the peer."""
    taken: list[Element] = []

    def hook(stanza: Element, by: str) -> Any:
        if by != sender or not block(stanza, by):
            return stanza
        taken.append(stanza)
        peer = stanza.get("to", "")
        env.server.route(Element(IQ, {"type": "result", "id": stanza.get("id", ""), "from": peer, "to": sender}), peer)
        return None

    env.server.hooks.append(hook)
    return taken


async def test_what_a_server_swallows_comes_in_the_next_session(env: Env) -> None:
    alice, bob = await env.pair(stall_seconds=0.3)
    await env.session(alice, bob)
    await env.settle(alice, bob)
    heard, ended, delivered = Events(bob, "message"), Events(alice, "e2e_session_closed"), Events(alice, "e2e_delivered")
    failed = Events(alice, "e2e_send_failed")
    taken = swallow(env, alice.boundjid.full)
    for number in range(3):
        alice.send_message(mto=bob.boundjid.full, mbody=str(number), mtype="chat")
    error = (await ended.take()).error
    assert isinstance(error, PeerSilent)
    assert taken
    env.server.hooks.clear()
    assert await heard.bodies(3) == ["0", "1", "2"]
    assert [(await delivered.take()).stanza["body"] for _ in range(3)] == ["0", "1", "2"]
    assert (len(heard), len(failed)) == (0, 0)


@pytest.mark.parametrize("counts", [True, False])
async def test_who_never_acknowledges_has_the_senders_told(env: Env, monkeypatch: pytest.MonkeyPatch, counts: bool) -> None:
    """The next session asks what has come. If their program knows nothing of that either, it all goes once more, and fails."""
    alice, bob = await env.pair(alices={"stall_seconds": 0.2})
    await env.session(alice, bob)
    await env.settle(alice, bob)

    def unless_bobs(name: str) -> None:
        genuine = getattr(StreamManagement, name)

        def act(self: StreamManagement, *words: Any) -> None:
            if self._context.config.own_jid != bob.boundjid.full:
                genuine(self, *words)

        monkeypatch.setattr(StreamManagement, name, act)

    unless_bobs("acknowledge")
    if not counts:
        unless_bobs("count")
    failed, ended, delivered = (Events(alice, f"e2e_{each}") for each in ("send_failed", "session_closed", "delivered"))
    for number in range(3):
        alice.send_message(mto=bob.boundjid.full, mbody=str(number), mtype="chat")
    for number in range(3):
        told = await (delivered if counts else failed).take()
        assert told.stanza["body"] == str(number)
        assert counts or isinstance(told.error, PeerSilent)
    assert len(ended) == (1 if counts else 2)
    assert len(failed) == len(delivered) == 0
