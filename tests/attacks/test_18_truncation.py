"""Attack 18: the transport is cut in the middle of a stanza."""

from __future__ import annotations

import pytest

from slixmpp_e2e.alarms import explain
from tests.pair import Pair, message
from xmpp_e2e import events
from xmpp_e2e.errors import UncleanClose
from xmpp_e2e.states import State
from xmpp_e2e.tls.connection import RECORD_BYTES
from xmpp_e2e.types import Role

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
    (end,) = pair.bob.of(events.SessionClosed)
    assert not end.clean
    assert isinstance(end.error, UncleanClose)
    assert "A server can cut a session at any time; what was sent last may not have arrived." in explain(end.error)
    assert "may have been lost" in explain(end.error)
    assert pair.bob.session.state is State.CLOSED


@pytest.mark.parametrize("role", Role)
def test_a_cut_at_a_stanza_boundary_is_no_end(role: Role) -> None:
    """Everything that was said arrived, and yet the end is unexpected: nobody inside said that it was all."""
    pair = Pair().open()
    pair.side(role.other).session.send_stanza(message("whole"))
    pair.run().end_transport(role)
    side = pair.side(role)
    assert side.stanzas == ["whole"]
    assert isinstance(side.failure, UncleanClose)


@pytest.mark.parametrize("role", Role)
def test_a_farewell_without_its_tls_end_is_no_end(role: Role) -> None:
    """The inner </stream:stream> arrives, the close_notify behind it is cut off: unexpected, too."""
    pair = Pair().open()
    pair.on_data = lambda sender, data: [data[:-24]] if sender is role.other and len(data) > 24 else []
    pair.side(role.other).session.close(pair.now)
    pair.run().end_transport(role)
    assert isinstance(pair.side(role).failure, UncleanClose)


def test_control_a_farewell_is_clean() -> None:
    """Control: with all of its bytes the same end is clean."""
    pair = Pair().open()
    pair.alice.session.close(pair.now)
    pair.run()
    assert [end.clean for end in pair.bob.of(events.SessionClosed)] == [True]
