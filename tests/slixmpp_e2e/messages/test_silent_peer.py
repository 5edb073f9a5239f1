"""A peer's program says nothing for a while: it is suspended, or cut off. What waits for it is tried again within its time."""

from __future__ import annotations

import pytest

from slixmpp_e2e.messages.queued import QueuedStanza
from slixmpp_e2e.sessions.pacing import FIRST_BACKOFF, LAST_BACKOFF
from tests.slixmpp_e2e.env import BOB, Env, Events, jingle, turns
from tests.slixmpp_e2e.messages.fake_sessions import BARE, ONE, TWO, FakeSessions, through
from xmpp_e2e.errors import BytestreamFailed, E2EError, Timeout

SILENT, CUT = Timeout("they did not answer"), BytestreamFailed("item-not-found")
HOLD = 300.0


async def silence(fake: FakeSessions, error: E2EError = SILENT) -> None:
    """The last offer meets no answer for a minute, and it is tried again as soon as it may be."""
    fake.loop.advance(60)
    fake.end(fake.offered[-1], error)
    await turns(20)
    fake.loop.advance(LAST_BACKOFF)
    await turns(20)


@pytest.mark.parametrize("to", [BARE, ONE])
@pytest.mark.parametrize("error", [SILENT, CUT])
async def test_a_client_that_is_suspended_gets_it_when_it_wakes_up(to: str, error: E2EError) -> None:
    fake = FakeSessions()
    fake.found = {BARE: through(ONE), ONE: through(ONE)}
    await fake.say("0", "1", to=to)
    await silence(fake, error)
    await fake.say("2", to=to)
    assert (fake.recorder.failed, len(fake.offered)) == ([], 2)
    fake.open(fake.offered[1])
    await turns(20)
    assert fake.offered[1].sent == ["0", "1", "2"]
    assert (len(fake.recorder.delivered), fake.recorder.failed) == (3, [])
    assert fake.is_empty()


@pytest.mark.parametrize("to", [BARE, ONE])
async def test_who_never_wakes_up_is_told_of_within_the_time(to: str) -> None:
    """With what was wrong last."""
    fake = FakeSessions()
    fake.found = {BARE: through(ONE), ONE: through(ONE)}
    await fake.say("0", to=to)
    while fake.loop.time() + 60 + LAST_BACKOFF < HOLD:
        await silence(fake)
        assert fake.recorder.failed == []
    assert 3 <= len(fake.offered) <= 6
    fake.loop.advance(HOLD)
    await turns(20)
    assert fake.recorder.failed == [("0", SILENT)]
    fake.end(fake.offered[-1], SILENT)
    await turns(20)
    assert fake.is_empty()


async def test_another_device_that_has_come_gets_it() -> None:
    fake = FakeSessions()
    fake.found[BARE] = through(ONE)
    await fake.say("0")
    fake.found[BARE] = through(ONE, TWO)
    await silence(fake)
    assert [driver.peer for driver in fake.offered] == [ONE, TWO]
    fake.open(fake.offered[1])
    await turns(20)
    assert fake.recorder.delivered == [("0", [TWO])]
    assert fake.is_empty()


async def test_all_devices_may_be_suspended() -> None:
    fake = FakeSessions()
    fake.found[BARE] = through(ONE, TWO)
    await fake.say("0")
    for driver in tuple(fake.offered):
        fake.end(driver, SILENT)
        await turns(20)
    fake.loop.advance(2 * FIRST_BACKOFF)
    await turns(20)
    assert sorted(driver.peer for driver in fake.offered[2:]) == [ONE, TWO]
    for driver in fake.offered[2:]:
        fake.open(driver)
    await turns(20)
    [(body, devices)] = fake.recorder.delivered
    assert (body, sorted(devices)) == ("0", [ONE, TWO])
    assert fake.is_empty()


async def test_what_may_leave_in_plaintext_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeSessions()
    fake.found[BARE] = through(ONE)
    left: list[QueuedStanza] = []
    object.__setattr__(fake.queue._senders, "may_fall_back", lambda item: True)
    object.__setattr__(fake.queue._senders, "fall_back", lambda item, error: left.append(item))
    await fake.say("0")
    fake.end(fake.offered[0], SILENT)
    await turns(20)
    assert (len(left), len(fake.offered)) == (1, 1)
    assert fake.is_empty()


async def test_a_real_one(env: Env) -> None:
    alice, bob = await env.pair(step_seconds=0.3)
    heard, failed, told = Events(bob, "message"), Events(alice, "e2e_send_failed"), Events(alice, "e2e_session_failed")
    env.server.hooks.append(swallow := lambda stanza, sender: None if jingle("session-initiate")(stanza, sender) else stanza)
    for number in range(3):
        alice.send_message(mto=BOB, mbody=str(number), mtype="chat")
    for _ in range(2):
        assert isinstance((await told.take()).error, Timeout)
    env.server.hooks.remove(swallow)
    assert await heard.bodies(3) == ["0", "1", "2"]
    assert len(failed) == 0
    assert env.in_clear("attack") == []
