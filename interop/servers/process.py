"""A server as a child process: it dies with us, says when it is up, and is ended and reaped in order.

Handled by a pidfd and not by ``asyncio.subprocess``, whose thread reaps behind the back of whoever sends a signal.
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
"""Servers go within a second of SIGTERM; after this time they are killed."""
READY = "READY_FILE"
"""The environment variable that names the file into which the server writes one line once it is up."""


class ServerFailed(Exception):
    """The server did not come up, or did not stay up; the message ends with the tail of its log."""


def program(name: str, package: str) -> str:
    """The path of the program ``name``, which is in the Debian package ``package``."""
    if (path := shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")) is None:
        raise ServerFailed(f"{name} is not installed. See interop/servers/install.sh (Debian package {package}).")
    return path


class Child:
    """One process, started by the constructor. Call `end` in every case."""

    def __init__(
        self, command: Sequence[str], folder: Path, console: Path, environment: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """
        Run ``command`` in ``folder`` with ``environment`` beside ours, and with what it prints in the file ``console``.
        Raises `ServerFailed`.
        """
        self._ready, ready = os.pipe()
        try:
            with console.open("wb") as printed:
                self._process = subprocess.Popen(
                    # SIGKILL when the thread that starts it ends, however it ends. Done by a program that then becomes
                    # the server, because Python code between fork and exec is not safe beside threads.
                    [program("setpriv", "util-linux"), "--pdeathsig", "KILL", *command],
                    stdin=subprocess.DEVNULL,
                    stdout=printed,
                    stderr=printed,
                    cwd=folder,
                    env=os.environ | dict(environment) | {READY: f"/dev/fd/{ready}"},
                    pass_fds=(ready,),
                    # A terminal's Ctrl-C is for the tests, which then end the server in order.
                    start_new_session=True,
                )
        except BaseException:
            os.close(self._ready)
            raise
        finally:
            os.close(ready)
        self.pid = self._process.pid
        # Ours until we reap it: the number cannot have passed to another process.
        self._handle = os.pidfd_open(self.pid)

    @property
    def ended(self) -> bool:
        """Whether it has ended, by itself or not."""
        poll = select.poll()
        poll.register(self._handle, select.POLLIN)
        return bool(poll.poll(0))

    async def ready(self) -> str:
        """The line that it writes once it is up; empty if it ended before that."""
        loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
        pipe = os.fdopen(os.dup(self._ready), "rb", buffering=0)
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        try:
            return (await reader.readline()).decode()
        finally:
            transport.close()

    async def end(self) -> None:
        """SIGTERM, then if it must be SIGKILL; returns when the process is gone."""
        try:
            signal.pidfd_send_signal(self._handle, signal.SIGTERM)
            async with asyncio.timeout(STOP_SECONDS):
                await self._exit()
        except TimeoutError:
            pass
        finally:
            if not self.ended:
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)
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
