"""Stream management: what a session survives (XEP-0198)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from slixmpp import ClientXMPP

from xmpp_loopback import LoopbackServer, offline, online, reconnect

LogIn = Callable[..., Awaitable[ClientXMPP]]
Settle = Callable[..., Awaitable[None]]
SM = "urn:xmpp:sm:3"


async def cut(server: LoopbackServer, client: ClientXMPP, events: Any) -> None:
    ended = events(client, "disconnected")
    server.disconnect(client.boundjid.full)
    await ended.take()


async def test_a_resumed_session_misses_nothing(server: LoopbackServer, log_in: LogIn, events: Any, settle: Settle) -> None:
    alice, bob = await log_in("alice@localhost/x"), await log_in("bob@localhost/y", "xep_0198")
    await settle(bob)
    got, left = events(bob, "message"), events(alice, "presence_unavailable")
    alice.send_message("bob@localhost/y", "before")
    assert (await got.take())["body"] == "before"
    await cut(server, bob, events)
    for number in range(20):
        alice.send_message("bob@localhost/y", f"away {number}")
    await settle(alice)
    assert await reconnect(bob, server) is True
    assert [(await got.take())["body"] for _ in range(20)] == [f"away {number}" for number in range(20)]
    alice.send_message("bob@localhost/y", "after")
    assert (await got.take())["body"] == "after"
    assert left.empty
    assert bob.boundjid.full == "bob@localhost/y"


async def test_what_the_client_sent_into_the_void_arrives(
    server: LoopbackServer, log_in: LogIn, events: Any, settle: Settle
) -> None:
    """slixmpp resends what the server never got: `h` tells which."""
    alice, bob = await log_in("alice@localhost/x"), await log_in("bob@localhost/y", "xep_0198")
    await settle(bob)
    got = events(alice, "message")
    bob.send_message("alice@localhost/x", "one")
    assert (await got.take())["body"] == "one"
    server.disconnect("bob@localhost/y")
    bob.send_message("alice@localhost/x", "two")
    ended = events(bob, "disconnected")
    await ended.take()
    assert await reconnect(bob, server) is True
    assert (await got.take())["body"] == "two"
    await settle(bob, alice)
    assert got.empty


async def test_acknowledgements_empty_the_queue(server: LoopbackServer, log_in: LogIn, events: Any, settle: Settle) -> None:
    """A client that acknowledges keeps the server's memory small, and the server acknowledges what it got."""
    alice, bob = await log_in("alice@localhost/x"), await log_in("bob@localhost/y", "xep_0198")
    await settle(bob)
    acked = events(bob, "stanza_acked")
    got = events(bob, "message")
    for number in range(100):
        alice.send_message("bob@localhost/y", str(number))
    for _ in range(100):
        await got.take()
    bob.plugin["xep_0198"].request_ack()
    await acked.take()
    await settle(bob)
    session = server._directory.session("bob@localhost/y")
    assert session is not None
    assert session.acks is not None
    assert len(session.acks.unacknowledged()) < 16


async def test_without_resumption_a_cut_is_the_end(make: Callable[..., ClientXMPP], events: Any) -> None:
    async with LoopbackServer(accounts={"bob": "bob's"}, resumption=0) as server:
        bob = make("bob@localhost/y", plugins=("xep_0198",))
        await online(bob, server)
        await cut(server, bob, events)
        assert server.online == []
        assert await reconnect(bob, server) is False
        await offline(bob)


async def test_the_wait_for_a_resumption_ends(make: Callable[..., ClientXMPP], events: Any, settle: Settle) -> None:
    async with LoopbackServer(accounts={"alice": "alice's", "bob": "bob's"}, resumption=0.001) as server:
        alice, bob = make("alice@localhost/x"), make("bob@localhost/y", plugins=("xep_0198",))
        await online(alice, server)
        await online(bob, server)
        await settle(bob)
        left = events(alice, "presence_unavailable")
        await cut(server, bob, events)
        assert (await left.take())["from"].full == "bob@localhost/y"
        assert await reconnect(bob, server) is False
        await offline(alice)
        await offline(bob)


async def test_an_orderly_end_leaves_nothing_to_resume(server: LoopbackServer, log_in: LogIn, settle: Settle) -> None:
    bob = await log_in("bob@localhost/y", "xep_0198")
    await settle(bob)
    server.disconnect("bob@localhost/y", abruptly=False)
    assert server.online == []


async def test_a_new_client_of_the_same_name_replaces_one_that_is_away(
    server: LoopbackServer, log_in: LogIn, events: Any, settle: Settle
) -> None:
    alice, old = await log_in("alice@localhost/x"), await log_in("bob@localhost/y", "xep_0198")
    await settle(old)
    left = events(alice, "presence_unavailable")
    await cut(server, old, events)
    new = await log_in("bob@localhost/y")
    await left.take()
    assert server.online == ["alice@localhost/x", "bob@localhost/y"]
    got = events(new, "message")
    alice.send_message("bob@localhost/y", "new")
    assert (await got.take())["body"] == "new"


async def test_a_resumption_takes_over_from_a_connection_that_seemed_alive(wire: Any, server: LoopbackServer) -> None:
    """The client noticed the loss before the server did: the old connection gets <conflict/>, the session goes on."""
    old, new = await wire(), await wire()
    await old.bind("bob", "y")
    token = await old.enable()
    await new.log_in("bob")
    await new.say(f"<resume xmlns='{SM}' previd='{token}' h='0'/>")
    assert f"<resumed xmlns='{SM}' previd='{token}' h='0'/>" in await new.hear("/>")
    assert "<conflict " in await old.end()
    assert server.online == ["bob@localhost/y"]
    server.inject("bob@localhost/y", "<message/>")
    assert await new.hear("<message/>")


@pytest.mark.parametrize("thief", ["bob", "alice"])
async def test_only_the_owner_with_the_token_resumes(wire: Any, server: LoopbackServer, thief: str) -> None:
    """Another account with the token, or the account with another token, gets `item-not-found`."""
    owner, other = await wire(), await wire()
    await owner.bind("bob", "y")
    token = await owner.enable()
    await other.log_in(thief)
    previd = token if thief == "alice" else "guess"
    await other.say(f"<resume xmlns='{SM}' previd='{previd}' h='0'/>")
    assert "<item-not-found " in await other.hear("</failed>")


@pytest.mark.parametrize("h", ["1", "nonsense"])
async def test_an_acknowledgement_of_nothing_ends_the_stream(wire: Any, h: str) -> None:
    client = await wire()
    await client.bind("bob", "y")
    await client.say(f"<enable xmlns='{SM}'/>")
    assert await client.hear("/>") == f"<enabled xmlns='{SM}'/>"
    await client.say(f"<r xmlns='{SM}'/>")
    assert await client.hear("/>") == f"<a xmlns='{SM}' h='0'/>"
    await client.say(f"<enable xmlns='{SM}'/>")
    assert "<unexpected-request " in await client.hear("</failed>")
    await client.say(f"<a xmlns='{SM}' h='{h}'/>")
    assert "<undefined-condition " in await client.end()


@pytest.mark.parametrize("away", [False, True])
async def test_too_much_unacknowledged_ends_the_session(
    server: LoopbackServer, wire: Any, monkeypatch: pytest.MonkeyPatch, away: bool
) -> None:
    """The queue is bounded: a connected client is disconnected, an absent one cannot resume."""
    monkeypatch.setattr("xmpp_loopback.acks.UNACKED_LIMIT", 1000)
    client = await wire()
    await client.bind("bob", "y")
    token = await client.enable()
    if away:
        server.disconnect("bob@localhost/y")
        assert await client.end() == ""
    server.inject("bob@localhost/y", "<message>" + "x" * 1000 + "</message>")
    if not away:
        assert "<policy-violation " in await client.end()
    assert server.online == []
    again = await wire()
    await again.log_in("bob")
    await again.say(f"<resume xmlns='{SM}' previd='{token}' h='0'/>")
    assert "<item-not-found " in await again.hear("</failed>")


async def test_closing_the_server_forgets_who_is_away(make: Callable[..., ClientXMPP], events: Any, settle: Settle) -> None:
    async with LoopbackServer(accounts={"bob": "bob's"}) as server:
        bob = make("bob@localhost/y", plugins=("xep_0198",))
        await online(bob, server)
        await settle(bob)
        await cut(server, bob, events)
        session = server._directory.session("bob@localhost/y")
    assert session is not None
    assert session.expiry is not None
    assert session.expiry.cancelled()
    assert isinstance(session.expiry, asyncio.TimerHandle)
