"""The benchmark runs and writes its results; whatever makes a number worthless is an error."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from interop.bench import __main__ as command
from interop.bench import measurements
from interop.bench.client import Worker, Wrong, bodies
from interop.bench.measurements import KINDS, ROWS
from interop.bench.proxy import HOST, Proxy, quiet
from interop.bench.results import BUSY, machine, markdown, ratios, spread
from interop.bench.worker import ClientFailed, WorkerProcess, WrongResult


class Client:
    """As much of a client as `Worker` uses."""

    def __init__(self, *plugins: str) -> None:
        self.plugin = plugins


class Message(dict[str, Any]):
    """As much of a message as `Worker` uses."""

    def __init__(self, body: str, session: object = None) -> None:
        super().__init__(body=body, e2e={"session": session})


def create_worker(*plugins: str) -> Worker:
    """Create a worker with a client that has these plugins."""
    made = Worker()
    made.crowd.append(Client(*plugins))
    return made


def test_a_quick_run_measures_everything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every row has a number for both kinds, if both can have one."""
    monkeypatch.setattr("interop.bench.proxy.QUIET_SECONDS", 0.01)
    assert command.main(["--rounds", "1", "--quick", "--into", str(tmp_path)]) == 0
    written = (tmp_path / "RESULTS.md").read_text()
    assert written in capsys.readouterr().out
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert rows.keys() == ROWS.keys()
    for name, row in ROWS.items():
        assert row.title in written
        expected = {"e2e"} if name in ("memory", "cpu_opening") else set(KINDS)
        assert {kind for kind in KINDS if len(rows[name].get(kind, ())) == 1} == expected
        assert name == "memory" or all(rows[name][kind][0] > 0 for kind in expected)
    assert rows["opening_far"]["plaintext"][0] > 100  # two links of 50 ms: the delay is real
    assert os.uname().nodename not in written
    assert "/tmp" not in written


@pytest.mark.parametrize("error", [WrongResult("a message was lost"), ClientFailed("it ended")])
def test_a_wrong_result_fails_and_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:

    async def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(command, "measure", fail)
    assert command.main(["--into", str(tmp_path)]) == 1
    assert str(error) in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


async def test_what_came_must_be_what_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost, altered or reordered messages are wrong."""
    monkeypatch.setattr("interop.bench.client.PATIENCE", 0.01)
    said = bodies("words", 2)
    for came in ([said[0]], [said[0], said[0]], said[::-1], [said[0], said[1] + "!"]):
        someone = create_worker()
        for body in came:
            someone.hear(Message(body))
        with pytest.raises(Wrong):
            await someone.heard("words", 2)
    someone = create_worker()
    for body in said:
        someone.hear(Message(body))
    assert "last" in await someone.heard("words", 2)


@pytest.mark.parametrize(("plugins", "session", "right"), [((), None, True), (("e2e",), None, False), (("e2e",), "s", True)])
async def test_with_encryption_it_must_come_inside(plugins: tuple[str, ...], session: object, right: bool) -> None:
    """With encryption, a plaintext message is wrong."""
    someone = create_worker(*plugins)
    someone.hear(Message(bodies("words", 1)[0], session))
    if right:
        await someone.heard("words", 1)
    else:
        with pytest.raises(Wrong, match="inside"):
            await someone.heard("words", 1)


async def test_words_on_the_wire_are_seen() -> None:
    """Readable encrypted words are wrong, and so is plaintext that cannot be found."""
    readable, unreadable = Proxy(0), Proxy(0)
    readable.sent += bodies("words", 1)[0].encode()
    measurements.check_wire(False, readable)
    measurements.check_wire(True, unreadable)
    with pytest.raises(WrongResult, match="could be read"):
        measurements.check_wire(True, unreadable, readable)
    with pytest.raises(WrongResult, match="at all"):
        measurements.check_wire(False, unreadable)


async def test_a_client_that_ends_is_told_of() -> None:
    async with WorkerProcess() as worker:
        worker.process.kill()
        with pytest.raises(ClientFailed, match="ended"):
            await worker("cost")


async def test_the_proxy_delays_and_counts_and_keeps_the_order() -> None:
    """A shorter delay lets nothing overtake, and an end is passed on."""

    async def mirror(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(mirror, HOST, 0)
    async with server, Proxy(server.sockets[0].getsockname()[1]) as proxy:
        reader, writer = await asyncio.open_connection(HOST, proxy.port)
        loop = asyncio.get_running_loop()
        proxy.delay, start = 0.05, loop.time()
        writer.write(b"one ")
        async with asyncio.timeout(10):
            await proxy.passed.wait()
        proxy.delay = 0.0
        writer.write(b"two")
        assert await reader.readexactly(7) == b"one two"
        assert loop.time() - start >= 0.05
        await quiet(proxy)
        assert bytes(proxy.sent) == bytes(proxy.received) == b"one two"
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


def test_what_is_made_of_samples() -> None:
    assert spread([3.0, 1.0, 1002.0], 1) == "3.0 (1.0 to 1,002.0)"
    assert spread([], 1) == "-"
    assert ratios({"plaintext": [1.0, 2.0], "e2e": [3.0, 4.0]}) == [3.0, 2.0]
    assert ratios({"e2e": [3.0]}) == []


@pytest.mark.parametrize(("load", "told"), [(0.1, False), (3.0, True)])
def test_a_busy_machine_is_told_of(load: float, told: bool) -> None:
    text = markdown({name: {"e2e": [1.0]} for name in ROWS}, machine("Server 1", load))
    assert (BUSY in text) == told
