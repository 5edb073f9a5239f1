"""Other plugins beside ours: their Jingle and bytestreams stay theirs, what they say goes inside, and their filters see it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar
from xml.etree.ElementTree import SubElement

import pytest
from slixmpp import ClientXMPP, Iq
from slixmpp.plugins import BasePlugin, register_plugin
from slixmpp.plugins.base import PLUGIN_REGISTRY
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

from slixmpp_e2e.sessions.admission import limits as capacity
from slixmpp_e2e.sessions.admission.rate_limit import Rate
from slixmpp_e2e.sessions.driver import Link
from tests.slixmpp_e2e.world import ALICE, BOB, Heard, World, e2e, until
from xmpp_e2e.errors import TransportFailed
from xmpp_e2e.negotiate.jingle import NS_JINGLE
from xmpp_loopback import hostile, online

RTP = "urn:xmpp:jingle:apps:rtp:1"
CAROL = "carol@localhost/c"


class Calls(BasePlugin):
    """As much of Jingle (XEP-0166) as it takes to ring and to hang up: what comes is an event, and taken."""

    name = "xep_0166"
    description = "Jingle"
    dependencies: ClassVar[set[str]] = set()

    def plugin_init(self) -> None:
        """Hear of every Jingle stanza that reaches handlers."""
        path = f"{{jabber:client}}iq/{{{NS_JINGLE}}}jingle"
        self.xmpp.register_handler(Callback("calls", MatchXPath(path), self._take))

    def plugin_end(self) -> None:
        """Hear no more."""
        self.xmpp.remove_handler("calls")

    async def say(self, peer: str, action: str, sid: str) -> Iq:
        """Tell the peer, and wait for his reply."""
        iq = self.xmpp.make_iq_set(ito=peer)
        jingle = SubElement(iq.xml, f"{{{NS_JINGLE}}}jingle", action=action, sid=sid)
        content = SubElement(jingle, f"{{{NS_JINGLE}}}content", creator="initiator", name="voice")
        SubElement(content, f"{{{RTP}}}description", media="audio")
        answer: Iq = await until(iq.send())
        return answer

    def _take(self, iq: Iq) -> None:
        self.xmpp.event("jingle", iq)
        if iq["type"] == "set":
            iq.reply().send()


@pytest.fixture(autouse=True)
def _calls() -> Iterator[None]:
    """slixmpp has no Jingle plugin of its own."""
    register_plugin(Calls)
    yield
    del PLUGIN_REGISTRY[Calls.name]


def plugin(client: ClientXMPP, name: str) -> Any:
    """A plugin of a client's."""
    plugins: Any = client.plugin
    return plugins[name]


async def connected(world: World, policy: str, *plugins: str) -> tuple[ClientXMPP, ClientXMPP, Link, Link]:
    """Alice and Bob with other plugins and a session, and from then on with this policy for each other."""
    alice, bob = await world.client(ALICE, *plugins), await world.client(BOB, *plugins)
    await world.settle(alice, bob)
    ours, theirs = await world.session(alice, bob)
    for client, peer in ((alice, BOB), (bob, ALICE)):
        e2e(client).set_policy(peer, policy)
    return alice, bob, ours, theirs


# --- Jingle and bytestreams ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["off", "prefer", "require"])
async def test_calls_work_beside_sessions(world: World, policy: str) -> None:
    """A call that outlives a session, in clear or inside: who makes calls hears all that is said of it, and nothing of ours."""
    alice, bob, ours, theirs = await connected(world, policy, "xep_0166")
    heard = {client: Heard(client, "jingle") for client in (alice, bob)}
    said: dict[ClientXMPP, list[str]] = {alice: [], bob: []}

    async def say(client: ClientXMPP, other: ClientXMPP, action: str) -> None:
        assert (await plugin(client, "xep_0166").say(other.boundjid.full, action, "a-call"))["type"] == "result"
        said[other].append(action)

    await say(alice, bob, "session-initiate")
    await say(bob, alice, "session-accept")
    await until(ours.close())
    await until(theirs.ended())
    if policy != "off":
        await world.session(bob, alice)
    await say(bob, alice, "session-info")
    await say(alice, bob, "session-terminate")
    await world.settle(alice, bob)
    for client, actions in said.items():
        came = [await heard[client].take() for _ in range(len(heard[client]))]
        calls = [iq.xml.find(f"{{{NS_JINGLE}}}jingle") for iq in came]
        assert [(call.get("sid"), call.get("action")) for call in calls] == [("a-call", action) for action in actions]
        assert {str(iq["e2e"]["assurance"]) for iq in came} == ({"none"} if policy == "off" else {"vouched", "known"})
    assert bool(world.in_clear(RTP)) is (policy == "off")


async def test_who_has_calls_only_can_call(world: World) -> None:
    """To and fro, and a session with somebody else goes on meanwhile."""
    alice, bob, _, _ = await connected(world, "prefer", "xep_0166")
    carol = await world.client(CAROL, "xep_0166", load=False)
    await world.settle(alice, carol)
    heard = {client: Heard(client, "jingle") for client in (alice, carol)}
    for client, other in ((alice, carol), (carol, alice)):
        answer = await plugin(client, "xep_0166").say(other.boundjid.full, "session-initiate", f"{client.boundjid.user}'s")
        assert answer["type"] == "result"
        assert (await heard[other].take())["from"] == client.boundjid
    assert len(e2e(bob).sessions()) == 1


@pytest.mark.parametrize("policy", ["off", "prefer", "require"])
async def test_in_band_bytestreams_of_slixmpp_work_beside_ours(world: World, policy: str) -> None:
    """xep_0047's own streams, one each way, in clear or through a session, while messages go through the session."""
    alice, bob, _, _ = await connected(world, policy, "xep_0047")
    data = bytes(range(256)) * 20
    blocks = [data[start : start + 512] for start in range(0, len(data), 512)]
    streams = []
    for client, other in ((alice, bob), (bob, alice)):
        plugin(other, "xep_0047").auto_accept = True
        opened = Heard(other, "ibb_stream_start")
        ours = await until(plugin(client, "xep_0047").open_stream(other.boundjid, block_size=512, ifrom=client.boundjid))
        streams.append((client, other, ours, await opened.take(), Heard(other, "message")))
    for piece, (client, other, ours, _, _) in itertools.product(blocks, streams):
        await until(ours.send(piece))
        client.send_message(mto=other.boundjid, mbody="between blocks")
    for _, _, ours, theirs, heard in streams:
        assert b"".join([await until(theirs.recv_queue.get()) for _ in blocks]) == data
        assert await heard.bodies(len(blocks)) == ["between blocks"] * len(blocks)
        await until(ours.close())
    assert bool(world.in_clear("AAECAwQFBgcICQoLDA0ODxAREhMUFRYX")) is (policy == "off")


@pytest.mark.parametrize("policy", ["prefer", "require"])
async def test_what_comes_late_for_a_session_is_still_ours(world: World, monkeypatch: pytest.MonkeyPatch, policy: str) -> None:
    """Bob's side has ended while Alice's blocks and farewell were on their way: they are no plaintext of hers, of which he
    would have to be told, no concern of other plugins, and nothing that counts for a rate."""
    monkeypatch.setattr(capacity, "UNASKED_PER_PEER", Rate(0.001, 1))  # the offer's
    alice, bob, ours, theirs = await connected(world, policy, "xep_0047", "xep_0166")
    names = ("jingle", "e2e_plaintext_received", "e2e_plaintext_refused")
    told = [Heard(bob, name) for name in names]
    hold = hostile.Hold(world.server, lambda stanza, sender: sender == ALICE and stanza.get("type") == "set")
    world.server.interfere.append(hold)
    alice.send_message(mto=BOB, mbody="too late")
    await until(hold.caught())
    for link in (theirs, ours):
        link.fail(TransportFailed("the one does not know of the other"))
    await world.settle(alice, bob)
    assert not list(e2e(bob).switchboard.sessions)
    late = len(hold)
    hold.release()
    await world.settle(alice, bob)
    assert late > 1
    assert [len(each) for each in told] == [0, 0, 0]
    assert world.in_clear("resource-constraint") == []


# --- what is said about messages -------------------------------------------------------------------------------------

STATES = ("active", "composing", "paused", "inactive", "gone")
MODES = ("out", "out_sync", "out_sce", "in")
MARKERS = ("received", "displayed", "acknowledged")


@pytest.mark.parametrize("policy", ["prefer", "require"])
async def test_receipts_chat_states_and_markers_go_inside(world: World, policy: str) -> None:
    """Sent by slixmpp's own plugins (XEP-0184, 0085, 0333), the first by itself; each arrives as the event that it always is,
    and no message is seen by the server."""
    alice, bob, _, _ = await connected(world, policy, "xep_0184", "xep_0085", "xep_0333")
    plugin(alice, "xep_0184").auto_request = True
    receipts = Heard(alice, "receipt_received")
    heard = Heard(bob, "message")
    alice.send_message(mto="bob@localhost", mbody="have you seen this", mtype="chat")
    receipt, message = await receipts.take(), await heard.take()
    assert (receipt["receipt"], str(receipt["e2e"]["assurance"])) == (message["id"], "vouched")
    assert (message["body"], message["request_receipt"]) == ("have you seen this", True)

    for state in STATES:
        told = Heard(alice, f"chatstate_{state}")
        typing: Any = bob.make_message(mto=ALICE, mtype="chat")
        typing["chat_state"] = state
        typing.send()
        assert str((await told.take())["e2e"]["assurance"]) == "vouched"
    for marker in MARKERS:
        told = Heard(alice, f"marker_{marker}")
        plugin(bob, "xep_0333").send_marker(message["from"], message["id"], marker, mtype="chat")
        came = await told.take()
        assert (came[marker]["id"], str(came["e2e"]["assurance"])) == (message["id"], "vouched")
    await world.settle(alice, bob)
    assert world.in_clear("<message", "have you seen this") == []


# --- filters ---------------------------------------------------------------------------------------------------------


async def test_which_filters_see_what_goes_inside(world: World) -> None:
    """As docs/policy.md says: ``out`` before it is diverted, ``in`` when it has come, and no other, added before ours or after.
    What waited and goes out in clear they all see, ``out`` for the second time."""
    saw: Counter[tuple[str, str, str]] = Counter()

    def watch(client: ClientXMPP, mode: str, when: str) -> None:
        def note(stanza: Any) -> Any:
            if stanza.name == "message":
                saw[client.boundjid.user, mode, when] += 1
            return stanza

        add: Any = client.add_filter
        add(mode, note)

    alice, bob = world.make(ALICE, "xep_0030", load=False), world.make(BOB, "xep_0030", load=False)
    for client in (alice, bob):
        for mode in MODES:
            watch(client, mode, "before")
        world.load(client)
        for mode in MODES:
            watch(client, mode, "after")
        await online(client, world.server)
    carol = await world.client(CAROL, "xep_0030", load=False)
    await world.settle(alice, bob, carol)
    inside = {("alice", "out"): 1, ("bob", "in"): 1}
    in_clear = {("alice", "out"): 2, ("alice", "out_sync"): 1, ("alice", "out_sce"): 1}
    for other, expected in ((bob, inside), (carol, in_clear)):
        heard = Heard(other, "message")
        alice.send_message(mto=other.boundjid, mbody="have you seen this", mtype="chat")
        await heard.take()
        assert saw == {(*place, when): times for place, times in expected.items() for when in ("before", "after")}
        saw.clear()
