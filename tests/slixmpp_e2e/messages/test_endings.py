"""A program that goes while something goes wrong is told what it has lost, and is not kept."""

from __future__ import annotations

import asyncio
from pathlib import Path
from xml.etree.ElementTree import Element

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e.errors import NotSentReason
from tests.slixmpp_e2e.env import ACCOUNTS, ALICE, BOB, Env, Events, block, e2e, turns, until
from xmpp_loopback import LoopbackServer, online, reconnect

LONG = 3600.0


async def speaking(env: Env, body: str = "the last words") -> tuple[ClientXMPP, ClientXMPP, Events]:
    """Two who have a session; what Alice has just said does not arrive."""
    alice, bob = await env.pair(disconnect_seconds=LONG)
    await env.session(alice, bob)
    failed = Events(alice, "e2e_send_failed")
    held = env.hold(block)
    alice.send_message(mto=bob.boundjid.full, mbody=body, mtype="chat")
    await held.caught()
    return alice, bob, failed


async def test_a_stream_that_is_lost_meanwhile(env: Env) -> None:
    """The program is told before it learns that it is disconnected, and does not wait for a stream that does not come."""
    alice, _, failed = await speaking(env)
    gone, told = Events(alice, "disconnected"), []
    alice.disconnected.add_done_callback(lambda _: told.append(len(failed)))
    going = alice.disconnect()
    await turns()
    alice.abort()
    await until(going)
    await gone.take()
    assert told == [1]
    assert not len(gone), "it was disconnected twice"
    assert (await failed.take()).error.reason is NotSentReason.DISCONNECTED


async def test_a_resumable_stream_that_is_lost_meanwhile(env: Env) -> None:
    """Whoever goes resumes nothing (XEP-0198)."""
    alice, bob = await env.client("alice@localhost/x", "xep_0198", disconnect_seconds=LONG), await env.client(BOB)
    await env.session(alice, bob)
    failed, held = Events(alice, "e2e_send_failed"), env.hold(block)
    alice.send_message(mto=bob.boundjid.full, mbody="the last words", mtype="chat")
    await held.caught()
    going = alice.disconnect()
    await turns()
    alice.abort()
    await until(going)
    assert (await failed.take()).error.reason is NotSentReason.DISCONNECTED


async def test_who_is_impatient(env: Env) -> None:
    """The second time without waiting, as by a second Ctrl-C."""
    alice, _, failed = await speaking(env)
    going = alice.disconnect()
    await turns()
    await until(alice.disconnect(wait=0))
    await until(going)
    assert (await failed.take()).error.reason is NotSentReason.DISCONNECTED


async def test_who_gives_up_waiting(env: Env) -> None:
    alice, _, failed = await speaking(env)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(alice.disconnect(), 0.1)
    assert (await failed.take()).error.reason is NotSentReason.DISCONNECTED
    assert not alice.is_connected()


async def test_who_goes_while_there_is_no_stream(env: Env) -> None:
    """What was kept for the next stream fails: there will be none."""
    alice, _, failed = await speaking(env)
    lost = Events(alice, "disconnected")
    alice.abort()
    await lost.take()
    await turns()
    assert not len(failed), "it is kept for the next stream"
    await until(alice.disconnect())
    assert (await failed.take()).error.reason is NotSentReason.DISCONNECTED


async def test_a_login_that_fails_is_not_held_up(env: Env) -> None:
    """slixmpp itself disconnects when the server refuses the password: what waits for the next stream goes on waiting."""
    alice, bob, failed = await speaking(env)
    lost, refused = Events(alice, "disconnected"), Events(alice, "failed_all_auth")
    alice.abort()
    await lost.take()
    env.server.hooks.clear()
    right, alice.password = alice.password, "wrong"
    alice.credentials["password"] = "wrong"
    with pytest.raises(Exception, match="refused"):
        await reconnect(alice, env.server)
    await refused.take()
    await lost.take()
    alice.password = alice.credentials["password"] = right
    heard = Events(bob, "message")
    await online(alice, env.server)
    assert (await heard.take())["body"] == "the last words"
    assert not len(failed)


async def test_who_only_reconnects_loses_nothing(env: Env) -> None:
    alice, bob = await env.pair()
    await env.session(alice, bob)
    heard, failed = Events(bob, "message"), Events(alice, "e2e_send_failed")
    started = Events(alice, "session_start")
    alice.send_message(mto=bob.boundjid.full, mbody="before", mtype="chat")
    alice.reconnect()
    await started.take()
    alice.send_presence()
    alice.send_message(mto=bob.boundjid.full, mbody="after", mtype="chat")
    assert await heard.bodies(2) == ["before", "after"]
    assert not len(failed)


def test_a_main_that_returns_too_soon(tmp_path: Path) -> None:
    """asyncio.run() cancels what is left: the words are lost, as slixmpp's would be, but the program is told."""
    env, lost = Env(None, tmp_path), []  # type: ignore[var-annotated]

    async def main() -> None:
        async with LoopbackServer(accounts=ACCOUNTS) as server:
            env.server = server
            env.servers = {server.domain: server}
            alice, bob = env.make(ALICE), await env.client(BOB)
            await online(alice, server)
            await env.session(alice, bob)
            alice.add_event_handler("e2e_send_failed", lost.append)
            held = env.hold(block)
            alice.send_message(mto=bob.boundjid.full, mbody="in vain", mtype="chat")
            await held.caught()
            alice.disconnect()
            await turns()

    asyncio.run(main())
    assert [event.error.reason for event in lost] == [NotSentReason.DISCONNECTED]


async def test_a_program_that_is_interrupted_while_it_waits_for_its_end(env: Env) -> None:
    """Ctrl-C cancels main(), and with it the future that main() waits for: that does not mean that the stream is gone."""
    alice, bob = await env.pair()
    await env.session(alice, bob)
    heard, ended, failed = Events(bob, "message"), Events(bob, "e2e_session_closed"), Events(alice, "e2e_send_failed")

    async def main() -> None:
        try:
            await alice.disconnected
        finally:
            await alice.disconnect()

    running = asyncio.ensure_future(main())
    await turns()
    alice.send_message(mto=bob.boundjid.full, mbody="the last words", mtype="chat")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await until(running)
    assert (await heard.take())["body"] == "the last words"
    assert (await ended.take()).clean
    assert not len(failed)


async def test_what_says_farewell_leaves_before_the_program_goes(env: Env) -> None:
    """Our own iqs wait in slixmpp's queue, too. They are nobody's words, and are not given up with these."""
    alice, bob = await env.pair()
    ours, _ = await env.session(alice, bob)
    failed, client = Events(alice, "e2e_send_failed"), e2e(alice)._client
    farewell = Element("{urn:xmpp:jingle:1}jingle", action="session-terminate", sid=ours.sid)
    client._channel.request(alice.boundjid.full, bob.boundjid.full, farewell, lambda refusal: None)
    client.give_up()
    await turns()
    assert [handled for handled in env.server.handled if "session-terminate" in handled.text]
    assert not len(failed)
