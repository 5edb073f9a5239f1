"""How much may wait, for one account, for all, and for strangers; and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from slixmpp_e2e.errors import NotSent, NotSentReason
from slixmpp_e2e.jids import account_and_domain
from slixmpp_e2e.messages.queued import QueuedStanza, Share

QUEUE_STANZAS = 4096
"""Stanzas that may wait for one account: a burst of a busy bot."""
QUEUE_BYTES = 8 * 1024 * 1024
"""Bytes that may wait for one account: pictures in messages, until a person has compared a key."""
FULL_ACCOUNTS = 8
"""Total queue limit, as a multiple of the limit of one account: whoever answers strangers must not wait for all of them."""
FULL_STRANGERS = 4
"""The same for all strangers: half, so that they never take the other half from contacts."""
FULL_STRANGERS_PER_DOMAIN = 2
"""The same for the strangers of one domain, whose server makes up as many as it likes: half of what strangers have."""


class QueueLimits:
    """Counts the stanzas that wait, and their bytes; each has a deadline."""

    def __init__(
        self,
        loop: Callable[[], asyncio.AbstractEventLoop],
        is_contact: Callable[[str], bool],
        expire: Callable[[QueuedStanza], None],
        *,
        seconds: float,
        max_bytes: int,
    ) -> None:
        """``is_contact`` says whether an account has a place before strangers: not by what it can bring about itself.
        ``expire`` is called at the deadline, after ``seconds``; ``max_bytes`` is the limit of one account."""
        self._loop, self._is_contact, self._expire = loop, is_contact, expire
        self._seconds, self._max_bytes = seconds, max_bytes
        self._waiting: dict[Share, tuple[int, int]] = {}
        """Stanzas and bytes."""

    def __bool__(self) -> bool:
        """Return whether anything waits."""
        return bool(self._waiting)

    def shares(self, to: str) -> tuple[Share, ...]:
        """Return where a stanza to this address counts."""
        account, domain = account_and_domain(to)
        shares = (Share(account, 1), Share("all peers", FULL_ACCOUNTS))
        if self._is_contact(account):
            return shares
        of_domain = Share(f"strangers of {domain}", FULL_STRANGERS_PER_DOMAIN)
        return (*shares, of_domain, Share("all strangers", FULL_STRANGERS))

    def is_account_full(self, item: QueuedStanza) -> bool:
        """Return whether the account has no room for one more stanza."""
        return self._is_full(item.shares[0], item.size)

    def begin(self, item: QueuedStanza) -> None:
        """Count a stanza that waits, and start its deadline: from ``since`` on, if it has waited before. NotSent unless each of
        its shares has room for it."""
        for share in item.shares:
            if self._is_full(share, item.size):
                count, size = self._waiting.get(share, (0, 0))
                limits = f"{share.accounts * QUEUE_STANZAS} and {share.accounts * self._max_bytes}"
                waiting = f"{count} stanzas with {size} bytes wait for {share.whose} already; the limits are {limits}"
                raise NotSent(waiting, NotSentReason.QUEUE_FULL)
        self._count(item, 1)
        loop = self._loop()
        item.on_stream_since = now = loop.time()
        item.since = item.since or now
        item.deadline = loop.call_later(item.since + self._seconds - now, self._expire, item)

    def extend(self, item: QueuedStanza) -> None:
        """It has not waited yet, for anybody but us: its deadline starts again."""
        item.deadline = self._loop().call_later(self._seconds, self._expire, item)

    def end(self, item: QueuedStanza) -> None:
        """It waits no more, if it did."""
        if item.deadline is not None:
            item.deadline.cancel()
            item.deadline = None
            self._count(item, -1)

    def _is_full(self, share: Share, more: int) -> bool:
        count, size = self._waiting.get(share, (0, 0))
        return count >= share.accounts * QUEUE_STANZAS or size + more > share.accounts * self._max_bytes

    def _count(self, item: QueuedStanza, one: int) -> None:
        for share in item.shares:
            count, size = self._waiting.get(share, (0, 0))
            self._waiting[share] = (count + one, size + one * item.size)
            if not count + one:
                del self._waiting[share]
