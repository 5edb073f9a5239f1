"""People with several devices: each message comes to each of them once, whatever comes, goes, changes or refuses meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e.messages import queue as outbox
from tests.slixmpp_e2e.world import ALICE, Heard, World, e2e, jingle, until
from xmpp_e2e.errors import PeerRefused
from xmpp_e2e.identity import Assurance
from xmpp_loopback import hostile, offline, online

BOB = "bob@localhost"
ONE, TWO, THREE = f"{BOB}/one", f"{BOB}/two", f"{BOB}/three"


def held_from(world: World, jid: str) -> hostile.Hold:
    """A server that keeps back what one device says in signalling: its session does not open."""
    hold = hostile.Hold(world.server, lambda stanza, sender: sender == jid and stanza.tag.endswith("}iq"))
    world.server.interfere.append(hold)
    return hold


async def first(world: World, alice: ClientXMPP, *devices: ClientXMPP) -> None:
    """Sessions with all of them, by a first message."""
    heard = [Heard(device, "message") for device in devices]
    started = Heard(alice, "e2e_session_start")
    alice.send_message(mto=BOB, mbody="the first of all")
    for each in heard:
        await each.take()
        await started.take()


# --- which of them ---------------------------------------------------------------------------------------------------


async def test_nine_devices_are_one_too_many(world: World) -> None:
    """Eight have each message once, the one that came last nothing, neither in a session nor in clear."""
    alice = await world.client(ALICE)
    bobs = [await world.client(f"{BOB}/{number}") for number in range(9)]
    await world.settle(alice, *bobs)
    heard, failed = [Heard(bob, "message") for bob in bobs], Heard(alice, "e2e_send_failed")
    for body in ("hello to you all", "and once more"):
        alice.send_message(mto=BOB, mbody=body)
    for each in heard[:8]:
        assert await each.bodies(2) == ["hello to you all", "and once more"]
    await world.settle(alice, *bobs)
    assert [len(each) for each in heard] == [0] * 9
    assert len(failed) == 0
    assert world.in_clear("hello to you all", "and once more") == []


async def test_a_full_jid_and_a_reply_stay_with_one_device(world: World) -> None:
    """What is sent to a device, and the answer to what it wrote, comes to no other."""
    alice = await world.client(ALICE)
    one, two = await world.client(ONE), await world.client(TWO)
    await world.settle(alice, one, two)
    await first(world, alice, one, two)
    heard = {device: Heard(device, "message") for device in (one, two)}
    alice.add_event_handler("message", lambda message: message.reply("the answer").send())
    alice.send_message(mto=ONE, mbody="for the first device")
    two.send_message(mto="alice@localhost", mbody="a question", mtype="chat")
    assert await heard[one].bodies(1) == ["for the first device"]
    assert await heard[two].bodies(1) == ["the answer"]
    await world.settle(alice, one, two)
    assert [len(each) for each in heard.values()] == [0, 0]
    assert world.in_clear("for the first device", "a question", "the answer") == []


async def test_a_device_that_has_gone_leaves_nothing_to_others(world: World) -> None:
    """A message to its full JID is reported, and not sent to the other device, nor in clear."""
    alice = await world.client(ALICE)
    one, two = await world.client(ONE), await world.client(TWO)
    await world.settle(alice, one, two)
    await first(world, alice, one, two)
    heard, failed = Heard(two, "message"), Heard(alice, "e2e_send_failed")
    await offline(one)
    await world.settle(alice)
    alice.send_message(mto=ONE, mbody="for the first device", mtype="chat")
    assert "cannot be reached" in str(await failed.take())
    await world.settle(alice, two)
    assert len(heard) == 0
    assert world.in_clear("for the first device") == []


async def test_a_message_to_ourselves_goes_to_our_other_devices(world: World) -> None:
    """All of them, in sessions, and not to the one that sent it; so does the answer of one of them."""
    mine = [await world.client(f"alice@localhost/{name}") for name in ("one", "two", "three")]
    await world.settle(*mine)
    heard = [Heard(device, "message") for device in mine]
    mine[0].send_message(mto="alice@localhost", mbody="note to self")
    assert [await each.bodies(1) for each in heard[1:]] == [["note to self"], ["note to self"]]
    mine[1].send_message(mto="alice@localhost", mbody="noted by myself")
    assert [await heard[number].bodies(1) for number in (0, 2)] == [["noted by myself"], ["noted by myself"]]
    await world.settle(*mine)
    assert [len(each) for each in heard] == [0, 0, 0]
    assert world.in_clear("note to self", "noted by myself") == []


# --- come and go -----------------------------------------------------------------------------------------------------


async def test_devices_come_and_go_between_messages(world: World) -> None:
    """Each message comes to those that are there when it is sent, and to no other."""
    alice = await world.client(ALICE)
    devices = {name: world.make(f"{BOB}/{name}") for name in ("one", "two", "three")}
    heard = {name: Heard(device, "message") for name, device in devices.items()}
    there: list[str] = []
    for number, name in enumerate(("one", "two", "one", "three", "two", "one", "two", "three")):
        if name in there:
            there.remove(name)
            await offline(devices[name])
        else:
            there.append(name)
            await online(devices[name], world.server)
        await world.settle(alice)
        if not there:
            continue
        alice.send_message(mto=BOB, mbody=f"message number {number}")
        for each in there:
            assert await heard[each].bodies(1) == [f"message number {number}"]
        await world.settle(alice, *(devices[each] for each in there))
        assert [len(each) for each in heard.values()] == [0, 0, 0]
    assert world.in_clear("message number") == []


async def test_who_changes_devices_in_the_middle_of_a_handshake_gets_his_message(world: World) -> None:
    """The only device goes away while its session is being made, and another one is there: what waited goes there."""
    alice, one = await world.client(ALICE), await world.client(ONE)
    await world.settle(alice, one)
    failed, hold = Heard(alice, "e2e_send_failed"), held_from(world, ONE)
    for number in range(3):
        alice.send_message(mto=BOB, mbody=f"message number {number}")
    alice.send_message(mto=ONE, mbody="for the first device")
    await until(hold.caught())
    two = await world.client(TWO)
    heard = Heard(two, "message")
    await world.settle(alice, two)
    world.server.disconnect(ONE)
    assert await heard.bodies(3) == [f"message number {number}" for number in range(3)]
    assert (await failed.take()).stanza["body"] == "for the first device"
    await world.settle(alice, two)
    assert (len(heard), len(failed)) == (0, 0)
    assert world.in_clear("message number", "for the first device") == []


async def test_nobody_is_left_and_it_is_said_once(world: World) -> None:
    """The only device goes away and there is no other one: a failure, with the reason why it did not go there."""
    alice, one = await world.client(ALICE), await world.client(ONE)
    await world.settle(alice, one)
    failed, hold = Heard(alice, "e2e_send_failed"), held_from(world, ONE)
    alice.send_message(mto=BOB, mbody="message in vain")
    await until(hold.caught())
    world.server.disconnect(ONE)
    assert "went offline" in str(await failed.take())
    e2e(alice).allow_plaintext(BOB)
    await world.client(TWO, "xep_0030", load=False)
    await world.settle(alice)
    assert len(failed) == 0
    assert world.in_clear("message in vain") == []


async def test_who_changes_to_a_device_without_encryption_gets_nothing_in_clear(world: World) -> None:
    """Though plaintext is allowed: what waited for a session that fails never falls back."""
    alice, one = await world.client(ALICE), await world.client(ONE)
    await world.settle(alice, one)
    e2e(alice).allow_plaintext(BOB)
    failed, hold = Heard(alice, "e2e_send_failed"), held_from(world, ONE)
    alice.send_message(mto=BOB, mbody="message in vain")
    await until(hold.caught())
    two = await world.client(TWO, "xep_0030", load=False)
    await world.settle(alice, two)
    world.server.disconnect(ONE)
    assert "went offline" in str(await failed.take())
    await world.settle(alice, two)
    assert world.in_clear("message in vain") == []


async def test_a_device_that_comes_during_a_handshake_has_the_next_message(world: World) -> None:
    """While another one's session is being made; both have what follows, in order."""
    alice, one = await world.client(ALICE), await world.client(ONE)
    await world.settle(alice, one)
    heard, hold = [Heard(one, "message")], held_from(world, ONE)
    alice.send_message(mto=BOB, mbody="message number 0")
    await until(hold.caught())
    two = await world.client(TWO)
    heard.append(Heard(two, "message"))
    await world.settle(alice, two)
    for number in (1, 2):
        alice.send_message(mto=BOB, mbody=f"message number {number}")
    assert await heard[1].bodies(2) == ["message number 1", "message number 2"]
    hold.release()
    assert await heard[0].bodies(3) == [f"message number {number}" for number in range(3)]
    assert world.in_clear("message number") == []


# --- one of them fails -----------------------------------------------------------------------------------------------


async def test_a_device_that_does_not_open_is_left_out_for_a_while(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told once by e2e_session_failed, messages go to the other one; later, or when it logs in anew, it has its turn."""
    alice, one = await world.client(ALICE), await world.client(ONE)
    two = await world.client(TWO, accept_from=[])
    await world.settle(alice, one, two)
    heard, told = Heard(one, "message"), Heard(alice, "e2e_session_failed")
    failed = Heard(alice, "e2e_send_failed")

    async def tries(count: int) -> int:
        for number in range(count):
            alice.send_message(mto=BOB, mbody=str(number))
            assert await heard.bodies(1) == [str(number)]
            await world.settle(alice, one, two)
        failures = len(told)
        assert all([(await told.take()).peer == TWO for _ in range(failures)])
        return failures

    assert await tries(1) == 1
    assert await tries(1) <= 1  # the way is found anew when the other one's session has opened
    assert await tries(4) == 0
    two.send_presence()
    await world.settle(two, alice)
    assert await tries(4) == 1
    monkeypatch.setattr(outbox, "RETRY_SECONDS", -1.0)
    e2e(alice).switchboard.outbox.avoid((ALICE, TWO))
    assert await tries(2) == 2
    assert len(failed) == 0
    await offline(one)
    await world.settle(alice)
    alice.send_message(mto=BOB, mbody="nobody else is there")
    assert isinstance((await failed.take()).error, PeerRefused)


async def test_a_device_that_is_held_keeps_nothing_from_the_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """More messages than may wait for one address: the one that is there has them all, the other one the last of them."""
    monkeypatch.setattr(outbox, "HOLD_STANZAS", 3)
    alice, one, two = [await world.client(jid) for jid in (ALICE, ONE, TWO)]
    await world.settle(alice, one, two)
    hold, heard, failed = held_from(world, TWO), [Heard(one, "message"), Heard(two, "message")], Heard(alice, "e2e_send_failed")
    for number in range(10):
        alice.send_message(mto=BOB, mbody=str(number))
        assert await heard[0].bodies(1) == [str(number)]
        await world.settle(alice, one)
    assert len(failed) == 0
    hold.release()
    got = [await heard[1].bodies(1) for _ in range(3)]
    assert got == [["7"], ["8"], ["9"]]
    await world.settle(alice, two)
    assert len(heard[1]) == 0
    assert not e2e(alice).switchboard.outbox._held


# --- keys ------------------------------------------------------------------------------------------------------------

Acts = Callable[[], Awaitable[Any]]


@pytest.mark.parametrize("change", ["by-trust-model", "hold", "reject"])
@pytest.mark.parametrize("verified", [False, True], ids=["known", "verified"])
async def test_a_new_device_of_a_peer_with_one(world: World, verified: bool, change: str) -> None:
    """Accepted and told, held and told, or refused and told; the first device has every message, and none goes in clear."""
    alice, one = await world.client(ALICE, on_key_change=change), await world.client(ONE)
    if verified:
        await e2e(alice).trust.pin(BOB, e2e(one).fingerprint)
    await world.settle(alice, one)
    await first(world, alice, one)
    two = await world.client(TWO)
    await world.settle(two, alice)
    changed, failed = Heard(alice, "e2e_key_changed"), Heard(alice, "e2e_send_failed")
    heard = {device: Heard(device, "message") for device in (one, two)}
    for number in range(2):
        alice.send_message(mto=BOB, mbody=f"message number {number}")
        message = await heard[one].take()
        assert message["body"] == f"message number {number}"
    assert next(link.assurance for link in e2e(alice).sessions() if link.peer == ONE) >= Assurance.VOUCHED
    report = (await changed.take()).detail
    assert report.fingerprint == e2e(two).fingerprint
    assert "trust pin" in report.text
    accepted = change == "by-trust-model" and not verified
    if not accepted:
        await world.settle(alice, two)
        assert len(heard[two]) == 0
        assert [link.peer for link in e2e(alice).sessions()] == [ONE]
        await e2e(alice).trust.pin(BOB, e2e(two).fingerprint)
    if change == "reject":
        alice.send_message(mto=BOB, mbody="after the pin")
        assert await heard[two].bodies(1) == ["after the pin"]
    else:
        assert await heard[two].bodies(2) == ["message number 0", "message number 1"]
    assert (len(failed), len(changed)) == (0, 0)
    assert world.in_clear("message number", "after the pin") == []


async def test_a_key_that_comes_back_is_known(world: World) -> None:
    """The old device after a new one, a blocked one after it was blocked: each is judged by itself."""
    alice = await world.client(ALICE)
    one = await world.client(ONE)
    await world.settle(alice, one)
    await first(world, alice, one)
    await offline(one)
    two = await world.client(TWO)
    await world.settle(alice, two)
    changed = Heard(alice, "e2e_key_changed")
    await first(world, alice, two)
    assert (await changed.take()).detail.kind == "new"
    await online(one, world.server)
    await world.settle(one, alice)
    heard = [Heard(device, "message") for device in (one, two)]
    started = Heard(alice, "e2e_session_start")
    alice.send_message(mto=BOB, mbody="to both of them")
    assert [await each.bodies(1) for each in heard] == [["to both of them"]] * 2
    assert (await started.take()).detail.assurance is Assurance.KNOWN
    assert len(changed) == 0
    await e2e(alice).trust.block(BOB, e2e(two).fingerprint)
    await world.settle(alice, one, two)
    alice.send_message(mto=BOB, mbody="to one of them")
    assert await heard[0].bodies(1) == ["to one of them"]
    assert (await changed.take()).detail.kind == "blocked"
    await world.settle(alice, two)
    assert len(heard[1]) == 0


# --- at the same instant ---------------------------------------------------------------------------------------------


async def test_first_messages_cross_when_one_side_has_two_devices(world: World) -> None:
    """Alice writes to Bob's account while both of his devices write to her: everything arrives once, in one session each."""
    alice, one, two = [await world.client(jid) for jid in (ALICE, ONE, TWO)]
    await world.settle(alice, one, two)
    names = ("e2e_session_failed", "e2e_send_failed")
    heard = {client: Heard(client, "message") for client in (alice, one, two)}
    failures = [Heard(client, name) for client in heard for name in names]
    for number in range(10):
        hold = hostile.Hold(world.server, jingle("session-initiate"))
        world.server.interfere.append(hold)
        alice.send_message(mto=BOB, mbody=f"to Bob {number}")
        for device in (one, two):
            device.send_message(mto="alice@localhost", mbody=f"to Alice {number}")
        await until(hold.caught(4))
        hold.release_reversed() if number % 2 else hold.release()
        assert await heard[alice].bodies(2) == [f"to Alice {number}"] * 2
        for device in (one, two):
            assert await heard[device].bodies(1) == [f"to Bob {number}"]
        await world.settle(alice, one, two)
        assert [len(list(e2e(client).switchboard.sessions)) for client in heard] == [2, 1, 1]
        await e2e(alice).close()
        await world.settle(alice, one, two)
        world.server.interfere.clear()
    assert not any(map(len, (*heard.values(), *failures)))
    assert world.in_clear("to Bob", "to Alice") == []
