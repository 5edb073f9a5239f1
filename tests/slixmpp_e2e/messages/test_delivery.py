"""What is sent through us arrives once and in order, or its sender is told."""

from __future__ import annotations

from typing import Any

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e.errors import NotSent, NotSentReason, PeerOffline, RefusedByPolicy
from slixmpp_e2e.xmpp import outcomes
from tests.slixmpp_e2e.env import BOB, Env, Events, block, e2e, jingle, turns, until
from xmpp_e2e.errors import BytestreamFailed
from xmpp_loopback import offline


class Told:
    """What became of the messages of one client."""

    def __init__(self, client: ClientXMPP) -> None:
        self.sent, self.delivered = Events(client, "e2e_sent"), Events(client, "e2e_delivered")
        self.failed, self.heard = Events(client, "e2e_send_failed"), Events(client, "message")


def say(client: ClientXMPP, peer: ClientXMPP, *bodies: str) -> None:
    for body in bodies:
        client.send_message(mto=peer.boundjid.full, mbody=body, mtype="chat")


async def bodies(events: Events, count: int) -> list[str]:
    return [(await events.take()).stanza["body"] for _ in range(count)]


async def open_both(env: Env, **config: Any) -> tuple[ClientXMPP, ClientXMPP, Told, Told]:
    alice, bob = await env.pair(**config)
    await env.session(alice, bob)
    return alice, bob, Told(alice), Told(bob)


async def test_each_message_has_one_end(env: Env) -> None:
    alice, bob, of_alice, of_bob = await open_both(env)
    say(alice, bob, "one", "two")
    assert await of_bob.heard.bodies(2) == ["one", "two"]
    assert await bodies(of_alice.sent, 2) == ["one", "two"]
    delivered = [await of_alice.delivered.take() for _ in range(2)]
    assert [event.stanza["body"] for event in delivered] == ["one", "two"]
    assert delivered[0].sessions == e2e(alice).sessions()
    await env.settle(alice, bob)
    assert not len(of_alice.failed) + len(of_alice.delivered)


async def test_a_peer_who_goes_and_comes_back_gets_all(env: Env) -> None:
    """Who goes unavailable drops the session for us, while theirs still stands: what they send in it is sent again."""
    alice, bob, of_alice, of_bob = await open_both(env)
    gone = Events(alice, "e2e_session_closed")
    bob.send_presence(ptype="unavailable")
    await gone.take()
    bob.send_presence()
    words = [f"message {number}" for number in range(5)]
    say(bob, alice, *words)
    assert await of_alice.heard.bodies(5) == words
    assert await bodies(of_bob.delivered, 5) == words
    say(alice, bob, *words)
    assert await of_bob.heard.bodies(5) == words
    assert await bodies(of_alice.delivered, 5) == words
    assert not len(of_alice.failed) + len(of_bob.failed)


async def test_a_path_that_loses_blocks(env: Env) -> None:
    """The server loses blocks of both sides for a while: the session breaks, and the next one makes up for all."""
    alice, bob, of_alice, of_bob = await open_both(env)
    held = env.hold(block)
    say(alice, bob, "a1", "a2")
    say(bob, alice, "b1", "b2")
    await turns(50)
    env.server.hooks.remove(held)
    for session in e2e(alice).sessions():
        session._driver.abort_unreachable(BytestreamFailed("cut"))
    say(alice, bob, "a3")
    say(bob, alice, "b3")
    assert await of_bob.heard.bodies(3) == ["a1", "a2", "a3"]
    assert await of_alice.heard.bodies(3) == ["b1", "b2", "b3"]
    assert await bodies(of_alice.delivered, 3) == ["a1", "a2", "a3"]
    assert await bodies(of_bob.delivered, 3) == ["b1", "b2", "b3"]


async def test_send_returns_when_the_peer_has_acknowledged(env: Env) -> None:
    alice, bob = await env.pair()
    heard = Events(bob, "message")
    for body in ("the first, which opens a session", "the second"):
        sessions = await until(e2e(alice).send(alice.make_message(bob.boundjid.full, body)))
        assert [session.peer for session in sessions] == [bob.boundjid.full]
        assert (await heard.take())["body"] == body


async def test_send_says_what_went_wrong(env: Env) -> None:
    alice = await env.client("alice@localhost/x", policy="require")
    with pytest.raises(PeerOffline):
        await until(e2e(alice).send(alice.make_message("bob@localhost", "nobody is there")))


async def test_send_gives_up_after_a_while(env: Env) -> None:
    alice, bob, of_alice, _ = await open_both(env)
    held = env.hold(block)
    with pytest.raises(NotSent) as caught:
        await until(e2e(alice).send(alice.make_message(bob.boundjid.full, "slow"), timeout=0.1))
    assert caught.value.reason is NotSentReason.UNACKNOWLEDGED
    held.release()
    assert await bodies(of_alice.delivered, 1) == ["slow"]


async def test_flush_waits_for_all(env: Env) -> None:
    alice, bob = await env.pair()
    heard = Events(bob, "message")
    say(alice, bob, *(str(number) for number in range(50)))
    await until(e2e(alice).flush(bob.boundjid.full))
    assert await heard.bodies(50) == [str(number) for number in range(50)]
    await until(e2e(alice).flush())


@pytest.mark.parametrize("way", ["disconnect", "close, disconnect", "connect, send, close"])
@pytest.mark.parametrize("to", ["full", "bare"])
async def test_a_program_that_sends_and_goes(env: Env, way: str, to: str) -> None:
    """An unmodified one: what it has sent arrives, and its peer reads a clean end."""
    alice, bob = await env.pair()
    heard, ended = Events(bob, "message"), Events(bob, "e2e_session_closed")
    if way == "connect, send, close":
        session = await until(e2e(alice).connect(bob.boundjid.full))
        await until(session.wait_open())
    alice.send_message(mto=getattr(bob.boundjid, to), mbody="the last words", mtype="chat")
    if way == "close, disconnect":
        await until(e2e(alice).close())
    elif way == "connect, send, close":
        await until(session.close())
    await until(alice.disconnect())
    assert (await heard.take())["body"] == "the last words"
    assert (await ended.take()).clean


async def test_a_program_that_disconnects_waits_no_longer_than_it_is_told(env: Env) -> None:
    alice, bob, of_alice, _ = await open_both(env, disconnect_seconds=0.2)
    env.hold(block)
    say(alice, bob, "in vain")
    await until(alice.disconnect())
    assert (await of_alice.failed.take()).stanza["body"] == "in vain"


async def test_what_waits_can_be_withdrawn(env: Env) -> None:
    alice, bob = await env.pair()
    of_alice = Told(alice)
    env.hold(jingle("session-accept"))
    say(alice, bob, "one", "two")
    await env.settle(alice)
    assert e2e(alice).cancel(bob.boundjid.full) == 2
    failures = [await of_alice.failed.take() for _ in range(2)]
    assert {event.error.reason for event in failures} == {NotSentReason.CANCELLED}


async def test_a_stanza_tells_what_has_become_of_it(env: Env) -> None:
    alice, bob = await env.pair()
    of_alice = Told(alice)
    message = alice.make_message(bob.boundjid.full, "hello")
    assert message["e2e"]["delivery"] is None
    accept = env.hold(jingle("session-accept"))
    message.send()
    await accept.caught()
    assert message["e2e"]["delivery"] == "held"
    accept.release()
    await of_alice.delivered.take()
    assert message["e2e"]["delivery"] == "delivered"
    assert message["e2e"]["session"] is e2e(alice).sessions()[0]
    assert str(message["e2e"]["assurance"]) == "vouched"
    blocks = env.hold(block)
    message = alice.make_message(bob.boundjid.full, "again")
    message.send()
    await blocks.caught()
    assert message["e2e"]["delivery"] == "sent"
    blocks.release()
    await of_alice.delivered.take()
    assert not env.in_clear("protection")


async def test_a_stanza_that_went_in_plaintext_or_failed_tells_so(env: Env) -> None:
    alice, bob = await env.client("alice@localhost/x", policy="off"), await env.client("bob@localhost/b", policy="require")
    plain, failing = alice.make_message(bob.boundjid.full, "plain"), bob.make_message("carol@localhost", "fails")
    failed = Events(bob, "e2e_send_failed")
    plain.send()
    failing.send()
    error = (await failed.take()).error
    await env.settle(alice, bob)
    assert (plain["e2e"]["delivery"], plain["e2e"]["session"]) == ("plaintext", None)
    assert (failing["e2e"]["delivery"], failing["e2e"]["error"]) == ("failed", error)


async def test_who_is_away_for_a_moment_loses_nothing(env: Env) -> None:
    """A peer who is known, and offline: what is for them waits a while."""
    alice, bob, of_alice, _ = await open_both(env, offline_seconds=60)
    gone = Events(alice, "e2e_session_closed")
    await offline(bob)
    await gone.take()
    for to in (bob.boundjid.full, bob.boundjid.bare):
        alice.send_message(mto=to, mbody=f"for {to}", mtype="chat")
    await env.settle(alice)
    assert not len(of_alice.failed)
    again = await env.client(env.bob)
    heard = Events(again, "message")
    assert set(await heard.bodies(2)) == {f"for {BOB}", "for bob@localhost"}
    assert not env.in_clear("for bob")


async def test_who_stays_away_is_not_waited_for_for_ever(env: Env) -> None:
    alice, bob, of_alice, _ = await open_both(env, offline_seconds=0.2)
    await offline(bob)
    for _ in range(2):
        alice.send_message(mto=bob.boundjid.bare, mbody="in vain", mtype="chat")
        assert isinstance((await of_alice.failed.take()).error, PeerOffline)


async def test_what_was_not_acknowledged_is_not_resent_where_the_policy_is_off_by_now(env: Env) -> None:
    alice, bob, of_alice, _ = await open_both(env)
    env.hold(block)
    say(alice, bob, "maybe it came")
    await env.settle(alice)
    e2e(alice).set_policy(bob.boundjid.bare, "off")
    for session in e2e(alice).sessions(bob.boundjid.bare):
        session._driver.abort_unreachable(BytestreamFailed("cut"))
    assert isinstance((await of_alice.failed.take()).error, RefusedByPolicy)
    assert not e2e(alice).sessions(bob.boundjid.bare)


async def test_a_program_that_goes_without_a_connection_is_told(env: Env) -> None:
    """What waits for the next stream, or was not acknowledged in the last one, fails when the program disconnects for good."""
    alice, bob, of_alice, _ = await open_both(env)
    env.hold(block)
    lost = Events(alice, "disconnected")
    say(alice, bob, "one")
    await env.settle(alice)
    alice.abort()
    await lost.take()
    say(alice, bob, "two")
    await until(alice.disconnect())
    failures = [await of_alice.failed.take() for _ in range(2)]
    assert {event.stanza["body"] for event in failures} == {"one", "two"}


async def test_a_client_that_reconnects_does_not_wait(env: Env) -> None:
    """A dead connection, of which slixmpp has heard by a ping: what was not acknowledged goes on with the next one."""
    alice, bob, of_alice, of_bob = await open_both(env)
    held = env.hold(block)
    say(alice, bob, "one")
    await held.caught()
    env.server.hooks.remove(held)
    started = Events(alice, "session_start")
    alice.reconnect(0.0, "ping timeout")
    await started.take()
    alice.send_presence()
    assert await bodies(of_alice.delivered, 1) == ["one"]
    assert await of_bob.heard.bodies(1) == ["one"]


@pytest.mark.parametrize("way", ["open", "waits", "resent", "fails"])
async def test_what_becomes_of_a_stanza_is_told_of_what_was_sent(env: Env, way: str) -> None:
    """Its sender may use the object again, with other words. What goes in the next session are the first ones."""
    alice, bob = await env.pair(queue_seconds=0.5 if way == "fails" else 300.0)
    if way != "waits":
        await env.session(alice, bob)
        alice.send_message(mto=bob.boundjid.full, mbody="hello", mtype="chat")  # from then on the way is known
        await until(e2e(alice).flush())
        await env.settle(alice, bob)
    heard = Events(bob, "message")
    delivered, failed, sent = (Events(alice, f"e2e_{each}") for each in ("delivered", "send_failed", "sent"))
    stanza = alice.make_message(mto=bob.boundjid.full, mbody="first", mtype="chat")
    if way in ("resent", "fails"):
        hold = env.hold(block)
    stanza.send()
    if way == "waits":
        await turns()
    else:
        await sent.take()
    stanza["body"] = "changed"
    if way in ("resent", "fails"):
        await until(hold.caught())
        hold.discard()
        if way == "resent":
            env.server.hooks.clear()
        for driver in e2e(alice)._client.registry:
            driver.abort(BytestreamFailed("cut"))
    told = await (failed if way == "fails" else delivered).take()
    assert told.stanza["body"] == "first"
    assert told.stanza["to"] == bob.boundjid.full
    for each in (told.stanza, stanza):
        assert (outcome := outcomes.of(each)) is not None
        assert outcome.state == ("failed" if way == "fails" else "delivered")
    if way != "fails":
        assert await heard.bodies(1) == ["first"]
    assert stanza["body"] == "changed"
