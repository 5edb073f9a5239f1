"""A component (XEP-0114) proves its secret, gets stanzas for its domain, and cannot claim another one."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from slixmpp import ClientXMPP, ComponentXMPP
from slixmpp.exceptions import IqError

from xmpp_loopback import LoopbackServer, component_online, offline

LogIn = Callable[..., Awaitable[ClientXMPP]]
Settle = Callable[..., Awaitable[None]]
OpenWire = Callable[[LoopbackServer], Awaitable[Any]]

DOMAIN, SECRET = "bots.localhost", "component's"
ACCOUNTS = {"alice": "alice's", "bob": "bob's"}
HEADER = f"<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' to='{DOMAIN}'>"


@pytest.fixture
async def server() -> AsyncIterator[LoopbackServer]:
    async with LoopbackServer(accounts=ACCOUNTS, components={DOMAIN: SECRET}) as running:
        yield running


@pytest.fixture
async def component(server: LoopbackServer) -> AsyncIterator[ComponentXMPP]:
    made = ComponentXMPP(DOMAIN, SECRET)
    await component_online(made, server)
    yield made
    await offline(made)


async def joined(wire: Any, secret: str = SECRET) -> str:
    await wire.say(HEADER)
    header = await wire.hear(">") + await wire.hear(">")
    stream = header.partition("id='")[2].partition("'")[0]
    await wire.say(f"<handshake>{hashlib.sha1((stream + secret).encode()).hexdigest()}</handshake>")
    answer: str = await wire.hear(">")
    return answer


async def test_messages_come_and_go_for_any_name_of_the_domain(component: ComponentXMPP, log_in: LogIn, events: Any) -> None:
    alice = await log_in("alice@localhost/x")
    to_component, to_alice = events(component, "message"), events(alice, "message")
    for name in (DOMAIN, f"echo@{DOMAIN}", f"help@{DOMAIN}/desk"):
        alice.send_message(name, "hello")
        message = await to_component.take()
        assert (message["from"].full, message["to"].full, message["body"]) == ("alice@localhost/x", name, "hello")
        message.reply("yes?").send()
        assert (await to_alice.take())["from"].full == name


async def test_iqs_of_a_component_are_answered(component: ComponentXMPP, log_in: LogIn) -> None:
    await log_in("alice@localhost/x", "xep_0030")
    component.register_plugin("xep_0030")
    disco = component.plugin["xep_0030"]
    for jid in ("alice@localhost/x", "localhost"):
        info = await disco.get_info(jid=jid, ifrom=f"echo@{DOMAIN}", timeout=10)
        assert "http://jabber.org/protocol/disco#info" in info["disco_info"]["features"]
    with pytest.raises(IqError):
        await disco.get_info(jid="alice@localhost/absent", ifrom=f"echo@{DOMAIN}", timeout=10)


async def test_a_component_gets_presence_only_where_subscribed(
    server: LoopbackServer, component: ComponentXMPP, log_in: LogIn, events: Any, settle: Settle
) -> None:
    """``mutual`` does not apply. A contact with a subscription sends its presence."""
    server.set_subscription("alice@localhost", f"echo@{DOMAIN}", "from")
    here, gone = events(component, "presence_available"), events(component, "presence_unavailable")
    bob = await log_in("bob@localhost/y")
    alice = await log_in("alice@localhost/x")
    presence = await here.take()
    assert (presence["from"].full, presence["to"].full) == ("alice@localhost/x", f"echo@{DOMAIN}")
    await settle(alice, bob)
    assert here.empty
    server.disconnect("alice@localhost/x", abruptly=False)
    assert (await gone.take())["from"].full == "alice@localhost/x"


async def test_a_wrong_secret_is_refused(server: LoopbackServer, open_wire: OpenWire) -> None:
    wire = await open_wire(server)
    await joined(wire, "guess")
    assert "<not-authorized" in await wire.end()
    assert DOMAIN not in server.neighbours


@pytest.mark.parametrize("first", ["<message to='alice@localhost'/>", "<unheard-of/>"])
async def test_nothing_comes_before_the_handshake(server: LoopbackServer, open_wire: OpenWire, first: str) -> None:
    wire = await open_wire(server)
    await wire.say(HEADER + first)
    assert "<not-authorized" in await wire.end()


@pytest.mark.parametrize("sender", ["alice@localhost/x", "localhost", "echo@other.test", "", "@@"])
async def test_no_other_domain_can_be_claimed(
    server: LoopbackServer, open_wire: OpenWire, log_in: LogIn, events: Any, settle: Settle, sender: str
) -> None:
    alice = await log_in("alice@localhost/x")
    got = events(alice, "message")
    wire = await open_wire(server)
    assert "<handshake/>" in await joined(wire)
    await wire.say(f"<message from='{sender}' to='alice@localhost/x'><body>trust me</body></message>")
    assert "<invalid-from" in await wire.end()
    await settle(alice)
    assert got.empty
    assert "<handshake/>" in await joined(await open_wire(server))


async def test_a_stanza_to_nobody_ends_the_stream(server: LoopbackServer, open_wire: OpenWire) -> None:
    """A component has no account that the server could deliver it to."""
    wire = await open_wire(server)
    await joined(wire)
    await wire.say(f"<message from='echo@{DOMAIN}'/>")
    assert "<invalid-from" in await wire.end()


async def test_a_second_one_of_the_same_name_is_refused(
    server: LoopbackServer, component: ComponentXMPP, open_wire: OpenWire, log_in: LogIn, events: Any
) -> None:
    wire = await open_wire(server)
    await joined(wire)
    assert "<conflict" in await wire.end()
    got = events(component, "message")
    (await log_in("alice@localhost/x")).send_message(DOMAIN, "still there?")
    assert (await got.take())["body"] == "still there?"


async def test_without_the_component_its_domain_is_not_found(server: LoopbackServer, log_in: LogIn, events: Any) -> None:
    alice = await log_in("alice@localhost/x")
    errors = events(alice, "message_error")
    alice.send_message(DOMAIN, "hello", mtype="chat")
    assert (await errors.take())["error"]["condition"] == "remote-server-not-found"


async def test_what_no_component_says_ends_the_stream(server: LoopbackServer, open_wire: OpenWire) -> None:
    wire = await open_wire(server)
    await joined(wire)
    await wire.say("<handshake/>")
    assert "<unsupported-stanza-type" in await wire.end()
