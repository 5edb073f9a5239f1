"""The path is lost while the opening of a session is being stored, with the first stanzas behind it."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.slixmpp_e2e.env import Env, Events, e2e, until
from xmpp_e2e import events
from xmpp_e2e.errors import BytestreamFailed


async def test_what_waits_behind_an_opening_is_sent_again(env: Env) -> None:
    """It has come, and no handler has got it: the peer must not hear that it arrived."""
    alice, bob = await env.pair()
    heard, delivered = Events(bob, "message"), Events(alice, "e2e_delivered")
    recorder: Any = e2e(bob)._client._recorder
    store, storing = recorder.store, asyncio.Event()

    def store_slowly(driver: Any, event: events.Event) -> Any:
        if not isinstance(event, events.SessionOpened):
            return store(driver, event)
        storing.set()
        return asyncio.get_running_loop().create_future()

    recorder.store = store_slowly
    for body in ("one", "two"):
        alice.send_message(mto=bob.boundjid.full, mbody=body, mtype="chat")
    await until(storing.wait())
    recorder.store = store
    for driver in list(e2e(bob)._client.registry):
        driver.abort_unreachable(BytestreamFailed("cut"))
    assert not len(heard) + len(delivered)
    alice.send_message(mto=bob.boundjid.full, mbody="three", mtype="chat")
    assert await heard.bodies(3) == ["one", "two", "three"]
    assert [(await delivered.take()).stanza["body"] for _ in range(3)] == ["one", "two", "three"]
    assert not len(heard)
