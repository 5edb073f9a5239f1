"""Attack 3: the fingerprint is swapped in one direction only."""

from __future__ import annotations

import pytest

from tests.attacks.edits import edits, ended_with, fingerprint_of, swap_fingerprint
from tests.pair import Pair, config, identity, message
from tests.slixmpp_e2e.world import BOB, Heard, World, e2e
from xmpp_e2e import events
from xmpp_e2e.errors import E2EError, FingerprintMismatch, LocalError, PeerRefused, TLSFailed
from xmpp_e2e.identity import Role
from xmpp_e2e.stages import Stage
from xmpp_loopback import hostile

FAST = pytest.mark.parametrize("fast", [True, False], ids=["flights", "no flights"])


@FAST
@pytest.mark.parametrize("role", Role)
def test_who_was_lied_to_refuses_before_any_inner_byte(role: Role, fast: bool) -> None:
    """The side that was told a wrong fingerprint ends with security-error; it says nothing inside and hears nothing."""
    pair = Pair(config("alice", fast_open=fast), on_jingle=edits(role, swap_fingerprint("mallory"))).open()
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


@FAST
@pytest.mark.parametrize("role", Role)
def test_a_relay_in_one_direction_gains_nothing(role: Role, fast: bool) -> None:
    """Mallory ends TLS on one side under her own key, but the genuine fingerprint got through: she is convicted."""
    name = "bob" if role is Role.RESPONDER else "alice"
    other = "alice" if name == "bob" else "bob"
    terms = {name: config(name, identity=identity("mallory"), fast_open=fast), other: config(other, fast_open=fast)}
    pair = Pair(**terms, on_jingle=edits(role, swap_fingerprint(name))).open()
    victim = pair.side(role.other)
    assert isinstance(victim.failure, FingerprintMismatch)
    assert not victim.of(events.Secured)
    assert not victim.stanzas


@FAST
@pytest.mark.parametrize(("action", "error"), [("session-initiate", E2EError), ("session-accept", FingerprintMismatch)])
async def test_a_client_is_lied_to(world: World, action: str, error: type[E2EError], fast: bool) -> None:
    """The server puts its own fingerprint into one half: the message fails, visibly, and no session was ever reported."""
    alice, bob = await world.pair(fast_open=fast)
    world.server.interfere.append(hostile.swap_fingerprint(fingerprint_of("mallory"), actions=[action]))
    failed, heard = Heard(alice, "e2e_send_failed"), Heard(bob, "message")
    started = [Heard(client, "e2e_session_start") for client in (alice, bob)]
    alice.send_message(mto=BOB, mbody="the treasure is under the oak", mtype="chat")
    report = await failed.take()
    assert isinstance(report.error, error)
    assert report.error.attack in str(report)
    await world.settle(alice, bob)
    assert len(heard) == 0
    assert not any(map(len, started))
    assert not e2e(alice).sessions()
    assert not e2e(bob).sessions()
    assert world.in_clear("treasure") == []
