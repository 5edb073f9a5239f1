"""Prosody as a child process, started for real: `interop/servers/install.sh prosody` puts it on the machine."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from interop.scenes import plaintext
from interop.servers import daemon
from interop.servers.ca import Authority
from interop.servers.process import ServerFailed
from interop.servers.prosody import Prosody
from interop.servers.prosody.config import quote, storage_name
from interop.stage import LoginFailed, Stage

ROOT = Path(__file__).parents[2]


def gone(pid: int) -> bool:
    """Whether no process, not even a zombie, bears ``pid``."""
    return not Path(f"/proc/{pid}").exists()


@pytest.fixture
async def server() -> AsyncIterator[Prosody]:
    """A Prosody with its ordinary settings."""
    async with Prosody() as running:
        yield running


async def test_clients_log_in_and_the_tap_sees_what_they_say(server: Prosody) -> None:
    """Two clients verify the certificate, exchange a message, and the server's view of it is recorded both ways."""
    async with asyncio.timeout(30), Stage(server) as stage:
        await plaintext.play(stage)
    said = [handled for handled in server.handled() if "<body>How is the weather?</body>" in handled.text]
    assert [handled.direction for handled in said] == ["in", "out"]
    assert [handled.client for handled in said] == ["alice@a.test/stage", "bob@a.test/stage"]
    assert "from=" not in said[0].text
    assert "from='alice@a.test/stage'" in said[1].text


async def test_it_says_its_version_and_that_friends_are_friends(server: Prosody) -> None:
    """The version comes from the server itself, and each account finds the other in its roster."""
    assert server.version.split(".")[0].isdecimal()
    async with Stage(server) as stage:
        alice = await stage.client("alice")
        assert alice.client_roster["bob@a.test"]["subscription"] == "both"


async def test_strangers_share_no_roster() -> None:
    """Without friendship the rosters are empty."""
    async with Prosody(friends=False) as server, Stage(server) as stage:
        alice = await stage.client("alice")
        assert "bob@a.test" not in alice.client_roster


async def test_another_authority_is_not_believed(server: Prosody) -> None:
    """A client that trusts a different authority refuses the server's certificate: verification is really on."""
    server.ca_file.write_bytes(Authority().pem)
    async with Stage(server) as stage:
        with pytest.raises(LoginFailed, match="CERTIFICATE_VERIFY_FAILED"):
            await stage.client("alice")


async def test_a_wrong_password_is_told(server: Prosody) -> None:
    """The stage fails at once, and says why, where a client would wait."""
    server.accounts["alice"] = "not this one"
    async with Stage(server) as stage:
        with pytest.raises(LoginFailed, match="refused the password"):
            await stage.client("alice")


async def test_odd_names_and_passwords_work() -> None:
    """Characters that are special to Lua or to file names are escaped."""
    odd = {"d.a_r-t+h": 'quo"te \\ backslash % é', "bob": "builder"}
    async with Prosody("odd-name.test", odd) as server, Stage(server) as stage:
        client = await stage.client("d.a_r-t+h")
        assert client.boundjid.bare == "d.a_r-t+h@odd-name.test"


async def test_stopping_leaves_nothing() -> None:
    """After the context the process is gone, the port is free and the folder removed."""
    async with Prosody() as server:
        pid, port, folder = server.pid, server.port, server.ca_file.parent
        assert pid is not None
        assert not gone(pid)
    assert gone(pid)
    assert not folder.exists()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


async def test_several_run_side_by_side() -> None:
    """Servers share nothing: each has its own port, storage and authority."""
    async with Prosody("a.test") as first, Prosody("b.test") as second:
        assert first.port != second.port
        assert first.ca_file.read_bytes() != second.ca_file.read_bytes()
        async with Stage(first) as one, Stage(second) as two:
            await one.client("alice")
            await two.client("alice")
        assert {handled.client for handled in second.handled() if handled.client} == {"alice@b.test/stage"}


async def test_debians_limits_slow_a_client_down() -> None:
    """With ``limits`` the module is loaded with Debian's 10 kB/s; otherwise it is not."""
    async with Prosody(limits=True) as limited, Prosody() as free:
        configured = [(server.ca_file.parent / "prosody.cfg.lua").read_text() for server in (limited, free)]
    assert '"limits"' in configured[0]
    assert 'rate = "10kb/s"' in configured[0]
    assert "limits" not in configured[1]


@pytest.mark.parametrize("backend", ["epoll", "select"])
async def test_the_network_backend_can_be_chosen(backend: str) -> None:
    """Prosody uses the backend that is asked for (proxy65 behaves differently on them)."""
    async with Prosody(network_backend=backend) as server:
        assert f"using the {backend} backend" in server.log_tail()


async def test_a_failing_start_shows_the_log_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A configuration that Prosody refuses ends in an error that quotes what Prosody said, with no folder left."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ServerFailed, match=r"(?s)ended while it started.*prosody\.cfg\.lua"):
        async with Prosody(extra="this is not Lua"):
            pytest.fail("it started")
    assert not os.listdir(tmp_path)


async def test_a_taken_port_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """If somebody takes the port between the choice and the start, another one is tried."""
    choose = daemon.free_port
    choices: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as taken:

        def choice() -> int:
            choices.append(choose() if choices else taken.getsockname()[1])
            return choices[-1]

        monkeypatch.setattr(daemon, "free_port", choice)
        async with Prosody() as server:
            assert server.port == choices[-1] != taken.getsockname()[1]
    assert len(choices) == 2


async def test_a_server_that_dies_is_an_error() -> None:
    """A test whose server ended in the middle does not pass by accident."""
    server = Prosody()
    await server.__aenter__()
    assert server.pid is not None
    descriptor = os.pidfd_open(server.pid)
    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    select.select([descriptor], [], [], 10)
    os.close(descriptor)
    with pytest.raises(ServerFailed, match="ended by itself"):
        await server.__aexit__(None, None, None)


async def test_a_missing_server_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where Prosody is not installed the error names the package; nothing is skipped."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServerFailed, match="prosody is not installed"):
        async with Prosody():
            pytest.fail("it started")


def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    """A test runner that is killed takes its server along."""
    code = """
import asyncio
from interop.servers.process import ServerFailed
from interop.servers.prosody import Prosody

async def main():
    async with Prosody() as server:
        print(server.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
    # What it cannot remove any more goes with the test's own folder.
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        descriptor = os.pidfd_open(pid)
        parent.kill()
    try:
        # Readable once the process has ended.
        readable, _, _ = select.select([descriptor], [], [], 10)
        assert readable
    finally:
        os.close(descriptor)


def test_lua_and_storage_names_are_escaped() -> None:
    """Text cannot leave its Lua string, and a name cannot leave its folder."""
    assert quote('a"; os.exit() --\\') == '"a\\034\\059 os.exit\\040\\041 --\\092"'
    assert storage_name("../a.test") == "%2e%2e%2fa%2etest"
