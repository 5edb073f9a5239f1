"""Alice on one domain, Bob on another: one of the two servers is hostile, or the path between them, and the rest is honest."""

from __future__ import annotations

from xml.etree.ElementTree import Element

import pytest

from tests.pair import has_code
from tests.slixmpp_e2e.env import ALICE_AT_A as ALICE
from tests.slixmpp_e2e.env import BOB_AT_B as BOB
from tests.slixmpp_e2e.env import Env, Events, block, e2e, echo, until
from xmpp_e2e.errors import Code, E2EError
from xmpp_e2e.negotiate.jingle import NS_SECURITY
from xmpp_loopback import Hook, hostile

SECRET = "the treasure is under the oak"
WHERE = pytest.mark.parametrize("where", ["Alice's server", "Bob's server", "the path"])


def spoil(env: Env, where: str, hook: Hook) -> None:
    """Make one of the three hostile."""
    hooks = {
        "Alice's server": env.server.hooks,
        "Bob's server": env.far.hooks,
        "the path": env.path.hooks,
    }
    hooks[where].append(hook)


async def test_an_echo_across(two_domains: Env) -> None:
    """A bot on one domain answers a client on the other, both under ``require``; neither server has read a word."""
    alice, bob = await two_domains.pair(policy="require")
    echo(bob)
    replies = Events(alice, "message")
    for to in ("bob@b.test", BOB):
        alice.send_message(mto=to, mbody=SECRET, mtype="chat")
        reply = await replies.take()
        assert (reply["body"], reply["from"]) == (f"echo: {SECRET}", BOB)
        assert str(reply["e2e"]["assurance"]) in ("vouched", "known")
    assert two_domains.in_clear(SECRET) == []
    assert two_domains.path.refused == []


@WHERE
@pytest.mark.parametrize("policy", ["require", "prefer"])
async def test_a_feature_stripped_in_one_place(two_domains: Env, where: str, policy: str) -> None:
    """One hostile place is enough to hide the feature of somebody who was met; and enough for the user to hear of it."""
    alice, bob = await two_domains.pair(policy=policy)
    link, _ = await two_domains.session(alice, bob)
    await until(link.close())
    spoil(two_domains, where, hostile.strip_feature(NS_SECURITY))
    bob.send_presence()
    await two_domains.settle(bob, alice)
    failed, heard = Events(alice, "e2e_send_failed"), Events(bob, "message")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert isinstance((await failed.take()).error, E2EError)
    await two_domains.settle(alice, bob)
    assert len(heard) == 0
    assert two_domains.in_clear(SECRET) == []


async def test_a_feature_stripped_on_one_side_only(two_domains: Env) -> None:
    """Alice's server hides that Alice has encryption, not that Bob has: Alice's message goes inside, and so does the answer."""
    alice, bob = await two_domains.pair(policy="require")
    two_domains.server.hooks.append(hostile.only("alice@a.test", hostile.strip_feature(NS_SECURITY)))
    echo(bob)
    replies = Events(alice, "message")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert await replies.bodies(1) == [f"echo: {SECRET}"]
    assert two_domains.in_clear(SECRET) == []


@WHERE
async def test_a_fingerprint_swapped_in_one_place(two_domains: Env, where: str) -> None:
    """Whoever swaps one without holding the bytestream too: the session never opens, on neither side."""
    alice, bob = await two_domains.pair(policy="require")
    spoil(two_domains, where, hostile.only(BOB, hostile.swap_fingerprint(":".join(["AB"] * 32))))
    failed, heard = Events(alice, "e2e_send_failed"), Events(bob, "message")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert has_code(Code.FINGERPRINT_MISMATCH)((await failed.take()).error)
    await two_domains.settle(alice, bob)
    assert len(heard) == 0
    assert not e2e(bob).sessions()
    assert two_domains.in_clear(SECRET) == []


@WHERE
async def test_a_bytestream_flipped_in_one_place(two_domains: Env, where: str) -> None:
    """Found out wherever it was done."""
    alice, bob = await two_domains.pair(policy="require")
    await two_domains.session(alice, bob)
    ended, heard = Events(bob, "e2e_session_closed"), Events(bob, "message")
    spoil(two_domains, where, hostile.only(ALICE, hostile.flip_ibb_block()))
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert not (await ended.take()).clean
    assert len(heard) == 0
    assert two_domains.in_clear(SECRET) == []


@pytest.mark.parametrize("where", ["Alice's server", "the path"])
async def test_the_other_domain_cannot_be_impersonated(two_domains: Env, where: str) -> None:
    """What comes in the name of Bob's own domain, from outside it, is refused by Bob's honest server: the session with Alice
    lives on, and nobody hears the forgery."""
    alice, bob = await two_domains.pair()
    carol = await two_domains.client("carol@b.test/c", load=False)
    await two_domains.session(alice, bob)
    heard = Events(carol, "message")

    def is_plain(stanza: Element, sender: str) -> bool:
        return stanza.tag.endswith("}message") and not block(stanza, sender)

    spoil(two_domains, where, hostile.where(is_plain, hostile.impersonate(BOB)))
    mallory = await two_domains.client("carol@a.test/m", load=False)
    mallory.send_message(mto="carol@b.test/c", mbody="trust me", mtype="chat")
    await two_domains.settle(mallory, carol)
    assert len(heard) == 0
    assert [refused.get("from") for refused in two_domains.path.refused] == [BOB]
    replies = Events(bob, "message")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert await replies.bodies(1) == [SECRET]


async def test_control_inside_its_own_domain_a_server_can(two_domains: Env) -> None:
    """Control: Carol's own server, hostile, delivers the same forgery: encryption is what tells."""
    _, carol = await two_domains.pair(), await two_domains.client("carol@b.test/c", load=False)
    mallory = await two_domains.client("alice@b.test/m", load=False)
    two_domains.far.hooks.append(hostile.only("alice@b.test", hostile.impersonate(BOB)))
    heard = Events(carol, "message")
    mallory.send_message(mto="carol@b.test/c", mbody="trust me", mtype="chat")
    assert (await heard.take())["from"] == BOB
