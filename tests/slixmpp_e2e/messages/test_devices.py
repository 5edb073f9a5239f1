"""People with several devices: each message comes to each of them once, whatever comes, goes, changes or refuses meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e.errors import PeerWithoutE2E
from slixmpp_e2e.messages import routing
from slixmpp_e2e.sessions import pacing
from tests.slixmpp_e2e.env import ALICE, Env, Events, e2e, jingle, turns, until
from xmpp_e2e.errors import PeerRefused
from xmpp_e2e.types import Assurance
from xmpp_loopback import hostile, offline, online

BOB = "bob@localhost"
ONE, TWO, THREE = f"{BOB}/one", f"{BOB}/two", f"{BOB}/three"


def held_from(env: Env, jid: str) -> hostile.Hold:
    """A server that keeps back what one device says in signalling: its session does not open."""
    return env.hold(lambda stanza, sender: sender == jid and stanza.tag.endswith("}iq"))


async def first(env: Env, alice: ClientXMPP, *devices: ClientXMPP) -> None:
    heard = [Events(device, "message") for device in devices]
    started = Events(alice, "e2e_session_opened")
    alice.send_message(mto=BOB, mbody="the first of all")
    for each in heard:
        await each.take()
        await started.take()


async def test_nine_devices_are_one_too_many(env: Env) -> None:
    alice = await env.client(ALICE)
    bobs = [await env.client(f"{BOB}/{number}") for number in range(9)]
    await env.settle(alice, *bobs)
    heard, failed = [Events(bob, "message") for bob in bobs], Events(alice, "e2e_send_failed")
    for body in ("hello to you all", "and once more"):
        alice.send_message(mto=BOB, mbody=body)
    for each in heard[:8]:
        assert await each.bodies(2) == ["hello to you all", "and once more"]
    await env.settle(alice, *bobs)
    assert [len(each) for each in heard] == [0] * 9
    assert len(failed) == 0
    assert env.in_clear("hello to you all", "and once more") == []


async def test_a_full_jid_and_a_reply_stay_with_one_device(env: Env) -> None:
    alice = await env.client(ALICE)
    one, two = await env.client(ONE), await env.client(TWO)
    await env.settle(alice, one, two)
    await first(env, alice, one, two)
    heard = {device: Events(device, "message") for device in (one, two)}
    alice.add_event_handler("message", lambda message: message.reply("the answer").send())
    alice.send_message(mto=ONE, mbody="for the first device")
    two.send_message(mto="alice@localhost", mbody="a question", mtype="chat")
    assert await heard[one].bodies(1) == ["for the first device"]
    assert await heard[two].bodies(1) == ["the answer"]
    await env.settle(alice, one, two)
    assert [len(each) for each in heard.values()] == [0, 0]
    assert env.in_clear("for the first device", "a question", "the answer") == []


async def test_a_message_to_ourselves_goes_to_our_other_devices(env: Env) -> None:
    mine = [await env.client(f"alice@localhost/{name}") for name in ("one", "two", "three")]
    await env.settle(*mine)
    heard = [Events(device, "message") for device in mine]
    mine[0].send_message(mto="alice@localhost", mbody="note to self")
    assert [await each.bodies(1) for each in heard[1:]] == [["note to self"], ["note to self"]]
    mine[1].send_message(mto="alice@localhost", mbody="noted by myself")
    assert [await heard[number].bodies(1) for number in (0, 2)] == [["noted by myself"], ["noted by myself"]]
    await env.settle(*mine)
    assert [len(each) for each in heard] == [0, 0, 0]
    assert env.in_clear("note to self", "noted by myself") == []


async def test_devices_come_and_go_between_messages(env: Env) -> None:
    alice = await env.client(ALICE)
    devices = {name: env.make(f"{BOB}/{name}") for name in ("one", "two", "three")}
    heard = {name: Events(device, "message") for name, device in devices.items()}
    there: list[str] = []
    for number, name in enumerate(("one", "two", "one", "three", "two", "one", "two", "three")):
        if name in there:
            there.remove(name)
            await offline(devices[name])
        else:
            there.append(name)
            await online(devices[name], env.server)
        await env.settle(alice)
        if not there:
            continue
        alice.send_message(mto=BOB, mbody=f"message number {number}")
        for each in there:
            assert await heard[each].bodies(1) == [f"message number {number}"]
        await env.settle(alice, *(devices[each] for each in there))
        assert [len(each) for each in heard.values()] == [0, 0, 0]
    assert env.in_clear("message number") == []


async def test_who_changes_devices_in_the_middle_of_a_handshake_gets_their_message(env: Env) -> None:
    """The only device goes away while its session is being made, and another one is there: what waited goes there."""
    alice, one = await env.client(ALICE), await env.client(ONE)
    await env.settle(alice, one)
    failed, hold = Events(alice, "e2e_send_failed"), held_from(env, ONE)
    for number in range(3):
        alice.send_message(mto=BOB, mbody=f"message number {number}")
    alice.send_message(mto=ONE, mbody="for the first device")
    await until(hold.caught())
    two = await env.client(TWO)
    heard = Events(two, "message")
    await env.settle(alice, two)
    env.server.disconnect(ONE)
    assert await heard.bodies(3) == [f"message number {number}" for number in range(3)]
    assert (await failed.take()).stanza["body"] == "for the first device"
    await env.settle(alice, two)
    assert (len(heard), len(failed)) == (0, 0)
    assert env.in_clear("message number", "for the first device") == []


async def test_a_device_that_does_not_open_is_left_out_for_a_while(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, one = await env.client(ALICE), await env.client(ONE)
    two = await env.client(TWO, accept_from=["nobody@nowhere.test"])
    await env.settle(alice, one, two)
    heard, told = Events(one, "message"), Events(alice, "e2e_session_failed")
    failed = Events(alice, "e2e_send_failed")

    async def tries(count: int) -> int:
        for number in range(count):
            alice.send_message(mto=BOB, mbody=str(number))
            assert await heard.bodies(1) == [str(number)]
            await env.settle(alice, one, two)
        failures = len(told)
        assert all([(await told.take()).peer == TWO for _ in range(failures)])
        return failures

    assert await tries(1) == 1
    assert await tries(1) <= 1  # the way is found anew when the other one's session has opened
    assert await tries(4) == 0
    two.send_presence()
    await env.settle(two, alice)
    assert await tries(4) == 1
    monkeypatch.setattr(routing, "UNREACHABLE_BACKOFF", -1.0)
    monkeypatch.setattr(pacing, "FIRST_BACKOFF", 0.0)
    e2e(alice)._client.routes.mark_unreachable((ALICE, TWO))
    assert await tries(2) == 2
    assert len(failed) == 0
    await offline(one)
    await env.settle(alice)
    alice.send_message(mto=BOB, mbody="nobody else is there")
    assert isinstance((await failed.take()).error, PeerRefused)


async def test_a_device_of_negative_priority_gets_nothing_for_the_account(env: Env) -> None:
    """RFC 6121 §8.5.2.1.1: not even while a session with it is open. What is for it alone comes."""
    alice, one, two = [await env.client(jid) for jid in (ALICE, ONE, TWO)]
    two.send_presence(ppriority=-1)
    await env.settle(two, alice)
    await env.session(alice, two)
    heard = {device: Events(device, "message") for device in (one, two)}
    for to, body in ((BOB, "to Bob"), (TWO, "to this device")):
        alice.send_message(mto=to, mbody=body)
    assert await heard[one].bodies(1) == ["to Bob"]
    assert await heard[two].bodies(1) == ["to this device"]
    await env.settle(alice, one, two)
    assert not any(map(len, heard.values()))


Acts = Callable[[], Awaitable[Any]]


@pytest.mark.parametrize("change", ["by-trust-model", "hold", "reject"])
@pytest.mark.parametrize("verified", [False, True], ids=["known", "verified"])
async def test_a_new_device_of_a_peer_with_one(env: Env, verified: bool, change: str) -> None:
    alice, one = await env.client(ALICE, on_key_change=change), await env.client(ONE)
    if verified:
        await e2e(alice).trust.pin(BOB, e2e(one).fingerprint)
    await env.settle(alice, one)
    await first(env, alice, one)
    two = await env.client(TWO)
    await env.settle(two, alice)
    changed, failed = Events(alice, "e2e_key_changed"), Events(alice, "e2e_send_failed")
    delivered = Events(alice, "e2e_delivered")
    heard = {device: Events(device, "message") for device in (one, two)}
    for number in range(2):
        alice.send_message(mto=BOB, mbody=f"message number {number}")
        message = await heard[one].take()
        assert message["body"] == f"message number {number}"
    ours = next(session for session in e2e(alice).sessions() if session.peer == ONE)
    assert ours.assurance >= Assurance.VOUCHED
    while ours.unacknowledged:  # noqa: ASYNC110 - no event tells it; the pin ends this session
        await asyncio.sleep(0.01)
    report = await changed.take()
    assert report.fingerprint == e2e(two).fingerprint
    assert "trust pin" in report.text
    accepted = change == "by-trust-model" and not verified
    if not accepted:
        await env.settle(alice, two)
        assert len(heard[two]) == 0
        assert [session.peer for session in e2e(alice).sessions()] == [ONE]
        if change == "reject":  # with the pin a session ends whose key is not verified
            assert [(await delivered.take()).sessions[0].peer for _ in range(2)] == [ONE, ONE]
        await e2e(alice).trust.pin(BOB, e2e(two).fingerprint)
    if change == "reject":
        alice.send_message(mto=BOB, mbody="after the pin")
        assert await heard[two].bodies(1) == ["after the pin"]
    else:
        assert await heard[two].bodies(2) == ["message number 0", "message number 1"]
    assert (len(failed), len(changed)) == (0, 0)
    assert env.in_clear("message number", "after the pin") == []


async def test_a_key_that_comes_back_is_known(env: Env) -> None:
    alice = await env.client(ALICE)
    one = await env.client(ONE)
    await env.settle(alice, one)
    await first(env, alice, one)
    await offline(one)
    two = await env.client(TWO)
    await env.settle(alice, two)
    changed = Events(alice, "e2e_key_changed")
    await first(env, alice, two)
    assert (await changed.take()).status == "new"
    await online(one, env.server)
    await env.settle(one, alice)
    heard = [Events(device, "message") for device in (one, two)]
    started = Events(alice, "e2e_session_opened")
    alice.send_message(mto=BOB, mbody="to both of them")
    assert [await each.bodies(1) for each in heard] == [["to both of them"]] * 2
    assert (await started.take()).assurance is Assurance.KNOWN
    assert len(changed) == 0
    await e2e(alice).trust.block(BOB, e2e(two).fingerprint)
    await env.settle(alice, one, two)
    alice.send_message(mto=BOB, mbody="to one of them")
    assert await heard[0].bodies(1) == ["to one of them"]
    assert (await changed.take()).status == "blocked"
    await env.settle(alice, two)
    assert len(heard[1]) == 0


async def test_first_messages_cross_when_one_side_has_two_devices(env: Env) -> None:
    alice, one, two = [await env.client(jid) for jid in (ALICE, ONE, TWO)]
    await env.settle(alice, one, two)
    names = ("e2e_session_failed", "e2e_send_failed")
    heard = {client: Events(client, "message") for client in (alice, one, two)}
    failures = [Events(client, name) for client in heard for name in names]
    for number in range(10):
        hold = env.hold(jingle("session-initiate"))
        alice.send_message(mto=BOB, mbody=f"to Bob {number}")
        for device in (one, two):
            device.send_message(mto="alice@localhost", mbody=f"to Alice {number}")
        await until(hold.caught(4))
        hold.release_reversed() if number % 2 else hold.release()
        assert await heard[alice].bodies(2) == [f"to Alice {number}"] * 2
        for device in (one, two):
            assert await heard[device].bodies(1) == [f"to Bob {number}"]
        await env.settle(alice, one, two)
        assert [len(list(e2e(client)._client.registry)) for client in heard] == [2, 1, 1]
        await e2e(alice).close()
        await env.settle(alice, one, two)
        env.server.hooks.clear()
    assert not any(map(len, (*heard.values(), *failures)))
    assert env.in_clear("to Bob", "to Alice") == []


@pytest.mark.parametrize("policy", ["prefer", "opportunistic"])
async def test_a_device_that_has_no_encryption_any_more_gets_nothing_in_plaintext_that_waits_for_its_session(
    env: Env, policy: str
) -> None:
    """Its client, or the server, says so while our offer is on its way. ``opportunistic`` falls back, and tells."""
    alice, bob = await env.pair(alices={"policy": policy})
    offer = env.hold(jingle("session-initiate"))
    failed, told, heard = Events(alice, "e2e_send_failed"), Events(alice, "e2e_plaintext_sent"), Events(bob, "message")
    alice.send_message(mto="bob@localhost", mbody="hello", mtype="chat")
    await offer.caught()
    env.unload(bob)
    await turns()
    bob.send_presence()
    if policy == "opportunistic":
        assert isinstance((await told.take()).error, PeerWithoutE2E)
        assert await heard.bodies(1) == ["hello"]
    else:
        assert isinstance((await failed.take()).error, PeerWithoutE2E)
        await env.settle(alice)
    assert len(heard) == len(failed) == 0
