"""The common part of Prosody and ejabberd, with real servers: `interop/servers/install.sh` installs them."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from slixmpp.exceptions import IqTimeout

from interop.harness import Harness
from interop.scenes import plaintext
from interop.servers import daemon
from interop.servers.daemon import Daemon
from interop.servers.ejabberd import Ejabberd
from interop.servers.process import ServerFailed
from interop.servers.prosody import Prosody
from tests.interop.processes import command, family, gone
from xmpp_loopback import LoginFailed

ROOT = Path(__file__).parents[2]
KINDS: dict[str, type[Prosody] | type[Ejabberd]] = {"prosody": Prosody, "ejabberd": Ejabberd}
each = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
shared = pytest.mark.asyncio(loop_scope="module")
Kind = type[Prosody] | type[Ejabberd]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=KINDS.values(), ids=KINDS.keys())
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Daemon]:
    """One server with default options for all tests that only log in: ejabberd takes seconds to start."""
    async with request.param() as running:
        yield running


@shared
async def test_clients_log_in_and_the_tap_sees_what_they_say(server: Daemon) -> None:
    """Two clients verify the certificate, exchange a message, and the server's view of it is recorded both ways."""
    async with asyncio.timeout(30), Harness(server) as harness:
        await plaintext.run(harness)
    said = [handled for handled in server.handled() if "<body>How is the weather?</body>" in handled.text]
    assert [handled.direction for handled in said] == ["in", "out"]
    assert [handled.client for handled in said] == [f"{server.jid(name)}/harness" for name in ("alice", "bob")]
    assert "from=" not in said[0].text
    assert f"from='{server.jid('alice')}/harness'" in said[1].text


@shared
async def test_the_tap_sees_the_stream_itself_once(server: Daemon) -> None:
    """Login and stream management are recorded too, each element once and in order."""
    async with asyncio.timeout(30), Harness(server) as harness:
        await harness.client("alice", prepare=lambda client: client.register_plugin("xep_0198"))
    handled = server.handled()
    marks = ("<starttls ", "<proceed ", "<auth ", "<success ", "<jid>", "<enable ", "<enabled ")
    order = [
        (element.direction, mark)
        for element in handled
        for mark in marks
        if mark in element.text and "features" not in element.text
    ]
    assert [mark for _, mark in order] == list(marks)
    assert [way for way, _ in order] == ["in", "out", "in", "out", "out", "in", "out"]
    assert [element.at for element in handled] == sorted(element.at for element in handled)


@shared
async def test_it_says_its_version_and_that_friends_are_friends(server: Daemon) -> None:
    """The server reports its version, and each account finds the other in its roster."""
    assert server.version.split(".")[0].isdecimal()
    async with Harness(server) as harness:
        alice = await harness.client("alice")
        assert alice.client_roster[server.jid("bob")]["subscription"] == "both"


@shared
async def test_a_wrong_password_is_told(server: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """The harness fails at once with the reason, where a client would wait."""
    monkeypatch.setitem(server.accounts, "alice", "not this one")
    async with Harness(server) as harness:
        with pytest.raises(LoginFailed, match="refused the password"):
            await harness.client("alice")


@each
async def test_strangers_share_no_roster(kind: Kind) -> None:
    """Without friends, rosters hold only the requested contacts in other domains."""
    async with kind(friends=False, contacts=["carol@c.test"]) as server, Harness(server) as harness:
        alice = await harness.client("alice")
        assert server.jid("bob") not in alice.client_roster
        assert alice.client_roster["carol@c.test"]["subscription"] == "both"


@each
async def test_friends_may_be_groups(kind: Kind) -> None:
    """Only who is in the same group is a contact."""
    async with kind(friends=[("alice", "bob"), ("carol",)]) as server, Harness(server) as harness:
        alice = await harness.client("alice")
        assert alice.client_roster[server.jid("bob")]["subscription"] == "both"
        assert server.jid("carol") not in alice.client_roster


@each
async def test_odd_names_and_passwords_work(kind: Kind) -> None:
    """Characters that are special to Lua, YAML, JSON, Erlang or to file names are escaped."""
    odd = {"d.a_r-t+h": 'quo"te \\ backslash % é', "bob": "builder"}
    async with kind("odd-name.test", odd) as server, Harness(server) as harness:
        client = await harness.client("d.a_r-t+h")
        assert client.boundjid.bare == "d.a_r-t+h@odd-name.test"
        assert client.client_roster["bob@odd-name.test"]["subscription"] == "both"


@each
async def test_stopping_leaves_nothing(kind: Kind) -> None:
    """After the context all its processes are gone, no epmd was started, the port is free and the folder removed."""
    async with kind() as server:
        assert server.pid is not None
        pids, port, folder = family(server.pid), server.port, server.ca_file.parent
        assert "epmd" not in map(command, pids)
        assert not any(map(gone, pids))
        own, ends = server.pid, [os.pidfd_open(pid) for pid in pids]
    assert gone(own)
    for end in ends:  # Erlang's own children see that their pipes are closed, and go
        assert select.select([end], [], [], 10)[0]
        os.close(end)
    assert not folder.exists()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize(
    ("broken", "quoted"),
    [
        pytest.param(lambda: Prosody(extra="this is not Lua"), r"prosody\.cfg\.lua", id="prosody"),
        pytest.param(lambda: Ejabberd(modules={"mod_of_nobody": {}}), "mod_of_nobody", id="ejabberd"),
    ],
)
async def test_a_failing_start_shows_the_log_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, broken: Callable[[], Daemon], quoted: str
) -> None:
    """A refused configuration ends in an error with the log, and no folder remains."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ServerFailed, match=rf"(?s)ended while it started.*{quoted}"):
        async with broken():
            pytest.fail("it started")
    assert not os.listdir(tmp_path)


@each
async def test_a_taken_port_is_given_up(monkeypatch: pytest.MonkeyPatch, kind: Kind) -> None:
    """If another program takes the port first, the server tries another one."""
    choose = daemon.free_ports
    choices: list[list[int]] = []
    with socket.create_server(("127.0.0.1", 0)) as taken:

        def choice(number: int) -> list[int]:
            choices.append(choose(number))
            if len(choices) == 1:
                choices[0][0] = taken.getsockname()[1]
            return choices[-1]

        monkeypatch.setattr(daemon, "free_ports", choice)
        async with kind() as server:
            assert [server.port, server.component_port] == choices[1]
            assert server.port != taken.getsockname()[1]


def test_no_two_ports_are_alike() -> None:
    """A server that listens twice on one port does not start."""
    assert len(set(daemon.free_ports(100))) == 100


@each
async def test_a_server_that_dies_is_an_error(kind: Kind) -> None:
    """A test whose server ended in the middle does not pass by accident."""
    server = kind()
    await server.__aenter__()
    assert server.pid is not None
    descriptor = os.pidfd_open(server.pid)
    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    select.select([descriptor], [], [], 10)
    os.close(descriptor)
    with pytest.raises(ServerFailed, match="ended by itself"):
        await server.__aexit__(None, None, None)


@each
async def test_a_missing_server_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: Kind) -> None:
    """The error names the package; nothing is skipped."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServerFailed, match=rf"is not installed.*package {kind.name.lower()}"):
        async with kind():
            pytest.fail("it started")


@each
def test_it_dies_with_its_parent(tmp_path: Path, kind: Kind) -> None:
    """A killed test runner takes the server and its children along."""
    code = f"""
import asyncio
from {kind.__module__} import {kind.__name__}

async def main():
    async with {kind.__name__}() as server:
        print(server.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
    # What it cannot remove any more goes with the test's own folder.
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    words = [sys.executable, "-c", code]
    with subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        descriptors = [os.pidfd_open(pid) for pid in family(int(parent.stdout.readline()))]
        parent.kill()
    try:
        for descriptor in descriptors:
            # Readable once the process has ended.
            readable, _, _ = select.select([descriptor], [], [], 10)
            assert readable
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


@each
async def test_it_can_be_killed_stopped_and_suspended(kind: Kind) -> None:
    """It comes back on its port, with its accounts and rosters. While it stands still, it answers nobody."""
    async with asyncio.timeout(120), kind() as running:
        port = running.port
        for end in ("kill", "stop"):
            pid = running.pid
            assert pid is not None
            if end == "kill":
                running.kill()
            else:
                await running.stop()
            assert gone(pid)
            await running.start_again()
            async with Harness(running) as harness:
                alice = await harness.client("alice")
                assert alice.client_roster[running.jid("bob")]["subscription"] == "both"
        assert running.port == port

        async with Harness(running) as harness:
            alice = await harness.client("alice")
            running.suspend()
            with pytest.raises(IqTimeout):
                await alice.get_roster(timeout=1)
            running.resume()
            await alice.get_roster(timeout=60)
