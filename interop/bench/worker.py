"""Start, command and end a worker process of ``interop.bench.client``."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parents[2]
ANSWER_BYTES = 1 << 20
"""Maximum length of an answer: a few thousand numbers as JSON."""
ORDER_SECONDS = 120.0
"""Timeout of an order. The longest takes some seconds."""


class ClientFailed(Exception):
    """A worker process ended or hangs; standard error has its output."""


class WrongResult(Exception):
    """Something was lost, altered, came the wrong way, or could be read on the wire."""


class WorkerProcess:
    """One process. Use it as an async context manager."""

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "interop.bench.client"),
            stdin=pipe,
            stdout=pipe,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            limit=ANSWER_BYTES,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            assert self.process.stdin is not None
            self.process.stdin.close()  # no more orders
        elif self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def __call__(self, do: str, **details: Any) -> dict[str, Any]:
        """Give an order; return its answer. Raises `WrongResult`, `ClientFailed`."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps({"do": do, **details}).encode() + b"\n")
        try:
            async with asyncio.timeout(ORDER_SECONDS):
                line = await stdout.readline()
        except TimeoutError:
            raise ClientFailed(f"no answer to `{do}` within {ORDER_SECONDS:.0f} s") from None
        if not line:
            raise ClientFailed(f"the process of a client ended at `{do}`")
        answer: dict[str, Any] = json.loads(line)
        if "wrong" in answer:
            raise WrongResult(f"{do}: {answer['wrong']}")
        return answer
