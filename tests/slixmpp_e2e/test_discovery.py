"""Who has encryption, as far as presence and disco tell, and what is forgotten of it."""

from __future__ import annotations

from slixmpp_e2e.loopback import offline, online
from tests.slixmpp_e2e.world import ALICE, BOB, Heard, World, e2e

SECURITY = "urn:x-xmpp-e2e:security:0"


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
    bob = await world.client(BOB, "xep_0115", load=False)
    await world.settle(bob)
    heard = Heard(bob, "presence_available")
    alice = world.make(ALICE)
    for _ in range(2):
        await online(alice, world.server)
        await world.settle(alice, bob)
        presence = await heard.take()
        assert presence["from"] == ALICE
        info = await bob.plugin["xep_0115"].get_caps(verstring=presence["caps"]["ver"])
        assert SECURITY in info["features"]
        assert len(heard) == 0
        await offline(alice)
