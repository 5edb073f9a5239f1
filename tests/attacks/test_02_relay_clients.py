"""Attack 2 end to end: the server itself is the man in the middle of two real clients."""

from __future__ import annotations

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e import E2ESession
from slixmpp_e2e.alarms import explain
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e, echo, until
from xmpp_e2e.errors import SessionCancelled, UntrustedKey
from xmpp_e2e.types import Assurance, KnownKeys
from xmpp_loopback import Mitm

SECRET = "the treasure is under the oak"


def between(env: Env) -> Mitm:
    """The server comes between Alice and Bob."""
    relay = Mitm(env.server.inject, ALICE, BOB)
    env.server.hooks.append(relay)
    return relay


async def acquainted(env: Env, alice: ClientXMPP, bob: ClientXMPP) -> None:
    """Alice and Bob have had a genuine session."""
    link, _ = await env.session(alice, bob)
    await until(link.close())


async def test_a_first_contact_is_fooled_and_labelled_vouched(env: Env) -> None:
    """Nothing can detect it: the message arrives, the reply comes back, the server has read both, and the label says
    ``vouched``, no more."""
    alice, bob = await env.pair()
    relay = between(env)
    told = [Events(client, "e2e_key_changed") for client in (alice, bob)]
    echo(bob)
    heard, replies = Events(bob, "message"), Events(alice, "message")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    for message in (await heard.take(), await replies.take()):
        assert str(message["e2e"]["assurance"]) == "vouched"
        assert message["e2e"]["fingerprint"] == relay.fingerprint
    assert relay.near.heard == [SECRET]
    assert relay.far.heard == [f"echo: {SECRET}"]
    assert not any(map(len, told))
    assert env.in_clear(SECRET) == []


async def test_a_known_peer_is_told_before_anything_is_said(env: Env) -> None:
    """Merely known, by the default trust model: accepted as ``vouched``; when the user is told, nothing has been read yet."""
    alice, bob = await env.pair()
    await acquainted(env, alice, bob)
    relay = between(env)
    read_when_told: list[list[str]] = []
    alice.add_event_handler("e2e_key_changed", lambda _: read_when_told.append(list(relay.near.heard)))
    told, heard = [Events(client, "e2e_key_changed") for client in (alice, bob)], Events(bob, "message")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert str((await heard.take())["e2e"]["assurance"]) == "vouched"
    assert read_when_told == [[]]
    for events, genuine in zip(told, (bob, alice), strict=True):
        change = (await events.take())
        assert (change.status, change.decision) == ("new", "accept")
        assert (change.fingerprint, change.known) == (relay.fingerprint, (e2e(genuine).fingerprint,))
        assert "A server that reads along would show just such a new key." in change.text
    assert env.in_clear(SECRET) == []


@pytest.mark.parametrize("on_key_change", ["hold", "reject"])
async def test_a_known_peer_who_is_to_be_held_or_refused_is(env: Env, on_key_change: str) -> None:
    """Whoever asks for it gets no stanza out to a key that is new."""
    alice, bob = await env.pair(on_key_change=on_key_change)
    await acquainted(env, alice, bob)
    relay = between(env)
    told, failed = Events(alice, "e2e_key_changed"), Events(alice, "e2e_send_failed")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    change = (await told.take())
    assert (change.status, change.decision) == ("new", on_key_change)
    if on_key_change == "hold":
        await e2e(alice).trust.block(BOB, change.fingerprint)
    assert isinstance((await failed.take()).error, UntrustedKey)
    assert relay.near.heard == []
    assert env.in_clear(SECRET) == []


async def test_a_pinned_peer_is_held_until_the_user_decides(env: Env) -> None:
    """A pinned key that is contradicted: nothing leaves; the user reads the command that resolves it, refuses the key, and
    learns that the message was not sent."""
    alice, bob = await env.pair()
    await e2e(alice).trust.pin(BOB, e2e(bob).fingerprint)
    relay = between(env)
    told, failed, heard = Events(alice, "e2e_key_changed"), Events(alice, "e2e_send_failed"), Events(bob, "message")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    change = (await told.take())
    assert (change.status, change.decision) == ("changed", "hold")
    assert "THE KEY OF bob@localhost HAS CHANGED" in change.text
    assert f"xmpp-e2e trust pin bob@localhost {relay.fingerprint}" in change.text
    await env.settle(alice, bob)
    assert not e2e(alice).sessions()
    assert len(failed) == 0  # it waits
    await e2e(alice).trust.block(BOB, change.fingerprint)
    report = await failed.take()
    assert isinstance(report.error, UntrustedKey)
    assert "which you have blocked" in str(report)
    assert relay.near.heard == []
    assert len(heard) == 0
    assert env.in_clear(SECRET) == []


async def test_an_unattended_bot_refuses_the_relay(env: Env) -> None:
    """Pinned, with on_key_change = reject: the session ends at once, and connect() raises what the user must know."""
    alice, bob = await env.pair(on_key_change="reject")
    await e2e(alice).trust.pin(BOB, e2e(bob).fingerprint)
    relay = between(env)
    with pytest.raises(UntrustedKey) as caught:
        await until((await e2e(alice).connect(BOB)).wait_open())
    assert "has ended; nothing more is sent or delivered" in explain(caught.value)
    assert "xmpp-e2e trust pin bob@localhost SHA256:" in explain(caught.value)
    assert relay.near.heard == []


async def test_a_pin_on_the_other_side_keeps_forgeries_out(env: Env) -> None:
    """Only Bob has pinned: Alice is fooled, as on any first contact, but nothing of it is delivered to Bob."""
    alice, bob = await env.pair()
    await e2e(bob).trust.pin(ALICE, e2e(alice).fingerprint)
    relay = between(env)
    told, heard = Events(bob, "e2e_key_changed"), Events(bob, "message")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert (await told.take()).decision == "hold"
    await env.settle(alice, bob)
    assert relay.near.heard == [SECRET]
    assert str(e2e(alice).sessions()[0].assurance) == "vouched"
    assert len(heard) == 0
    assert not e2e(bob).sessions()


async def test_an_untrusted_server_is_not_believed(env: Env) -> None:
    """Under server-untrusted a relay of a first contact never opens: the key is not verified."""
    alice, _ = await env.pair(trust_model="server-untrusted")
    relay = between(env)
    failed = Events(alice, "e2e_send_failed")
    link: E2ESession = await e2e(alice).connect(BOB)
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    await env.settle(alice)
    assert link.assurance is Assurance.VOUCHED
    assert not link.is_open
    await e2e(alice).close()
    assert isinstance((await failed.take()).error, SessionCancelled)
    assert relay.near.heard == []
    assert env.in_clear(SECRET) == []


async def test_control_without_the_relay_the_pin_is_met(env: Env) -> None:
    """Control: the same pin, without a relay, gives a verified session."""
    alice, bob = await env.pair()
    await e2e(alice).trust.pin(BOB, e2e(bob).fingerprint)
    link, _ = await env.session(alice, bob)
    assert link.assurance is Assurance.VERIFIED


async def test_control_without_the_judge(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: when what is remembered is kept from the judge, even a pinned peer is relayed."""
    alice, bob = await env.pair()
    await e2e(alice).trust.pin(BOB, e2e(bob).fingerprint)
    monkeypatch.setattr(type(e2e(alice)._store), "known_keys", lambda *_: KnownKeys())
    relay = between(env)
    heard = Events(bob, "message")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert (await heard.take())["body"] == SECRET
    assert relay.near.heard == [SECRET]
