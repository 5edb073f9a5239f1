"""Trust that is withdrawn while a session is being made: what the user has just refused must not open a moment later."""

from __future__ import annotations

import pytest

from slixmpp_e2e.alarms import explain
from tests.pair import Pair, config, message, remembers
from xmpp_e2e import events
from xmpp_e2e.errors import LocalError, UntrustedKey
from xmpp_e2e.states import State
from xmpp_e2e.types import Assurance, Role, TrustModel

UNTRUSTED = {"trust_model": TrustModel.SERVER_UNTRUSTED}
OTHER_KEY = remembers("mallory", Assurance.VERIFIED, "pin")
"""The user has pinned another key than the one that is shown."""


@pytest.mark.parametrize("role", Role)
def test_a_hold_after_our_done_ends_the_session(role: Role) -> None:
    """We had accepted the key and said so; the peer still waits for their user. Now our user pins another key: what was said
    cannot be taken back, so the session ends, and the peer's done opens nothing."""
    waiting = "bob" if role is Role.INITIATOR else "alice"
    pair = Pair(**{waiting: config(waiting, **UNTRUSTED)}).open()
    ours, theirs = pair.side(role), pair.side(role.other)
    assert ours.session.state is State.DONE_SENT
    ours.session.update_known_keys(OTHER_KEY, pair.now)
    pair.run()
    assert isinstance(ours.failure, UntrustedKey)
    assert "HAS CHANGED" in explain(ours.failure)
    with pytest.raises(LocalError):
        ours.session.send_stanza(message("secret"))
    name = "alice" if role is Role.INITIATOR else "bob"
    theirs.session.update_known_keys(remembers(name, Assurance.VERIFIED, "pin"), pair.now)
    pair.run()
    for side in (ours, theirs):
        assert not side.of(events.SessionOpened)
        assert not side.stanzas


def test_not_even_before_the_first_hello() -> None:
    """The same while our done and our first stanzas are on their way to a peer who has not said hello."""
    pair = Pair()
    tried: list[bool] = []

    def withdraw(role: Role, data: bytes) -> list[bytes]:
        if pair.alice.session.state is State.SENT_DONE_EARLY and not tried:
            tried.append(True)
            pair.alice.session.update_known_keys(OTHER_KEY, pair.now)
        return [data]

    pair.on_data = withdraw
    pair.open()
    assert tried
    assert isinstance(pair.alice.failure, UntrustedKey)
    assert not pair.alice.of(events.SessionOpened)
