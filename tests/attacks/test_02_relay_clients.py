"""Attack 2 end to end: the server itself is the man in the middle of two real clients."""

from __future__ import annotations

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e.sessions.driver import Link
from tests.slixmpp_e2e.world import ALICE, BOB, Heard, World, e2e, echo, until
from xmpp_e2e.errors import GivenUp, UntrustedKey
from xmpp_e2e.identity import Assurance, Remembered
from xmpp_loopback import Relay

SECRET = "the treasure is under the oak"


def between(world: World) -> Relay:
    """The server comes between Alice and Bob."""
    relay = Relay(world.server.inject, ALICE, BOB)
    world.server.interfere.append(relay)
    return relay


async def acquainted(world: World, alice: ClientXMPP, bob: ClientXMPP) -> None:
    """Alice and Bob have had a genuine session."""
    link, _ = await world.session(alice, bob)
    await until(link.close())


async def test_a_first_contact_is_fooled_and_labelled_vouched(world: World) -> None:
    """Nothing can detect it: the message arrives, the reply comes back, the server has read both, and the label says
    ``vouched``, no more."""
    alice, bob = await world.pair()
    relay = between(world)
    told = [Heard(client, "e2e_key_changed") for client in (alice, bob)]
    echo(bob)
    heard, replies = Heard(bob, "message"), Heard(alice, "message")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    for message in (await heard.take(), await replies.take()):
        assert str(message["e2e"]["assurance"]) == "vouched"
        assert message["e2e"]["fingerprint"] == relay.fingerprint
    assert relay.near.heard == [SECRET]
    assert relay.far.heard == [f"echo: {SECRET}"]
    assert not any(map(len, told))
    assert world.in_clear(SECRET) == []


async def test_a_known_peer_is_told_before_anything_is_said(world: World) -> None:
    """Merely known, by the default trust model: accepted as ``vouched``; when the user is told, nothing has been read yet."""
    alice, bob = await world.pair()
    await acquainted(world, alice, bob)
    relay = between(world)
    read_when_told: list[list[str]] = []
    alice.add_event_handler("e2e_key_changed", lambda _: read_when_told.append(list(relay.near.heard)))
    told, heard = [Heard(client, "e2e_key_changed") for client in (alice, bob)], Heard(bob, "message")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert str((await heard.take())["e2e"]["assurance"]) == "vouched"
    assert read_when_told == [[]]
    for events, genuine in zip(told, (bob, alice), strict=True):
        change = (await events.take()).detail
        assert (change.kind, change.decision) == ("new", "accept")
        assert (change.fingerprint, change.remembered) == (relay.fingerprint, (e2e(genuine).fingerprint,))
        assert "A server that reads along would show just such a new key." in change.text
    assert world.in_clear(SECRET) == []


@pytest.mark.parametrize("on_key_change", ["hold", "reject"])
async def test_a_known_peer_who_is_to_be_held_or_refused_is(world: World, on_key_change: str) -> None:
    """Whoever asks for it gets no stanza out to a key that is new."""
    alice, bob = await world.pair(on_key_change=on_key_change)
    await acquainted(world, alice, bob)
    relay = between(world)
    told, failed = Heard(alice, "e2e_key_changed"), Heard(alice, "e2e_send_failed")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    change = (await told.take()).detail
    assert (change.kind, change.decision) == ("new", on_key_change)
    if on_key_change == "hold":
        await e2e(alice).trust.block(BOB, change.fingerprint)
    assert isinstance((await failed.take()).error, UntrustedKey)
    assert relay.near.heard == []
    assert world.in_clear(SECRET) == []


async def test_a_pinned_peer_is_held_until_the_user_decides(world: World) -> None:
    """A pinned key that is contradicted: nothing leaves; the user reads the command that resolves it, refuses the key, and
    learns that the message was not sent."""
    alice, bob = await world.pair()
    await e2e(alice).trust.pin(BOB, e2e(bob).fingerprint)
    relay = between(world)
    told, failed, heard = Heard(alice, "e2e_key_changed"), Heard(alice, "e2e_send_failed"), Heard(bob, "message")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    change = (await told.take()).detail
    assert (change.kind, change.decision) == ("changed", "hold")
    assert "THE KEY OF bob@localhost HAS CHANGED" in change.text
    assert f"xmpp-e2e trust pin bob@localhost {relay.fingerprint}" in change.text
    await world.settle(alice, bob)
    assert not e2e(alice).sessions()
    assert len(failed) == 0  # it waits
    await e2e(alice).trust.block(BOB, change.fingerprint)
    report = await failed.take()
    assert isinstance(report.error, UntrustedKey)
    assert "which you have blocked" in str(report)
    assert relay.near.heard == []
    assert len(heard) == 0
    assert world.in_clear(SECRET) == []


async def test_an_unattended_bot_refuses_the_relay(world: World) -> None:
    """Pinned, with on_key_change = reject: the session ends at once, and connect() raises what the user must know."""
    alice, bob = await world.pair(on_key_change="reject")
    await e2e(alice).trust.pin(BOB, e2e(bob).fingerprint)
    relay = between(world)
    with pytest.raises(UntrustedKey, match=r"xmpp-e2e trust pin bob@localhost SHA256:") as caught:
        await until((await e2e(alice).connect(BOB)).opened())
    assert "has ended; nothing more is sent or delivered" in caught.value.explain()
    assert relay.near.heard == []


async def test_a_pin_on_the_other_side_keeps_forgeries_out(world: World) -> None:
    """Only Bob has pinned: Alice is fooled, as on any first contact, but nothing of it is delivered to Bob."""
    alice, bob = await world.pair()
    await e2e(bob).trust.pin(ALICE, e2e(alice).fingerprint)
    relay = between(world)
    told, heard = Heard(bob, "e2e_key_changed"), Heard(bob, "message")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert (await told.take()).detail.decision == "hold"
    await world.settle(alice, bob)
    assert relay.near.heard == [SECRET]
    assert str(e2e(alice).sessions()[0].assurance) == "vouched"
    assert len(heard) == 0
    assert not e2e(bob).sessions()


async def test_an_untrusted_server_is_not_believed(world: World) -> None:
    """Under server-untrusted a relay of a first contact never opens: the key is not verified."""
    alice, _ = await world.pair(trust_model="server-untrusted")
    relay = between(world)
    failed = Heard(alice, "e2e_send_failed")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    link: Link = await e2e(alice).connect(BOB)
    assert link.assurance is Assurance.VOUCHED
    assert not link.is_open
    await e2e(alice).close()
    assert isinstance((await failed.take()).error, GivenUp)
    assert relay.near.heard == []
    assert world.in_clear(SECRET) == []


async def test_control_without_the_relay_the_pin_is_met(world: World) -> None:
    """Control: the same pin, without a relay, gives a verified session."""
    alice, bob = await world.pair()
    await e2e(alice).trust.pin(BOB, e2e(bob).fingerprint)
    link, _ = await world.session(alice, bob)
    assert link.assurance is Assurance.VERIFIED


async def test_control_without_the_judge(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: when what is remembered is kept from the judge, even a pinned peer is relayed."""
    alice, bob = await world.pair()
    await e2e(alice).trust.pin(BOB, e2e(bob).fingerprint)
    monkeypatch.setattr(type(e2e(alice).memory), "remembered", lambda self, bare: Remembered())
    relay = between(world)
    heard = Heard(bob, "message")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert (await heard.take())["body"] == SECRET
    assert relay.near.heard == [SECRET]
