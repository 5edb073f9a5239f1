"""Sessions that are begun and never go on: each ends at its deadline, or with the plugin, and nothing of it is left."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from slixmpp_e2e.client import Client
from tests.slixmpp_e2e.env import ALICE, BOB, SID, Env, an_offer, e2e, jingle, turns, until
from xmpp_e2e.errors import BytestreamFailed
from xmpp_e2e.states import STATE_TIMEOUTS, State
from xmpp_e2e.transport.ibb import NS_IBB
from xmpp_loopback import hostile


def timers() -> list[Any]:
    """What the plugin has asked the event loop to do later."""
    scheduled: list[Any] = vars(asyncio.get_running_loop())["_scheduled"]
    pending = [handle for handle in scheduled if not handle.cancelled()]
    return [handle for handle in pending if "slixmpp_e2e" in type(getattr(handle._callback, "__self__", None)).__module__]


async def begun(env: Env) -> Any:
    """Alice with sessions in three states: an offer made, an offer got, a bytestream over which nothing comes."""
    alice = await env.client(ALICE, accept_from="anyone")
    offer = await an_offer(env)
    env.server.hooks.append(lambda stanza, sender: None if ".test/" in stanza.get("to", "") else stanza)
    for number in range(2):
        sender, sid = f"user{number}@evil{number}.test/x", f"{number:032x}"
        text = offer.replace(SID, sid).replace("<flight>", "<no>").replace("</flight>", "</no>")
        env.server.inject(ALICE, f"<iq type='set' id='o{number}' from='{sender}' to='{ALICE}'>{text}</iq>")
    await env.settle(alice)
    client = e2e(alice)._client
    _, stream = next((peer, sid) for _, peer, sid in client.registry._by_stream if "evil1" in peer)
    opening = f"<open xmlns='{NS_IBB}' sid='{stream}' block-size='4096' stanza='iq'/>"
    env.server.inject(ALICE, f"<iq type='set' id='b' from='user1@evil1.test/x' to='{ALICE}'>{opening}</iq>")
    bob = await env.client(BOB)
    await env.settle(alice, bob)
    hold = hostile.Hold(env.server, jingle("session-initiate"))
    env.server.hooks.append(hold)
    connecting = asyncio.ensure_future(e2e(alice).connect(BOB))
    connecting.add_done_callback(asyncio.Future.exception)
    await hold.caught()
    assert {driver.state for driver in client.registry} == {State.CONNECTING, State.HANDSHAKING, State.OFFER_SENT}
    return alice


def left(client: Client) -> list[int]:
    """How many sessions, places, half-open ones, answers that are awaited, and addresses for which stanzas wait."""
    limits, requests = client.limits, client._channel._pending
    return [len(list(client.registry)), len(limits), limits.half_open, len(requests), len(client.queue._waiting())]


async def test_each_ends_at_its_deadline(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute later, on the loop's own clock, they are all gone, each counted as failed, and their places are free."""
    alice = await begun(env)
    client, loop = e2e(alice)._client, asyncio.get_running_loop()
    probed = loop.create_future()
    monkeypatch.setattr(client._channel, "_on_probed", probed.set_result)
    await until(probed)
    for driver in client.registry:
        driver.process()  # our own server has read all: deadlines run from here on
    await turns()
    failed: list[str] = []
    alice.add_event_handler("e2e_session_failed", lambda happened: failed.append(happened.peer))
    time, ahead = loop.time, itertools.count()
    for seconds in (STATE_TIMEOUTS[State.HANDSHAKING], STATE_TIMEOUTS[State.CONNECTING], STATE_TIMEOUTS[State.OFFER_SENT]):
        monkeypatch.setattr(loop, "time", lambda seconds=seconds: time() + seconds + 1)
        count = next(ahead) + 1
        for _ in range(1000):
            await turns()
            if len(failed) == count:
                break
        assert len(failed) == count
    assert failed == ["user1@evil1.test/x", "user0@evil0.test/x", BOB]
    assert left(client) == [0, 0, 0, 0, 0]


@pytest.mark.parametrize("how", ["unloaded", "disconnected"])
async def test_nothing_is_left_of_them_with_the_plugin(env: Env, how: str) -> None:
    """Unloaded, or the client's stream lost: no timer, no place, nobody who waits."""
    alice = await begun(env)
    client = e2e(alice)._client
    assert timers()
    if how == "unloaded":
        env.unload(alice)
    else:
        client.streams.on_lost(BytestreamFailed("our own connection to the server was lost"))
        client._poller.stop()
    assert left(client) == [0, 0, 0, 0, 0]
    mine = {client.queue, client._poller, *client.registry}
    assert [handle for handle in timers() if handle._callback.__self__ in mine] == []
