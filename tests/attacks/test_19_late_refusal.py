"""Attack 19: the responder refuses the initiator's certificate when the initiator's own handshake is over already."""

from __future__ import annotations

import pytest

from tests.attacks.edits import edits, swap_fingerprint
from tests.pair import Pair, config, message, remembers
from tests.slixmpp_e2e.world import ALICE, BOB, Heard, World, e2e
from xmpp_e2e import events
from xmpp_e2e.errors import AuthenticationFailed, PeerRefused, TimedOut, TLSFailed
from xmpp_e2e.identity import Role
from xmpp_e2e.inner import Inner
from xmpp_e2e.stages import Stage
from xmpp_e2e.trust.judge import OnKeyChange


class Eager:
    """Says something as soon as Alice's session takes it, which is before Bob has answered inside."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self.said = False

    def __call__(self, role: Role, data: bytes) -> list[bytes]:
        if not self.said and self._pair.alice.session.stage is Stage.EARLY:
            self.said = True
            self._pair.alice.session.send_stanza(message("early"))
        return [data]


def test_alice_never_reports_a_session_that_bob_refused() -> None:
    """For Alice TLS was up and her first stanza sent; what she reports is a failure, and Bob has delivered nothing."""
    pair = Pair(on_jingle=edits(Role.INITIATOR, swap_fingerprint("mallory")))
    pair.on_data = eager = Eager(pair)
    pair.open()
    assert pair.alice.of(events.Secured)
    assert eager.said
    assert not pair.alice.of(events.SessionStart)
    assert isinstance(pair.alice.failure, TLSFailed)
    assert pair.alice.failure.explain()
    assert pair.alice.session.stage is Stage.CLOSED
    assert not pair.bob.stanzas


def test_not_either_when_the_key_is_refused_after_tls() -> None:
    """Bob's memory, not TLS, refuses Alice's key: for her it is the same."""
    terms = config("bob", on_key_change=OnKeyChange.REJECT)
    pair = Pair(bob=terms, bob_remembers=remembers("mallory"))
    pair.on_data = eager = Eager(pair)
    pair.open()
    assert eager.said
    assert not pair.alice.of(events.SessionStart)
    assert isinstance(pair.alice.failure, AuthenticationFailed | PeerRefused)
    assert not pair.bob.stanzas


def silent(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """Bob never does this."""
    genuine = getattr(Inner, method)

    def only_alice(self: Inner, *args: float) -> None:
        if self._role is Role.INITIATOR:
            genuine(self, *args)

    monkeypatch.setattr(Inner, method, only_alice)


@pytest.mark.parametrize(("silence", "stage"), [("hello", Stage.EARLY), ("done", Stage.PROVED)])
def test_silence_is_no_success(silence: str, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bob never says hello, or never done: Alice gives up after her deadline, and never says that it went well."""
    silent(monkeypatch, "_judge")
    if silence == "hello":
        silent(monkeypatch, "_greet")
    pair = Pair()
    pair.on_data = eager = Eager(pair)
    pair.open()
    assert eager.said
    assert pair.alice.session.stage is stage
    assert not pair.alice.of(events.SessionStart)
    pair.pass_time(61)
    assert isinstance(pair.alice.failure, TimedOut)
    assert not pair.alice.of(events.SessionStart)
    assert not pair.bob.stanzas


def test_control_accepted_is_reported() -> None:
    """Control: where Bob accepts, the early stanza is delivered and the session reported."""
    pair = Pair()
    pair.on_data = eager = Eager(pair)
    pair.open()
    assert eager.said
    assert pair.alice.of(events.SessionStart)
    assert pair.bob.stanzas == ["early"]


async def test_a_client_never_reports_it_either(world: World) -> None:
    """Bob's user has blocked Alice's key: her message left with her first data, and what she hears is that it failed."""
    alice, bob = await world.pair()
    await e2e(bob).trust.block(ALICE, e2e(alice).fingerprint)
    failed, started = Heard(alice, "e2e_send_failed"), Heard(alice, "e2e_session_start")
    broken, heard = Heard(alice, "e2e_session_failed"), Heard(bob, "message")
    alice.send_message(mto=BOB, mbody="the treasure is under the oak", mtype="chat")
    await failed.take()
    assert isinstance((await broken.take()).detail.error, AuthenticationFailed | PeerRefused)
    await world.settle(alice, bob)
    assert len(started) == len(heard) == 0
    assert world.in_clear("treasure") == []
