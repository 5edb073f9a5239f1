"""What was decided under one policy, or for one spelling of an address, must not hold under another."""

from __future__ import annotations

from dataclasses import replace

import pytest

from slixmpp_e2e.store import SQLStore
from tests.slixmpp_e2e.world import ALICE, BOB, Heard, World, e2e, echo, until
from xmpp_e2e.trust.policy import Policy

SECRET = "the treasure is under the oak"


async def test_a_route_in_clear_does_not_outlive_the_policy(world: World) -> None:
    """The way to a stranger was found to be in clear; then another process (the command line) sets ``require`` for him."""
    alice = await world.client(ALICE, policy="prefer")
    bob = await world.client(BOB, load=False)
    await world.settle(alice, bob)
    heard, failed = Heard(bob, "message"), Heard(alice, "e2e_send_failed")
    alice.send_message(mto=BOB, mbody="harmless", mtype="chat")
    await heard.take()
    with SQLStore.open(e2e(alice).memory.path) as other:
        other.set_policy("bob@localhost", replace(other.policy("bob@localhost"), policy=Policy.REQUIRE))
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    await failed.take()
    assert world.in_clear(SECRET) == []


@pytest.mark.parametrize("spelling", ["Bob@localhost/b", "bob@LOCALHOST/b"])
async def test_an_address_has_one_spelling(world: World, spelling: str) -> None:
    """A server that stamps another spelling of an address gets no session under it: what is answered to one spelling would
    be looked up under the other."""
    await world.pair()
    jingle = "<jingle xmlns='urn:xmpp:jingle:1' action='session-initiate' sid='s'/>"
    world.server.inject(ALICE, f"<iq from='{spelling}' to='{ALICE}' type='set' id='spelt'>{jingle}</iq>")
    answer = await until(world.server.saw(lambda handled: handled.way.value == "received" and "spelt" in handled.text))
    assert "service-unavailable" in answer.text


async def test_an_echo_bot_under_require_never_speaks_in_clear(world: World) -> None:
    """All types of messages, forged in a peer's name while a session is open, closing and over."""
    alice, bob = await world.pair(policy="require")
    echo(alice)
    ours, _ = await world.session(alice, bob)
    for stage in range(2):
        for kind in ("chat", "normal", "headline", "error", "groupchat"):
            for sender in (BOB, "bob@localhost", "bob@localhost/other"):
                body = f"<body>{SECRET}</body>"
                world.server.inject(ALICE, f"<message from='{sender}' to='{ALICE}' type='{kind}'>{body}</message>")
        await world.settle(alice, bob)
        if not stage:
            await ours.close()
    said = [handled.text for handled in world.server.seen if handled.client == ALICE and handled.way.value == "received"]
    assert not [text for text in said if "echo" in text or "<message" in text]
