"""The server's own answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from slixmpp import ClientXMPP
from slixmpp.exceptions import IqError

from xmpp_loopback import LoopbackServer, Subscription

LogIn = Callable[..., Awaitable[ClientXMPP]]


async def test_the_roster_lists_everybody(log_in: LogIn) -> None:
    alice = await log_in("alice@localhost/x")
    roster = (await alice.get_roster(timeout=10))["roster"]["items"]
    assert {jid.bare: item["subscription"] for jid, item in roster.items()} == {
        "bob@localhost": "both", "carol@localhost": "both"
    }  # fmt: skip


async def test_a_server_without_mutual_contacts() -> None:
    async with LoopbackServer(accounts={"a": "", "b": ""}, mutual=False) as server:
        server.set_subscription("a@localhost", "b@localhost", "to")
        assert dict(server._directory.contacts("b@localhost")) == {"a@localhost": Subscription.FROM}
        assert not server._directory.watches("b@localhost", "a@localhost")


async def test_removal_from_the_roster_ends_both_subscriptions(log_in: LogIn) -> None:
    alice = await log_in("alice@localhost/x")
    changed = alice.update_roster("carol@localhost", name="C", subscription="both")
    assert changed is not None
    await changed
    await alice.del_roster_item("bob@localhost")
    roster = (await alice.get_roster(timeout=10))["roster"]["items"]
    assert [jid.bare for jid in roster] == ["carol@localhost"]


async def test_discovery_of_the_server(log_in: LogIn) -> None:
    """The domain says what it is, and that it is not for production."""
    alice = await log_in("alice@localhost/x", "xep_0030")
    info = await alice.plugin["xep_0030"].get_info(jid="localhost", timeout=10)
    assert [identity[:2] for identity in info["disco_info"]["identities"]] == [("server", "im")]
    assert "not for production" in str(info)
    assert "urn:xmpp:ping" in info["disco_info"]["features"]
    items = await alice.plugin["xep_0030"].get_items(jid="localhost", timeout=10)
    assert items["disco_items"]["items"] == set()


async def test_discovery_of_an_account(server: LoopbackServer, log_in: LogIn) -> None:
    server.set_subscription("alice@localhost", "carol@localhost", "none")
    alice, _bob = await log_in("alice@localhost/x", "xep_0030"), await log_in("bob@localhost/y")
    disco = alice.plugin["xep_0030"]
    info = await disco.get_info(jid="bob@localhost", timeout=10)
    assert [identity[:2] for identity in info["disco_info"]["identities"]] == [("account", "registered")]
    items = await disco.get_items(jid="bob@localhost", timeout=10)
    assert {item[0] for item in items["disco_items"]["items"]} == {"bob@localhost/y"}
    for jid in ("carol@localhost", "nobody@localhost"):
        for ask in (disco.get_info, disco.get_items):
            with pytest.raises(IqError, match="service-unavailable"):
                await ask(jid=jid, timeout=10)


async def test_ping(log_in: LogIn) -> None:
    alice = await log_in("alice@localhost/x", "xep_0199")
    await alice.plugin["xep_0199"].send_ping("localhost", timeout=10)
    await alice.plugin["xep_0199"].send_ping("alice@localhost", timeout=10)
    with pytest.raises(IqError, match="service-unavailable"):
        await alice.plugin["xep_0199"].send_ping("bob@localhost", timeout=10)


@pytest.mark.parametrize(
    ("iq", "condition"),
    [
        ("<iq type='get' id='1' to='localhost'><q xmlns='urn:unknown'/></iq>", "service-unavailable"),
        ("<iq type='get' id='1'/>", "bad-request"),
        ("<iq type='get' id='1' to='bob@localhost'><query xmlns='jabber:iq:roster'/></iq>", "service-unavailable"),
        ("<iq type='set' id='1' to='bob@localhost'><query xmlns='jabber:iq:roster'/></iq>", "service-unavailable"),
        ("<iq type='set' id='1'><query xmlns='jabber:iq:roster'><item jid='a b@c' subscription='remove'/></query></iq>",
         "jid-malformed"),
        ("<iq type='set' id='1'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>", None),
    ],
)  # fmt: skip
async def test_other_requests_are_answered_too(wire: Any, iq: str, condition: str | None) -> None:
    client = await wire()
    await client.bind("alice", "x")
    await client.say(iq)
    heard = await client.hear("</iq>" if condition else "/>")
    assert (f"<{condition} " in heard) if condition else ('type="result"' in heard)
