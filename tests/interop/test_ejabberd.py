"""ejabberd as a child process, started for real: `interop/servers/install.sh ejabberd` puts it on the machine."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from asyncio import timeout
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from interop.scenes import plaintext
from interop.servers import daemon, ejabberd
from interop.servers.ejabberd import Ejabberd
from interop.servers.process import ServerFailed
from interop.stage import LoginFailed, Stage

shared = pytest.mark.asyncio(loop_scope="module")
ROOT = Path(__file__).parents[2]


def gone(pid: int) -> bool:
    """Whether no process, not even a zombie, bears ``pid``."""
    return not Path(f"/proc/{pid}").exists()


def command(pid: int) -> str:
    """The name of the program that ``pid`` runs."""
    return Path(f"/proc/{pid}/comm").read_text().strip()


def family(pid: int) -> list[int]:
    """``pid`` and the processes that it has started."""
    children = [int(word) for path in Path(f"/proc/{pid}/task").glob("*/children") for word in path.read_text().split()]
    return [pid, *(member for child in children for member in family(child))]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Ejabberd]:
    """An ejabberd with its ordinary settings, one for all who only log in: it takes seconds of a busy core to start."""
    async with Ejabberd() as running:
        yield running


@shared
async def test_clients_log_in_and_the_tap_sees_what_they_say(server: Ejabberd) -> None:
    """Two clients verify the certificate, exchange a message, and the server's view of it is recorded both ways."""
    async with timeout(30), Stage(server) as stage:
        await plaintext.play(stage)
    said = [handled for handled in server.handled() if "<body>How is the weather?</body>" in handled.text]
    assert [handled.direction for handled in said] == ["in", "out"]
    assert [handled.client for handled in said] == ["alice@e.test/stage", "bob@e.test/stage"]
    assert "from=" not in said[0].text
    assert "from='alice@e.test/stage'" in said[1].text


@shared
async def test_the_tap_sees_the_stream_itself_once(server: Ejabberd) -> None:
    """Login and stream management are recorded too, each element once and in order."""
    async with timeout(30), Stage(server) as stage:
        await stage.client("alice", prepare=lambda client: client.register_plugin("xep_0198"))
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
async def test_it_says_its_version_and_that_friends_are_friends(server: Ejabberd) -> None:
    """The version comes from the server itself, and each account finds the other in its roster."""
    assert server.version.split(".")[0].isdecimal()
    async with Stage(server) as stage:
        alice = await stage.client("alice")
        assert alice.client_roster["bob@e.test"]["subscription"] == "both"


async def test_strangers_share_no_roster() -> None:
    """Without friendship the rosters hold only contacts from elsewhere that were asked for."""
    async with Ejabberd(friends=False, contacts=["carol@a.test"]) as server, Stage(server) as stage:
        alice = await stage.client("alice")
        assert "bob@e.test" not in alice.client_roster
        assert alice.client_roster["carol@a.test"]["subscription"] == "both"


@shared
async def test_a_wrong_password_is_told(server: Ejabberd, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stage fails at once, and says why, where a client would wait."""
    monkeypatch.setitem(server.accounts, "alice", "not this one")
    async with Stage(server) as stage:
        with pytest.raises(LoginFailed, match="refused the password"):
            await stage.client("alice")


async def test_odd_names_and_passwords_work() -> None:
    """Characters that are special to YAML, to JSON or to Erlang are escaped."""
    odd = {"d.a_r-t+h": 'quo"te \\ backslash % é', "bob": "builder"}
    async with Ejabberd("odd-name.test", odd) as server, Stage(server) as stage:
        client = await stage.client("d.a_r-t+h")
        assert client.boundjid.bare == "d.a_r-t+h@odd-name.test"
        assert client.client_roster["bob@odd-name.test"]["subscription"] == "both"


async def test_stopping_leaves_nothing() -> None:
    """After the context all its processes are gone, no epmd was started, the port is free and the folder removed."""
    async with Ejabberd() as server:
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


@shared
async def test_debians_limits_are_there_when_they_are_asked_for(server: Ejabberd) -> None:
    """With ``limits`` a client has Debian's 3 kB/s; otherwise no limit but that of a stanza's size."""
    async with Ejabberd(limits=True) as limited:
        configured = [(each.ca_file.parent / "ejabberd.yml").read_text() for each in (limited, server)]
    assert '"c2s_shaper": "normal"' in configured[0]
    assert '"rate": 3000' in configured[0]
    assert '"c2s_shaper": "none"' in configured[1]
    assert "mod_pres_counter" not in configured[1]
    assert all('"max_stanza_size": 262144' in text for text in configured)


async def test_a_failing_start_shows_the_log_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A configuration that ejabberd refuses ends in an error that quotes what it said, with no folder left."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ServerFailed, match=r"(?s)ended while it started.*mod_of_nobody"):
        async with Ejabberd(modules={"mod_of_nobody": {}}):
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
        async with Ejabberd() as server:
            assert server.port == choices[-1] != taken.getsockname()[1]
    assert len(choices) == 2


async def test_a_server_that_dies_is_an_error() -> None:
    """A test whose server ended in the middle does not pass by accident."""
    server = Ejabberd()
    await server.__aenter__()
    assert server.pid is not None
    descriptor = os.pidfd_open(server.pid)
    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    select.select([descriptor], [], [], 10)
    os.close(descriptor)
    with pytest.raises(ServerFailed, match="ended by itself"):
        await server.__aexit__(None, None, None)


@pytest.mark.parametrize("what", ["erl", "libraries"])
async def test_a_missing_server_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str
) -> None:
    """Where Erlang or ejabberd is not installed the error names the package; nothing is skipped."""
    if what == "erl":
        monkeypatch.setenv("PATH", str(tmp_path))
    else:
        monkeypatch.setattr(ejabberd, "LIBRARIES", tmp_path)
    with pytest.raises(ServerFailed, match=r"is not installed.*package ejabberd"):
        async with Ejabberd():
            pytest.fail("it started")


def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    """A test runner that is killed takes its server along, and what the server has started."""
    code = """
import asyncio
from interop.servers.ejabberd import Ejabberd

async def main():
    async with Ejabberd() as server:
        print(server.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
    # What it cannot remove any more goes with the test's own folder.
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as parent:
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
