"""Answers that we owe, bounded: whoever asks and asks takes no answer from others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from slixmpp_e2e.jids import bare
from slixmpp_e2e.sessions.registry import Target
from xmpp_e2e.types import Fingerprint

Key = tuple[str, str, str]
"""(our own JID, the asker's full JID, the id)"""
_T = TypeVar("_T")


@dataclass(frozen=True)
class EndedSession:
    """What is kept of a session that has ended over its path and may go on in the next one."""

    target: Target
    key: Fingerprint | None


class OwedReplies(Generic[_T]):
    """Requests that wait for our answer, each with what is known of it, by the asker's account; the oldest first."""

    def __init__(self, *, per_account: int, in_all: int) -> None:
        """Beyond ``in_all`` the account with most loses its oldest."""
        self._per_account, self._in_all = per_account, in_all
        self._by_account: dict[str, dict[Key, _T]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, key: Key, value: _T) -> None:
        """Owe an answer."""
        account = bare(key[1])
        owed = self._by_account.setdefault(account, {})
        self._count += key not in owed
        owed[key] = value
        if len(owed) > self._per_account:
            self.pop(next(iter(owed)))
        elif self._count > self._in_all:
            most = max(self._by_account.values(), key=len)
            self.pop(next(iter(most)))

    def pop(self, key: Key) -> _T | None:
        """Owe it no longer; return what was known of it, or None if it was not owed."""
        account = bare(key[1])
        owed = self._by_account.get(account, {})
        if key not in owed:
            return None
        value = owed.pop(key)
        self._count -= 1
        if not owed:
            del self._by_account[account]
        return value

    def expire(self, is_over: Callable[[_T], bool]) -> None:
        """Owe no longer what is over, of each account the oldest first."""
        for owed in tuple(self._by_account.values()):
            for key, value in tuple(owed.items()):
                if not is_over(value):
                    break
                self.pop(key)
