"""What a component says as a room stays outside of sessions. Nobody but the component makes one of its addresses a room."""

from __future__ import annotations

from typing import Any

import pytest
from slixmpp import JID, ClientXMPP, ComponentXMPP, Message

from slixmpp_e2e.messages.own_addresses import OwnAddresses
from tests.slixmpp_e2e.env import ALICE, BOTS, SECRET, Env, Events, e2e, until
from tests.slixmpp_e2e.messages.stanzas import stanza

ECHO = f"echo@{BOTS}/bot"
MUC_USER = "<x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='owner' role='moderator'/></x>"


async def asked_as_a_room(env: Env) -> tuple[ClientXMPP, ComponentXMPP, Message]:
    """Return Alice, a bot that answers whatever comes, and its answer to what she wrote as to a room, inside a session."""
    bots, alice = await env.component(accept_from=["localhost"]), await env.client(ALICE, accept_from=[BOTS])
    bots.add_event_handler("message", lambda message: message.reply(f"you said: {message['body']}").send())
    session = await e2e(alice).connect(ECHO)
    await until(session.wait_open())
    replies = Events(alice, "message")
    session.send(stanza("message", "groupchat", f"<body>{SECRET}</body>"))
    return alice, bots, await replies.take()


async def test_a_bots_answer_to_what_came_as_to_a_room_is_encrypted(env: Env) -> None:
    """slixmpp gives a reply the type of what it replies to."""
    _, _, reply = await asked_as_a_room(env)
    assert (reply["type"], reply["body"]) == ("groupchat", f"you said: {SECRET}")
    assert str(reply["e2e"]["assurance"]) != "none"
    assert env.in_clear(SECRET) == []


async def test_control_without_what_is_remembered_of_sessions(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: by its type alone, the server reads the answer."""
    monkeypatch.setattr(OwnAddresses, "speaks_to_all", lambda self, own_jid, account: self.are_many)
    await asked_as_a_room(env)
    assert env.in_clear(SECRET) != []


async def test_it_is_so_when_the_session_has_ended(env: Env) -> None:
    """Who cuts it before the answer leaves gets nothing to read."""
    alice, bots, _ = await asked_as_a_room(env)
    await until(e2e(alice).close())
    replies = Events(alice, "message")
    bots.send_message(mfrom=JID(ECHO), mto=JID(ALICE), mbody=f"late: {SECRET}", mtype="groupchat")
    assert str((await replies.take())["e2e"]["assurance"]) != "none"
    assert env.in_clear(SECRET) == []


@pytest.mark.parametrize("sender", [f"echo@{BOTS}/eve", "eve@localhost/x"])
async def test_nobody_else_makes_an_address_a_room(env: Env, sender: str) -> None:
    """Whoever the server says it comes from."""
    bots, alice = await env.component(accept_from=["localhost"]), await env.client(ALICE, accept_from=[BOTS])
    heard = Events(alice, "message")
    forged: Any = stanza("presence", "", MUC_USER, sender=sender, to=ECHO)
    assert e2e(bots)._client._incoming.filter_incoming(forged) is forged
    bots.send_message(mfrom=JID(ECHO), mto=JID(ALICE), mbody=SECRET, mtype="chat")
    assert str((await heard.take())["e2e"]["assurance"]) == "vouched"
    assert env.in_clear(SECRET) == []
