"""Attack 35: a server forges the end: session-terminate ``success``, the close of the bytestream, or an end of file."""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.etree.ElementTree import Element, SubElement

import pytest
from slixmpp import ClientXMPP
from slixmpp.exceptions import IqTimeout

from slixmpp_e2e import E2ESession
from slixmpp_e2e.alarms import explain
from tests.pair import Pair, message
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e, until
from xmpp_e2e import events
from xmpp_e2e.errors import E2EError, UncleanClose
from xmpp_e2e.negotiate.jingle import NS_JINGLE, Action, Jingle, Reason, build
from xmpp_e2e.states import State
from xmpp_e2e.transport.ibb import NS_IBB
from xmpp_e2e.types import Role
from xmpp_loopback import hostile

REASONS = [Reason.SUCCESS, Reason.SECURITY_ERROR, Reason.GONE]
SECRET = "the treasure is under the oak"

# --- the core --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("reason", REASONS)
def test_a_forged_terminate_is_unclean(role: Role, reason: Reason) -> None:
    """Whatever reason it gives, ``success`` too: the end is reported as a cut."""
    pair = Pair().open()
    side = pair.side(role)
    pair.side(role.other).session.send_stanza(message("said"))
    pair.run()
    pair.deliver(role, build(Jingle(Action.SESSION_TERMINATE, side.session.sid, reason=reason)))
    pair.run()
    assert side.stanzas == ["said"]
    (end,) = side.of(events.SessionClosed)
    assert not end.clean
    assert isinstance(end.error, UncleanClose)
    assert "A server can cut a session at any time" in explain(end.error)


@pytest.mark.parametrize("role", Role)
def test_a_forged_end_of_file_is_unclean(role: Role) -> None:
    """The bytestream ends and nobody inside said so."""
    pair = Pair().open().end_transport(role)
    (end,) = pair.side(role).of(events.SessionClosed)
    assert (end.clean, type(end.error)) == (False, UncleanClose)


@pytest.mark.parametrize("role", Role)
def test_a_forged_terminate_during_our_farewell_is_unclean(role: Role) -> None:
    """We have said farewell and the peer's has not come: a terminate in its place is none."""
    pair = Pair().open()
    pair.on_data = lambda sender, data: []
    side = pair.side(role)
    side.session.close(pair.now)
    pair.run()
    assert side.session.state is State.CLOSING
    pair.deliver(role, build(Jingle(Action.SESSION_TERMINATE, side.session.sid, reason=Reason.SUCCESS)))
    assert [end.clean for end in pair.run().side(role).of(events.SessionClosed)] == [False]


def test_a_forged_terminate_before_the_session_is_open_is_a_failure() -> None:
    """A terminate in the middle of the handshake: the session failed; never a success."""
    pair = Pair()
    pair.on_data = lambda sender, data: []
    pair.open()
    pair.deliver(Role.INITIATOR, build(Jingle(Action.SESSION_TERMINATE, pair.alice.session.sid, reason=Reason.SUCCESS)))
    pair.run()
    assert "A server can forge this answer" in explain(pair.alice.of(events.SessionFailed)[0].error)


# --- real clients ----------------------------------------------------------------------------------------------------


def iq(payload: Element) -> Element:
    """Bob's name on it."""
    stanza = Element("{jabber:client}iq", {"type": "set", "id": "forged", "from": BOB, "to": ALICE})
    stanza.append(payload)
    return stanza


def terminate(ours: E2ESession, stream: str) -> Element:
    payload = Element(f"{{{NS_JINGLE}}}jingle", {"action": "session-terminate", "sid": ours.sid})
    SubElement(SubElement(payload, f"{{{NS_JINGLE}}}reason"), f"{{{NS_JINGLE}}}success")
    return iq(payload)


def close(ours: E2ESession, stream: str) -> Element:
    return iq(Element(f"{{{NS_IBB}}}close", {"sid": stream}))


def gone(ours: E2ESession, stream: str) -> Element:
    return Element("{jabber:client}presence", {"type": "unavailable", "from": BOB, "to": ALICE})


FORGERIES = pytest.mark.parametrize("forge", [terminate, close, gone])
Forge = Callable[[E2ESession, str], Element]


async def opened(env: Env) -> tuple[ClientXMPP, ClientXMPP, E2ESession, str]:
    """An open session, and the sid of its bytestream, which the server knows."""
    recorder = hostile.Recorder(env.server, lambda stanza, sender: stanza.find(f"{{{NS_IBB}}}open") is not None)
    env.server.hooks.append(recorder)
    alice, bob = await env.pair()
    ours, _ = await env.session(alice, bob)
    (stanza, _), *_ = recorder.taken
    return alice, bob, ours, stanza[0].get("sid", "")


@FORGERIES
async def test_users_hear_that_the_end_was_unclean(env: Env, forge: Forge) -> None:
    """e2e_session_closed says ``clean=False`` and why; what wait_closed() returns is the error, not None."""
    alice, _, ours, stream = await opened(env)
    ended = Events(alice, "e2e_session_closed")
    env.server.inject(ALICE, forge(ours, stream))
    detail = await ended.take()
    assert not detail.clean
    assert await until(ours.wait_closed()) is detail.error
    assert isinstance(detail.error, E2EError)
    assert re.search("A server can (cut|end) a", explain(detail.error))
    assert not e2e(alice).sessions()


@FORGERIES
async def test_a_question_without_an_answer_ends_with_its_callers_patience(env: Env, forge: Forge) -> None:
    """What was asked inside goes on in the next session. If none comes, its caller waits no longer than they want; no forged
    result will do."""
    alice, _, ours, stream = await opened(env)
    blocks = hostile.drop(lambda stanza, sender: stanza.find(f"{{{NS_IBB}}}*") is not None)
    env.server.hooks.append(hostile.only(ALICE, blocks))
    question = alice.make_iq_get(ito=BOB)
    SubElement(question.xml, "{urn:example:query}query").text = SECRET
    answer = question.send(timeout=1)
    await env.settle(alice)
    env.server.inject(ALICE, forge(ours, stream))
    with pytest.raises(IqTimeout):
        await until(answer)
    assert env.in_clear(SECRET) == []


@FORGERIES
async def test_what_is_sent_afterwards_starts_anew(env: Env, forge: Forge) -> None:
    """After a forged end the next message goes through a new session, never in clear."""
    alice, bob, ours, stream = await opened(env)
    ended, heard = Events(alice, "e2e_session_closed"), Events(bob, "message")
    env.server.inject(ALICE, forge(ours, stream))
    await ended.take()
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    got = await heard.take()
    assert str(got["e2e"]["assurance"]) == "known"
    assert env.in_clear(SECRET) == []


async def test_control_a_farewell_inside_is_clean(env: Env) -> None:
    """Control: Bob's own farewell, inside TLS, is what makes an end clean."""
    alice, bob = await env.pair()
    ours, theirs = await env.session(alice, bob)
    ended = Events(alice, "e2e_session_closed")
    await theirs.close()
    assert (await ended.take()).clean
    assert await until(ours.wait_closed()) is None
