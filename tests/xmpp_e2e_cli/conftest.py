"""Run commands in this process if they need no server, and as real processes if they do."""

from __future__ import annotations

import asyncio
import fcntl
import getpass
import json
import os
import pty
import signal
import sys
import termios
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from interop.programs import hear_interrupts
from tests.forked import Forked, Run
from xmpp_e2e_cli import secret_input
from xmpp_e2e_cli.__main__ import main
from xmpp_loopback import LoopbackServer

ROOT = Path(__file__).parents[2]
PASSWORDS = {"alice": "wonderland-7", "bob": "builder-8", "carol": "carols-9"}
PATIENCE = 60.0
"""Timeout of a process, which takes two seconds."""

LINE_BYTES = 1024 * 1024
"""The longest line of output."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder for this test, without the caller's environment."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "alice"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    for name in ("XMPP_E2E_JID", "XMPP_E2E_PASSWORD", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def secret_file(path: Path, content: str | bytes) -> Path:
    """Write a file that nobody else can read."""
    path.touch(0o600)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@dataclass(frozen=True)
class CommandResult:
    """The exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """stdout as one JSON value."""
        return json.loads(self.out)

    def ended(self, code: int, *told: str) -> None:
        """Check the exit code, and that stderr tells each of these, and shows a traceback only for a bug."""
        assert self.code == code, self.err
        assert code == 2 or "Traceback" not in self.err
        for text in told:
            assert text in self.err


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., CommandResult]:
    """Run a command line in this process, as Alice."""

    def run(*words: str) -> CommandResult:
        code = main(words)
        captured = capsys.readouterr()
        return CommandResult(code, captured.out, captured.err)

    return run


class Process:
    """One ``xmpp-e2e`` process, with a user's data folder and password."""

    def __init__(
        self, pid: int, wait: Callable[[], Awaitable[int]], out: asyncio.StreamReader, err: asyncio.StreamReader
    ) -> None:
        self.pid, self._wait = pid, wait
        self._out, self._err = out, err
        self._ended = False
        self.lines: list[str] = []
        """Lines of stdout that were read so far."""
        self.told: list[str] = []
        """Text of stderr that was read so far."""
        self.keyboard: int | None = None
        """The descriptor of its terminal, if it has one."""

    async def line(self) -> str:
        """Return the next line of stdout."""
        async with asyncio.timeout(PATIENCE):
            line = (await self._out.readline()).decode()
        assert line, f"it ended: {await self.done()}"
        self.lines.append(line)
        return line

    async def wait_for_line(self, beginning: str) -> None:
        """Wait for a line of stderr with this beginning."""
        while not self.told or not self.told[-1].startswith(beginning):
            async with asyncio.timeout(PATIENCE):
                line = (await self._err.readline()).decode()
            assert line, f"it ended: {self.told}"
            self.told.append(line)

    async def wait_for_text(self, text: str) -> None:
        """Wait until its terminal shows this text."""
        while text not in "".join(self.told):
            async with asyncio.timeout(PATIENCE):
                chunk = (await self._err.read(4096)).decode(errors="replace")
            assert chunk, f"it ended: {self.told}"
            self.told.append(chunk.replace("\r\n", "\n"))

    def type_line(self, line: str) -> None:
        """Type a line at its terminal."""
        assert self.keyboard is not None
        os.write(self.keyboard, f"{line}\n".encode())

    def events(self, name: str) -> list[Any]:
        """Return the events with this name that were read so far."""
        return [data for line in self.lines if (data := json.loads(line))["event"] == name]

    async def event(self, name: str) -> Any:
        """Return the next event with this name from stdout, which is JSON."""
        while (data := json.loads(await self.line()))["event"] != name:
            pass
        return data

    def interrupt(self) -> None:
        """Send SIGINT, as Ctrl-C does."""
        os.kill(self.pid, signal.SIGINT)

    async def done(self) -> CommandResult:
        """Wait for its end and return the result."""
        async with asyncio.timeout(PATIENCE):
            out, err, code = await asyncio.gather(self._out.read(), self._err.read(), self._wait())
        self._ended = True
        return CommandResult(code, "".join(self.lines) + out.decode(), "".join(self.told) + err.decode())

    async def stop(self) -> CommandResult:
        """Send SIGTERM, wait for its end and return the result."""
        if not self._ended:
            os.kill(self.pid, signal.SIGTERM)
        return await self.done()


async def pipe() -> tuple[asyncio.StreamReader, int]:
    """Return a reader, and a descriptor to write to. The reader ends when all copies of the descriptor are closed."""
    reader, (read, write) = asyncio.StreamReader(limit=LINE_BYTES), os.pipe()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(read, "rb"))
    return reader, write


def screen(loop: asyncio.AbstractEventLoop, master: int) -> asyncio.StreamReader:
    """Return a reader of what a terminal shows, until nobody has it open."""
    reader = asyncio.StreamReader()

    def shown() -> None:
        try:
            reader.feed_data(os.read(master, 4096))
        except OSError:  # EIO: that is how a terminal ends (Linux)
            loop.remove_reader(master)
            reader.feed_eof()

    loop.add_reader(master, shown)
    return reader


def at_a_terminal(words: Sequence[str]) -> int:
    """Run the command in a session whose terminal is standard input, and therefore `/dev/tty`."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    return main(words)


class People:
    """Starts processes for users, and ends those that are left."""

    def __init__(self, home: Path, server: list[str]) -> None:
        self._home, self.server = home, server
        """The options that lead to the server."""
        self.main: Run = main
        """The command's main function."""
        self._started: list[Process] = []
        self._terminals: list[int] = []

    async def start(
        self, name: str, *words: str, text: bytes | None = None, alone: bool = False, **environment: str
    ) -> Process:
        """Start a process with ``text`` as its standard input. ``alone`` starts a new interpreter, which takes longer."""
        path = os.pathsep.join((str(ROOT), str(ROOT / "plugins")))
        surroundings = os.environ | {"PYTHONPATH": path, "XDG_DATA_HOME": str(self._home / name)}
        surroundings |= {"XMPP_E2E_PASSWORD": PASSWORDS[name]} | environment
        typed = self._home / f"typed-{len(self._started)}"
        typed.write_bytes(text or b"")  # a pipe takes only so much before somebody reads
        read = os.open(typed, os.O_RDONLY)
        (out, own_out), (err, own_err) = await pipe(), await pipe()
        if alone:
            command = [sys.executable, "-m", "xmpp_e2e_cli", *words]
            child = await asyncio.create_subprocess_exec(
                *command,
                stdin=read,
                stdout=own_out,
                stderr=own_err,
                cwd=self._home,
                env=surroundings,
                preexec_fn=hear_interrupts,
            )
            process = Process(child.pid, child.wait, out, err)
        else:
            forked = Forked(self.main, words, (read, own_out, own_err), surroundings, self._home)
            process = Process(forked.pid, partial(asyncio.to_thread, forked.wait, PATIENCE), out, err)
        for descriptor in (read, own_out, own_err):
            os.close(descriptor)
        self._started.append(process)
        return process

    async def start_at_terminal(self, name: str, *words: str, **environment: str) -> Process:
        """Start a process at a terminal. Results still go to a pipe."""
        surroundings = os.environ | {"XDG_DATA_HOME": str(self._home / name), "TERM": "dumb"}
        surroundings |= {"XMPP_E2E_PASSWORD": PASSWORDS[name]} | environment
        (master, slave), (out, own_out) = pty.openpty(), await pipe()
        forked = Forked(at_a_terminal, words, (slave, own_out, slave), surroundings, self._home)
        shown = screen(asyncio.get_running_loop(), master)
        process = Process(forked.pid, partial(asyncio.to_thread, forked.wait, PATIENCE), out, shown)
        process.keyboard = master
        for descriptor in (slave, own_out):
            os.close(descriptor)
        self._started.append(process)
        self._terminals.append(master)
        return process

    async def run(self, name: str, *words: str, text: bytes | None = None, **environment: str) -> CommandResult:
        """Start a process and wait for its end."""
        return await (await self.start(name, *words, text=text, alone=False, **environment)).done()

    async def listen(self, name: str, *words: str) -> tuple[Process, Any]:
        """Start ``listen --json``; return it with its ``ready`` event."""
        process = await self.start(name, "listen", "--json", *self.server, *words)
        return process, await process.event("ready")

    async def send(self, name: str, peer: str, *words: str, text: bytes | None = None) -> CommandResult:
        """Run ``send``."""
        return await self.run(name, "send", peer, *self.server, *words, text=text)

    async def close(self) -> None:
        """End all processes that still run."""
        for process in self._started:
            await process.stop()
        for terminal in self._terminals:
            os.close(terminal)


@pytest.fixture
async def server() -> AsyncIterator[LoopbackServer]:
    """The embedded server, with all accounts as contacts of each other."""
    async with LoopbackServer("home.test", PASSWORDS) as running:
        yield running


@pytest.fixture
async def people(home: Path, server: LoopbackServer) -> AsyncIterator[People]:
    """Alice, Bob and Carol with their keys, and the options for the embedded server."""
    options = ["--host", "127.0.0.1", "--port", str(server.port), "--plaintext-loopback"]
    make_keys(home, "home.test")
    everybody = People(home, options)
    try:
        yield everybody
    finally:
        await everybody.close()


def make_keys(home: Path, domain: str) -> None:
    """Create everybody's store with ``init``."""
    with pytest.MonkeyPatch.context() as patch:
        for name in PASSWORDS:
            patch.setenv("XDG_DATA_HOME", str(home / name))
            assert main(["init", f"{name}@{domain}"]) == 0


@pytest.fixture
def colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make rich believe that it writes to a colour terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines that a user types, in order. An unexpected prompt raises IndexError."""
    answers: list[str] = []
    monkeypatch.setattr(secret_input, "has_terminal", lambda: True)
    monkeypatch.setattr(getpass, "getpass", lambda prompt: answers.pop(0))
    return answers
