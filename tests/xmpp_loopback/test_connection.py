"""From the TCP connection to the bound session."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from slixmpp import ClientXMPP

from xmpp_loopback import LoginFailed, LoopbackServer, online, reconnect

MakeWire = Callable[[], Awaitable[Any]]
SASL = "urn:ietf:params:xml:ns:xmpp-sasl"


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256", None])
async def test_the_right_password_lets_in(
    server: LoopbackServer, make: Callable[..., ClientXMPP], mechanism: str | None
) -> None:
    """slixmpp logs in by each mechanism, verifies the server's SCRAM signature, and gets the resource it asked for."""
    client = make("alice@localhost/phone", sasl_mech=mechanism)
    await online(client, server)
    assert client.boundjid.full == "alice@localhost/phone"
    used = client.plugin["feature_mechanisms"].mech
    assert used is not None
    assert used.name == (mechanism or "PLAIN")
    assert server.online == ["alice@localhost/phone"]


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256"])
@pytest.mark.parametrize(("jid", "guess"), [("alice@localhost", "guess"), ("nobody@localhost", "")])
async def test_a_wrong_password_does_not(
    server: LoopbackServer, make: Callable[..., ClientXMPP], mechanism: str, jid: str, guess: str
) -> None:
    """Wrong password and unknown account look the same."""
    client = make(jid, guess, sasl_mech=mechanism)
    with pytest.raises(LoginFailed, match="refused the password"):
        await online(client, server)
    assert server.online == []


async def test_an_open_server_lets_anybody_in() -> None:
    """Without accounts any password will do, and only PLAIN is offered."""
    async with LoopbackServer() as server:
        client = ClientXMPP("anybody@localhost/x", "anything")
        await online(client, server)
        assert server.online == ["anybody@localhost/x"]
        assert list(server.mechanisms) == ["PLAIN"]
        await client.disconnect()


async def test_a_resource_is_made_up_when_none_is_asked_for(
    server: LoopbackServer, log_in: Callable[..., Awaitable[ClientXMPP]]
) -> None:
    one, two = await log_in("alice@localhost"), await log_in("alice@localhost")
    assert one.boundjid.resource
    assert sorted(server.online) == sorted([one.boundjid.full, two.boundjid.full])
    assert one.boundjid != two.boundjid


async def test_the_newer_of_two_equal_resources_wins(
    server: LoopbackServer, log_in: Callable[..., Awaitable[ClientXMPP]], events: Any
) -> None:
    older = await log_in("alice@localhost/x")
    errors, ended = events(older, "stream_error"), events(older, "disconnected")
    newer = await log_in("alice@localhost/x")
    assert (await errors.take())["condition"] == "conflict"
    await ended.take()
    assert server.online == ["alice@localhost/x"]
    newer.send_message("alice@localhost/x", "hello, me")
    assert (await events(newer, "message").take())["body"] == "hello, me"


async def test_the_jid_is_normalised(server: LoopbackServer, make: Callable[..., ClientXMPP], events: Any) -> None:
    client = make("ALICE@LocalHost/X", "alice's")
    await online(client, server)
    assert server.online == ["alice@localhost/X"]


async def test_a_login_that_breaks_off_is_an_error(server: LoopbackServer, make: Callable[..., ClientXMPP]) -> None:
    """`online` does not wait for ever if the connection ends first."""
    client = make("alice@localhost")
    client.add_event_handler("auth_success", lambda _: client.abort())
    with pytest.raises(LoginFailed, match="connection ended"):
        await reconnect(client, server)


async def test_another_domain_is_unknown(wire: MakeWire) -> None:
    client = await wire()
    await client.say("<stream:stream to='other.test' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>")
    assert "<host-unknown " in await client.end()


@pytest.mark.parametrize(
    ("said", "condition"),
    [
        ("<auth mechanism='MAGIC'/>", "invalid-mechanism"),
        ("<auth mechanism='PLAIN'>not base64!</auth>", "incorrect-encoding"),
        ("<auth mechanism='PLAIN'>AAAA</auth>", "malformed-request"),
        ("<auth mechanism='PLAIN'>" + base64.b64encode(b"bob\0alice\0alice's").decode() + "</auth>", "invalid-authzid"),
        ("<auth mechanism='PLAIN'>" + base64.b64encode(b"\0\0").decode() + "</auth>", "not-authorized"),
        ("<auth mechanism='SCRAM-SHA-1'>" + base64.b64encode(b"p=x,,n=a,r=b").decode() + "</auth>", "malformed-request"),
        ("<auth mechanism='SCRAM-SHA-1'>" + base64.b64encode(b"n,,n=a").decode() + "</auth>", "malformed-request"),
        ("<auth mechanism='SCRAM-SHA-1'>" + base64.b64encode(b"n,a=bob,n=alice,r=b").decode() + "</auth>", "invalid-authzid"),
        ("<auth mechanism='SCRAM-SHA-1'>" + base64.b64encode(b"n,,m=x,n=alice,r=b").decode() + "</auth>", "malformed-request"),
        ("<response>AAA=</response>", "not-authorized"),
        ("<abort/>", "aborted"),
    ],
)
async def test_a_bad_login_says_why(wire: MakeWire, said: str, condition: str) -> None:
    """Each failure has its condition from RFC 6120 §6.5, and another attempt may follow."""
    client = await wire()
    await client.header()
    name = said[1:].partition(" ")[0].partition(">")[0].rstrip("/")
    await client.say(said.replace(name, f"{name} xmlns='{SASL}'", 1))
    assert f"<{condition}/>" in await client.hear("</failure>")
    proof = base64.b64encode(b"\0alice\0alice's").decode()
    await client.say(f"<auth xmlns='{SASL}' mechanism='PLAIN'/>")
    await client.hear(f"<challenge xmlns='{SASL}'/>")
    await client.say(f"<response xmlns='{SASL}'>{proof}</response>")
    await client.hear("</success>")


@pytest.mark.parametrize(
    ("final", "condition"),
    [
        ("c=biws,r=NONCE", None),
        ("c=biws,r=abc", "not-authorized"),
        ("c=eSws,r=NONCE", "not-authorized"),
        ("r=NONCE", "not-authorized"),
        ("c=biws,r=NONCE,p=A", "incorrect-encoding"),
    ],
)
async def test_a_scram_proof_is_bound_to_its_nonce(wire: MakeWire, final: str, condition: str | None) -> None:
    client = await wire()
    await client.header()
    bare = "n=alice,r=abc"
    await client.say(
        f"<auth xmlns='{SASL}' mechanism='SCRAM-SHA-256'>{base64.b64encode(f'n,,{bare}'.encode()).decode()}</auth>"
    )
    challenge = base64.b64decode((await client.hear("</challenge>")).partition(">")[2].partition("<")[0]).decode()
    nonce, salt, rounds = (field[2:] for field in challenge.split(","))
    assert nonce.startswith("abc")
    assert len(nonce) > 20
    final = final.replace("NONCE", nonce)
    if ",p=" not in final:
        salted = hashlib.pbkdf2_hmac("sha256", b"alice's", base64.b64decode(salt), int(rounds))
        key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(key).digest(), f"{bare},{challenge},{final}".encode(), "sha256")
        final += ",p=" + base64.b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True))).decode()
    await client.say(f"<response xmlns='{SASL}'>{base64.b64encode(final.encode()).decode()}</response>")
    if condition is None:
        await client.hear("</success>")
    else:
        assert f"<{condition}/>" in await client.hear("</failure>")


@pytest.mark.parametrize("accounts", [{"alice": "x"}, None])
async def test_a_name_that_no_jid_can_have_is_refused(
    open_wire: Callable[[LoopbackServer], Awaitable[Any]], accounts: dict[str, str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even an open server lets it in."""
    monkeypatch.setattr("xmpp_loopback.connection._LINGER", 0.001)  # the client does not close
    async with LoopbackServer(accounts=accounts) as server:
        client = await open_wire(server)
        await client.header()
        proof = base64.b64encode(b"\0a b@c\0x").decode()
        await client.say(f"<auth xmlns='{SASL}' mechanism='PLAIN'>{proof}</auth>")
        assert "<not-authorized/>" in await client.hear("</failure>")


async def test_guessing_is_limited(wire: MakeWire) -> None:
    client = await wire()
    await client.header()
    await client.say(f"<auth xmlns='{SASL}' mechanism='MAGIC'/>" * 6)
    heard = await client.end()
    assert heard.count("<failure") == 5
    assert "<policy-violation " in heard


EARLY = "<message to='bob@localhost'><body>early</body></message>"
PING = "<iq type='set' id='1'><ping xmlns='urn:xmpp:ping'/></iq>"


@pytest.mark.parametrize(("has_logged_in", "said"), [(False, EARLY), (True, EARLY), (True, PING)])
async def test_nothing_passes_before_binding(server: LoopbackServer, wire: MakeWire, has_logged_in: bool, said: str) -> None:
    client = await wire()
    await (client.log_in("alice") if has_logged_in else client.header())
    await client.say(said)
    assert "<not-authorized " in await client.end()
    assert server.handled == []


async def test_an_impossible_resource_is_refused(wire: MakeWire) -> None:
    client = await wire()
    await client.log_in("alice")
    bind = "<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>%s</resource></bind></iq>"
    await client.say(bind % ("x" * 2000))
    assert "<jid-malformed " in await client.hear("</iq>")
    await client.say(bind % "ok")
    assert "alice@localhost/ok" in await client.hear("</iq>")


@pytest.mark.parametrize(
    ("said", "condition"),
    [
        ("<message><!-- c --></message>", "restricted-xml"),
        ("<message>", None),
        ("<other xmlns='urn:other'/>", "unsupported-stanza-type"),
        ("</stream:stream>", None),
    ],
)
async def test_a_stream_ends_as_it_should(server: LoopbackServer, wire: MakeWire, said: str, condition: str | None) -> None:
    client = await wire()
    await client.bind("alice", "x")
    await client.say(said)
    client.writer.write_eof()
    heard = await client.end()
    assert (f"<{condition} " in heard) if condition else ("error" not in heard)
    assert server.online == []


async def test_an_oversize_stanza_ends_the_connection(
    server: LoopbackServer, log_in: Callable[..., Awaitable[ClientXMPP]], events: Any
) -> None:
    """256 KiB and a little more: <policy-violation/>, as from Prosody; the recipient gets nothing."""
    alice, bob = await log_in("alice@localhost/x"), await log_in("bob@localhost/y")
    errors, ended, got = events(alice, "stream_error"), events(alice, "disconnected"), events(bob, "message")
    alice.send_message("bob@localhost/y", "x" * 262_000)
    assert len((await got.take())["body"]) == 262_000
    alice.send_message("bob@localhost/y", "x" * 262_144)
    assert (await errors.take())["condition"] == "policy-violation"
    await ended.take()
    await server.wait_for(lambda handled: handled.client == "bob@localhost/y" and "unavailable" in handled.text)
    assert got.empty


async def test_a_client_that_does_not_read_is_cut_off(
    server: LoopbackServer, wire: MakeWire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xmpp_loopback.connection._WRITE_LIMIT", 1_000_000)
    client = await wire()
    await client.bind("alice", "x")
    for _ in range(200):
        if "alice@localhost/x" in server.online:
            server.inject("alice@localhost/x", "<message>" + "x" * 100_000 + "</message>")
            await asyncio.sleep(0)
    assert server.online == []
