"""Attack 3: the fingerprint is swapped in one direction only."""

from __future__ import annotations

import pytest

from tests.attacks.edits import edits, ended_with, swap_fingerprint
from tests.pair import Pair, config, identity, message
from xmpp_e2e import events
from xmpp_e2e.errors import FingerprintMismatch, LocalError, PeerRefused, TLSFailed
from xmpp_e2e.identity import Role
from xmpp_e2e.stages import Stage


@pytest.mark.parametrize("role", Role)
def test_who_was_lied_to_refuses_before_any_inner_byte(role: Role) -> None:
    """The side that was told a wrong fingerprint ends with security-error; it says nothing inside and hears nothing."""
    pair = Pair(on_jingle=edits(role, swap_fingerprint("mallory"))).open()
    deceived, other = pair.side(role.other), pair.side(role)
    assert isinstance(deceived.failure, FingerprintMismatch)
    assert "swapped the fingerprint" in deceived.failure.explain()
    assert ended_with(deceived.jingle_sent) == ["security-error"]
    assert not deceived.of(events.Secured)
    for side in (deceived, other):
        assert side.session.stage is Stage.CLOSED
        assert not side.of(events.SessionStart)
        assert not side.stanzas
        with pytest.raises(LocalError):
            side.session.send_stanza(message("secret"))
    assert isinstance(other.failure, TLSFailed | PeerRefused)


@pytest.mark.parametrize("role", Role)
def test_a_relay_in_one_direction_gains_nothing(role: Role) -> None:
    """Mallory ends TLS on one side under her own key, but the genuine fingerprint got through: she is convicted."""
    name = "bob" if role is Role.RESPONDER else "alice"
    mallory = {name: config(name, identity=identity("mallory"))}
    pair = Pair(**mallory, on_jingle=edits(role, swap_fingerprint(name))).open()
    victim = pair.side(role.other)
    assert isinstance(victim.failure, FingerprintMismatch)
    assert not victim.of(events.Secured)
    assert not victim.stanzas
