"""Prosody and ejabberd as two servers that federate."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from slixmpp import ClientXMPP
from slixmpp.exceptions import IqError

from interop.servers.ca import Authority
from interop.servers.daemon import Daemon
from interop.servers.ejabberd import Ejabberd
from interop.servers.federation import Federation
from interop.servers.name_server import NameServer
from interop.servers.process import ServerFailed
from interop.servers.prosody import Peer, Prosody
from interop.servers.setup import Setup
from tests.interop.processes import gone
from xmpp_loopback import no_tls, offline

SECONDS = 30.0
"""Timeout of an event, which takes a few hundred milliseconds."""


@asynccontextmanager
async def online(server: Federation | Daemon, name: str) -> AsyncIterator[ClientXMPP]:
    """Bring a client of the account ``name`` online, with presence and roster."""
    client = ClientXMPP(f"{server.jid(name)}/here", server.accounts[name], ssl_context=no_tls())
    client.register_plugin("xep_0199")
    ready = heard(client, "session_start")
    server.connect(client)
    async with asyncio.timeout(SECONDS):
        await ready.get()
        client.send_presence()
        await client.get_roster()
    yield client
    await offline(client)


def heard(client: ClientXMPP, event: str) -> asyncio.Queue[Any]:
    """Collect ``event`` from now on."""
    queue: asyncio.Queue[Any] = asyncio.Queue()
    client.add_event_handler(event, queue.put_nowait)
    return queue


async def test_strangers_on_two_servers_become_friends_and_talk() -> None:
    """
    Alice on Prosody and Bob on ejabberd subscribe to each other, see each other come, exchange messages and iqs, and see
    each other go. Each server has proved its domain to the other by its certificate.
    """
    async with (
        Federation(setup=Setup(friends=False)) as servers,
        asyncio.timeout(SECONDS),
        online(servers, "alice") as alice,
    ):
        assert not set(alice.client_roster) - {servers.jid("alice")}
        async with online(servers, "bob") as bob:
            came = {client: heard(client, "presence_available") for client in (alice, bob)}
            letters = {client: heard(client, "message") for client in (alice, bob)}
            went = heard(alice, "presence_unavailable")
            # Clients of slixmpp agree, and ask in their turn.
            alice.send_presence_subscription(servers.jid("bob"))
            for client, other in ((alice, bob), (bob, alice)):
                while (await came[client].get())["from"] != other.boundjid:
                    pass
            assert alice.client_roster[bob.boundjid.bare]["subscription"] == "both"
            assert bob.client_roster[alice.boundjid.bare]["subscription"] == "both"

            for client, other in ((alice, bob), (bob, alice)):
                client.send_message(other.boundjid, f"From {client.boundjid.user}.", mtype="chat")
                letter = await letters[other].get()
                assert (letter["from"], letter["body"]) == (client.boundjid, f"From {client.boundjid.user}.")
                ping: Any = client.plugin["xep_0199"]
                assert (await ping.send_ping(other.boundjid))["from"] == other.boundjid
        assert (await went.get())["from"] == bob.boundjid

        said = [handled for handled in servers.handled() if "<body>From " in handled.text]
        assert [(handled.direction, handled.client) for handled in said] == [
            ("in", "alice@a.test/here"),
            ("out", "bob@e.test/here"),
            ("in", "bob@e.test/here"),
            ("out", "alice@a.test/here"),
        ]
        assert {handled.client for handled in servers.prosody.handled()} == {"", "alice@a.test/here"}
        assert not [handled for handled in servers.handled() if "EXTERNAL" in handled.text]
        assert "Accepting SASL EXTERNAL identity from e.test" in servers.prosody.log_tail()
        assert "Accepted inbound s2s EXTERNAL authentication a.test -> e.test" in servers.ejabberd.log_tail()


async def test_friends_are_friends_across() -> None:
    """By default each account has all others in its roster. Both versions are reported."""
    async with Federation({"alice": "1", "carol": "2"}, {"bob": "3"}) as servers:
        assert servers.domains == ("a.test", "e.test")
        assert servers.software == (f"Prosody {servers.prosody.version}", f"ejabberd {servers.ejabberd.version}")
        async with online(servers, "alice") as alice, online(servers, "bob") as bob:
            for client, others in ((alice, {"carol@a.test", "bob@e.test"}), (bob, {"alice@a.test", "carol@a.test"})):
                assert set(client.client_roster) - {client.boundjid.bare} == others
                assert {client.client_roster[other]["subscription"] for other in others} == {"both"}
        pids = [servers.prosody.pid, servers.ejabberd.pid]
        folders = [server.ca_file.parent for server in (servers.prosody, servers.ejabberd)]
        assert not any(pid is None or gone(pid) for pid in pids)
    assert all(pid is not None and gone(pid) for pid in pids)
    assert not any(folder.exists() for folder in folders)


REFUSALS = {
    "prosody": ["Forbidding insecure connection to/from e.test because its certificate is not trusted"],
    "ejabberd": [
        "Failed inbound s2s EXTERNAL authentication a.test -> e.test",
        "Failed to establish outbound s2s connection e.test -> a.test: Peer certificate rejected",
    ],
}
"""The log line of each server when it refuses the other."""


@pytest.mark.parametrize("doubting", ["prosody", "ejabberd"])
async def test_a_server_of_an_unknown_authority_is_not_believed(doubting: str) -> None:
    """If only one server does not know the other's authority, nothing passes in either direction."""
    authorities = {"prosody": Authority(), "ejabberd": Authority()}
    (trusting,) = authorities.keys() - {doubting}
    authorities[trusting].pem += authorities[doubting].pem
    async with (
        NameServer() as names,
        Ejabberd(accounts={"bob": "1"}, name_server=names.port, authority=authorities["ejabberd"]) as ejabberd,
    ):
        assert ejabberd.s2s_port is not None
        peer = Peer(ejabberd.domain, ejabberd.s2s_port)
        async with Prosody(accounts={"alice": "1"}, peer=peer, authority=authorities["prosody"]) as prosody:
            assert prosody.s2s_port is not None
            names.ports[prosody.domain] = prosody.s2s_port
            for server, name, other in ((prosody, "alice", ejabberd.domain), (ejabberd, "bob", prosody.domain)):
                async with asyncio.timeout(SECONDS), online(server, name) as client:
                    ping: Any = client.plugin["xep_0199"]
                    with pytest.raises(IqError) as caught:
                        await ping.send_ping(other)
                assert caught.value.iq["error"]["condition"] == "remote-server-timeout"
            log = {"prosody": prosody, "ejabberd": ejabberd}[doubting].log_tail()
            assert all(refusal in log for refusal in REFUSALS[doubting])


async def test_what_fails_to_start_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """If the second server does not start, the first one is ended too."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    running: list[int | None] = []

    def refuse(*_: object, **__: object) -> Prosody:
        raise ServerFailed("not today")

    enter = Ejabberd.__aenter__

    async def note(self: Ejabberd) -> Ejabberd:
        await enter(self)
        running.append(self.pid)
        return self

    monkeypatch.setattr(Ejabberd, "__aenter__", note)
    monkeypatch.setattr(Prosody, "of", refuse)
    with pytest.raises(ServerFailed, match="not today"):
        async with Federation():
            pytest.fail("it started")
    (pid,) = running
    assert pid is not None
    assert gone(pid)
    assert not os.listdir(tmp_path)


def test_no_name_is_on_both_servers() -> None:
    """Only the name tells the server of an account."""
    with pytest.raises(ValueError, match="on both servers: bob"):
        Federation({"bob": "1"}, {"bob": "2"})
