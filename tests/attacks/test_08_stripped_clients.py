"""Attack 8: the server strips ``<security/>``, or the feature out of disco: no encryption seems to be possible."""

from __future__ import annotations

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e.errors import PeerOffline, PeerWithoutE2E
from tests.attacks.edits import SECURITY
from tests.slixmpp_e2e.world import BOB, Heard, World, e2e, jingle, turns, until
from xmpp_e2e.errors import E2EError, PeerRefused, SecurityStripped
from xmpp_e2e.negotiate.jingle import NS_JINGLE, NS_SECURITY
from xmpp_e2e.trust.policy import OUTGOING, Outgoing
from xmpp_loopback import hostile, offline

SECRET = "the treasure is under the oak"
TO = pytest.mark.parametrize("to", [BOB, "bob@localhost"], ids=["full", "bare"])


async def met(world: World, alice: ClientXMPP, bob: ClientXMPP) -> None:
    """Alice and Bob have had a session, and it is over."""
    link, _ = await world.session(alice, bob)
    await until(link.close())


async def stripped(world: World, policy: str, *, remembered: bool) -> tuple[ClientXMPP, ClientXMPP]:
    """Two clients on a server that hides the feature, from the first moment or only after they have met."""
    if remembered:
        alice, bob = await world.pair(policy=policy)
        await met(world, alice, bob)
        for client in (alice, bob):  # so that nothing is cached of what they have seen
            world.unload(client)
            await turns()
            await offline(client)
    world.server.interfere.append(hostile.strip_feature(NS_SECURITY))
    return await world.pair(policy=policy)


@TO
@pytest.mark.parametrize(("policy", "remembered"), [("require", False), ("require", True), ("prefer", True)])
async def test_the_feature_stripped_is_refused_and_told(world: World, policy: str, remembered: bool, to: str) -> None:
    """Under ``require``, and for a peer with whom we have had a session: nothing leaves, and the user reads why."""
    alice, bob = await stripped(world, policy, remembered=remembered)
    failed, heard = Heard(alice, "e2e_send_failed"), Heard(bob, "message")
    alice.send_message(mto=to, mbody=SECRET, mtype="chat")
    report = await failed.take()
    assert isinstance(report.error, PeerWithoutE2E | PeerOffline)
    assert "looks exactly like this" in str(report)
    assert "Nothing was sent." in str(report)
    await world.settle(alice, bob)
    assert len(heard) == 0
    assert world.in_clear(SECRET) == []


async def test_connect_says_so_too(world: World) -> None:
    """Who asks for a session gets an error, no session in clear."""
    alice, _ = await stripped(world, "prefer", remembered=True)
    with pytest.raises(PeerWithoutE2E, match="does not advertise"):
        await until(e2e(alice).connect(BOB))


@pytest.mark.parametrize("policy", ["require", "prefer"])
@pytest.mark.parametrize("remembered", [False, True], ids=["stranger", "remembered"])
@pytest.mark.parametrize(("action", "error"), [("session-initiate", PeerRefused), ("session-accept", SecurityStripped)])
async def test_security_stripped_from_the_signalling(
    world: World, policy: str, remembered: bool, action: str, error: type[E2EError]
) -> None:
    """Whichever half loses its ``<security/>``: the session ends, the message fails visibly, and never goes in clear: not
    even to a stranger, since he did advertise."""
    alice, bob = await world.pair(policy=policy)
    if remembered:
        await met(world, alice, bob)
    strip, hits = hostile.strip_element(SECURITY), jingle(action)
    world.server.interfere.append(lambda stanza, sender: strip(stanza, sender) if hits(stanza, sender) else stanza)
    failed, heard = Heard(alice, "e2e_send_failed"), Heard(bob, "message")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    report = await failed.take()
    assert isinstance(report.error, error)
    assert report.error.attack in str(report)
    await world.settle(alice, bob)
    assert len(heard) == 0
    assert not e2e(alice).sessions()
    assert not e2e(bob).sessions()
    assert world.in_clear(SECRET) == []


@pytest.mark.parametrize("action", ["session-initiate", "session-accept"])
async def test_an_empty_content_is_no_way_around(world: World, action: str) -> None:
    """All of the content is stripped, not only its security: refused alike."""
    alice, bob = await world.pair()
    strip, hits = hostile.strip_element(f"{{{NS_JINGLE}}}content"), jingle(action)
    world.server.interfere.append(lambda stanza, sender: strip(stanza, sender) if hits(stanza, sender) else stanza)
    failed = Heard(alice, "e2e_send_failed")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert isinstance((await failed.take()).error, E2EError)
    await world.settle(alice, bob)
    assert world.in_clear(SECRET) == []


async def test_the_limit_a_stranger_under_prefer(world: World) -> None:
    """The limit that the policy states: a stranger who never seemed to have it is written to in clear, labelled ``none``."""
    alice, bob = await stripped(world, "prefer", remembered=False)
    heard = Heard(bob, "message")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert str((await heard.take())["e2e"]["assurance"]) == "none"
    assert world.in_clear(SECRET)


async def test_control_without_the_policy_it_leaves_in_clear(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: with a table that falls back to plaintext the stripped message is read by the server."""
    for row in list(OUTGOING):
        if OUTGOING[row] is Outgoing.FAIL_UNAVAILABLE:
            monkeypatch.setitem(OUTGOING, row, Outgoing.CLEAR)
    alice, bob = await stripped(world, "require", remembered=True)
    heard = Heard(bob, "e2e_plaintext_refused")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    await heard.take()
    assert world.in_clear(SECRET)
