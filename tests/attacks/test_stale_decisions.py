"""What was decided under one policy, or for one spelling of an address, must not hold under another."""

from __future__ import annotations

from dataclasses import replace

import pytest

from slixmpp_e2e.policy import Policy
from slixmpp_e2e.store import SQLStore
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e, echo, until

SECRET = "the treasure is under the oak"


async def test_a_route_in_clear_does_not_outlive_the_policy(env: Env) -> None:
    """The way to a stranger was found to be in clear; then another process (the command line) sets ``require`` for them."""
    alice = await env.client(ALICE, policy="prefer")
    bob = await env.client(BOB, load=False)
    await env.settle(alice, bob)
    heard, failed = Events(bob, "message"), Events(alice, "e2e_send_failed")
    alice.send_message(mto=BOB, mbody="harmless", mtype="chat")
    await heard.take()
    with SQLStore.open(e2e(alice)._store.path) as other:
        other.set_policy("bob@localhost", replace(other.policy("bob@localhost"), policy=Policy.REQUIRE))
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    await failed.take()
    assert env.in_clear(SECRET) == []


@pytest.mark.parametrize("spelling", ["Bob@localhost/b", "bob@LOCALHOST/b"])
async def test_an_address_has_one_spelling(env: Env, spelling: str) -> None:
    """A server that stamps another spelling of an address gets no session under it: what is answered to one spelling would
    be looked up under the other."""
    await env.pair()
    jingle = "<jingle xmlns='urn:xmpp:jingle:1' action='session-initiate' sid='s'/>"
    env.server.inject(ALICE, f"<iq from='{spelling}' to='{ALICE}' type='set' id='spelt'>{jingle}</iq>")
    answer = await until(env.server.wait_for(lambda handled: handled.direction.value == "received" and "spelt" in handled.text))
    assert "service-unavailable" in answer.text


async def test_an_echo_bot_under_require_never_speaks_in_clear(env: Env) -> None:
    """All types of messages, forged in a peer's name while a session is open, closing and over."""
    alice, bob = await env.pair(policy="require")
    echo(alice)
    ours, _ = await env.session(alice, bob)
    for stage in range(2):
        for kind in ("chat", "normal", "headline", "error", "groupchat"):
            for sender in (BOB, "bob@localhost", "bob@localhost/other"):
                body = f"<body>{SECRET}</body>"
                env.server.inject(ALICE, f"<message from='{sender}' to='{ALICE}' type='{kind}'>{body}</message>")
        await env.settle(alice, bob)
        if not stage:
            await ours.close()
    said = [handled.text for handled in env.server.handled if handled.client == ALICE and handled.direction.value == "received"]
    assert not [text for text in said if "echo" in text or "<message" in text]
