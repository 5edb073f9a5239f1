"""How much memory sessions may hold for their peers: per account, for the strangers of a domain, for all of them, and in all.

What is counted is what a peer can let grow: what waits for them because they do not read, and what they have sent and not
finished, or sent too early. What each session takes anyway is bounded by the number of sessions (``admission.limits``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple, Protocol

from slixmpp_e2e.errors import MemoryExceeded
from slixmpp_e2e.jids import account_and_domain

ACCOUNT_MEMORY = 16 * 1024 * 1024
"""Bytes for one account: half for what we send to it (a minute of a fast path), half for some pictures that come at once."""
STRANGERS_PER_DOMAIN = 4
"""The same for all strangers of one domain, as a multiple: a server makes up as many accounts as it likes."""
STRANGERS = 8
"""The same for all strangers: half, so that they never take the other half from contacts."""
EVERYBODY = 16
"""The same for all, 256 MiB: what a small machine can spare."""
WOKEN = 8
"""Sessions that are told that there is room, each time that there is: if thousands were, most would find none."""


class Share(NamedTuple):
    """Who has a limit of their own."""

    whose: str
    """A bare JID, or words for several."""
    limit: int
    """Bytes."""
    room: int
    """Bytes beyond which nothing more of ours is taken to wait: the rest is left to what comes."""


class Holder(Protocol):
    """A session that holds memory for its peer."""

    @property
    def peer(self) -> str:
        """The peer's full JID."""

    @property
    def memory(self) -> int:
        """Bytes that it holds now."""

    def give_up_memory(self, error: MemoryExceeded) -> None:
        """End, and let go of what it holds; at once, if it has ended already and still holds something."""

    def on_room(self) -> None:
        """Try again to send, after ``has_room()`` has said that there is no room."""


class MemoryBudget:
    """Counts what the sessions of a client hold."""

    def __init__(self, is_contact: Callable[[str], bool], account_memory: int = ACCOUNT_MEMORY) -> None:
        """``is_contact`` says whether an account has a place before strangers: not by what it can bring about itself."""
        self._is_contact, self._account_memory = is_contact, account_memory
        self._held: dict[Holder, int] = {}
        self._shares: dict[Holder, tuple[Share, ...]] = {}
        """Where a session counts, whoever may be a contact later; the share of the account comes first."""
        self._used: Counter[Share] = Counter()
        self._waiting: dict[Share, dict[Holder, None]] = {}
        """Sessions that found no room in a share."""

    @property
    def used(self) -> int:
        """Bytes that all sessions hold."""
        return sum(self._held.values())

    def has_room(self, session: Holder) -> bool:
        """Return whether more of ours may wait in this session: while ``Share.room`` is not used up.

        If not, ``on_room()`` is called as soon as it may be worth while to try again.
        """
        for share in self._shares_of(session):
            if self._used[share] > share.room:
                self._waiting.setdefault(share, {})[session] = None
                return False
        return True

    def update(self, session: Holder) -> int:
        """Count what a session holds now, and return it."""
        size, before = session.memory, self._held.get(session, 0)
        if size == before:
            return size
        for share in self._shares_of(session):
            self._used[share] += size - before
            if not self._used[share]:
                del self._used[share]
            if size < before and share in self._waiting:
                self._wake(share)
        if size:
            self._held[session] = size
        else:
            del self._held[session]
        return size

    def enforce(self, session: Holder) -> None:
        """Count what a session holds now. While that is too much for one of its shares, the largest session of the account that
        holds most there gives up."""
        self.update(session)
        for share in self._shares_of(session):
            while self._used[share] > share.limit:
                largest = self._largest(share)
                largest.give_up_memory(MemoryExceeded(share.whose, self._used[share], share.limit))
                self.update(largest)

    def remove(self, session: Holder) -> None:
        """Forget a session that holds nothing any more."""
        self.update(session)
        for share in self._shares.pop(session, ()):
            if (waiting := self._waiting.get(share)) is not None:
                waiting.pop(session, None)
                if not waiting:
                    del self._waiting[share]

    def _shares_of(self, session: Holder) -> tuple[Share, ...]:
        if (shares := self._shares.get(session)) is None:
            account, domain = account_and_domain(session.peer)
            each = self._account_memory
            everybody = EVERYBODY * each
            # more than strangers can use up, or they would leave no room for what is sent to contacts
            shares = (_half(account, each), Share("all peers", everybody, everybody * 3 // 4))
            if not self._is_contact(account):
                of_domain = _half(f"strangers of {domain}", STRANGERS_PER_DOMAIN * each)
                shares = (*shares, of_domain, _half("all strangers", STRANGERS * each))
            self._shares[session] = shares
        return shares

    def _largest(self, share: Share) -> Holder:
        inside = [session for session in self._held if share in self._shares[session]]
        accounts = {self._shares[session][0] for session in inside}
        account = max(accounts, key=lambda each: self._used[each])
        return max((session for session in inside if self._shares[session][0] == account), key=self._held.__getitem__)

    def _wake(self, share: Share) -> None:
        if self._used[share] > share.room:
            return
        waiting = self._waiting[share]
        for session in list(waiting)[:WOKEN]:
            del waiting[session]
            session.on_room()
        if not waiting:
            del self._waiting[share]


def _half(whose: str, limit: int) -> Share:
    return Share(whose, limit, limit // 2)
