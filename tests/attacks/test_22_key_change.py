"""Attack 22: the peer has another key all of a sudden, and their server vouches for it as it did for the old one.

A verified peer is held, told, never accepted by itself; a merely known one is accepted as the trust model says, and told. The
command's exit code 4 is seen in `tests/xmpp_e2e_cli/test_sending.py`, the same by a relay in `test_02_relay_clients.py`.
"""

from __future__ import annotations

from typing import Any

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e.alarms import key_alarm
from tests.pair import Pair, config, message, remembers
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e, turns, until
from xmpp_e2e import events
from xmpp_e2e.errors import LocalError, UntrustedKey
from xmpp_e2e.key_decision import OnKeyChange, decide
from xmpp_e2e.states import State
from xmpp_e2e.types import (
    Assurance,
    KnownKeys,
    Role,
    TrustModel,
)
from xmpp_e2e_cli.exit_codes import exit_code_of
from xmpp_loopback import offline

SECRET = "the treasure is under the oak"
VERIFIED = remembers("mallory", Assurance.VERIFIED, "pin")
MODELS = [TrustModel.SERVER_AUTHENTICATES, TrustModel.SERVER_UNTRUSTED]

# --- the core --------------------------------------------------------------------------------------------------------


def changed(role: Role, memory: KnownKeys, **terms: Any) -> Pair:
    """``role`` remembers another key of the other side than the one that is shown."""
    if role is Role.INITIATOR:
        return Pair(config("alice", **terms), alice_remembers=memory).open()
    return Pair(bob=config("bob", **terms), bob_remembers=memory).open()


@pytest.mark.parametrize("vouched", [Assurance.NONE, Assurance.VOUCHED, Assurance.VOUCHED_SIGNED])
@pytest.mark.parametrize("model", TrustModel)
@pytest.mark.parametrize("policy", [OnKeyChange.BY_TRUST_MODEL, OnKeyChange.HOLD, OnKeyChange.REJECT])
def test_no_vouching_makes_up_for_it(vouched: Assurance, model: TrustModel, policy: OnKeyChange) -> None:
    """Not even the domain's signature, under any trust model: a key that contradicts a verified one is not accepted."""
    shown = config("alice").own_key.fingerprint
    verdict = decide(VERIFIED, shown, vouched, trust_model=model, on_key_change=policy)
    assert verdict.decision.value == ("reject" if policy is OnKeyChange.REJECT else "hold")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("role", Role)
def test_a_verified_peer_is_held(role: Role, model: TrustModel) -> None:
    """Either way round: nothing flows, the user is told once with the command, and when nobody acts the session fails."""
    pair = changed(role, VERIFIED, trust_model=model)
    side, other = pair.side(role), pair.side(role.other)
    (told,) = side.of(events.KeyChanged)
    assert (told.status, told.decision) == ("changed", "hold")
    assert told.known == tuple(key.fingerprint for key in VERIFIED.keys)
    peer = side.session.config.peer_jid.partition("/")[0]
    assert f"xmpp-e2e trust pin {peer} {told.fingerprint}" in key_alarm(told.assessment, peer)
    with pytest.raises(LocalError):
        side.session.send_stanza(message(SECRET))
    if other.session.state is State.DONE_SENT:
        other.session.send_stanza(message(SECRET))
    pair.run().pass_time(301)
    for one in (side, other):
        assert one.session.state is State.CLOSED
        assert not one.of(events.SessionOpened)
        assert not one.stanzas
    assert len(side.of(events.KeyChanged)) == 1


@pytest.mark.parametrize("role", Role)
def test_a_known_peer_is_told(role: Role) -> None:
    """Merely known, the default trust model: accepted at the level of a first contact, and told before the session starts."""
    pair = changed(role, remembers("mallory"))
    side = pair.side(role)
    (told,) = side.of(events.KeyChanged)
    assert (told.status, told.decision) == ("new", "accept")
    (start,) = side.of(events.SessionOpened)
    assert side.events.index(told) < side.events.index(start)
    assert start.assurance is Assurance.VOUCHED


@pytest.mark.parametrize("role", Role)
def test_control_a_key_that_is_remembered_is_no_news(role: Role) -> None:
    """Control: when the verified key is the one that is shown, nobody is told of anything and the session is verified."""
    pair = changed(role, remembers("bob" if role is Role.INITIATOR else "alice", Assurance.VERIFIED, "pin"))
    side = pair.side(role)
    assert not side.of(events.KeyChanged)
    assert side.session.assurance is Assurance.VERIFIED


# --- real clients ----------------------------------------------------------------------------------------------------


async def with_another_key(env: Env, bob: ClientXMPP, *others: ClientXMPP) -> ClientXMPP:
    """Bob has reinstalled, or somebody has Bob's password: the same address, another key."""
    old = e2e(bob).fingerprint
    env.unload(bob)
    await turns()
    await offline(bob)
    another = await env.client(BOB, store_path=str(env._folder / "another.db"))
    await env.settle(another, *others)
    assert e2e(another).fingerprint != old
    return another


@pytest.mark.parametrize("met", [True, False], ids=["had a session", "only pinned"])
async def test_a_verified_peer_with_another_key_is_held(env: Env, met: bool) -> None:
    """What Alice writes waits, what Bob writes is not shown; nothing that happens by itself accepts the key, in any number of
    sessions. Her decision does, and then what waited arrives."""
    alice, bob = await env.pair()
    if met:
        ours, _ = await env.session(alice, bob)
        await until(ours.close())
    old = e2e(bob).fingerprint
    await e2e(alice).trust.pin(BOB, old)
    told, at_alice = Events(alice, "e2e_key_changed"), Events(alice, "message")
    another = await with_another_key(env, bob, alice)
    at_bob = Events(another, "message")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    another.send_message(mto=ALICE, mbody="it is me", mtype="chat")
    change = (await told.take())
    assert (change.status, change.decision, change.known) == ("changed", "hold", (old,))
    assert change.fingerprint == e2e(another).fingerprint
    await env.settle(alice, another)
    assert len(at_bob) == len(at_alice) == 0
    assert not e2e(alice).sessions()
    assert [key.fingerprint for key in e2e(alice).trust.show(BOB).keys] == [old]
    await e2e(alice).trust.pin(BOB, change.fingerprint)
    assert await at_bob.bodies(1) == [SECRET]
    assert str((await at_alice.take())["e2e"]["assurance"]) == "verified"
    assert env.in_clear(SECRET, "it is me") == []


async def test_trying_again_does_not_help(env: Env) -> None:
    """Session after session: each is refused, the alarm comes once, each message says why, and the key is never known."""
    alice, bob = await env.pair(on_key_change="reject")
    old = e2e(bob).fingerprint
    await e2e(alice).trust.pin(BOB, old)
    another = await with_another_key(env, bob, alice)
    told, failed, heard = Events(alice, "e2e_key_changed"), Events(alice, "e2e_send_failed"), Events(another, "message")
    for _ in range(3):
        alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
        report = await failed.take()
        assert isinstance(report.error, UntrustedKey)
        assert "HAS CHANGED" in str(report)
        assert int(exit_code_of(report.error)) == 4
        assert [key.fingerprint for key in e2e(alice).trust.show(BOB).keys] == [old]
    assert (len(told), (await told.take()).status) == (1, "changed")
    assert len(heard) == 0
    assert env.in_clear(SECRET) == []


async def test_a_known_peer_with_another_key_is_told(env: Env) -> None:
    """By the default trust model it is accepted, as ``vouched``, and Alice is told, before the message leaves."""
    alice, bob = await env.pair()
    ours, _ = await env.session(alice, bob)
    await until(ours.close())
    old = e2e(bob).fingerprint
    another = await with_another_key(env, bob, alice)
    heard = Events(another, "message")
    when_told: list[int] = []
    alice.add_event_handler("e2e_key_changed", lambda happened: when_told.append(len(heard)))
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert await heard.bodies(1) == [SECRET]
    assert when_told == [0]
    [link] = e2e(alice).sessions()
    assert link.assurance is Assurance.VOUCHED
    assert {key.fingerprint for key in e2e(alice).trust.show(BOB).keys} == {old, e2e(another).fingerprint}


async def test_control_without_continuity(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: when what is remembered is kept from the judge, the new key of the verified peer is a first contact."""
    alice, bob = await env.pair()
    await e2e(alice).trust.pin(BOB, e2e(bob).fingerprint)
    another = await with_another_key(env, bob, alice)
    monkeypatch.setattr(type(e2e(alice)._store), "known_keys", lambda *_: KnownKeys())
    heard = Events(another, "message")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert await heard.bodies(1) == [SECRET]
