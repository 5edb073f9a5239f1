"""Attack 3: the fingerprint is swapped in one direction only."""

from __future__ import annotations

import pytest

from slixmpp_e2e.alarms import explain, words
from tests.attacks.signalling_edits import edit_signalling, fingerprint_of, swap_fingerprint, terminate_reasons
from tests.pair import Pair, config, has_code, identity, message
from tests.slixmpp_e2e.env import BOB, Env, Events, e2e
from xmpp_e2e import events
from xmpp_e2e.errors import Code, LocalError, PeerRefused, TLSFailed
from xmpp_e2e.states import State
from xmpp_e2e.types import Role
from xmpp_loopback import hostile

FAST = pytest.mark.parametrize("fast", [True, False], ids=["flights", "no flights"])


@FAST
@pytest.mark.parametrize("role", Role)
def test_who_was_lied_to_refuses_before_any_inner_byte(role: Role, fast: bool) -> None:
    """The side that was told a wrong fingerprint ends with security-error; it says nothing inside and hears nothing."""
    pair = Pair(config("alice", fast_open=fast), on_jingle=edit_signalling(role, swap_fingerprint("mallory"))).open()
    deceived, other = pair.side(role.other), pair.side(role)
    assert has_code(Code.FINGERPRINT_MISMATCH)(deceived.failure)
    assert "swapped the fingerprint" in explain(deceived.failure)
    assert terminate_reasons(deceived.jingle_sent) == ["security-error"]
    assert not deceived.of(events.TLSEstablished)
    for side in (deceived, other):
        assert side.session.state is State.CLOSED
        assert not side.of(events.SessionOpened)
        assert not side.stanzas
        with pytest.raises(LocalError):
            side.session.send_stanza(message("secret"))
    assert isinstance(other.failure, TLSFailed | PeerRefused)


@FAST
@pytest.mark.parametrize("role", Role)
def test_a_relay_in_one_direction_gains_nothing(role: Role, fast: bool) -> None:
    """Mallory ends TLS on one side under their own key, but the genuine fingerprint got through, which convicts them."""
    name = "bob" if role is Role.RESPONDER else "alice"
    other = "alice" if name == "bob" else "bob"
    terms = {name: config(name, own_key=identity("mallory"), fast_open=fast), other: config(other, fast_open=fast)}
    pair = Pair(**terms, on_jingle=edit_signalling(role, swap_fingerprint(name))).open()
    victim = pair.side(role.other)
    assert has_code(Code.FINGERPRINT_MISMATCH)(victim.failure)
    assert not victim.of(events.TLSEstablished)
    assert not victim.stanzas


@FAST
@pytest.mark.parametrize(("action", "code"), [("session-initiate", None), ("session-accept", Code.FINGERPRINT_MISMATCH)])
async def test_a_client_is_lied_to(env: Env, action: str, code: Code | None, fast: bool) -> None:
    """The server puts its own fingerprint into one half: the message fails, visibly, and no session was ever reported."""
    alice, bob = await env.pair(fast_open=fast)
    env.server.hooks.append(hostile.swap_fingerprint(fingerprint_of("mallory"), actions=[action]))
    failed, heard = Events(alice, "e2e_send_failed"), Events(bob, "message")
    started = [Events(client, "e2e_session_opened") for client in (alice, bob)]
    alice.send_message(mto=BOB, mbody="the treasure is under the oak", mtype="chat")
    report = await failed.take()
    assert code is None or has_code(code)(report.error)
    assert words(report.error).attack in str(report)
    await env.settle(alice, bob)
    assert len(heard) == 0
    assert not any(map(len, started))
    assert not e2e(alice).sessions()
    assert not e2e(bob).sessions()
    assert env.in_clear("treasure") == []
