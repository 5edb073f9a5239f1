"""Attack 52: a peer who answers a block now and then, so that whatever waits for them stays in our memory."""

from __future__ import annotations

import pytest

from slixmpp_e2e.sessions import stall
from slixmpp_e2e.sessions.stall import STALL_SECONDS
from tests.pair import message
from tests.slixmpp_e2e.sessions.test_driver import Clock, Harness, Line
from xmpp_e2e.errors import BytestreamFailed

HOUR = 60
"""Minutes."""


def trickle(victim: Harness, minutes: int, other: Harness | None = None) -> int:
    """The program goes on writing; the peer answers a block a minute. Return after how many minutes the session has ended."""
    victim.open()
    victim.silent = True
    for minute in range(minutes):
        victim.driver.send(message("x" * 20_000))
        if other is not None:
            other.driver.send(message("hello"))
        victim.loop.pass_time(STALL_SECONDS - 1)
        if not victim.driver.is_open:
            return minute
        victim.line.unanswered.pop(0)()
        victim.loop.pass_time(0)
    return minutes


async def test_a_growing_queue_is_not_kept_alive() -> None:
    victim = Harness()
    assert trickle(victim, HOUR) <= 8
    assert isinstance(victim.failure, BytestreamFailed)
    assert "bytes that waited" in str(victim.failure)


async def test_nor_while_others_are_answered() -> None:
    """Others who get through show that it is not our own stream that is slow."""
    clock, line = Clock(), Line()
    victim, other = Harness(clock, line), Harness(clock, line)
    other.open()
    assert trickle(victim, HOUR, other) <= 8
    assert other.driver.is_open


async def test_nor_by_a_second_session_that_trickles() -> None:
    """Two sessions of one attacker, which answer a block a minute each, are no excuse for each other."""
    clock, line = Clock(), Line()
    both = [Harness(clock, line) for _ in range(2)]
    for each in both:
        each.open()
        each.silent = True
    for _ in range(HOUR):
        for each in both:
            if each.driver.is_open:
                each.driver.send(message("x" * 20_000))
        for _ in both:
            clock.pass_time((STALL_SECONDS - 1) / 2)
            if line.unanswered:
                line.unanswered.pop(0)()
            clock.pass_time(0)
    assert not any(each.driver.is_open for each in both)


async def test_control_one_block_was_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: where any answer counts as progress, the session lives for as long as the attacker likes."""
    monkeypatch.setattr(stall, "STALL_PARTS", 2**40)
    victim = Harness()
    assert trickle(victim, HOUR) == HOUR
    assert victim.driver.is_open
