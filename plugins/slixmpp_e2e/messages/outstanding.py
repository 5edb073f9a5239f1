"""Which stanzas have not met their end yet, by account: for whoever waits until all have."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable


class Outstanding:
    """Counts the stanzas that were given to us and are neither acknowledged nor failed."""

    def __init__(self, loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        self._loop = loop
        self._count: Counter[str] = Counter()
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}

    def __contains__(self, account: str) -> bool:
        return account in self._count

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(self._count)

    def begin(self, account: str) -> None:
        """One more stanza for this account."""
        self._count[account] += 1

    def end(self, account: str) -> None:
        """One less."""
        self._count[account] -= 1
        if not self._count[account]:
            del self._count[account]
            self._tell(account)
            if not self._count:
                self._tell("")

    async def wait(self, account: str = "") -> None:
        """Wait until there are none for this account, or for any."""
        while account in self._count if account else self._count:
            future = self._loop().create_future()
            self._waiting.setdefault(account, []).append(future)
            await future

    def _tell(self, account: str) -> None:
        for future in self._waiting.pop(account, ()):
            if not future.done():
                future.set_result(None)
