"""Attack 38: stanzas, steps, done or hello out of turn, and floods before the other side is done."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree.ElementTree import Element

import pytest

from slixmpp_e2e.alarms import explain
from tests.pair import Pair, config, message, mute, prepare, remembers, talk
from xmpp_e2e import events
from xmpp_e2e.errors import StreamError
from xmpp_e2e.inner import elements as auth
from xmpp_e2e.inner.gate import EARLY_BUFFER_BYTES
from xmpp_e2e.session import Session
from xmpp_e2e.states import State
from xmpp_e2e.types import Assurance, Role, TrustModel

UNTRUSTED = {"trust_model": TrustModel.SERVER_UNTRUSTED}
STEP = Element("{urn:x-xmpp-e2e:auth:0}step", {"method": "psk"})
FLOOD = [message("x" * 1000)] * 200
"""Some 200 KiB."""


def genuine_hello(session: Session) -> Element:
    return auth.build_hello(talk(session)._our_hello())


def rogue(*words: Callable[[Session], Element]) -> Pair:
    """Alice says anything after the stream header."""
    pair = Pair()
    session = pair.alice.session

    def greet() -> None:
        talk(session)._send_header()
        for word in words:
            talk(session).out.element(word(session))

    prepare(session, lambda conversation: mute(conversation, greet))
    return pair.open()


def done(session: Session) -> Element:
    return Element(auth.DONE)


def stanza(session: Session) -> Element:
    return message("out of turn")


def step(session: Session) -> Element:
    return STEP


def decline(session: Session) -> Element:
    return auth.build_verification(auth.DECLINE, "sas")


def result(session: Session) -> Element:
    return auth.build_verification(auth.RESULT, "sas", match="true")


CASES: dict[str, tuple[tuple[Callable[[Session], Element], ...], str]] = {
    "stanza before hello": ((stanza,), "policy-violation"),
    "done before hello": ((done,), "policy-violation"),
    "step before hello": ((step,), "policy-violation"),
    "decline before hello": ((decline,), "policy-violation"),
    "result before hello": ((result,), "policy-violation"),
    "stanza before done": ((genuine_hello, stanza), "policy-violation"),
    "second hello": ((genuine_hello, genuine_hello), "policy-violation"),
    "second done": ((genuine_hello, done, done), "policy-violation"),
    "hello after done": ((genuine_hello, done, genuine_hello), "policy-violation"),
}


@pytest.mark.parametrize(("words", "condition"), CASES.values(), ids=CASES.keys())
def test_out_of_turn_closes(words: tuple[Callable[[Session], Element], ...], condition: str) -> None:
    """Bob ends the session with the stream error that RFC 6120 has for it, and delivers nothing."""
    pair = rogue(*words)
    assert isinstance(pair.bob.failure, StreamError)
    assert pair.bob.failure.condition == condition
    assert explain(pair.bob.failure)
    assert pair.bob.session.state is State.CLOSED
    assert not pair.bob.stanzas


def test_a_flood_before_hello_is_cut_short() -> None:
    """Before a hello that could be checked the first stanza ends it; what follows is not even parsed."""
    pair = rogue(*[lambda session, flood=flood: flood for flood in FLOOD])
    assert isinstance(pair.bob.failure, StreamError)
    assert not pair.bob.stanzas
    assert not talk(pair.bob.session)._gate._early


def test_endless_text_before_hello_is_bounded() -> None:
    """A first element that never ends is given up after 64 KiB."""
    pair = rogue(lambda session: message("x" * 100_000))
    assert isinstance(pair.bob.failure, StreamError)
    assert pair.bob.failure.condition == "policy-violation"


@pytest.mark.parametrize("role", Role)
def test_a_flood_before_our_own_done_is_bounded(role: Role) -> None:
    """One side still waits for its user; the other is done and floods: held up to the bound, then closed, none delivered."""
    waiting = "alice" if role.other is Role.INITIATOR else "bob"
    pair = Pair(**{waiting: config(waiting, **UNTRUSTED)}).open()
    victim = pair.side(role.other)
    assert victim.session.state is State.DONE_RECEIVED
    pair.says(role, *FLOOD)
    assert isinstance(victim.failure, StreamError)
    assert victim.failure.condition == "policy-violation"
    assert "more than is buffered" in str(victim.failure)
    assert not victim.stanzas
    assert not talk(victim.session)._gate._early
    assert not victim.of(events.SessionOpened)


def test_control_what_is_held_is_delivered_in_order() -> None:
    """Control: less than the bound is held, and delivered once the user has pinned the key."""
    pair = Pair(bob=config("bob", **UNTRUSTED)).open()
    texts = [f"{number} {'x' * 1000}" for number in range(EARLY_BUFFER_BYTES // 2000)]
    pair.says(Role.INITIATOR, *map(message, texts))
    assert not pair.bob.stanzas
    pair.bob.session.update_known_keys(remembers("alice", Assurance.VERIFIED, "pin"), pair.now)
    assert pair.run().bob.stanzas == texts


def test_control_without_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: without the bound the whole flood is kept."""
    monkeypatch.setattr("xmpp_e2e.inner.gate.EARLY_BUFFER_BYTES", 2**30)
    pair = Pair(bob=config("bob", **UNTRUSTED)).open().says(Role.INITIATOR, *FLOOD)
    assert len(talk(pair.bob.session)._gate._early) == len(FLOOD)
