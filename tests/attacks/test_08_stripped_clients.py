"""Attack 8: the server strips ``<security/>``, or the feature out of disco: no encryption seems to be possible."""

from __future__ import annotations

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e.alarms import words
from slixmpp_e2e.errors import PeerOffline, PeerWithoutE2E
from slixmpp_e2e.policy import OUTGOING, Outgoing
from tests.attacks.signalling_edits import SECURITY
from tests.pair import has_code
from tests.slixmpp_e2e.env import BOB, Env, Events, e2e, jingle, turns, until
from xmpp_e2e.errors import Code, E2EError
from xmpp_e2e.negotiate.jingle import NS_JINGLE, NS_SECURITY
from xmpp_loopback import hostile, offline

SECRET = "the treasure is under the oak"
TO = pytest.mark.parametrize("to", [BOB, "bob@localhost"], ids=["full", "bare"])


async def met(env: Env, alice: ClientXMPP, bob: ClientXMPP) -> None:
    """Alice and Bob have had a session, and it is over."""
    link, _ = await env.session(alice, bob)
    await until(link.close())


async def stripped(env: Env, policy: str, *, remembered: bool) -> tuple[ClientXMPP, ClientXMPP]:
    """Two clients on a server that hides the feature, from the first moment or only after they have met."""
    if remembered:
        alice, bob = await env.pair(policy=policy)
        await met(env, alice, bob)
        for client in (alice, bob):  # so that nothing is cached of what they have seen
            env.unload(client)
            await turns()
            await offline(client)
    env.server.hooks.append(hostile.strip_feature(NS_SECURITY))
    return await env.pair(policy=policy)


@TO
@pytest.mark.parametrize(("policy", "remembered"), [("require", False), ("require", True), ("prefer", True)])
async def test_the_feature_stripped_is_refused_and_told(env: Env, policy: str, remembered: bool, to: str) -> None:
    """Under ``require``, and for a peer with whom we have had a session: nothing leaves, and the user reads why."""
    alice, bob = await stripped(env, policy, remembered=remembered)
    failed, heard = Events(alice, "e2e_send_failed"), Events(bob, "message")
    alice.send_message(mto=to, mbody=SECRET, mtype="chat")
    report = await failed.take()
    assert isinstance(report.error, PeerWithoutE2E | PeerOffline)
    assert "looks exactly like this" in str(report)
    assert "Nothing was sent." in str(report)
    await env.settle(alice, bob)
    assert len(heard) == 0
    assert env.in_clear(SECRET) == []


async def test_connect_says_so_too(env: Env) -> None:
    """Who asks for a session gets an error, no session in clear."""
    alice, _ = await stripped(env, "prefer", remembered=True)
    with pytest.raises(PeerWithoutE2E, match="does not advertise"):
        await until(e2e(alice).connect(BOB))


@pytest.mark.parametrize("policy", ["require", "prefer"])
@pytest.mark.parametrize("remembered", [False, True], ids=["stranger", "remembered"])
@pytest.mark.parametrize(
    ("action", "code"), [("session-initiate", Code.PEER_REFUSED), ("session-accept", Code.SECURITY_STRIPPED)]
)
async def test_security_stripped_from_the_signalling(
    env: Env, policy: str, remembered: bool, action: str, code: Code
) -> None:
    """Whichever half loses its ``<security/>``: the session ends, the message fails visibly, and never goes in clear: not
    even to a stranger, since they did advertise."""
    alice, bob = await env.pair(policy=policy)
    if remembered:
        await met(env, alice, bob)
    strip, hits = hostile.strip_element(SECURITY), jingle(action)
    env.server.hooks.append(lambda stanza, sender: strip(stanza, sender) if hits(stanza, sender) else stanza)
    failed, heard = Events(alice, "e2e_send_failed"), Events(bob, "message")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    report = await failed.take()
    assert has_code(code)(report.error)
    assert words(report.error).attack in str(report)
    await env.settle(alice, bob)
    assert len(heard) == 0
    assert not e2e(alice).sessions()
    assert not e2e(bob).sessions()
    assert env.in_clear(SECRET) == []


@pytest.mark.parametrize("action", ["session-initiate", "session-accept"])
async def test_an_empty_content_is_no_way_around(env: Env, action: str) -> None:
    """All of the content is stripped, not only its security: refused alike."""
    alice, bob = await env.pair()
    strip, hits = hostile.strip_element(f"{{{NS_JINGLE}}}content"), jingle(action)
    env.server.hooks.append(lambda stanza, sender: strip(stanza, sender) if hits(stanza, sender) else stanza)
    failed = Events(alice, "e2e_send_failed")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert isinstance((await failed.take()).error, E2EError)
    await env.settle(alice, bob)
    assert env.in_clear(SECRET) == []


async def test_the_limit_a_stranger_under_prefer(env: Env) -> None:
    """The limit that the policy states: a stranger who never seemed to have it is written to in clear, labelled ``none``."""
    alice, bob = await stripped(env, "prefer", remembered=False)
    heard = Events(bob, "message")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert str((await heard.take())["e2e"]["assurance"]) == "none"
    assert env.in_clear(SECRET)


async def test_control_without_the_policy_it_leaves_in_clear(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: with a table that falls back to plaintext the stripped message is read by the server."""
    for row in list(OUTGOING):
        if OUTGOING[row] is Outgoing.FAIL_UNAVAILABLE:
            monkeypatch.setitem(OUTGOING, row, Outgoing.PLAINTEXT)
    alice, bob = await stripped(env, "require", remembered=True)
    heard = Events(bob, "e2e_plaintext_refused")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    await heard.take()
    assert env.in_clear(SECRET)
