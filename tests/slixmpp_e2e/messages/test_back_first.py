"""Who is back before their peer waits for them."""

from __future__ import annotations

import pytest

from tests.slixmpp_e2e.env import Env, Events
from xmpp_loopback import reconnect


@pytest.mark.parametrize("to", ["full", "bare"])
@pytest.mark.parametrize("policy", ["prefer", "require"])
async def test_who_is_back_first_waits_for_the_peer(env: Env, to: str, policy: str) -> None:
    """A server has restarted, and the peer's client takes longer: their server answers for their full JID that nobody is there,
    which is no decision of theirs."""
    alice, bob = await env.pair(policy=policy, offline_seconds=60)
    await env.session(alice, bob)
    heard, failed, refused = Events(alice, "message"), Events(bob, "e2e_send_failed"), Events(bob, "e2e_session_failed")
    for client in (alice, bob):
        lost = Events(client, "disconnected")
        client.abort()
        await lost.take()
    for number in range(3):
        bob.send_message(mto=getattr(alice.boundjid, to), mbody=str(number), mtype="chat")
    await reconnect(bob, env.server)
    bob.send_presence()
    await env.settle(bob)
    bob.send_message(mto=getattr(alice.boundjid, to), mbody="3", mtype="chat")
    if to == "full":
        await refused.take()
    await reconnect(alice, env.server)
    alice.send_presence()
    assert await heard.bodies(4) == ["0", "1", "2", "3"]
    assert not len(failed)
