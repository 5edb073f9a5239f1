"""Who has encryption, as far as presence and disco tell, and what is forgotten of it."""

from __future__ import annotations

from typing import Any

from slixmpp.plugins.xep_0030 import DiscoInfo

from slixmpp_e2e.xmpp.discovery import supports
from tests.slixmpp_e2e.world import ALICE, BOB, Heard, World, e2e, turns
from xmpp_loopback import Way, back_online, offline

SECURITY = "urn:x-xmpp-e2e:security:0"
PRESENCE = "{jabber:client}presence"


async def test_a_login_without_encryption_is_noticed(world: World) -> None:
    """Who comes back under the same full JID without encryption is not offered a session; allowed, plaintext reaches him."""
    alice, bob = await world.pair()
    await world.session(alice, bob)
    await offline(bob)
    bob = await world.client(BOB, load=False)
    await world.settle(bob, alice)
    failed, heard = Heard(alice, "e2e_send_failed"), Heard(bob, "message")
    alice.send_message(mto=BOB, mbody="inside", mtype="chat")
    assert "does not advertise" in str((await failed.take()).error)
    e2e(alice).allow_plaintext(BOB)
    alice.send_message(mto=BOB, mbody="in clear", mtype="chat")
    assert (await heard.take())["body"] == "in clear"


async def test_our_own_presence_is_not_forgotten(world: World) -> None:
    """The server sends us our own presence too; the next one that we send still tells what we can do."""
    alice = await world.client(ALICE)
    await world.settle(alice)
    bob = await world.client(BOB)
    await world.settle(alice, bob)
    seen = Heard(bob, "presence_available")
    alice.send_presence(pstatus="later")
    presence = await seen.take()
    info = await bob.plugin["xep_0115"].get_caps(verstring=presence["caps"]["ver"])
    assert SECURITY in info["features"]


async def test_a_login_is_announced_once(world: World) -> None:
    """By the program's own first presence, which tells already what we can do: nobody hears of it before or twice."""
    alice = world.make(ALICE, "xep_0115")
    alice.add_event_handler("session_start", lambda event: alice.send_presence())
    for login in (1, 2):
        await back_online(alice, world.server)
        await turns()
        await world.settle(alice)
        said = [stanza for stanza in world.server.seen if stanza.way is Way.RECEIVED and stanza.element.tag == PRESENCE]
        assert len([stanza for stanza in said if stanza.element.get("type") is None]) == login
        version: Any = said[-1].element.find("{http://jabber.org/protocol/caps}c")
        info = await alice.plugin["xep_0115"].get_caps(verstring=version.get("ver"))
        assert SECURITY in info["features"]
        await offline(alice)


async def test_what_was_filed_under_a_hash_must_have_it(world: World) -> None:
    """slixmpp files its own features under their hash and goes on changing them: a client of the same make, with no more than
    we had then, is not taken to have encryption."""
    alice, bob = await world.client(ALICE), await world.client(BOB, load=False)
    await world.settle(bob, alice)
    info = DiscoInfo()
    info.add_feature(SECURITY)
    caps = alice.plugin["xep_0115"]
    await caps.cache_caps("of fewer features", info)
    await caps.assign_verstring(bob.boundjid, "of fewer features")
    assert await supports(alice, alice.boundjid, bob.boundjid) is False
