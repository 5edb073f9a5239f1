"""Attack 19: the responder refuses the initiator's certificate when the initiator's own handshake is over already."""

from __future__ import annotations

from typing import Any

import pytest

from slixmpp_e2e.alarms import explain
from tests.attacks.signalling_edits import edit_signalling, swap_fingerprint
from tests.pair import Pair, config, message, remembers
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e
from xmpp_e2e import events
from xmpp_e2e.errors import (
    AuthenticationFailed,
    PeerRefused,
    Timeout,
    TLSFailed,
)
from xmpp_e2e.inner.conversation import Conversation
from xmpp_e2e.inner.verifications import Verifications
from xmpp_e2e.key_decision import OnKeyChange
from xmpp_e2e.states import State
from xmpp_e2e.types import Role


class Eager:
    """Says something as soon as Alice's session takes it, which is before Bob has answered inside."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self.said = False

    def __call__(self, role: Role, data: bytes) -> list[bytes]:
        if not self.said and self._pair.alice.session.state is State.SENT_DONE_EARLY:
            self.said = True
            self._pair.alice.session.send_stanza(message("early"))
        return [data]


def test_alice_never_reports_a_session_that_bob_refused() -> None:
    """For Alice TLS was up and the first stanza sent; what Alice reports is a failure, and Bob has delivered nothing."""
    pair = Pair(on_jingle=edit_signalling(Role.INITIATOR, swap_fingerprint("mallory")))
    pair.on_data = eager = Eager(pair)
    pair.open()
    assert pair.alice.of(events.TLSEstablished)
    assert eager.said
    assert not pair.alice.of(events.SessionOpened)
    assert isinstance(pair.alice.failure, TLSFailed)
    assert explain(pair.alice.failure)
    assert pair.alice.session.state is State.CLOSED
    assert not pair.bob.stanzas


def test_not_either_when_the_key_is_refused_after_tls() -> None:
    """Bob's memory, not TLS, refuses Alice's key: for Alice it is the same."""
    terms = config("bob", on_key_change=OnKeyChange.REJECT)
    pair = Pair(bob=terms, bob_remembers=remembers("mallory"))
    pair.on_data = eager = Eager(pair)
    pair.open()
    assert eager.said
    assert not pair.alice.of(events.SessionOpened)
    assert isinstance(pair.alice.failure, AuthenticationFailed | PeerRefused)
    assert not pair.bob.stanzas


def silent(monkeypatch: pytest.MonkeyPatch, owner: type, method: str) -> None:
    """Bob never does this."""
    genuine = getattr(owner, method)

    def only_alice(self: Any, *args: float) -> None:
        if self._context.role is Role.INITIATOR:
            genuine(self, *args)

    monkeypatch.setattr(owner, method, only_alice)


@pytest.mark.parametrize(("silence", "stage"), [("hello", State.SENT_DONE_EARLY), ("done", State.DONE_SENT)])
def test_silence_is_no_success(silence: str, stage: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bob never says hello, or never done: Alice gives up after the deadline, and never says that it went well."""
    silent(monkeypatch, Verifications, "assess")
    if silence == "hello":
        silent(monkeypatch, Conversation, "_send_hello")
    pair = Pair()
    pair.on_data = eager = Eager(pair)
    pair.open()
    assert eager.said
    assert pair.alice.session.state is stage
    assert not pair.alice.of(events.SessionOpened)
    pair.pass_time(61)
    assert isinstance(pair.alice.failure, Timeout)
    assert not pair.alice.of(events.SessionOpened)
    assert not pair.bob.stanzas


def test_control_accepted_is_reported() -> None:
    """Control: where Bob accepts, the early stanza is delivered and the session reported."""
    pair = Pair()
    pair.on_data = eager = Eager(pair)
    pair.open()
    assert eager.said
    assert pair.alice.of(events.SessionOpened)
    assert pair.bob.stanzas == ["early"]


async def test_a_client_never_reports_it_either(env: Env) -> None:
    """Bob's user has blocked Alice's key: the message left with the first data, and what Alice hears is that it failed."""
    alice, bob = await env.pair()
    await e2e(bob).trust.block(ALICE, e2e(alice).fingerprint)
    failed, started = Events(alice, "e2e_send_failed"), Events(alice, "e2e_session_opened")
    broken, heard = Events(alice, "e2e_session_failed"), Events(bob, "message")
    alice.send_message(mto=BOB, mbody="the treasure is under the oak", mtype="chat")
    await failed.take()
    assert isinstance((await broken.take()).error, AuthenticationFailed | PeerRefused)
    await env.settle(alice, bob)
    assert len(started) == len(heard) == 0
    assert env.in_clear("treasure") == []
