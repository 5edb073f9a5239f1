"""Peers who make us remember more and more: each thing that is kept for them has a bound."""

from __future__ import annotations

import gc
import weakref
from xml.etree.ElementTree import Element, SubElement

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e.messages import routing as outbox
from slixmpp_e2e.sessions.driver import SessionDriver
from tests.attacks.impostors import Impostors
from tests.pair import Pair, identity
from tests.slixmpp_e2e.env import ALICE, Env, e2e, turns, until
from xmpp_e2e.errors import LocalError
from xmpp_e2e.negotiate.jingle import NS_JINGLE
from xmpp_e2e.negotiate.negotiation import MAX_CONTENT_REJECTS
from xmpp_e2e.transport.ibb import FIRST_WINDOW, NS_IBB
from xmpp_e2e.types import Role
from xmpp_loopback.mitm import NOW, MitmSide


def content_add(sid: str) -> Element:
    jingle = Element(f"{{{NS_JINGLE}}}jingle", {"action": "content-add", "sid": sid})
    SubElement(jingle, f"{{{NS_JINGLE}}}content", {"creator": "initiator", "name": "more"})
    return jingle


def test_offers_of_more_content_are_answered_so_often() -> None:
    """Each content-add costs an iq of ours whose answer is awaited; beyond the bound it is refused outright."""
    pair = Pair().open()
    before = len(pair.bob.jingle_sent)
    for _ in range(10 * MAX_CONTENT_REJECTS):
        pair.deliver(Role.RESPONDER, content_add(pair.bob.session.sid))
        pair.run()
    rejects = pair.bob.jingle_sent[before:]
    assert [element.get("action") for element in rejects] == ["content-reject"] * MAX_CONTENT_REJECTS
    assert {(error.condition, error.type) for error in pair.bob.errors} == {("resource-constraint", "wait")}
    assert len(pair.bob.errors) == 9 * MAX_CONTENT_REJECTS


class Mute(MitmSide):
    """A peer who takes part, and answers no block; or refuses the first one, and answers nothing else."""

    refuses = False

    def _reply(self, request: Element, kind: str) -> None:
        if request[0].tag.startswith(f"{{{NS_IBB}}}") == self.refuses:
            super()._reply(request, "error" if self.refuses else kind)

    def terminate(self) -> None:
        """Leave by the signalling."""
        jingle = Element(f"{{{NS_JINGLE}}}jingle", {"action": "session-terminate", "sid": self.session.sid})
        self._request(jingle, lambda good: None)


class Attacker(Impostors[Mute]):
    """Bob's server, which makes sessions with Alice in the names of Bob's devices."""

    def __init__(self, env: Env, victim: ClientXMPP) -> None:
        super().__init__(env)
        self._victim = victim

    async def offer(self, device: str, *, refuses: bool = False) -> Mute:
        """One more session, as far as it gets."""
        # without flights, so that the first block that is refused comes before the session is open
        end = Mute(
            self._env.server.inject, Role.INITIATOR, device, ALICE, identity("mallory"), fast_open=not refuses
        )
        end.other, end.refuses = end, refuses
        self.ends[device] = end
        end.session.offer(NOW)
        end.pump()
        for _ in range(3):
            await self._env.settle(self._victim)
        return end


@pytest.mark.parametrize("devices", [1, 100], ids=["one device", "many devices"])
async def test_sessions_of_one_peer_are_bounded(env: Env, devices: int) -> None:
    """He opens one after the other, answers no block and leaves by the signalling: each waits for its last blocks for a
    while, and there are so many of them and no more."""
    alice = await env.client(ALICE, sessions_per_peer=10)
    attacker = Attacker(env, alice)
    for number in range(40):
        end = await attacker.offer(f"bob@localhost/{number % devices}")
        if devices == 1:
            end.terminate()
    await env.settle(alice)
    links = list(e2e(alice)._client.registry)
    assert 4 <= len(links) <= 10


async def test_nothing_stays_of_a_session_that_is_over(env: Env) -> None:
    """While one session with a peer lives, others with them come and go; what waited for their answers goes with them."""
    alice = await env.client(ALICE)
    attacker = Attacker(env, alice)
    await attacker.offer("bob@localhost/x")
    [first] = e2e(alice).sessions()
    for _ in range(30):
        await attacker.offer("bob@localhost/x", refuses=True)
    await env.settle(alice)
    await turns()  # what ends lets go of itself at the end of a turn
    assert first.is_open
    client = e2e(alice)._client
    assert list(client.registry) == [first._driver]
    assert len(client._channel._pending) <= 2 * FIRST_WINDOW
    gc.collect()
    drivers = [thing for thing in gc.get_objects() if type(thing) is SessionDriver and thing._wire._iqs is client._channel]
    assert drivers == [first._driver]


async def test_an_ended_session_keeps_no_tls(env: Env) -> None:
    """What came through it can still be asked how it came; for that its TLS is not needed, and a thousand would be 160 MB."""
    alice, bob = await env.pair()
    ours, theirs = await env.session(alice, bob)
    channels = [weakref.ref(link._driver.core._tls) for link in (ours, theirs)]
    await ours.close()
    await theirs.wait_closed()
    await env.settle(alice, bob)
    gc.collect()
    assert [channel() for channel in channels] == [None, None]
    assert str(theirs.assurance) == "vouched"
    assert theirs.fingerprint == e2e(alice).fingerprint


def test_only_a_closed_session_lets_go() -> None:
    """Nothing is let go of while it is needed."""
    pair = Pair().open()
    with pytest.raises(LocalError, match="the session is open"):
        pair.alice.session.free()


async def test_ways_to_strangers_are_bounded(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bot answers whoever writes to it; the ways that it has found are forgotten, the oldest first."""
    monkeypatch.setattr(outbox, "ROUTES", 8)
    alice = await env.client(ALICE)
    for number in range(30):
        alice.send_message(mto=f"stranger{number}@localhost", mbody="hello", mtype="chat")
    await until(env.server.wait_for(lambda handled: "stranger29" in handled.text))
    await env.settle(alice)
    assert len(e2e(alice)._client.routes.known) == 8
    assert (ALICE, "stranger29@localhost") in e2e(alice)._client.routes.known
