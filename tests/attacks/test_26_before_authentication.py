"""Attack 26: stanzas come before authentication is done, from either side, at every moment; none is ever delivered early.

The table of states is what stops them: a stanza is held in one state, delivered in two, a violation in all others.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.attacks import hostile_peer
from tests.attacks.test_38_out_of_turn import UNTRUSTED
from tests.pair import Pair, config, message, prepare, talk
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e, until
from xmpp_e2e import events
from xmpp_e2e.errors import E2EError, StreamError, TLSFailed, UntrustedKey
from xmpp_e2e.inner.conversation import Conversation
from xmpp_e2e.inner.gate import Gate
from xmpp_e2e.session import Session
from xmpp_e2e.states import (
    NOT_YET_OPEN,
    TRANSITIONS,
    State,
    Trigger,
)
from xmpp_e2e.stream import writer
from xmpp_e2e.types import (
    Assurance,
    KnownKey,
    KnownKeys,
    Role,
)

FAST = pytest.mark.parametrize("fast", [True, False], ids=["flights", "no flights"])


def nothing(session: Session) -> bytes:
    return b""


def greeted(session: Session) -> bytes:
    return hostile_peer.header(session) + hostile_peer.hello(session)


MOMENTS: dict[str, Callable[[Session], bytes]] = {
    "before the header": nothing,
    "before the hello": hostile_peer.header,
    "before the done": greeted,
}


def assert_nothing_came_of_it(pair: Pair, victim: Role) -> None:
    side = pair.side(victim)
    assert isinstance(side.failure, E2EError)
    assert side.session.state is State.CLOSED
    assert not side.stanzas
    assert side.session._conversation is None or not side.session._conversation._gate._early
    assert not side.of(events.SessionOpened)


@FAST
@pytest.mark.parametrize("words", MOMENTS.values(), ids=MOMENTS.keys())
@pytest.mark.parametrize("role", Role)
def test_a_stanza_too_early(role: Role, words: Callable[[Session], bytes], fast: bool) -> None:
    """An authenticated peer says a stanza before its turn: refused with a stream error, whichever side it is."""
    pair = Pair(config("alice", fast_open=fast), config("bob", fast_open=fast))
    session = hostile_peer.silence(pair, role)
    pair.open()
    hostile_peer.send_raw(pair, role, words(session) + hostile_peer.STANZA)
    assert_nothing_came_of_it(pair, role.other)
    assert isinstance(pair.side(role.other).failure, StreamError)


@pytest.mark.parametrize("role", Role)
def test_a_done_does_not_make_up_for_it(role: Role) -> None:
    """The stanza first, the done right behind it, in one record: refused just the same."""
    pair = Pair()
    session = hostile_peer.silence(pair, role)
    pair.open()
    hostile_peer.send_raw(pair, role, greeted(session) + hostile_peer.STANZA + hostile_peer.DONE)
    assert_nothing_came_of_it(pair, role.other)


@FAST
@pytest.mark.parametrize("role", Role)
def test_a_stanza_instead_of_tls(role: Role, fast: bool) -> None:
    """A stanza in clear on the bytestream, where TLS is due: no byte of it is read as XML."""
    pair = Pair(config("alice", fast_open=fast), config("bob", fast_open=fast))
    clear = writer.header(pair.side(role).session.config.own_jid, "x@y/z", id=None) + hostile_peer.STANZA
    pair.on_data = lambda sender, data: [clear] if sender is role else [data]
    pair.open()
    assert_nothing_came_of_it(pair, role.other)
    assert isinstance(pair.side(role.other).failure, TLSFailed)


@pytest.mark.parametrize("role", Role)
def test_held_stanzas_go_with_the_session(role: Role) -> None:
    """Our user has not decided about the key of a peer who is done and talks: what they said is held, and dropped when the key
    is refused."""
    waiting = "bob" if role is Role.INITIATOR else "alice"
    pair = Pair(**{waiting: config(waiting, **UNTRUSTED)}).open()
    pair.says(role, message("early"))
    victim = pair.side(role.other)
    assert victim.session.state is State.DONE_RECEIVED
    assert len(talk(victim.session)._gate._early) == 1
    refused = KnownKey(pair.side(role).session.config.own_key.fingerprint, Assurance.NONE, "block", 0.0, blocked=True)
    victim.session.update_known_keys(KnownKeys((refused,)), pair.now)
    pair.run()
    assert isinstance(victim.failure, UntrustedKey)
    assert_nothing_came_of_it(pair, role.other)


def test_the_table_has_one_place_to_hold_them() -> None:
    """Before a session is open a stanza is legal while our own done is missing and the peer's is there, and nowhere else."""
    legal = {stage for stage in NOT_YET_OPEN if (stage, Trigger.STANZA) in TRANSITIONS}
    assert legal == {State.DONE_RECEIVED}


def withholds_done(conversation: Conversation) -> None:
    conversation._verifications.assess = lambda now: None  # type: ignore[method-assign]


@pytest.mark.parametrize("stage", [State.SECURED, State.SENT_DONE_EARLY, State.HELLO_CHECKED, State.DONE_SENT])
def test_control_without_the_table(stage: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: with one line more in the table, a stanza in that state is delivered though nobody is done."""
    monkeypatch.setitem(TRANSITIONS, (stage, Trigger.STANZA), stage)
    role = Role.RESPONDER if stage in (State.SENT_DONE_EARLY, State.DONE_SENT) else Role.INITIATOR
    pair = Pair()
    session = hostile_peer.silence(pair, role)
    if stage is State.HELLO_CHECKED:
        prepare(pair.bob.session, withholds_done)
    pair.open()
    words = hostile_peer.header if stage in (State.SECURED, State.SENT_DONE_EARLY) else greeted
    hostile_peer.send_raw(pair, role, words(session) + hostile_peer.STANZA)
    assert pair.side(role.other).stanzas == ["out of turn"]


# --- real clients ----------------------------------------------------------------------------------------------------


async def test_a_client_delivers_nothing_before_its_user_has_decided(env: Env) -> None:
    """Bob believes no server; Alice, whose key is not pinned, talks as far as a peer may. Nothing reaches Bob's handlers until
    Bob pins the key, and if it is blocked, nothing ever does."""
    alice = await env.client(ALICE)
    bob = await env.client(BOB, trust_model="server-untrusted")
    await env.settle(alice, bob)
    heard, failed = Events(bob, "message"), Events(alice, "e2e_send_failed")
    for text in ("one", "two"):
        alice.send_message(mto=BOB, mbody=text, mtype="chat")
    await env.settle(alice, bob)
    assert len(heard) == 0
    await e2e(bob).trust.pin(ALICE, e2e(alice).fingerprint)
    assert await heard.bodies(2) == ["one", "two"]
    await e2e(bob).trust.forget(ALICE)
    for link in e2e(bob).sessions():
        await until(link.close())
    await env.settle(alice, bob)
    alice.send_message(mto=BOB, mbody="three", mtype="chat")
    await env.settle(alice, bob)
    await e2e(bob).trust.block(ALICE, e2e(alice).fingerprint)
    await env.settle(alice, bob)
    assert len(heard) == 0
    assert len(failed) <= 1
    assert env.in_clear("three") == []


@pytest.mark.parametrize("kind", ["message", "presence", "iq"])
async def test_a_client_hears_no_stanza_of_a_rogue(env: Env, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alice's client says a stanza of each kind where its done is due: Bob's handlers see none of them, Bob's side fails."""
    alice, bob = await env.pair()
    genuine = Gate._send_done

    def rogue(self: Gate, now: float) -> None:
        if self._context.role is Role.INITIATOR:
            tag = kind.encode()
            self._context.out._write(b"<%s type='set' id='x'><body>out of turn</body></%s>" % (tag, tag))
        genuine(self, now)

    monkeypatch.setattr(Gate, "_send_done", rogue)
    seen: list[str] = []
    for event in ("message", "presence", "iq"):
        bob.add_event_handler(event, lambda stanza: seen.append(str(stanza)))
    failed = Events(bob, "e2e_session_failed")
    alice.send_message(mto=BOB, mbody="the rest", mtype="chat")
    assert isinstance((await failed.take()).error, StreamError)
    assert not [text for text in seen if "out of turn" in text or "the rest" in text]
    assert not e2e(bob).sessions()
