"""Alice on one domain, Bob on another: one of the two servers is hostile, or the path between them, and the rest is honest."""

from __future__ import annotations

from xml.etree.ElementTree import Element

import pytest

from tests.slixmpp_e2e.world import ALICE_AT_A as ALICE
from tests.slixmpp_e2e.world import BOB_AT_B as BOB
from tests.slixmpp_e2e.world import Heard, World, block, e2e, echo, until
from xmpp_e2e.errors import E2EError, FingerprintMismatch
from xmpp_e2e.negotiate.jingle import NS_SECURITY
from xmpp_loopback import Hook, hostile

SECRET = "the treasure is under the oak"
WHERE = pytest.mark.parametrize("where", ["Alice's server", "Bob's server", "the path"])


def spoil(world: World, where: str, hook: Hook) -> None:
    """Make one of the three hostile."""
    hooks = {
        "Alice's server": world.server.interfere,
        "Bob's server": world.far.interfere,
        "the path": world.path.interfere,
    }
    hooks[where].append(hook)


async def test_an_echo_across(apart: World) -> None:
    """A bot on one domain answers a client on the other, both under ``require``; neither server has read a word."""
    alice, bob = await apart.pair(policy="require")
    echo(bob)
    replies = Heard(alice, "message")
    for to in ("bob@b.test", BOB):
        alice.send_message(mto=to, mbody=SECRET, mtype="chat")
        reply = await replies.take()
        assert (reply["body"], reply["from"]) == (f"echo: {SECRET}", BOB)
        assert str(reply["e2e"]["assurance"]) in ("vouched", "known")
    assert apart.in_clear(SECRET) == []
    assert apart.path.refused == []


@WHERE
@pytest.mark.parametrize("policy", ["require", "prefer"])
async def test_a_feature_stripped_in_one_place(apart: World, where: str, policy: str) -> None:
    """One hostile place is enough to hide the feature of somebody who was met; and enough for the user to hear of it."""
    alice, bob = await apart.pair(policy=policy)
    link, _ = await apart.session(alice, bob)
    await until(link.close())
    spoil(apart, where, hostile.strip_feature(NS_SECURITY))
    bob.send_presence()
    await apart.settle(bob, alice)
    failed, heard = Heard(alice, "e2e_send_failed"), Heard(bob, "message")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert isinstance((await failed.take()).error, E2EError)
    await apart.settle(alice, bob)
    assert len(heard) == 0
    assert apart.in_clear(SECRET) == []


async def test_a_feature_stripped_on_one_side_only(apart: World) -> None:
    """Alice's server hides that she has encryption, not that Bob has: her own message goes inside, and so does his answer."""
    alice, bob = await apart.pair(policy="require")
    apart.server.interfere.append(hostile.only("alice@a.test", hostile.strip_feature(NS_SECURITY)))
    echo(bob)
    replies = Heard(alice, "message")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert await replies.bodies(1) == [f"echo: {SECRET}"]
    assert apart.in_clear(SECRET) == []


@WHERE
async def test_a_fingerprint_swapped_in_one_place(apart: World, where: str) -> None:
    """Whoever swaps one without holding the bytestream too: the session never opens, on neither side."""
    alice, bob = await apart.pair(policy="require")
    spoil(apart, where, hostile.only(BOB, hostile.swap_fingerprint(":".join(["AB"] * 32))))
    failed, heard = Heard(alice, "e2e_send_failed"), Heard(bob, "message")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert isinstance((await failed.take()).error, FingerprintMismatch)
    await apart.settle(alice, bob)
    assert len(heard) == 0
    assert not e2e(bob).sessions()
    assert apart.in_clear(SECRET) == []


@WHERE
async def test_a_bytestream_flipped_in_one_place(apart: World, where: str) -> None:
    """Found out wherever it was done."""
    alice, bob = await apart.pair(policy="require")
    await apart.session(alice, bob)
    ended, heard = Heard(bob, "e2e_session_end"), Heard(bob, "message")
    spoil(apart, where, hostile.only(ALICE, hostile.flip_ibb_block()))
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert not (await ended.take()).detail.clean
    assert len(heard) == 0
    assert apart.in_clear(SECRET) == []


@pytest.mark.parametrize("where", ["Alice's server", "the path"])
async def test_the_other_domain_cannot_be_impersonated(apart: World, where: str) -> None:
    """What comes in the name of Bob's own domain, from outside it, is refused by Bob's honest server: his session with Alice
    lives on, and nobody hears the forgery."""
    alice, bob = await apart.pair()
    carol = await apart.client("carol@b.test/c", load=False)
    await apart.session(alice, bob)
    heard = Heard(carol, "message")

    def is_plain(stanza: Element, sender: str) -> bool:
        return stanza.tag.endswith("}message") and not block(stanza, sender)

    spoil(apart, where, hostile.where(is_plain, hostile.impersonate(BOB)))
    mallory = await apart.client("carol@a.test/m", load=False)
    mallory.send_message(mto="carol@b.test/c", mbody="trust me", mtype="chat")
    await apart.settle(mallory, carol)
    assert len(heard) == 0
    assert [refused.get("from") for refused in apart.path.refused] == [BOB]
    replies = Heard(bob, "message")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert await replies.bodies(1) == [SECRET]


async def test_control_inside_its_own_domain_a_server_can(apart: World) -> None:
    """Control: Carol's own server, hostile, delivers the same forgery: encryption is what tells."""
    _, carol = await apart.pair(), await apart.client("carol@b.test/c", load=False)
    mallory = await apart.client("alice@b.test/m", load=False)
    apart.far.interfere.append(hostile.only("alice@b.test", hostile.impersonate(BOB)))
    heard = Heard(carol, "message")
    mallory.send_message(mto="carol@b.test/c", mbody="trust me", mtype="chat")
    assert (await heard.take())["from"] == BOB
