"""A stanza that came and that its host has dropped did not arrive: the peer sends it again in the next session."""

from __future__ import annotations

import pytest

from tests.pair import NOBODY, Pair, config, dice, message
from xmpp_e2e.errors import BytestreamFailed, LocalError
from xmpp_e2e.session import Session
from xmpp_e2e.types import Role


@pytest.mark.parametrize("dropped", [0, 1, 2])
def test_what_was_dropped_is_sent_again(dropped: int) -> None:
    pair = Pair().open()
    for body in ("one", "two"):
        pair.alice.session.send_stanza(message(body))
    pair.run()
    assert pair.bob.stanzas == ["one", "two"]
    for _ in range(dropped):
        pair.bob.session.uncount_stanza()
    for side in (pair.alice, pair.bob):
        side.session.bytestream_failed(BytestreamFailed("cut"), pair.now)
    again = Pair(config(random=dice("again")), after=pair).open()
    assert again.bob.stanzas == ["one", "two"][2 - dropped :]


def test_nothing_is_dropped_before_anything_has_come() -> None:
    with pytest.raises(LocalError):
        Session(Role.INITIATOR, config(), NOBODY).uncount_stanza()
