"""Sessions that are begun and never go on: each ends at its deadline, or with the plugin, and nothing of it is left."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from tests.slixmpp_e2e.world import ALICE, BOB, SID, World, an_offer, e2e, jingle, turns
from xmpp_e2e.errors import TransportFailed
from xmpp_e2e.stages import DEADLINES, Stage
from xmpp_e2e.transport.ibb import NS_IBB
from xmpp_loopback import hostile


def timers() -> list[Any]:
    """What the plugin has asked the event loop to do later."""
    scheduled: list[Any] = vars(asyncio.get_running_loop())["_scheduled"]
    pending = [handle for handle in scheduled if not handle.cancelled()]
    return [handle for handle in pending if "slixmpp_e2e" in type(getattr(handle._callback, "__self__", None)).__module__]


async def begun(world: World) -> Any:
    """Alice with sessions in three stages: offered by her, offered to her, and with a bytestream over which nothing comes."""
    alice = await world.client(ALICE, accept_from="anyone")
    offer = await an_offer(world)
    world.server.interfere.append(lambda stanza, sender: None if ".test/" in stanza.get("to", "") else stanza)
    for number in range(2):
        sender, sid = f"user{number}@evil{number}.test/x", f"{number:032x}"
        text = offer.replace(SID, sid).replace("<flight>", "<no>").replace("</flight>", "</no>")
        world.server.inject(ALICE, f"<iq type='set' id='o{number}' from='{sender}' to='{ALICE}'>{text}</iq>")
    await world.settle(alice)
    switchboard = e2e(alice).switchboard
    _, stream = next((peer, sid) for _, peer, sid in switchboard.sessions._streams if "evil1" in peer)
    opening = f"<open xmlns='{NS_IBB}' sid='{stream}' block-size='4096' stanza='iq'/>"
    world.server.inject(ALICE, f"<iq type='set' id='b' from='user1@evil1.test/x' to='{ALICE}'>{opening}</iq>")
    bob = await world.client(BOB)
    await world.settle(alice, bob)
    hold = hostile.Hold(world.server, jingle("session-initiate"))
    world.server.interfere.append(hold)
    alice.send_message(mto=BOB, mbody="held")
    await hold.caught()
    assert {link.stage for link in switchboard.sessions} == {Stage.CONNECTING, Stage.HANDSHAKING, Stage.OFFERED}
    return alice


def left(switchboard: Any) -> list[int]:
    """How many sessions, places, half-open ones, answers that are awaited, and addresses for which stanzas wait."""
    sessions, held = switchboard.sessions, switchboard.outbox._held
    waiting = switchboard.iqs._waiting
    return [len(list(sessions)), len(sessions.capacity), sessions.capacity.half_open, len(waiting), len(held)]


async def test_each_ends_at_its_deadline(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute later, on the loop's own clock, they are all gone, each counted as failed, and their places are free."""
    alice = await begun(world)
    switchboard, loop = e2e(alice).switchboard, asyncio.get_running_loop()
    failed: list[str] = []
    alice.add_event_handler("e2e_session_failed", lambda happened: failed.append(happened.peer))
    time, ahead = loop.time, itertools.count()
    for seconds in (DEADLINES[Stage.HANDSHAKING], DEADLINES[Stage.CONNECTING], DEADLINES[Stage.OFFERED]):
        monkeypatch.setattr(loop, "time", lambda seconds=seconds: time() + seconds + 1)
        await turns()
        assert len(failed) == next(ahead) + 1
    assert failed == ["user1@evil1.test/x", "user0@evil0.test/x", BOB]
    assert left(switchboard) == [0, 0, 0, 0, 0]


@pytest.mark.parametrize("how", ["unloaded", "disconnected"])
async def test_nothing_is_left_of_them_with_the_plugin(world: World, how: str) -> None:
    """Unloaded, or the client's stream lost: no timer, no place, nobody who waits."""
    alice = await begun(world)
    switchboard = e2e(alice).switchboard
    assert timers()
    if how == "unloaded":
        world.unload(alice)
    else:
        switchboard.stream_lost(TransportFailed("our own connection to the server was lost"))
        switchboard._watch.stop()
    assert left(switchboard) == [0, 0, 0, 0, 0]
    assert [handle for handle in timers() if getattr(handle._callback.__self__, "_host", None) is switchboard] == []
