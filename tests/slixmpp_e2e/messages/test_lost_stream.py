"""What a program sends while its stream is being lost."""

from __future__ import annotations

import pytest

from tests.slixmpp_e2e.env import Env, Events, e2e, until
from xmpp_loopback import reconnect


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


async def test_nobody_waits_for_ever_for_what_was_lost(env: Env) -> None:
    """slixmpp never counts what it throws away as done, and so would ``flush()`` wait."""
    alice, bob = await env.pair(policy="off")
    assert alice.transport is not None
    alice.transport.abort()
    alice.send_message(mto=bob.boundjid.full, mbody="in plaintext", mtype="chat")
    await Events(alice, "disconnected").take()
    await until(e2e(alice).flush())
