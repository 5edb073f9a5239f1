"""A server as a child process. It dies with us, reports when it is up, and is ended and reaped in order.

It uses a pidfd, not ``asyncio.subprocess``, whose thread may reap the process before a signal is sent.
"""

from __future__ import annotations

import asyncio
import os
import select
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

STOP_SECONDS = 10.0
"""Seconds from SIGTERM to SIGKILL. Servers end within one."""
READY = "READY_FILE"
"""The environment variable with the file to which the server writes one line once it is up."""


class ServerFailed(Exception):
    """The server did not start, or ended by itself; the message ends with its log."""


def program(name: str, package: str) -> str:
    """Return the path of the program ``name`` from the Debian package ``package``."""
    if (path := shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")) is None:
        raise ServerFailed(f"{name} is not installed. See interop/servers/install.sh (Debian package {package}).")
    return path


class Child:
    """One process, started by the constructor. Call `end` or `kill` once, in every case."""

    def __init__(
        self, command: Sequence[str], folder: Path, console: Path, environment: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Run ``command`` in ``folder`` with ``environment`` added to ours, and its output in the file ``console``.

        Raises `ServerFailed`.
        """
        self._ready, ready = os.pipe()
        try:
            with console.open("ab") as printed:
                self._process = subprocess.Popen(
                    # Send SIGKILL when the starting thread ends in any way. A program that then becomes the server sets
                    # this, because Python code between fork and exec is not safe with threads.
                    [program("setpriv", "util-linux"), "--pdeathsig", "KILL", *command],
                    stdin=subprocess.DEVNULL,
                    stdout=printed,
                    stderr=printed,
                    cwd=folder,
                    env=os.environ | dict(environment) | {READY: f"/dev/fd/{ready}"},
                    pass_fds=(ready,),
                    # Ctrl-C at a terminal must reach only the tests, which then end the server in order.
                    start_new_session=True,
                )
        except BaseException:
            os.close(self._ready)
            raise
        finally:
            os.close(ready)
        self.pid = self._process.pid
        # We have not reaped it, so no other process can have its number.
        self._handle = os.pidfd_open(self.pid)

    @property
    def ended(self) -> bool:
        """Return whether the process has ended."""
        poll = select.poll()
        poll.register(self._handle, select.POLLIN)
        return bool(poll.poll(0))

    async def ready(self) -> str:
        """Return the line that it writes once it is up; empty if it ended before."""
        loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
        pipe = os.fdopen(os.dup(self._ready), "rb", buffering=0)
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        try:
            return (await reader.readline()).decode()
        finally:
            transport.close()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing if the process has ended."""
        if not self.ended:
            signal.pidfd_send_signal(self._handle, number)

    async def end(self, seconds: float = STOP_SECONDS) -> bool:
        """Send SIGTERM, then SIGKILL after so many seconds; return when the process is gone, and whether SIGTERM was enough."""
        in_order = False
        try:
            self.signal(signal.SIGTERM)
            # It may stand still (SIGSTOP), and would not hear.
            self.signal(signal.SIGCONT)
            async with asyncio.timeout(seconds):
                await self._exit()
            in_order = True
        except TimeoutError:
            pass
        finally:
            self.kill()
        return in_order

    def kill(self) -> None:
        """Send SIGKILL if the process has not ended; return when it is gone."""
        self.signal(signal.SIGKILL)
        self._process.wait()
        os.close(self._handle)
        os.close(self._ready)

    async def _exit(self) -> None:
        loop, gone = asyncio.get_running_loop(), asyncio.Event()
        # Readable once the process has ended.
        loop.add_reader(self._handle, gone.set)
        try:
            await gone.wait()
        finally:
            loop.remove_reader(self._handle)
