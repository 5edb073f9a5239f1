"""Attack 22: the peer has another key all of a sudden, and his server vouches for it as it did for the old one.

A verified peer is held, told, never accepted by itself; a merely known one is accepted as the trust model says, and told. The
command's exit code 4 is seen in `tests/xmpp_e2e_cli/test_sending.py`, the same by a relay in `test_02_relay_clients.py`.
"""

from __future__ import annotations

from typing import Any

import pytest
from slixmpp import ClientXMPP

from tests.pair import Pair, config, message, remembers
from tests.slixmpp_e2e.world import ALICE, BOB, Heard, World, e2e, turns, until
from xmpp_e2e import events
from xmpp_e2e.errors import LocalError, UntrustedKey
from xmpp_e2e.identity import Assurance, Remembered, Role, TrustModel
from xmpp_e2e.stages import Stage
from xmpp_e2e.trust.judge import OnKeyChange, judge
from xmpp_e2e_cli.codes import code_of
from xmpp_loopback import offline

SECRET = "the treasure is under the oak"
VERIFIED = remembers("mallory", Assurance.VERIFIED, "pin")
MODELS = [TrustModel.SERVER_AUTHENTICATES, TrustModel.SERVER_UNTRUSTED]

# --- the core --------------------------------------------------------------------------------------------------------


def changed(role: Role, memory: Remembered, **terms: Any) -> Pair:
    """``role`` remembers another key of the other side than the one that is shown."""
    if role is Role.INITIATOR:
        return Pair(config("alice", **terms), alice_remembers=memory).open()
    return Pair(bob=config("bob", **terms), bob_remembers=memory).open()


@pytest.mark.parametrize("vouched", [Assurance.NONE, Assurance.VOUCHED, Assurance.VOUCHED_SIGNED])
@pytest.mark.parametrize("model", TrustModel)
@pytest.mark.parametrize("policy", [OnKeyChange.BY_TRUST_MODEL, OnKeyChange.HOLD, OnKeyChange.REJECT])
def test_no_vouching_makes_up_for_it(vouched: Assurance, model: TrustModel, policy: OnKeyChange) -> None:
    """Not even the domain's signature, under any trust model: a key that contradicts a verified one is not accepted."""
    shown = config("alice").identity.fingerprint
    verdict = judge(VERIFIED, shown, vouched, trust_model=model, on_key_change=policy)
    assert verdict.decision.value == ("reject" if policy is OnKeyChange.REJECT else "hold")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("role", Role)
def test_a_verified_peer_is_held(role: Role, model: TrustModel) -> None:
    """Either way round: nothing flows, the user is told once with the command, and when nobody acts the session fails."""
    pair = changed(role, VERIFIED, trust_model=model)
    side, other = pair.side(role), pair.side(role.other)
    (told,) = side.of(events.KeyChanged)
    assert (told.kind, told.decision) == ("changed", "hold")
    assert told.remembered == tuple(key.fingerprint for key in VERIFIED.keys)
    assert f"xmpp-e2e trust pin {side.session.config.peer.partition('/')[0]} {told.fingerprint}" in told.text
    with pytest.raises(LocalError):
        side.session.send_stanza(message(SECRET))
    if other.session.stage is Stage.PROVED:
        other.session.send_stanza(message(SECRET))
    pair.run().pass_time(301)
    for one in (side, other):
        assert one.session.stage is Stage.CLOSED
        assert not one.of(events.SessionStart)
        assert not one.stanzas
    assert len(side.of(events.KeyChanged)) == 1


@pytest.mark.parametrize("role", Role)
def test_a_known_peer_is_told(role: Role) -> None:
    """Merely known, the default trust model: accepted at the level of a first contact, and told before the session starts."""
    pair = changed(role, remembers("mallory"))
    side = pair.side(role)
    (told,) = side.of(events.KeyChanged)
    assert (told.kind, told.decision) == ("new", "accept")
    (start,) = side.of(events.SessionStart)
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


async def with_another_key(world: World, bob: ClientXMPP, *others: ClientXMPP) -> ClientXMPP:
    """Bob has reinstalled, or somebody has his password: the same address, another key."""
    old = e2e(bob).fingerprint
    world.unload(bob)
    await turns()
    await offline(bob)
    another = await world.client(BOB, store=str(world._folder / "another.db"))
    await world.settle(another, *others)
    assert e2e(another).fingerprint != old
    return another


@pytest.mark.parametrize("met", [True, False], ids=["had a session", "only pinned"])
async def test_a_verified_peer_with_another_key_is_held(world: World, met: bool) -> None:
    """What Alice writes waits, what he writes is not shown; nothing that happens by itself accepts the key, in any number of
    sessions. Her decision does, and then what waited arrives."""
    alice, bob = await world.pair()
    if met:
        ours, _ = await world.session(alice, bob)
        await until(ours.close())
    old = e2e(bob).fingerprint
    await e2e(alice).trust.pin(BOB, old)
    told, at_alice = Heard(alice, "e2e_key_changed"), Heard(alice, "message")
    another = await with_another_key(world, bob, alice)
    at_bob = Heard(another, "message")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    another.send_message(mto=ALICE, mbody="it is me", mtype="chat")
    change = (await told.take()).detail
    assert (change.kind, change.decision, change.remembered) == ("changed", "hold", (old,))
    assert change.fingerprint == e2e(another).fingerprint
    await world.settle(alice, another)
    assert len(at_bob) == len(at_alice) == 0
    assert not e2e(alice).sessions()
    assert [key.fingerprint for key in e2e(alice).trust.show(BOB).keys] == [old]
    await e2e(alice).trust.pin(BOB, change.fingerprint)
    assert await at_bob.bodies(1) == [SECRET]
    assert str((await at_alice.take())["e2e"]["assurance"]) == "verified"
    assert world.in_clear(SECRET, "it is me") == []


async def test_trying_again_does_not_help(world: World) -> None:
    """Session after session: each is refused, each time it is told, and the key is never taken for known."""
    alice, bob = await world.pair(on_key_change="reject")
    old = e2e(bob).fingerprint
    await e2e(alice).trust.pin(BOB, old)
    another = await with_another_key(world, bob, alice)
    told, failed, heard = Heard(alice, "e2e_key_changed"), Heard(alice, "e2e_send_failed"), Heard(another, "message")
    for _ in range(3):
        alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
        assert (await told.take()).detail.kind == "changed"
        report = await failed.take()
        assert isinstance(report.error, UntrustedKey)
        assert int(code_of(report.error)) == 4
        assert [key.fingerprint for key in e2e(alice).trust.show(BOB).keys] == [old]
    assert len(heard) == 0
    assert world.in_clear(SECRET) == []


async def test_a_known_peer_with_another_key_is_told(world: World) -> None:
    """By the default trust model it is accepted, as ``vouched``, and Alice is told, before her message leaves."""
    alice, bob = await world.pair()
    ours, _ = await world.session(alice, bob)
    await until(ours.close())
    old = e2e(bob).fingerprint
    another = await with_another_key(world, bob, alice)
    heard = Heard(another, "message")
    when_told: list[int] = []
    alice.add_event_handler("e2e_key_changed", lambda happened: when_told.append(len(heard)))
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert await heard.bodies(1) == [SECRET]
    assert when_told == [0]
    [link] = e2e(alice).sessions()
    assert link.assurance is Assurance.VOUCHED
    assert {key.fingerprint for key in e2e(alice).trust.show(BOB).keys} == {old, e2e(another).fingerprint}


async def test_control_without_continuity(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: when what is remembered is kept from the judge, the new key of the verified peer is a first contact."""
    alice, bob = await world.pair()
    await e2e(alice).trust.pin(BOB, e2e(bob).fingerprint)
    another = await with_another_key(world, bob, alice)
    monkeypatch.setattr(type(e2e(alice).memory), "remembered", lambda self, bare: Remembered())
    heard = Heard(another, "message")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert await heard.bodies(1) == [SECRET]
