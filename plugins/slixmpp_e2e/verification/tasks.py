"""What runs beside the event loop's handlers for one session: long computations, and prompts that users take time for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any
from weakref import WeakValueDictionary

from slixmpp_e2e.jids import bare
from slixmpp_e2e.sessions.driver import SessionDriver
from xmpp_e2e.authenticate.base import Computation
from xmpp_e2e.errors import LocalError
from xmpp_e2e.types import SecretBytes

log = logging.getLogger("slixmpp_e2e")

COMPUTATIONS = 2
"""Computations at once, of all sessions: a computation takes some tens of milliseconds of one core, and peers begin them."""


class SessionTasks:
    """Tasks that are cancelled when their session is over."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[None], SessionDriver] = {}
        self._turns = asyncio.Semaphore(COMPUTATIONS)
        self._turn_of: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """By account: one waits for another of its own, and so takes no turn from the others."""

    def start(self, session: SessionDriver, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` while the session lasts."""
        task = asyncio.create_task(work)
        self._tasks[task] = session
        task.add_done_callback(self._tasks.pop)

    def compute(self, session: SessionDriver, computation: Computation) -> None:
        """Compute in a thread, in turn, and give the result to the session: powers of 4096 bits would block the loop."""
        self.start(session, self._compute(session, computation))

    async def _compute(self, session: SessionDriver, computation: Computation) -> None:
        account = bare(session.peer)
        try:
            session.answer_prompt(computation, await self.in_turn(account, computation.run))
        except Exception as error:  # an edge: a library's; the peer must not wait until the deadline
            log.error("a computation for a proof with %s raised %s", account, type(error).__name__)
            session.abort(LocalError(f"the proof could not be computed: {type(error).__name__}"))

    async def in_turn(self, account: str, run: Callable[[], bytes]) -> SecretBytes:
        """Return what ``run`` returns in a thread, once it is the account's turn. No task and no future shows it.

        The turn lasts as long as the thread does, even if the session ends meanwhile: else a peer who cuts each session off
        would have more threads than turns.
        """
        turn = self._turn_of.setdefault(account, asyncio.Lock())
        async with turn, self._turns:
            running = asyncio.ensure_future(asyncio.to_thread(lambda: SecretBytes(run())))
            try:
                await asyncio.wait((running,))
            except asyncio.CancelledError:
                await asyncio.gather(running, return_exceptions=True)
                raise
            return running.result()

    def cancel(self, session: SessionDriver) -> None:
        """Cancel the tasks of a session that is over: nobody is prompted for it any more."""
        for task in [task for task, its in self._tasks.items() if its is session]:
            task.cancel()
