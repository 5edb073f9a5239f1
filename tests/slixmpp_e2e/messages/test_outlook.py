"""What would become of a message."""

from __future__ import annotations

import time

import pytest
from slixmpp import JID

from slixmpp_e2e import Outlook
from slixmpp_e2e.errors import PeerOffline, PeerWithoutE2E
from tests.slixmpp_e2e.env import ALICE, BOB, BOTS, Env, Events, e2e, jingle
from xmpp_loopback import offline


@pytest.mark.parametrize("to", [BOB, "bob@localhost"])
async def test_from_the_first_message_to_the_last(env: Env, to: str) -> None:
    alice, bob = await env.pair(offline_seconds=60)

    def look() -> Outlook:
        return e2e(alice).outlook(to)

    accept = env.hold(jingle("session-accept"))
    before = time.time()
    alice.send_message(mto=to, mbody="hello", mtype="chat")
    await accept.caught()
    outlook = look()
    assert (outlook.way, outlook.waiting, outlook.reaches) == ("held", 1, (BOB,))
    assert outlook.since is not None
    assert before - 1 < outlook.since < time.time() + 1
    opened = Events(alice, "e2e_session_opened")
    accept.release()
    await opened.take()
    assert (look().way, look().reaches, look().left_out, look().waiting) == ("inside", (BOB,), (), 0)
    ended = Events(alice, "e2e_session_closed")
    await e2e(alice).close()
    await ended.take()
    assert (look().way, look().reaches) == ("opens", (BOB,))
    gone = Events(alice, "presence_unavailable")
    await offline(bob)
    await gone.take()
    outlook = look()
    assert (outlook.way, type(outlook.error)) == ("held", PeerOffline)


async def test_what_is_kept_for_the_next_stream_waits(env: Env) -> None:
    alice, bob = await env.pair()
    await env.session(alice, bob)
    await e2e(alice).close()
    accept, lost = env.hold(jingle("session-accept")), Events(alice, "session_end")
    before = time.time()
    alice.send_message(mto=BOB, mbody="hello", mtype="chat")
    await accept.caught()
    alice.abort()
    await lost.take()
    outlook = e2e(alice).outlook(BOB)
    assert (outlook.way, outlook.waiting) == ("held", 1)
    assert outlook.since is not None
    assert before - 1 < outlook.since < time.time() + 1
    assert e2e(alice).cancel(BOB) == 1
    assert e2e(alice).outlook(BOB).waiting == 0


async def test_who_never_had_encryption(env: Env) -> None:
    alice = await env.client("alice@localhost/x")
    assert e2e(alice).outlook("carol@localhost").way == "plaintext"
    e2e(alice).set_policy("carol@localhost", "require")
    outlook = e2e(alice).outlook("carol@localhost")
    assert (outlook.way, type(outlook.error)) == ("held", PeerOffline)
    e2e(alice).set_policy("carol@localhost", "off")
    assert e2e(alice).outlook("carol@localhost").way == "plaintext"


@pytest.mark.parametrize(("policy", "left_out"), [("prefer", ("bob@localhost/plain",)), ("opportunistic", ())])
async def test_a_device_without_encryption(env: Env, policy: str, left_out: tuple[str, ...]) -> None:
    alice, bob = await env.pair({"policy": policy})
    await env.session(alice, bob)
    plain = await env.client("bob@localhost/plain", load=False)
    await env.settle(alice, bob, plain)
    outlook = e2e(alice).outlook("bob@localhost")
    assert (outlook.way, outlook.left_out) == ("inside", left_out)
    assert set(outlook.reaches) | set(left_out) == {BOB, "bob@localhost/plain"}
    outlook = e2e(alice).outlook("bob@localhost/plain")
    assert outlook.way == ("fails" if policy == "prefer" else "plaintext")
    assert isinstance(outlook.error, PeerWithoutE2E)


async def test_a_component_names_the_sender(env: Env) -> None:
    """What leaves from its domain, from a bare JID or a room goes in plaintext, or fails."""
    bots, _ = await env.component(accept_from=["localhost"]), await env.client(ALICE, accept_from=[BOTS])
    full = f"echo@{BOTS}/bot"
    opened = Events(bots, "e2e_session_opened")
    bots.send_message(mfrom=JID(full), mto=JID(ALICE), mbody="hello", mtype="chat")
    await opened.take()
    assert e2e(bots).outlook(ALICE, full).way == "inside"
    for own_jid in (None, BOTS, f"echo@{BOTS}"):
        assert e2e(bots).outlook(ALICE, own_jid).way == "plaintext"
    e2e(bots).set_policy("alice@localhost", "require")
    outlook = e2e(bots).outlook(ALICE, f"echo@{BOTS}")
    assert (outlook.way, str(outlook.error).startswith(f"echo@{BOTS} can be no end")) == ("fails", True)
    assert e2e(bots).outlook(ALICE, full).way == "inside"
