"""``listen`` and ``send`` on a real Prosody with TLS: interop/servers/install.sh prosody."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from interop.servers.ca import Authority
from interop.servers.prosody import Prosody
from tests.xmpp_e2e_cli.conftest import PASSWORDS, People, make_keys


@pytest.fixture
async def prosody() -> AsyncIterator[Prosody]:
    """A Prosody with all accounts as contacts of each other."""
    async with Prosody("home.test", PASSWORDS) as running:
        yield running


@pytest.fixture
async def people(home: Path, prosody: Prosody) -> AsyncIterator[People]:
    """Users who verify the server's certificate."""
    make_keys(home, "home.test")
    everybody = People(home, ["--host", prosody.host, "--port", str(prosody.port), "--ca-file", str(prosody.ca_file)])
    try:
        yield everybody
    finally:
        await everybody.close()


async def test_a_message_arrives_over_verified_tls(people: People, prosody: Prosody) -> None:
    """It works by presence and by full JID, the second session is `known`, and the server reads nothing."""
    bob, ready = await people.listen("bob", "--echo")
    first = await people.send("alice", "bob@home.test", "--json", "-m", "attack at dawn")
    assert first.code == 0, first.err
    second = await people.send("alice", ready["jid"], "--json", text=b"attack at dusk")
    levels = [done.data["delivered"][0]["assurance"] for done in (first, second)]
    assert levels == ["vouched", "known"]
    heard = [(await bob.event("message"))["body"] for _ in range(2)]
    assert heard == ["attack at dawn", "attack at dusk"]
    assert not [seen for seen in prosody.handled() if "attack" in seen.text]
    assert (await bob.stop()).code == 0


async def test_a_certificate_of_somebody_else_is_3_and_the_password_stays(people: People, prosody: Prosody, home: Path) -> None:
    """With the system's authorities or another one, no login is attempted."""
    other = home / "other.pem"
    other.write_bytes(Authority().pem)
    where = ["--host", prosody.host, "--port", str(prosody.port)]
    for more in ([], ["--ca-file", str(other)]):
        (await people.run("alice", "send", "bob@home.test", "-m", "x", *where, *more)).ended(3, "certificate", "--ca-file")
    assert not [seen for seen in prosody.handled() if "<auth" in seen.text]


async def test_tls_from_the_first_byte_works_too(home: Path) -> None:
    """XEP-0368 verifies the certificate in the same way."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    make_keys(home, "home.test")
    async with Prosody("home.test", PASSWORDS, extra=f"c2s_direct_tls_ports = {{ {port} }}") as running:
        people = People(home, ["--host", running.host, "--port", str(port), "--direct-tls", "--ca-file", str(running.ca_file)])
        bob, ready = await people.listen("bob")
        done = await people.send("alice", ready["jid"], "-m", "attack at dawn")
        assert done.code == 0, done.err
        assert (await bob.event("message"))["body"] == "attack at dawn"
        await people.close()


async def test_a_wrong_password_is_3(people: People) -> None:
    (await people.run("alice", "listen", *people.server, XMPP_E2E_PASSWORD="wrong")).ended(3, "refused the password")
