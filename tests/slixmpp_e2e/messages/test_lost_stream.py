"""What a program sends while its stream is being lost."""

from __future__ import annotations

import asyncio

import pytest
from slixmpp.xmlstream.stanzabase import StanzaBase

from slixmpp_e2e.errors import NotSentReason
from tests.slixmpp_e2e.env import Env, Events, block, e2e, until
from xmpp_loopback import connect, reconnect


@pytest.mark.parametrize("has_session", [True, False], ids=["in a session", "first"])
async def test_what_slixmpp_has_yet_to_show_us_is_not_lost(env: Env, has_session: bool) -> None:
    """It throws away what it has queued when the stream is lost, without a word."""
    alice, bob = await env.pair()
    if has_session:
        await env.session(alice, bob)
    heard, delivered, lost = Events(bob, "message"), Events(alice, "e2e_delivered"), Events(alice, "disconnected")
    assert alice.transport is not None
    alice.transport.abort()  # asyncio says so in the next turn, before slixmpp looks into its queue
    for number in range(3):
        alice.send_message(mto=bob.boundjid.full, mbody=str(number), mtype="chat")
    await lost.take()
    await reconnect(alice, env.server)
    alice.send_presence()
    assert await heard.bodies(3) == ["0", "1", "2"]
    assert [(await delivered.take()).stanza["body"] for _ in range(3)] == ["0", "1", "2"]


async def test_what_is_queued_does_not_overtake_what_other_filters_have(env: Env) -> None:
    """A filter of another plugin may take its time, and the stream is lost meanwhile."""
    alice, bob = await env.pair()
    await env.session(alice, bob)
    heard, lost = Events(bob, "message"), Events(alice, "disconnected")
    reached, released = asyncio.Event(), asyncio.Event()

    async def take_time(stanza: StanzaBase) -> StanzaBase:
        if stanza.xml.findtext("{jabber:client}body") == "0":
            reached.set()
            await released.wait()
        return stanza

    alice.add_filter("out", take_time)
    alice.send_message(mto=bob.boundjid.full, mbody="0", mtype="chat")
    await until(reached.wait())
    alice.send_message(mto=bob.boundjid.full, mbody="1", mtype="chat")
    assert alice.transport is not None
    alice.transport.abort()
    await lost.take()
    released.set()
    await reconnect(alice, env.server)
    alice.send_presence()
    assert await heard.bodies(2) == ["0", "1"]
    await env.settle(alice, bob)
    assert not len(heard)


@pytest.mark.parametrize("early", [False, True], ids=["held by us", "not shown to us yet"])
async def test_who_disconnects_without_a_stream_is_told_of_what_waits(env: Env, early: bool) -> None:
    """A program that ends while its server is away: nothing can be waited for, and nothing is lost without a word."""
    alice, bob = await env.pair()
    await env.session(alice, bob)
    failed, lost = Events(alice, "e2e_send_failed"), Events(alice, "disconnected")
    assert alice.transport is not None
    alice.transport.abort()
    if early:
        await lost.take()
    for number in range(3):
        alice.send_message(mto=bob.boundjid.full, mbody=str(number), mtype="chat")
    if not early:
        await lost.take()
        assert not len(failed)
    await until(alice.disconnect())
    told = [await failed.take() for _ in range(3)]
    assert [failure.stanza["body"] for failure in told] == ["0", "1", "2"]
    assert {failure.error.reason for failure in told} == {NotSentReason.DISCONNECTED}


async def test_who_disconnects_during_a_login_is_told(env: Env) -> None:
    """A program that ends while it is connecting again. (When the login fails, slixmpp itself disconnects, and nothing is given
    up: test_endings.py.)"""
    alice, bob = await env.pair()
    await env.session(alice, bob)
    failed, lost, connected = (Events(alice, event) for event in ("e2e_send_failed", "disconnected", "connected"))
    assert alice.transport is not None
    alice.transport.abort()
    await lost.take()
    alice.send_message(mto=bob.boundjid.full, mbody="hello", mtype="chat")
    connect(alice, env.server)
    await connected.take()
    await until(alice.disconnect())
    assert (await failed.take()).stanza["body"] == "hello"


async def test_who_disconnects_at_once_is_told(env: Env) -> None:
    """``wait=0`` and ``ignore_send_queue`` ask for no farewell."""
    for how in ({"wait": 0}, {"ignore_send_queue": True}):
        alice, bob = await env.pair()
        await env.session(alice, bob)
        failed = Events(alice, "e2e_send_failed")
        held = env.hold(block)
        alice.send_message(mto=bob.boundjid.full, mbody="in vain", mtype="chat")
        await held.caught()
        await until(alice.disconnect(**how))
        assert (await failed.take()).stanza["body"] == "in vain"
        env.server.hooks.remove(held)
        await until(bob.disconnect())


async def test_what_waits_outlives_a_reconnect(env: Env) -> None:
    """slixmpp disconnects for it, too."""
    alice, bob = await env.pair()
    await env.session(alice, bob)
    heard, failed, back = Events(bob, "message"), Events(alice, "e2e_send_failed"), Events(alice, "session_start")
    held = env.hold(block)
    alice.send_message(mto=bob.boundjid.full, mbody="patience", mtype="chat")
    await held.caught()
    env.server.hooks.remove(held)
    alice.reconnect(wait=0.1)
    await back.take()
    alice.send_presence()
    assert await heard.bodies(1) == ["patience"]
    assert not len(failed)


async def test_nobody_waits_for_ever_for_what_was_lost(env: Env) -> None:
    """slixmpp never counts what it throws away as done, and so would ``flush()`` wait."""
    alice, bob = await env.pair(policy="off")
    assert alice.transport is not None
    alice.transport.abort()
    alice.send_message(mto=bob.boundjid.full, mbody="in plaintext", mtype="chat")
    await Events(alice, "disconnected").take()
    await until(e2e(alice).flush())
