"""Programs that scenes run as child processes, as users run theirs."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from interop.harness import Harness

ROOT = Path(__file__).parents[2]
END_SECONDS = 120.0
"""Timeout of the end of a program. It takes a second, and more under Debian's limits."""


def hear_interrupts() -> None:
    """Let a program hear SIGINT, also where a shell has started the scenes in its background, which ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Program:
    """A program that runs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def line(self) -> str:
        """Return the next line that it prints."""
        assert self._process.stdout is not None
        async with asyncio.timeout(END_SECONDS):
            return (await self._process.stdout.readline()).decode().rstrip("\n")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    async def end(self) -> tuple[int, str, str]:
        """Wait for its end. Return its exit code, and the rest of what it has printed and logged."""
        async with asyncio.timeout(END_SECONDS):
            printed, logged = await self._process.communicate()
        assert self._process.returncode is not None
        return self._process.returncode, printed.decode(), logged.decode()


@asynccontextmanager
async def running(harness: Harness, store: str, program: Path, *words: str, **environment: str) -> AsyncIterator[Program]:
    """Run a Python program on the server of a scene, with its key in a store of this name. It is killed at the end."""
    server: Any = harness.server
    authority = str(server.ca_file) if hasattr(server, "ca_file") else "-"
    runner = "-m", "interop.programs.run", str(server.port), authority, str(harness.folder / f"{store}.db")
    async with _python(*runner, str(program), *words, **environment) as running:
        yield running


@asynccontextmanager
async def send_command(harness: Harness, account: str, to: str, text: str) -> AsyncIterator[Program]:
    """Run ``xmpp-e2e send`` as a user does, with a key in the folder of the scene. It is killed at the end."""
    environment = {"XDG_DATA_HOME": str(harness.folder), "XMPP_E2E_PASSWORD": harness.server.accounts[account]}
    server: Any = harness.server
    home = server.home(account) if hasattr(server, "home") else server
    jid = harness.jid(account)
    command = "-m", "xmpp_e2e_cli"
    async with _python(*command, "init", jid, **environment) as made:
        code, _, logged = await made.end()
        assert code == 0, logged
    trusts = ("--ca-file", str(home.ca_file)) if hasattr(home, "ca_file") else ("--plaintext-loopback",)
    where = "--host", "127.0.0.1", "--port", str(home.port), *trusts
    async with _python(*command, "send", "--account", jid, to, "-m", text, *where, **environment) as running:
        yield running


@asynccontextmanager
async def _python(*words: str, **environment: str) -> AsyncIterator[Program]:
    """Run Python. It is killed at the end."""
    paths = ":".join(map(str, (ROOT, *sys.path)))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *words,
        cwd=ROOT,
        env={"PATH": "/usr/bin", "PYTHONPATH": paths, "PYTHONWARNINGS": "default", **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=hear_interrupts,
    )
    try:
        yield Program(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
