"""Other plugins work beside ours: their Jingle and bytestreams stay theirs, and their stanzas are encrypted."""

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

from slixmpp_e2e.session import E2ESession
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e, jingle, until
from xmpp_e2e.errors import BytestreamFailed
from xmpp_e2e.negotiate.jingle import NS_JINGLE
from xmpp_loopback import online

RTP = "urn:xmpp:jingle:apps:rtp:1"
CAROL = "carol@localhost/c"


class Calls(BasePlugin):
    """A Jingle plugin (XEP-0166) that can ring and hang up."""

    name = "xep_0166"
    description = "Jingle"
    dependencies: ClassVar[set[str]] = set()

    def plugin_init(self) -> None:
        path = f"{{jabber:client}}iq/{{{NS_JINGLE}}}jingle"
        self.xmpp.register_handler(Callback("calls", MatchXPath(path), self._take))

    def plugin_end(self) -> None:
        self.xmpp.remove_handler("calls")

    async def say(self, peer: str, action: str, sid: str) -> Iq:
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
    register_plugin(Calls)
    yield
    del PLUGIN_REGISTRY[Calls.name]


def plugin(client: ClientXMPP, name: str) -> Any:
    plugins: Any = client.plugin
    return plugins[name]


async def connected(
    env: Env, policy: str, *plugins: str, **config: Any
) -> tuple[ClientXMPP, ClientXMPP, E2ESession, E2ESession]:
    alice, bob = await env.client(ALICE, *plugins, **config), await env.client(BOB, *plugins, **config)
    await env.settle(alice, bob)
    ours, theirs = await env.session(alice, bob)
    for client, peer in ((alice, BOB), (bob, ALICE)):
        e2e(client).set_policy(peer, policy)
    return alice, bob, ours, theirs


@pytest.mark.parametrize("policy", ["off", "prefer", "require"])
async def test_calls_work_beside_sessions(env: Env, policy: str) -> None:
    alice, bob, ours, theirs = await connected(env, policy, "xep_0166")
    heard = {client: Events(client, "jingle") for client in (alice, bob)}
    said: dict[ClientXMPP, list[str]] = {alice: [], bob: []}

    async def say(client: ClientXMPP, other: ClientXMPP, action: str) -> None:
        assert (await plugin(client, "xep_0166").say(other.boundjid.full, action, "a-call"))["type"] == "result"
        said[other].append(action)

    await say(alice, bob, "session-initiate")
    await say(bob, alice, "session-accept")
    await until(ours.close())
    await until(theirs.wait_closed())
    if policy != "off":
        await env.session(bob, alice)
    await say(bob, alice, "session-info")
    await say(alice, bob, "session-terminate")
    await env.settle(alice, bob)
    for client, actions in said.items():
        came = [await heard[client].take() for _ in range(len(heard[client]))]
        calls = [iq.xml.find(f"{{{NS_JINGLE}}}jingle") for iq in came]
        assert [(call.get("sid"), call.get("action")) for call in calls] == [("a-call", action) for action in actions]
        assert {str(iq["e2e"]["assurance"]) for iq in came} == ({"none"} if policy == "off" else {"vouched", "known"})
    assert bool(env.in_clear(RTP)) is (policy == "off")


@pytest.mark.parametrize("policy", ["off", "prefer", "require"])
async def test_in_band_bytestreams_of_slixmpp_work_beside_ours(env: Env, policy: str) -> None:
    alice, bob, _, _ = await connected(env, policy, "xep_0047")
    data = bytes(range(256)) * 20
    blocks = [data[start : start + 512] for start in range(0, len(data), 512)]
    streams = []
    for client, other in ((alice, bob), (bob, alice)):
        plugin(other, "xep_0047").auto_accept = True
        opened = Events(other, "ibb_stream_start")
        ours = await until(plugin(client, "xep_0047").open_stream(other.boundjid, block_size=512, ifrom=client.boundjid))
        streams.append((client, other, ours, await opened.take(), Events(other, "message")))
    for piece, (client, other, ours, _, _) in itertools.product(blocks, streams):
        await until(ours.send(piece))
        client.send_message(mto=other.boundjid, mbody="between blocks")
    for _, _, ours, theirs, heard in streams:
        assert b"".join([await until(theirs.recv_queue.get()) for _ in blocks]) == data
        assert await heard.bodies(len(blocks)) == ["between blocks"] * len(blocks)
        await until(ours.close())
    assert bool(env.in_clear("AAECAwQFBgcICQoLDA0ODxAREhMUFRYX")) is (policy == "off")


@pytest.mark.parametrize("policy", ["prefer", "require"])
async def test_late_stanzas_of_a_session_are_still_ours(env: Env, policy: str) -> None:
    """Blocks and farewells of Alice that come after Bob's side has ended are no plaintext, reach no other plugin, and count
    for no rate."""
    alice, bob, ours, theirs = await connected(env, policy, "xep_0047", "xep_0166", request_rate_per_peer=(0.001, 1))
    names = ("jingle", "e2e_plaintext_received", "e2e_plaintext_refused")
    told = [Events(bob, name) for name in names]
    hold = env.hold(lambda stanza, sender: sender == ALICE and stanza.get("type") == "set")
    alice.send_message(mto=BOB, mbody="too late")
    await until(hold.caught())
    for session in (theirs, ours):
        session._driver.abort(BytestreamFailed("each side does not know of the other's end"))
    await env.settle(alice, bob)
    assert not list(e2e(bob)._client.registry)
    late = [stanza.get("id", "") for stanza, sender in hold._held if not jingle("session-initiate")(stanza, sender)]
    hold.release()
    await env.settle(alice, bob)
    assert len(late) > 1
    assert [len(each) for each in told] == [0, 0, 0]
    refused = env.in_clear("resource-constraint")  # Alice's offers of the next session, for which the rate leaves no room
    assert not any(stanza_id in text for text in refused for stanza_id in late)


STATES = ("active", "composing", "paused", "inactive", "gone")
MODES = ("out", "out_sync", "out_sce", "in")
MARKERS = ("received", "displayed", "acknowledged")


@pytest.mark.parametrize("policy", ["prefer", "require"])
async def test_receipts_chat_states_and_markers_are_encrypted(env: Env, policy: str) -> None:
    """What slixmpp's plugins send (XEP-0184, 0085, 0333) arrives as their usual events, and the server can read no message."""
    alice, bob, _, _ = await connected(env, policy, "xep_0184", "xep_0085", "xep_0333")
    plugin(alice, "xep_0184").auto_request = True
    receipts = Events(alice, "receipt_received")
    heard = Events(bob, "message")
    alice.send_message(mto="bob@localhost", mbody="have you seen this", mtype="chat")
    receipt, message = await receipts.take(), await heard.take()
    assert (receipt["receipt"], str(receipt["e2e"]["assurance"])) == (message["id"], "vouched")
    assert (message["body"], message["request_receipt"]) == ("have you seen this", True)

    for state in STATES:
        told = Events(alice, f"chatstate_{state}")
        typing: Any = bob.make_message(mto=ALICE, mtype="chat")
        typing["chat_state"] = state
        typing.send()
        assert str((await told.take())["e2e"]["assurance"]) == "vouched"
    for marker in MARKERS:
        told = Events(alice, f"marker_{marker}")
        plugin(bob, "xep_0333").send_marker(message["from"], message["id"], marker, mtype="chat")
        came = await told.take()
        assert (came[marker]["id"], str(came["e2e"]["assurance"])) == (message["id"], "vouched")
    await env.settle(alice, bob)
    assert env.in_clear("<message", "have you seen this") == []


async def test_which_filters_see_encrypted_stanzas(env: Env) -> None:
    """``out`` filters see a stanza before it is encrypted and ``in`` filters after it has come, and no others do, whether they
    were added before ours or after. All see plaintext that has waited, and ``out`` filters see it twice."""
    saw: Counter[tuple[str, str, str]] = Counter()

    def watch(client: ClientXMPP, mode: str, when: str) -> None:
        def note(stanza: Any) -> Any:
            if stanza.name == "message":
                saw[client.boundjid.user, mode, when] += 1
            return stanza

        add: Any = client.add_filter
        add(mode, note)

    alice, bob = env.make(ALICE, "xep_0030", load=False), env.make(BOB, "xep_0030", load=False)
    for client in (alice, bob):
        for mode in MODES:
            watch(client, mode, "before")
        env.load(client)
        for mode in MODES:
            watch(client, mode, "after")
        await online(client, env.server)
    carol = await env.client(CAROL, "xep_0030", load=False)
    await env.settle(alice, bob, carol)
    inside = {("alice", "out"): 1, ("bob", "in"): 1}
    in_clear = {("alice", "out"): 2, ("alice", "out_sync"): 1, ("alice", "out_sce"): 1}
    for other, expected in ((bob, inside), (carol, in_clear)):
        heard = Events(other, "message")
        alice.send_message(mto=other.boundjid, mbody="have you seen this", mtype="chat")
        await heard.take()
        assert saw == {(*place, when): times for place, times in expected.items() for when in ("before", "after")}
        saw.clear()
