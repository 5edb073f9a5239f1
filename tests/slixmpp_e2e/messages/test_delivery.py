"""What is sent through us arrives once and in order, or its sender is told."""

from __future__ import annotations

from typing import Any

from slixmpp import ClientXMPP

from tests.slixmpp_e2e.env import Env, Events, block, e2e, turns, until


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
        session._driver.abort_unreachable(slixmpp_broken())
    say(alice, bob, "a3")
    say(bob, alice, "b3")
    assert await of_bob.heard.bodies(3) == ["a1", "a2", "a3"]
    assert await of_alice.heard.bodies(3) == ["b1", "b2", "b3"]
    assert await bodies(of_alice.delivered, 3) == ["a1", "a2", "a3"]
    assert await bodies(of_bob.delivered, 3) == ["b1", "b2", "b3"]


def slixmpp_broken() -> Exception:
    from xmpp_e2e.errors import BytestreamFailed

    return BytestreamFailed("cut")
