"""The plugin in a component (XEP-0114): one key, many addresses, a session for each of them with each peer."""

from __future__ import annotations

from typing import Any

import pytest
from slixmpp import ClientXMPP, ComponentXMPP
from slixmpp.exceptions import IqError

from tests.slixmpp_e2e.world import ALICE, BOTS, Heard, World, e2e, echo, turns, until
from xmpp_e2e.errors import E2EError, PeerRefused
from xmpp_e2e.negotiate.jingle import NS_SECURITY
from xmpp_loopback import Way, to_text

SECRET = "the treasure is under the oak"
ECHO, HELP = f"echo@{BOTS}/bot", f"help@{BOTS}/bot"
POLICIES = pytest.mark.parametrize("policy", ["prefer", "require"])


async def together(world: World, **config: Any) -> tuple[ClientXMPP, ComponentXMPP]:
    """A component whose echo has told Alice, and been told, who is there."""
    config.setdefault("accept_from", ["localhost"])
    policy = {"policy": config["policy"]} if "policy" in config else {}
    bots, alice = await world.component(**config), await world.client(ALICE, **policy, accept_from=[BOTS])
    world.server.set_subscription("alice@localhost", f"echo@{BOTS}", "both")
    here = Heard(alice, "presence_available")
    bots.send_presence(pfrom=ECHO, pto="alice@localhost")
    while (await here.take())["from"].full != ECHO:
        pass
    return alice, bots


@POLICIES
@pytest.mark.parametrize("to", [ECHO, f"echo@{BOTS}"], ids=["full", "bare"])
async def test_a_bot_that_is_a_component_echoes_inside(world: World, policy: str, to: str) -> None:
    """A client writes, to the full or the bare JID; the unmodified bot answers; the server has read nothing of it."""
    alice, bots = await together(world, policy=policy)
    echo(bots)
    heard, replies = Heard(bots, "message"), Heard(alice, "message")
    alice.send_message(mto=to, mbody=SECRET, mtype="chat")
    message, reply = await heard.take(), await replies.take()
    assert (message["from"], message["body"]) == (ALICE, SECRET)
    assert (reply["from"], reply["body"]) == (ECHO, f"echo: {SECRET}")
    for stanza in (message, reply):
        assert str(stanza["e2e"]["assurance"]) in ("vouched", "known")
    assert world.in_clear(SECRET) == []


@POLICIES
@pytest.mark.parametrize("to", [ALICE, "alice@localhost"], ids=["full", "bare"])
async def test_a_component_writes_first(world: World, policy: str, to: str) -> None:
    """From whichever of its addresses the stanza says; to a bare JID by the presence that this address was told."""
    alice, bots = await together(world, policy=policy)
    world_presence = Heard(bots, "presence_available")
    alice.send_presence()
    await world_presence.take()
    heard, started = Heard(alice, "message"), Heard(bots, "e2e_session_start")
    bots.send_message(mfrom=ECHO, mto=to, mbody=SECRET, mtype="chat")
    message = await heard.take()
    assert (message["from"], message["body"], str(message["e2e"]["assurance"])) == (ECHO, SECRET, "vouched")
    await started.take()
    assert [(link.ours, link.peer) for link in e2e(bots).sessions()] == [(ECHO, ALICE)]
    assert world.in_clear(SECRET) == []


async def test_every_address_has_sessions_of_its_own_under_one_key(world: World) -> None:
    """Two addresses, two sessions with the same client, and one fingerprint; nothing crosses from one to the other."""
    alice, bots = await together(world)
    links = [await e2e(alice).connect(name) for name in (ECHO, HELP)]
    for link in links:
        await until(link.opened())
    assert {link.fingerprint for link in links} == {e2e(bots).fingerprint}
    assert sorted(link.ours for link in e2e(bots).sessions()) == [ECHO, HELP]
    heard = Heard(bots, "message")
    for name in (ECHO, HELP):
        alice.send_message(mto=name, mbody=SECRET, mtype="chat")
        message = await heard.take()
        assert message["to"] == name
        assert message["e2e"]["session"].ours == name
    await until(links[0].close())
    assert [link.ours for link in e2e(bots).sessions()] == [HELP]
    assert world.in_clear(SECRET) == []


async def test_iqs_go_inside_and_are_answered_inside(world: World) -> None:
    """Both ways, results and errors."""
    alice, bots = await together(world, policy="require")
    for client in (alice, bots):
        client.register_plugin("xep_0092", {"software_name": SECRET})
    for asker, target, sender in ((alice, ECHO, None), (bots, ALICE, ECHO)):
        question = asker.make_iq_get(ito=target, ifrom=sender, queryxmlns="jabber:iq:version")
        answer = await until(question.send(timeout=10))
        assert SECRET in to_text(answer.xml)
        question = asker.make_iq_get(ito=target, ifrom=sender, queryxmlns="urn:unheard-of")
        with pytest.raises(IqError) as caught:
            await until(question.send(timeout=10))
        assert caught.value.iq["error"]["condition"] == "feature-not-implemented"
    assert world.in_clear(SECRET) == []


async def test_every_address_answers_disco(world: World) -> None:
    """disco#info of any address of the component, and of the component itself, has our feature."""
    alice, bots = await together(world)
    for name in (ECHO, HELP, f"anything@{BOTS}"):
        info = await alice.plugin["xep_0030"].get_info(jid=name, timeout=10)
        assert NS_SECURITY in info["disco_info"]["features"], name
    world.unload(bots)
    await turns()
    info = await alice.plugin["xep_0030"].get_info(jid=ECHO, timeout=10)
    assert NS_SECURITY not in info["disco_info"]["features"]


async def test_nobody_may_open_sessions_with_a_component_by_default(world: World) -> None:
    """``accept_from`` is nobody until a list is given: who offers a session is told what a resource that is not there is."""
    alice, bots = await together(world, accept_from=None)
    failed = Heard(alice, "e2e_send_failed")
    alice.send_message(mto=ECHO, mbody=SECRET, mtype="chat")
    assert isinstance((await failed.take()).error, PeerRefused)
    assert not e2e(bots).sessions()
    e2e(bots).set_accept_from(["alice@localhost"])
    heard = Heard(bots, "message")
    alice.send_message(mto=ECHO, mbody=SECRET, mtype="chat")
    assert await heard.bodies(1) == [SECRET]
    assert world.in_clear(SECRET) == []


async def test_under_require_plaintext_is_refused(world: World) -> None:
    """In clear, neither in nor out."""
    bots, alice = await world.component(policy="require", accept_from=["localhost"]), await world.client(ALICE, load=False)
    refused, failed = Heard(bots, "e2e_plaintext_refused"), Heard(bots, "e2e_send_failed")
    heard = Heard(alice, "message")
    alice.send_message(mto=ECHO, mbody="in clear", mtype="chat")
    assert (await refused.take()).stanza["body"] == "in clear"
    bots.send_message(mfrom=ECHO, mto=ALICE, mbody=SECRET, mtype="chat")
    assert isinstance((await failed.take()).error, E2EError)
    assert len(heard) == 0
    assert world.in_clear(SECRET) == []


async def test_under_prefer_strangers_are_answered_in_clear(world: World) -> None:
    """Who has no encryption, and never had, is served as ever, with the label ``none``."""
    bots, alice = await world.component(), await world.client(ALICE, load=False)
    echo(bots)
    heard, replies = Heard(bots, "message"), Heard(alice, "message")
    alice.send_message(mto=ECHO, mbody="in clear", mtype="chat")
    assert str((await heard.take())["e2e"]["assurance"]) == "none"
    assert await replies.bodies(1) == ["echo: in clear"]


async def test_a_known_component_is_known_again(world: World) -> None:
    """The key is the component's, remembered for each of its addresses by itself."""
    alice, _ = await together(world)
    link = await e2e(alice).connect(ECHO)
    await until(link.opened())
    await until(link.close())
    again = await e2e(alice).connect(ECHO)
    other = await e2e(alice).connect(HELP)
    assert [str(one.assurance) for one in (again, other)] == ["known", "vouched"]


async def test_a_component_loses_its_stream(world: World) -> None:
    """Its sessions are over, aloud."""
    alice, bots = await together(world)
    await until((await e2e(alice).connect(ECHO)).opened())
    ended = Heard(bots, "e2e_session_end")
    bots.abort()
    assert not (await ended.take()).detail.clean
    assert not e2e(bots).sessions()


async def test_the_resource_of_the_highest_priority_comes_first(world: World) -> None:
    """A priority in the component's namespace counts as one."""
    _, bots = await together(world)
    here = Heard(bots, "presence_available")
    other = await world.client("alice@localhost/high", load=False)
    other.send_presence(ppriority=5)
    while (await here.take())["priority"] != 5:
        pass
    known = e2e(bots).switchboard.presences
    assert await known.online(f"echo@{BOTS}", "alice@localhost") == ["alice@localhost/high", ALICE]


async def test_refusals_are_understood_and_well_formed(world: World) -> None:
    """Both ways: what a client's refusal says reaches the component, and its own is in the namespace of its stream."""
    alice, bots = await together(world, accept_from=None)
    for sender, origin, to in ((bots, ECHO, ALICE), (alice, None, ECHO)):
        for each in (alice, bots):  # whom one has written to may write back, until this is said again
            e2e(each).set_accept_from([])
        failed = Heard(sender, "e2e_send_failed")
        sender.send_message(mfrom=origin, mto=to, mbody=SECRET, mtype="chat")
        assert "service-unavailable" in str((await failed.take()).error)
    of_component = [one.text for one in world.server.seen if (one.client, one.way) == (BOTS, Way.RECEIVED)]
    refusals = [text for text in of_component if "<error" in text]
    assert refusals
    assert not [text for text in refusals if "jabber:client" in text]
