"""The server as tests and demonstrations use it."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any
from xml.etree.ElementTree import Element

import pytest
from slixmpp import ClientXMPP

from xmpp_loopback import LoginFailed, LoopbackServer, offline, online, parse
from xmpp_loopback.wire import Received, StreamReader

LogIn = Callable[..., Awaitable[ClientXMPP]]
Settle = Callable[..., Awaitable[None]]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "::1", "localhost", "192.0.2.1", ""])
def test_it_binds_the_loopback_address_only(host: str) -> None:
    with pytest.raises(ValueError, match=r"binds 127\.0\.0\.1 only"):
        LoopbackServer(host=host)


async def test_it_says_what_it_is_for(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "xmpp_loopback"):
        async with LoopbackServer("example.test") as server:
            port = server.port
    assert f"127.0.0.1 port {port}: for demonstration and tests, not for production" in caplog.text
    assert "not for production" in (LoopbackServer.__doc__ or "")


async def test_closing_leaves_nothing(make: Callable[..., ClientXMPP], wire: Any, events: Any) -> None:
    before = asyncio.all_tasks()
    async with LoopbackServer(accounts={"alice": "alice's"}) as server:
        alice = make("alice@localhost/x")
        await online(alice, server)
        errors, ended = events(alice, "stream_error"), events(alice, "disconnected")
        _reader, half_way = await asyncio.open_connection("127.0.0.1", server.port)
        half_way.write(b"<stream:")
        await half_way.drain()
        port = server.port
    assert (await errors.take())["condition"] == "system-shutdown"
    await ended.take()
    half_way.close()
    await half_way.wait_closed()
    await offline(alice)
    assert server.online == []
    assert asyncio.all_tasks() == before
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.port
    gc.collect()  # an unclosed transport would complain here


async def test_closing_does_not_wait_for_a_client_that_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xmpp_loopback.connection._LINGER", 0.001)
    deaf = socket.socket()
    async with LoopbackServer() as server:
        deaf.setblocking(False)
        await asyncio.get_running_loop().sock_connect(deaf, ("127.0.0.1", server.port))
        deaf.send(b"<stream:")
    deaf.close()
    assert not server._connections


async def test_closing_twice_is_allowed() -> None:
    """The server can start again, perhaps on another port."""
    server = LoopbackServer(accounts={"alice": "a"})
    await server.close()
    for _ in range(2):
        async with server:
            client = ClientXMPP("alice@localhost/x", "a")
            await online(client, server)
            await offline(client)
        await server.close()


async def test_two_servers_do_not_meet() -> None:
    async with LoopbackServer("one.test", {"a": "1"}) as one, LoopbackServer("two.test", {"a": "2"}) as two:
        first, second = ClientXMPP("a@one.test/x", "1"), ClientXMPP("a@two.test/x", "2")
        await asyncio.gather(online(first, one), online(second, two))
        assert one.port != two.port
        assert (one.online, two.online) == (["a@one.test/x"], ["a@two.test/x"])
        assert two.find_text("one.test") == []
        stranger = ClientXMPP("a@one.test/y", "2")
        with pytest.raises(LoginFailed):
            await online(stranger, one)
        for client in (first, second, stranger):
            await offline(client)


async def test_a_forged_stanza_can_be_injected(server: LoopbackServer, log_in: LogIn, events: Any) -> None:
    bob = await log_in("bob@localhost/y")
    got = events(bob, "message")
    server.inject("bob@localhost/y", parse("<message from='alice@localhost/x'><body>element</body></message>"))
    server.inject("bob@localhost/y", "<message from='alice@localhost/x'><body>text</body></message>")
    for word in ("element", "text"):
        message = await got.take()
        assert (message["from"].full, message["body"]) == ("alice@localhost/x", word)
    assert len(server.find_text("element")) == 1


async def test_a_client_that_is_not_there_cannot_be_reached(server: LoopbackServer) -> None:
    """A mistyped JID in a test is an error, not silence."""
    with pytest.raises(KeyError, match="nobody is bound"):
        server.inject("bob@localhost/y", "<message/>")
    with pytest.raises(KeyError, match="nobody is bound"):
        server.disconnect("bob@localhost/y")


@pytest.mark.parametrize("abruptly", [True, False])
async def test_a_client_can_be_disconnected(server: LoopbackServer, log_in: LogIn, events: Any, abruptly: bool) -> None:
    bob = await log_in("bob@localhost/y")
    ended = events(bob, "disconnected")
    server.disconnect("bob@localhost/y", abruptly=abruptly)
    assert (await ended.take()) == (None if abruptly else "End of stream")
    assert server.online == []


async def test_hooks_act_in_order_on_stamped_stanzas(
    server: LoopbackServer, log_in: LogIn, events: Any, settle: Settle
) -> None:
    alice, bob = await log_in("alice@localhost/x"), await log_in("bob@localhost/y")
    calls: list[tuple[str, str | None, str]] = []

    def double(stanza: Element, sender: str) -> list[Element]:
        calls.append(("double", stanza.get("from"), sender))
        twin = parse("<message to='bob@localhost/y' from='alice@localhost/x'><body>twin</body></message>")
        return [stanza, twin] if stanza.tag.endswith("message") else [stanza]

    def shout(stanza: Element, sender: str) -> Element | None:
        calls.append(("shout", stanza.get("from"), sender))
        body = stanza.find("{jabber:client}body")
        if body is None or body.text is None:
            return stanza
        if body.text == "drop me":
            return None
        body.text = body.text.upper()
        return stanza

    server.hooks += [double, shout]
    got = events(bob, "message")
    alice.send_message("bob@localhost/y", "hello")
    alice.send_message("bob@localhost/y", "drop me")
    await settle(alice, bob)
    assert [(await got.take())["body"] for _ in range(3)] == ["HELLO", "TWIN", "TWIN"]
    assert got.empty
    assert {call[1:] for call in calls[:3]} == {("alice@localhost/x", "alice@localhost/x")}
    assert [call[0] for call in calls[:3]] == ["double", "shout", "shout"]
    assert "hello" in server.find_text("hello")[0].text
    assert len(server.find_text("drop me")) == 1


async def test_the_server_is_quick(server: LoopbackServer, wire: Any) -> None:
    """Parsing, routing and writing 5,000 stanzas takes less CPU time than 2,000 a second would allow."""
    client = await wire()
    await client.bind("bob", "y")
    reader = StreamReader()
    reader.feed(b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>")
    stanza = b"<iq type='set' id='1' to='bob@localhost/y'><data xmlns='urn:x' seq='1'>" + b"A" * 200 + b"</data></iq>"
    session = server._directory.session("bob@localhost/y")
    assert session is not None
    start = time.process_time()
    for number in range(5000):
        (event,) = reader.feed(stanza)
        assert isinstance(event, Received)
        server.handle(session, event.element, event.text)
        if number % 100 == 0:
            await client.reader.read(10**6)
    assert time.process_time() - start < 2.5
