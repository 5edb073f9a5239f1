"""Attack 26: stanzas come before authentication is done, from either side, at every moment; none is ever delivered early.

The table of stages is what stops them: a stanza is held in one stage, delivered in two, a violation in all others.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.attacks import evil
from tests.attacks.test_38_out_of_turn import UNTRUSTED
from tests.pair import Pair, config, message
from tests.slixmpp_e2e.world import ALICE, BOB, Heard, World, e2e, until
from xmpp_e2e import events
from xmpp_e2e.errors import E2EError, StreamError, TLSFailed, UntrustedKey
from xmpp_e2e.identity import Assurance, KnownKey, Remembered, Role
from xmpp_e2e.inner import Inner
from xmpp_e2e.session import Session
from xmpp_e2e.stages import BEFORE_OPEN, TRANSITIONS, Input, Stage
from xmpp_e2e.stream import writer

FAST = pytest.mark.parametrize("fast", [True, False], ids=["flights", "no flights"])


def nothing(session: Session) -> bytes:
    return b""


def greeted(session: Session) -> bytes:
    return evil.header(session) + evil.hello(session)


MOMENTS: dict[str, Callable[[Session], bytes]] = {
    "before the header": nothing,
    "before the hello": evil.header,
    "before the done": greeted,
}


def assert_nothing_came_of_it(pair: Pair, victim: Role) -> None:
    side = pair.side(victim)
    assert isinstance(side.failure, E2EError)
    assert side.session.stage is Stage.CLOSED
    assert not side.stanzas
    assert not side.session._inner._held
    assert not side.of(events.SessionStart)


@FAST
@pytest.mark.parametrize("words", MOMENTS.values(), ids=MOMENTS.keys())
@pytest.mark.parametrize("role", Role)
def test_a_stanza_too_early(role: Role, words: Callable[[Session], bytes], fast: bool) -> None:
    """An authenticated peer says a stanza before its turn: refused with a stream error, whichever side it is."""
    pair = Pair(config("alice", fast_open=fast), config("bob", fast_open=fast))
    session = evil.silenced(pair, role)
    pair.open()
    evil.says(pair, role, words(session) + evil.STANZA)
    assert_nothing_came_of_it(pair, role.other)
    assert isinstance(pair.side(role.other).failure, StreamError)


@pytest.mark.parametrize("role", Role)
def test_a_done_does_not_make_up_for_it(role: Role) -> None:
    """The stanza first, the done right behind it, in one record: refused just the same."""
    pair = Pair()
    session = evil.silenced(pair, role)
    pair.open()
    evil.says(pair, role, greeted(session) + evil.STANZA + evil.DONE)
    assert_nothing_came_of_it(pair, role.other)


@FAST
@pytest.mark.parametrize("role", Role)
def test_a_stanza_instead_of_tls(role: Role, fast: bool) -> None:
    """A stanza in clear on the bytestream, where TLS is due: no byte of it is read as XML."""
    pair = Pair(config("alice", fast_open=fast), config("bob", fast_open=fast))
    clear = writer.header(pair.side(role).session.config.ours, "x@y/z", id=None) + evil.STANZA
    pair.on_data = lambda sender, data: [clear] if sender is role else [data]
    pair.open()
    assert_nothing_came_of_it(pair, role.other)
    assert isinstance(pair.side(role.other).failure, TLSFailed)


@pytest.mark.parametrize("role", Role)
def test_held_stanzas_go_with_the_session(role: Role) -> None:
    """Our user has not decided about the key of a peer who is done and talks: what he said is held, and dropped when the key
    is refused."""
    waiting = "bob" if role is Role.INITIATOR else "alice"
    pair = Pair(**{waiting: config(waiting, **UNTRUSTED)}).open()
    pair.says(role, message("early"))
    victim = pair.side(role.other)
    assert victim.session.stage is Stage.AWAITED
    assert len(victim.session._inner._held) == 1
    refused = KnownKey(pair.side(role).session.config.identity.fingerprint, Assurance.NONE, "block", 0.0, blocked=True)
    victim.session.remember(Remembered((refused,)), pair.now)
    pair.run()
    assert isinstance(victim.failure, UntrustedKey)
    assert_nothing_came_of_it(pair, role.other)


def test_the_table_has_one_place_to_hold_them() -> None:
    """Before a session is open a stanza is legal while our own done is missing and the peer's is there, and nowhere else."""
    legal = {stage for stage in BEFORE_OPEN if (stage, Input.STANZA) in TRANSITIONS}
    assert legal == {Stage.AWAITED}


@pytest.mark.parametrize("stage", [Stage.SECURED, Stage.EARLY, Stage.GREETED, Stage.PROVED])
def test_control_without_the_table(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: with one line more in the table, a stanza in that stage is delivered though nobody is done."""
    monkeypatch.setitem(TRANSITIONS, (stage, Input.STANZA), stage)
    role = Role.RESPONDER if stage in (Stage.EARLY, Stage.PROVED) else Role.INITIATOR
    pair = Pair()
    session = evil.silenced(pair, role)
    if stage is Stage.GREETED:
        pair.bob.session._inner._judge = lambda now: None  # type: ignore[method-assign]
    pair.open()
    words = evil.header if stage in (Stage.SECURED, Stage.EARLY) else greeted
    evil.says(pair, role, words(session) + evil.STANZA)
    assert pair.side(role.other).stanzas == ["out of turn"]


# --- real clients ----------------------------------------------------------------------------------------------------


async def test_a_client_delivers_nothing_before_its_user_has_decided(world: World) -> None:
    """Bob believes no server; Alice, whom he has not pinned, talks as far as she may. Nothing reaches his handlers until he
    pins her key, and if he blocks it, nothing ever does."""
    alice = await world.client(ALICE)
    bob = await world.client(BOB, trust_model="server-untrusted")
    await world.settle(alice, bob)
    heard, failed = Heard(bob, "message"), Heard(alice, "e2e_send_failed")
    for text in ("one", "two"):
        alice.send_message(mto=BOB, mbody=text, mtype="chat")
    await world.settle(alice, bob)
    assert len(heard) == 0
    await e2e(bob).trust.pin(ALICE, e2e(alice).fingerprint)
    assert await heard.bodies(2) == ["one", "two"]
    await e2e(bob).trust.forget(ALICE)
    for link in e2e(bob).sessions():
        await until(link.close())
    await world.settle(alice, bob)
    alice.send_message(mto=BOB, mbody="three", mtype="chat")
    await world.settle(alice, bob)
    await e2e(bob).trust.block(ALICE, e2e(alice).fingerprint)
    await world.settle(alice, bob)
    assert len(heard) == 0
    assert len(failed) <= 1
    assert world.in_clear("three") == []


@pytest.mark.parametrize("kind", ["message", "presence", "iq"])
async def test_a_client_hears_no_stanza_of_a_rogue(world: World, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alice's client says a stanza of each kind where its done is due: Bob's handlers see none of them, his side fails."""
    alice, bob = await world.pair()
    genuine = Inner._prove

    def rogue(self: Inner, now: float) -> None:
        if self._role is Role.INITIATOR:
            self.out._waiting += b"<%s type='set' id='x'><body>out of turn</body></%s>" % (kind.encode(), kind.encode())
        genuine(self, now)

    monkeypatch.setattr(Inner, "_prove", rogue)
    seen: list[str] = []
    for event in ("message", "presence", "iq"):
        bob.add_event_handler(event, lambda stanza: seen.append(str(stanza)))
    failed = Heard(bob, "e2e_session_failed")
    alice.send_message(mto=BOB, mbody="the rest", mtype="chat")
    assert isinstance((await failed.take()).detail.error, StreamError)
    assert not [text for text in seen if "out of turn" in text or "the rest" in text]
    assert not e2e(bob).sessions()
