"""Attack 4: what was recorded of a session is played again: to the session itself, and to a fresh one of anybody.

Nonces in both halves of the negotiation make each digest new, and TLS draws fresh keys each time. Assertions come later.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any
from xml.etree.ElementTree import Element

import pytest

from tests.attacks.signalling_edits import ACTIONS, NS_JINGLE, SECURITY
from tests.pair import BOB as BOB_JID
from tests.pair import JingleHook, Pair, Side, config, has_code, identity, message
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e, until
from xmpp_e2e import events
from xmpp_e2e.errors import Code, E2EError, TLSFailed
from xmpp_e2e.inner.elements import Hello
from xmpp_e2e.negotiate.jingle import Action, Jingle
from xmpp_e2e.session import Session
from xmpp_e2e.states import State
from xmpp_e2e.transport.ibb import NS_IBB
from xmpp_e2e.types import Role
from xmpp_loopback import hostile

CAROL = "carol@c.test/sofa"
SECRET = "pay Bob ten thousand"
FAST = pytest.mark.parametrize("fast", [True, False], ids=["flights", "no flights"])
FLIGHT = "{urn:x-xmpp-e2e:security:0}flight"
TRANSPORT = "{urn:xmpp:jingle:transports:ibb:1}transport"


def recorded(fast: bool) -> Pair:
    """A conversation in which each side has said something; what passed is in ``data_sent`` and ``jingle_sent``."""
    pair = Pair(config("alice", fast_open=fast), config("bob", fast_open=fast)).open()
    for side in (pair.alice, pair.bob):
        side.session.send_stanza(message(SECRET))
    pair.run()
    assert pair.alice.stanzas == pair.bob.stanzas == [SECRET]
    return pair


def half(pair: Pair, role: Role) -> Element:
    """The initiate or the accept."""
    (found,) = [element for element in pair.side(role).jingle_sent if element.get("action") == ACTIONS[role]]
    return deepcopy(found)


@FAST
@pytest.mark.parametrize("half_of", Role)
def test_a_half_is_taken_once(half_of: Role, fast: bool) -> None:
    """The session's own initiate or accept, again: out of order, and the session goes on as if nothing had been."""
    pair = recorded(fast)
    victim = pair.side(half_of.other)
    with pytest.raises(E2EError, match="is due"):
        victim.session.receive_jingle(half(pair, half_of), pair.now)
    pair.run()
    assert victim.session.state is State.OPEN
    pair.side(half_of).session.send_stanza(message("still here"))
    assert pair.run().side(half_of.other).stanzas == [SECRET, "still here"]


@FAST
@pytest.mark.parametrize("to", [BOB_JID, CAROL], ids=["the same peer", "another peer"])
def test_a_recorded_opening_opens_nothing(to: str, fast: bool) -> None:
    """The initiate is well-formed, so it is answered; but the bytes behind it fit no other handshake."""
    old = recorded(fast)
    terms = config("bob", fast_open=fast, own_jid=to, own_key=identity(to.partition("@")[0]))
    victim = Pair(bob=terms, on_jingle=lambda role, element: [])
    victim.deliver(Role.RESPONDER, half(old, Role.INITIATOR))
    victim.run()
    assert victim.bob.session.state is State.CONNECTING
    victim.bob.session.bytestream_ready(victim.now)
    victim.bob.session.receive_data(bytes(old.alice.data_sent), victim.now)
    victim.run()
    assert_failed(victim.bob)
    assert isinstance(victim.bob.failure, TLSFailed)


@FAST
def test_a_recorded_answer_opens_nothing(fast: bool) -> None:
    """Bob's old accept and bytes, fitted with the new sids, in answer to a fresh offer of Alice's."""
    old = recorded(fast)
    pair = Pair(config("alice", fast_open=fast, random=lambda count: b"\7" * count), on_jingle=lambda role, element: [])
    alice = pair.alice
    alice.session.offer(pair.now)
    accept = fitted(half(old, Role.RESPONDER), alice.session.jingle_to_send()[0])
    pair.deliver(Role.INITIATOR, accept)
    pair.collect_events(Role.INITIATOR)
    alice.session.receive_data(bytes(old.bob.data_sent), pair.now)
    pair.run()
    assert_failed(alice)
    assert isinstance(alice.failure, TLSFailed)


def assert_failed(side: Side) -> None:
    assert side.session.state is State.CLOSED
    assert not side.of(events.TLSEstablished)
    assert not side.of(events.SessionOpened)
    assert not side.stanzas


def fitted(element: Element, model: Element) -> Element:
    """The sids of ``model`` in a half of another session."""
    element.set("sid", model.get("sid", ""))
    for ours, theirs in zip(element.iter(TRANSPORT), model.iter(TRANSPORT), strict=True):
        ours.set("sid", theirs.get("sid", ""))
    return element


# --- a half that is old, all else genuine: the nonces ------------------------------------------------------------------


def old_half(role: Role) -> JingleHook:
    """In place of what ``role`` signals comes what it signalled in an earlier session; only sids and flight are new.

    The fingerprint is the same, so TLS has nothing against it.
    """
    old = half(recorded(fast=False), role)

    def hook(sender: Role, element: Element) -> list[Element]:
        if sender is not role or element.get("action") != ACTIONS[role]:
            return [element]
        again = fitted(deepcopy(old), element)
        for security, genuine in zip(again.iter(SECURITY), element.iter(SECURITY), strict=True):
            assert security.get("nonce") != genuine.get("nonce")
            security.extend(genuine.findall(FLIGHT))
        return [again]

    return hook


def fresh() -> dict[str, Any]:
    """Other nonces than those of the recording."""
    draw = iter(range(1, 256))
    return {"random": lambda count: bytes([next(draw)]) * count, "fast_open": True}


@pytest.mark.parametrize("role", Role)
def test_an_old_half_is_found_out_by_its_nonce(role: Role) -> None:
    """All that the old half says is still true, but its nonce is not this session's: the digests differ."""
    pair = Pair(config("alice", **fresh()), config("bob", **fresh()), on_jingle=old_half(role)).open()
    assert has_code(Code.NEGOTIATION_ALTERED)(pair.bob.failure)
    for side in (pair.alice, pair.bob):
        assert not side.of(events.SessionOpened)
        assert not side.stanzas


@pytest.mark.parametrize("role", Role)
def test_control_without_the_digest(role: Role, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: with the digest left out of the hello's check the old half is as good as a new one."""
    genuine = Hello.verify_matches
    monkeypatch.setattr(Hello, "verify_matches", lambda self, ours: genuine(self, replace(ours, neg=self.neg)))
    pair = Pair(config("alice", **fresh()), config("bob", **fresh()), on_jingle=old_half(role)).open()
    assert pair.alice.session.state is pair.bob.session.state is State.OPEN


def test_control_without_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: were an accept taken whenever it comes, the replay would put a live session back to its beginning."""

    def careless(self: Session, jingle: Jingle, now: float) -> None:
        self._machine.state, self._conversation = State.OFFER_SENT, None
        genuine(self, jingle, now)

    genuine = Session._ON_JINGLE[Action.SESSION_ACCEPT]
    monkeypatch.setitem(Session._ON_JINGLE, Action.SESSION_ACCEPT, careless)
    pair = recorded(fast=False)
    pair.deliver(Role.INITIATOR, half(pair, Role.RESPONDER))
    assert pair.alice.session.state is not State.OPEN


# --- real clients ----------------------------------------------------------------------------------------------------


def signalling(stanza: Element, sender: str) -> bool:
    """Jingle and blocks of Alice's."""
    ours = any(child.tag.startswith((f"{{{NS_JINGLE}}}", f"{{{NS_IBB}}}")) for child in stanza)
    return sender == ALICE and stanza.get("type") == "set" and ours


@pytest.mark.parametrize("still", ["open", "over"])
async def test_a_recording_is_played_to_the_same_client(env: Env, still: str) -> None:
    """Everything that Alice sent comes to Bob once more, while the session is open or when it is over: no message comes twice,
    and Bob has a session with Alice afterwards as before."""
    alice, bob = await env.pair()
    recorder = hostile.Recorder(env.server, signalling)
    env.server.hooks.append(recorder)
    heard, started = Events(bob, "message"), Events(bob, "e2e_session_opened")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert await heard.bodies(1) == [SECRET]
    link = (await started.take()).session
    env.server.hooks.remove(recorder)
    if still == "over":
        await until(link.close())
        await env.settle(alice, bob)
    assert len(recorder.taken) >= 3
    recorder.replay()
    await env.settle(alice, bob)
    assert len(heard) == 0  # a block that came twice ends the session; if the message was not acknowledged, another asks for it
    assert len(started) <= (still == "open")
    alice.send_message(mto=BOB, mbody="and then", mtype="chat")
    assert await heard.bodies(1) == ["and then"]
    assert env.in_clear(SECRET, "and then") == []


async def test_a_recording_is_played_to_another_client(env: Env) -> None:
    """What Alice sent to Bob comes to Carol, who answers the offer, and nothing comes of it."""
    alice, bob = await env.pair()
    carol = await env.client("carol@localhost/c")
    recorder = hostile.Recorder(env.server, signalling)
    env.server.hooks.append(recorder)
    heard, wrong = Events(bob, "message"), Events(carol, "message")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert await heard.bodies(1) == [SECRET]
    started = Events(carol, "e2e_session_opened")
    for stanza, sender in list(recorder.taken):
        copied = deepcopy(stanza)
        copied.set("to", "carol@localhost/c")
        env.server.route(copied, sender)
    await env.settle(alice, carol)
    assert len(wrong) == len(started) == 0
    assert not e2e(carol).sessions()
