"""Presence between real clients: RFC 6121 §3 and §4."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from slixmpp import ClientXMPP

from xmpp_loopback import Direction, LoopbackServer, Subscription, offline, reconnect

LogIn = Callable[..., Awaitable[ClientXMPP]]
Settle = Callable[..., Awaitable[None]]


def told(server: LoopbackServer, client: str) -> list[tuple[str | None, str | None]]:
    return [
        (handled.element.get("from"), handled.element.get("type"))
        for handled in server.handled
        if handled.direction is Direction.SENT and handled.client == client and handled.text.startswith("<presence")
    ]


async def test_contacts_see_each_other_come_and_go(server: LoopbackServer, log_in: LogIn, settle: Settle) -> None:
    alice, desk = await log_in("alice@localhost/x"), await log_in("bob@localhost/desk")
    phone = await log_in("bob@localhost/phone")
    await settle(alice, desk, phone)
    assert told(server, "alice@localhost/x") == [
        ("alice@localhost/x", None), ("bob@localhost/desk", None), ("bob@localhost/phone", None)
    ]  # fmt: skip
    assert sorted(told(server, "bob@localhost/phone")) == [
        ("alice@localhost/x", None), ("bob@localhost/desk", None), ("bob@localhost/phone", None)
    ]  # fmt: skip
    assert set(alice.client_roster["bob@localhost"].resources) == {"desk", "phone"}
    await offline(phone)
    await settle(alice, desk)
    assert told(server, "alice@localhost/x")[3:] == [("bob@localhost/phone", "unavailable")]
    assert set(alice.client_roster["bob@localhost"].resources) == {"desk"}


async def test_before_presence_nobody_knows(
    server: LoopbackServer, make: Callable[..., ClientXMPP], log_in: LogIn, settle: Settle
) -> None:
    """A bound client without presence is not announced and gets neither presence nor messages to the bare JID."""
    alice, bob = await log_in("alice@localhost/x"), make("bob@localhost/y")
    assert await reconnect(bob, server) is False
    alice.send_presence(pstatus="still here")
    await settle(alice, bob)
    assert told(server, "bob@localhost/y") == []
    await offline(bob)
    await settle(alice)
    assert told(server, "alice@localhost/x") == [("alice@localhost/x", None)] * 2


async def test_unavailable_ends_availability_but_not_the_session(server: LoopbackServer, log_in: LogIn, settle: Settle) -> None:
    alice, bob = await log_in("alice@localhost/x"), await log_in("bob@localhost/y")
    bob.send_presence(ptype="unavailable")
    await settle(bob, alice)
    assert told(server, "alice@localhost/x")[-1] == ("bob@localhost/y", "unavailable")
    count = len(told(server, "bob@localhost/y"))
    bob.send_presence()
    await settle(bob, alice)
    assert sorted(told(server, "bob@localhost/y")[count:]) == [("alice@localhost/x", None), ("bob@localhost/y", None)]
    assert told(server, "alice@localhost/x")[-1] == ("bob@localhost/y", None)


@pytest.mark.parametrize("state", list(Subscription))
async def test_strangers_see_nothing(server: LoopbackServer, log_in: LogIn, settle: Settle, state: Subscription) -> None:
    server.set_subscription("alice@localhost", "bob@localhost", state)
    alice, bob = await log_in("alice@localhost/x"), await log_in("bob@localhost/y")
    await settle(alice, bob)
    sees = ("bob@localhost/y", None) in told(server, "alice@localhost/x")
    seen = ("alice@localhost/x", None) in told(server, "bob@localhost/y")
    assert (sees, seen) == (state.watches, state.watched)
    shown = alice.client_roster["bob@localhost"]["subscription"]
    assert shown == state.value


async def test_a_subscription_can_change_while_both_are_online(
    server: LoopbackServer, log_in: LogIn, events: Any, settle: Settle
) -> None:
    alice, bob = await log_in("alice@localhost/x"), await log_in("bob@localhost/y")
    gone, come = events(alice, "presence_unavailable"), events(alice, "presence_available")
    server.set_subscription("alice@localhost", "bob@localhost", "from")
    assert (await gone.take())["from"].full == "bob@localhost/y"
    await settle(alice, bob)
    assert alice.client_roster["bob@localhost"]["subscription"] == "from"
    assert bob.client_roster["alice@localhost"]["subscription"] == "to"
    server.set_subscription("alice@localhost", "bob@localhost", "both")
    assert (await come.take())["from"].full == "bob@localhost/y"
    server.set_subscription("alice@localhost", "bob@localhost", "both")
    await settle(alice)
    assert come.empty


async def test_directed_presence_reaches_a_stranger_and_is_taken_back(
    server: LoopbackServer, log_in: LogIn, settle: Settle
) -> None:
    """The recipient learns of the end, once (§4.6.3)."""
    for other in ("bob", "carol"):
        server.set_subscription("alice@localhost", f"{other}@localhost", "none")
    alice, bob, carol = [await log_in(jid) for jid in ("alice@localhost/x", "bob@localhost/y", "carol@localhost/z")]
    alice.send_presence(pto="bob@localhost/y")
    alice.send_presence(pto="carol@localhost")
    alice.send_presence(pto="carol@localhost", ptype="unavailable")
    await settle(alice)
    await offline(alice)
    await settle(bob, carol)
    news = [("alice@localhost/x", None), ("alice@localhost/x", "unavailable")]
    assert [item for item in told(server, "bob@localhost/y") if item[0] == "alice@localhost/x"] == news
    assert [item for item in told(server, "carol@localhost/z") if item[0] == "alice@localhost/x"] == news


async def test_a_contact_hears_of_the_end_only_once(server: LoopbackServer, log_in: LogIn, settle: Settle) -> None:
    alice, bob = await log_in("alice@localhost/x"), await log_in("bob@localhost/y")
    alice.send_presence(pto="bob@localhost/y")
    alice.send_presence(pto="bob@localhost")
    await settle(alice)
    await offline(alice)
    await settle(bob)
    assert told(server, "bob@localhost/y").count(("alice@localhost/x", "unavailable")) == 1


async def test_a_probe_is_answered_for_who_may_know(server: LoopbackServer, log_in: LogIn, settle: Settle) -> None:
    server.set_subscription("alice@localhost", "carol@localhost", "none")
    alice, bob, carol = [await log_in(jid) for jid in ("alice@localhost/x", "bob@localhost/y", "carol@localhost/z")]
    for client in (bob, carol):
        before = len(told(server, client.boundjid.full))
        client.send_presence(pto="alice@localhost", ptype="probe")
        await settle(client)
        news = told(server, client.boundjid.full)[before:]
        assert news == ([("alice@localhost/x", None)] if client is bob else [])
    assert alice.is_connected()


async def test_a_subscription_is_asked_for_and_granted(
    server: LoopbackServer, log_in: LogIn, events: Any, settle: Settle
) -> None:
    """slixmpp grants it and asks back; rosters and presence follow, stamped with bare JIDs."""
    server.set_subscription("alice@localhost", "bob@localhost", "none")
    alice, bob = await log_in("alice@localhost/x"), await log_in("bob@localhost/y")
    asked, there = events(bob, "presence_subscribe"), events(alice, "presence_available")
    alice.send_presence_subscription("bob@localhost")
    assert (await asked.take())["from"] == "alice@localhost"
    assert (await there.take())["from"].full == "bob@localhost/y"
    await settle(alice, bob, alice)
    assert alice.client_roster["bob@localhost"]["subscription"] == "both"
    assert bob.client_roster["alice@localhost"]["subscription"] == "both"


@pytest.mark.parametrize(("kind", "left"), [("unsubscribe", "from"), ("unsubscribed", "to")])
async def test_a_subscription_is_ended_by_either_side(
    server: LoopbackServer, log_in: LogIn, settle: Settle, kind: str, left: str
) -> None:
    """`unsubscribe` ends our own subscription, `unsubscribed` the contact's."""
    alice, bob = await log_in("alice@localhost/x"), await log_in("bob@localhost/y")
    bob.auto_authorize = None
    alice.send_presence_subscription("bob@localhost", ptype=kind)
    await settle(alice, bob, alice)
    assert alice.client_roster["bob@localhost"]["subscription"] == left
    blind = "alice@localhost/x" if kind == "unsubscribe" else "bob@localhost/y"
    assert told(server, blind)[-1][1] == "unavailable"


async def test_asking_for_what_is_granted_is_answered_by_the_server(
    server: LoopbackServer, log_in: LogIn, events: Any, settle: Settle
) -> None:
    """The contact does not see a second request (§3.1.3)."""
    alice, bob = await log_in("alice@localhost/x"), await log_in("bob@localhost/y")
    granted, asked = events(alice, "presence_subscribed"), events(bob, "presence_subscribe")
    alice.send_presence_subscription("bob@localhost")
    assert (await granted.take())["from"] == "bob@localhost"
    await settle(alice, bob)
    assert asked.empty


async def test_a_priority_is_read_with_care(server: LoopbackServer, wire: Any) -> None:
    client = await wire()
    await client.bind("alice", "x")
    for text, reached in (("-1000", False), ("nonsense", True), ("", True), ("-1", False), ("127", True)):
        await client.say(f"<presence><priority>{text}</priority></presence><message to='alice@localhost' type='chat'/>")
        await client.hear("</presence>")
        assert ("service-unavailable" not in await client.hear("e>" if not reached else "/>")) is reached


async def test_a_broadcast_that_makes_no_sense_is_ignored(server: LoopbackServer, wire: Any) -> None:
    client = await wire()
    await client.bind("alice", "x")
    await client.say("<presence type='subscribe'/><presence type='nonsense'/><presence type='error'/>")
    await client.say("<iq type='get' id='after'><ping xmlns='urn:xmpp:ping'/></iq>")
    assert "<presence" not in await client.hear('id="after"')
    assert server._directory.available("alice@localhost") == []
