"""Attack 18: the transport is cut in the middle of a stanza."""

from __future__ import annotations

import pytest

from tests.pair import Pair, message
from xmpp_e2e import events
from xmpp_e2e.errors import Truncated
from xmpp_e2e.identity import Role
from xmpp_e2e.stages import Stage
from xmpp_e2e.tls.channel import RECORD_BYTES

BIG = "x" * 60_000


def cut_after(pair: Pair, count: int) -> Pair:
    """Alice says two things; of the bytes of both, ``count`` reach Bob, and then the end."""
    passed = 0

    def cut(role: Role, data: bytes) -> list[bytes]:
        nonlocal passed
        if role is Role.RESPONDER:
            return [data]
        kept = data[: max(0, count - passed)]
        passed += len(data)
        return [kept] if kept else []

    pair.on_data = cut
    pair.alice.session.send_stanza(message("whole"))
    pair.run()
    pair.alice.session.send_stanza(message(BIG))
    pair.run()
    return pair.end_transport(Role.RESPONDER)


@pytest.mark.parametrize("count", [1, 200, RECORD_BYTES, RECORD_BYTES + 200, 3 * RECORD_BYTES, 50_000])
def test_nothing_partial_is_delivered(count: int) -> None:
    """Wherever the cut is, in a record or between two, what is delivered is whole, and the end is reported as unexpected."""
    pair = cut_after(Pair().open(), count)
    assert pair.bob.stanzas in ([], ["whole"])
    (end,) = pair.bob.of(events.SessionEnd)
    assert not end.clean
    assert isinstance(end.error, Truncated)
    assert "A server can cut a session at any time; what was sent last may not have arrived." in end.error.explain()
    assert "may have been lost" in end.error.explain()
    assert pair.bob.session.stage is Stage.CLOSED


@pytest.mark.parametrize("role", Role)
def test_a_cut_at_a_stanza_boundary_is_no_end(role: Role) -> None:
    """Everything that was said arrived, and yet the end is unexpected: nobody inside said that it was all."""
    pair = Pair().open()
    pair.side(role.other).session.send_stanza(message("whole"))
    pair.run().end_transport(role)
    side = pair.side(role)
    assert side.stanzas == ["whole"]
    assert isinstance(side.failure, Truncated)


@pytest.mark.parametrize("role", Role)
def test_a_farewell_without_its_tls_end_is_no_end(role: Role) -> None:
    """The inner </stream:stream> arrives, the close_notify behind it is cut off: unexpected, too."""
    pair = Pair().open()
    pair.on_data = lambda sender, data: [data[:-24]] if sender is role.other and len(data) > 24 else []
    pair.side(role.other).session.close(pair.now)
    pair.run().end_transport(role)
    assert isinstance(pair.side(role).failure, Truncated)


def test_control_a_farewell_is_clean() -> None:
    """Control: with all of its bytes the same end is clean."""
    pair = Pair().open()
    pair.alice.session.close(pair.now)
    pair.run()
    assert [end.clean for end in pair.bob.of(events.SessionEnd)] == [True]
