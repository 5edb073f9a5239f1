"""What asyncio does not say itself."""

from __future__ import annotations

import asyncio


def current_task() -> asyncio.Task[None] | None:
    """Return the running task; None in a coroutine that is only collected, after its loop has ended."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def wake(future: asyncio.Future[None] | None) -> None:
    """Let whoever waits for this go on."""
    if future is not None and not future.done():
        future.set_result(None)
