"""Peers who make us remember more and more: each thing that is kept for them has a bound."""

from __future__ import annotations

import gc
import weakref
from xml.etree.ElementTree import Element, SubElement

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e.messages import queue as outbox
from slixmpp_e2e.sessions.driver import Link
from tests.attacks.posers import Posers
from tests.pair import Pair, identity
from tests.slixmpp_e2e.world import ALICE, World, e2e, until
from xmpp_e2e.errors import LocalError
from xmpp_e2e.identity import Role
from xmpp_e2e.negotiate.jingle import NS_JINGLE
from xmpp_e2e.negotiate.negotiation import CONTENT_REJECTS
from xmpp_e2e.transport.ibb import FIRST_WINDOW, NS_IBB
from xmpp_loopback.relay import NOW, End


def content_add(sid: str) -> Element:
    jingle = Element(f"{{{NS_JINGLE}}}jingle", {"action": "content-add", "sid": sid})
    SubElement(jingle, f"{{{NS_JINGLE}}}content", {"creator": "initiator", "name": "more"})
    return jingle


def test_offers_of_more_content_are_answered_so_often() -> None:
    """Each content-add costs an iq of ours whose answer is awaited; beyond the bound it is refused outright."""
    pair = Pair().open()
    before = len(pair.bob.jingle_sent)
    for _ in range(10 * CONTENT_REJECTS):
        pair.deliver(Role.RESPONDER, content_add(pair.bob.session.sid))
        pair.run()
    rejects = pair.bob.jingle_sent[before:]
    assert [element.get("action") for element in rejects] == ["content-reject"] * CONTENT_REJECTS
    assert {(error.condition, error.type) for error in pair.bob.errors} == {("resource-constraint", "wait")}
    assert len(pair.bob.errors) == 9 * CONTENT_REJECTS


class Mute(End):
    """A peer who takes part, and answers no block; or refuses the first one, and answers nothing else."""

    refuses = False

    def _reply(self, request: Element, kind: str) -> None:
        if request[0].tag.startswith(f"{{{NS_IBB}}}") == self.refuses:
            super()._reply(request, "error" if self.refuses else kind)

    def terminate(self) -> None:
        """Leave by the signalling."""
        jingle = Element(f"{{{NS_JINGLE}}}jingle", {"action": "session-terminate", "sid": self.session.sid})
        self._request(jingle, lambda good: None)


class Attacker(Posers[Mute]):
    """Bob's server, which makes sessions with Alice in the names of his devices."""

    def __init__(self, world: World, victim: ClientXMPP) -> None:
        super().__init__(world)
        self._victim = victim

    async def offer(self, device: str, *, refuses: bool = False) -> Mute:
        """One more session, as far as it gets."""
        # without flights, so that the first block that is refused comes before the session is open
        end = Mute(
            self._world.server.inject, Role.INITIATOR, device, ALICE, identity("mallory"), fast_open=not refuses
        )
        end.other, end.refuses = end, refuses
        self.ends[device] = end
        end.session.offer(NOW)
        end.pump()
        for _ in range(3):
            await self._world.settle(self._victim)
        return end


@pytest.mark.parametrize("devices", [1, 100], ids=["one device", "many devices"])
async def test_sessions_of_one_peer_are_bounded(world: World, devices: int) -> None:
    """He opens one after the other, answers no block and leaves by the signalling: each waits for its last blocks for a
    while, and there are so many of them and no more."""
    alice = await world.client(ALICE, sessions_per_peer=10)
    attacker = Attacker(world, alice)
    for number in range(40):
        end = await attacker.offer(f"bob@localhost/{number % devices}")
        if devices == 1:
            end.terminate()
    await world.settle(alice)
    links = list(e2e(alice).switchboard.sessions)
    assert 4 <= len(links) <= 10


async def test_nothing_stays_of_a_session_that_is_over(world: World) -> None:
    """While one session with a peer lives, others with him come and go; what waited for his answers goes with them."""
    alice = await world.client(ALICE)
    attacker = Attacker(world, alice)
    await attacker.offer("bob@localhost/x")
    [first] = e2e(alice).sessions()
    for _ in range(30):
        await attacker.offer("bob@localhost/x", refuses=True)
    await world.settle(alice)
    assert first.is_open
    assert list(e2e(alice).switchboard.sessions) == [first]
    switchboard = e2e(alice).switchboard
    assert len(switchboard.iqs._waiting) <= 2 * FIRST_WINDOW
    gc.collect()
    links = [thing for thing in gc.get_objects() if type(thing) is Link and thing._host is switchboard]
    assert links == [first]


async def test_an_ended_session_keeps_no_tls(world: World) -> None:
    """What came through it can still be asked how it came; for that its TLS is not needed, and a thousand would be 160 MB."""
    alice, bob = await world.pair()
    ours, theirs = await world.session(alice, bob)
    channels = [weakref.ref(link._core._channel) for link in (ours, theirs)]
    await ours.close()
    await theirs.ended()
    await world.settle(alice, bob)
    gc.collect()
    assert [channel() for channel in channels] == [None, None]
    assert str(theirs.assurance) == "vouched"
    assert theirs.fingerprint == e2e(alice).fingerprint


def test_only_a_closed_session_lets_go() -> None:
    """Nothing is let go of while it is needed."""
    pair = Pair().open()
    with pytest.raises(LocalError, match="the session is open"):
        pair.alice.session.release()


async def test_ways_to_strangers_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bot answers whoever writes to it; the ways that it has found are forgotten, the oldest first."""
    monkeypatch.setattr(outbox, "ROUTES", 8)
    alice = await world.client(ALICE)
    for number in range(30):
        alice.send_message(mto=f"stranger{number}@localhost", mbody="hello", mtype="chat")
    await until(world.server.saw(lambda handled: "stranger29" in handled.text))
    await world.settle(alice)
    assert len(e2e(alice).switchboard.outbox._routes) == 8
    assert e2e(alice).switchboard.outbox.route(ALICE, "stranger29@localhost") is not None
