"""What runs beside the event loop's handlers for one session: long computations, and prompts that users take time for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from slixmpp_e2e.sessions.driver import SessionDriver
from xmpp_e2e.authenticate.base import Computation


class SessionTasks:
    """Tasks that are cancelled when their session is over."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[None], SessionDriver] = {}

    def start(self, session: SessionDriver, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` while the session lasts."""
        task = asyncio.create_task(work)
        self._tasks[task] = session
        task.add_done_callback(self._tasks.pop)

    def compute(self, session: SessionDriver, computation: Computation) -> None:
        """Compute in a thread, and give the result to the session: powers of 4096 bits would block the loop."""
        self.start(session, self._compute(session, computation))

    async def _compute(self, session: SessionDriver, computation: Computation) -> None:
        session.answer_prompt(computation, await asyncio.to_thread(computation.run))

    def cancel(self, session: SessionDriver) -> None:
        """Cancel the tasks of a session that is over: nobody is prompted for it any more."""
        for task in [task for task, its in self._tasks.items() if its is session]:
            task.cancel()
