"""Routing between real clients: RFC 6121 §8.5."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from slixmpp import ClientXMPP
from slixmpp.exceptions import IqError

from xmpp_loopback import Direction, LoopbackServer, parse

LogIn = Callable[..., Awaitable[ClientXMPP]]
Settle = Callable[..., Awaitable[None]]


async def test_a_message_to_a_full_jid_reaches_that_resource_only(log_in: LogIn, events: Any, settle: Settle) -> None:
    alice, phone, desk = [await log_in(jid) for jid in ("alice@localhost/x", "bob@localhost/phone", "bob@localhost/desk")]
    there, elsewhere = events(phone, "message"), events(desk, "message")
    alice.send_message("bob@localhost/phone", "hello")
    message = await there.take()
    assert (message["body"], message["from"].full) == ("hello", "alice@localhost/x")
    await settle(alice, desk)
    assert elsewhere.empty


async def test_a_message_to_a_bare_jid_reaches_all_willing_resources(log_in: LogIn, events: Any, settle: Settle) -> None:
    alice = await log_in("alice@localhost/x")
    phone, desk, shy = [await log_in(f"bob@localhost/{name}") for name in ("phone", "desk", "shy")]
    shy.send_presence(ppriority=-1)
    await settle(shy)
    inboxes = [events(client, "message") for client in (phone, desk, shy)]
    alice.send_message("bob@localhost", "hello")
    assert [(await inboxes[0].take())["body"], (await inboxes[1].take())["body"]] == ["hello", "hello"]
    await settle(alice, shy)
    assert inboxes[2].empty
    alice.send_message("bob@localhost/shy", "only you")
    assert (await inboxes[2].take())["body"] == "only you"


async def test_the_sender_is_stamped_by_the_server(wire: Any, log_in: LogIn, events: Any) -> None:
    bob = await log_in("bob@localhost/y")
    got = events(bob, "message")
    mallory = await wire()
    await mallory.bind("carol", "z")
    await mallory.say("<message from='alice@localhost/x' to='bob@localhost/y'><body>trust me</body></message>")
    assert (await got.take())["from"].full == "carol@localhost/z"


@pytest.mark.parametrize(
    ("to", "kind", "condition"),
    [
        ("bob@localhost/gone", "normal", "service-unavailable"),
        ("bob@localhost/gone", "chat", None),
        ("bob@localhost/gone", "headline", None),
        ("bob@localhost", "groupchat", "service-unavailable"),
        ("carol@localhost", "chat", "service-unavailable"),
        ("carol@localhost", "normal", "service-unavailable"),
        ("carol@localhost", "headline", None),
        ("nobody@localhost", "chat", "service-unavailable"),
        ("nobody@localhost/x", "chat", "service-unavailable"),
        ("bob@elsewhere.test", "chat", "remote-server-not-found"),
        ("bob@local host", "chat", "jid-malformed"),
        ("localhost", "chat", None),
        ("bob@localhost", "error", None),
    ],
)
async def test_a_message_that_finds_nobody(
    wire: Any, log_in: LogIn, events: Any, to: str, kind: str, condition: str | None
) -> None:
    bob = await log_in("bob@localhost/here")
    got = events(bob, "message")
    alice = await wire()
    await alice.bind("alice", "x")
    await alice.say(f"<message id='m' type='{kind}' to='{to}'><body>?</body></message>")
    await alice.say("<iq type='get' id='after'><ping xmlns='urn:xmpp:ping'/></iq>")
    heard = await alice.hear('id="after"')
    assert (f"<{condition} " in heard) if condition else ("error" not in heard)
    assert got.empty is (kind != "chat" or to != "bob@localhost/gone")


async def test_errors_breed_no_errors(server: LoopbackServer, wire: Any) -> None:
    alice = await wire()
    await alice.bind("alice", "x")
    for to in ("bob@localhost/gone", "bob@localhost", "x@elsewhere.test", "localhost"):
        await alice.say(f"<message type='error' to='{to}'/><iq type='error' id='1' to='{to}'/>")
        await alice.say(f"<iq type='result' id='1' to='{to}'/><presence type='error' to='{to}'/>")
    await alice.say("<iq type='get' id='after'><ping xmlns='urn:xmpp:ping'/></iq>")
    await alice.hear('id="after"')
    assert len([handled for handled in server.handled if handled.direction is Direction.SENT]) == 1


@pytest.mark.parametrize(
    ("to", "condition"),
    [
        ("bob@localhost/gone", "service-unavailable"),
        ("nobody@localhost/x", "service-unavailable"),
        ("bob@elsewhere.test/x", "remote-server-not-found"),
        ("localhost/x", "service-unavailable"),
    ],
)
async def test_an_iq_to_an_unknown_resource_is_answered(log_in: LogIn, to: str, condition: str) -> None:
    alice = await log_in("alice@localhost/x", "xep_0199")
    with pytest.raises(IqError) as failure:
        await alice.plugin["xep_0199"].send_ping(to, timeout=10)
    assert failure.value.condition == condition
    assert failure.value.iq["from"].full == to


async def test_everything_is_on_record(server: LoopbackServer, log_in: LogIn, events: Any) -> None:
    alice, bob = await log_in("alice@localhost/x"), await log_in("bob@localhost/y")
    before = len(server.handled)
    got = events(bob, "message")
    alice.send_message("bob@localhost/y", "for the <record>")
    await got.take()
    came, went = server.find_text("for the <record>")
    assert server.handled[before:] == [came, went]
    assert (came.direction, came.client) == (Direction.RECEIVED, "alice@localhost/x")
    assert (went.direction, went.client) == (Direction.SENT, "bob@localhost/y")
    assert came.element.get("from") is None
    assert went.element.get("from") == "alice@localhost/x"
    assert "for the &lt;record&gt;" in came.text


async def test_a_stanza_of_an_absent_sender_is_routed(server: LoopbackServer, log_in: LogIn, events: Any) -> None:
    """`route` works for a sender that is gone, and its errors go nowhere."""
    bob = await log_in("bob@localhost/y")
    got = events(bob, "message")
    gone = "alice@localhost/gone"
    server.route(parse("<message to='nobody@localhost' type='chat'/>"), gone)
    server.route(parse("<iq to='localhost' type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>"), gone)
    server.route(parse("<presence/>"), gone)
    server.route(parse("<presence to='bob@localhost' type='probe'/>"), gone)
    server.route(parse(f"<message to='bob@localhost' from='{gone}'><body>late</body></message>"), gone)
    assert (await got.take())["body"] == "late"
