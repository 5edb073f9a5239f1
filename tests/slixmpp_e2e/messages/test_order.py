"""What had to seek another way stays before all that was sent later, and never leaves in plaintext."""

from __future__ import annotations

import pytest

from slixmpp_e2e.errors import NotSent, NotSentReason, PeerOffline, PeerWithoutE2E
from tests.slixmpp_e2e.env import turns
from tests.slixmpp_e2e.messages.fake_sessions import BARE, ONE, PLAINTEXT, TWO, FakeSessions, through
from xmpp_e2e.errors import BytestreamFailed, E2EError, PeerRefused, Timeout

SILENT, CUT, REFUSED = Timeout("they did not answer"), BytestreamFailed("cut"), PeerRefused("no")


@pytest.mark.parametrize("error", [SILENT, CUT])
async def test_what_seeks_a_route_again_goes_before_what_seeks_its_first(error: E2EError) -> None:
    fake = FakeSessions()
    fake.found[BARE] = through(ONE)
    await fake.say("0", "1")
    fake.routes.forget(BARE)
    fake.may_find.clear()
    await fake.say("2")
    fake.end(fake.offered[0], error)
    fake.may_find.set()
    await turns(20)
    fake.open(fake.offered[1])
    await turns(20)
    assert fake.offered[1].sent == ["0", "1", "2"]
    assert fake.is_empty()


@pytest.mark.parametrize("error", [SILENT, CUT, REFUSED])
async def test_what_comes_from_a_device_that_failed_goes_before_what_waits_for_another(error: E2EError) -> None:
    fake = FakeSessions()
    fake.found[BARE] = through(ONE)
    await fake.say("0")
    fake.found[BARE] = through(TWO)
    fake.routes.forget(BARE)
    await fake.say("1")
    one, two = fake.offered
    fake.end(one, error)
    await turns(20)
    fake.open(two)
    await turns(20)
    assert two.sent == ["0", "1"]
    assert fake.is_empty()


@pytest.mark.parametrize("error", [SILENT, CUT, REFUSED])
async def test_a_device_that_comes_gets_also_what_waits_for_one_that_says_nothing(error: E2EError) -> None:
    """Else it would get that after what was sent later, once the other has failed."""
    fake = FakeSessions()
    fake.found[BARE] = through(ONE)
    await fake.say("0")
    fake.found[BARE] = through(ONE, TWO)
    fake.routes.forget(BARE)
    fake.queue.on_presence(BARE)
    await turns(20)
    await fake.say("1")
    one, two = fake.offered
    fake.open(two)
    await turns(20)
    assert two.sent == ["0", "1"]
    fake.end(one, error)
    await turns(20)
    assert [(body, to) for body, to in fake.recorder.delivered] == [("0", [TWO]), ("1", [TWO])]
    assert fake.is_empty()


async def test_a_stream_that_is_lost_changes_no_order() -> None:
    """The first seeks a route again, while the second waits for a session."""
    fake = FakeSessions()
    fake.found[BARE] = through(ONE)
    await fake.say("0")
    fake.found[BARE] = through(TWO)
    fake.routes.forget(BARE)
    await fake.say("1")
    fake.may_find.clear()
    fake.end(fake.offered[0], REFUSED)
    assert [stanza["body"] for stanza in fake.queue.pause()] == ["0", "1"]


async def test_a_device_that_comes_back_without_encryption_gets_nothing_in_plaintext() -> None:
    """What is for it has waited for a session."""
    fake = FakeSessions()
    fake.queue._search._patience = 60.0
    fake.found[ONE] = through(ONE)
    await fake.say("0", to=ONE)
    fake.away, fake.found[ONE] = {ONE}, PeerOffline("they cannot be reached")
    fake.end(fake.offered[0], NotSent("they went offline", NotSentReason.SESSION_CLOSED))
    await turns(20)
    assert fake.recorder.failed == []
    fake.away, fake.found[ONE] = set(), PLAINTEXT
    fake.queue.on_presence(BARE)
    await turns(20)
    assert fake.recorder.plaintext == []
    [(body, error)] = fake.recorder.failed
    assert (body, type(error)) == ("0", PeerWithoutE2E)
