"""The user's hand on trust: pin, forget, block, list. Every change is applied to the sessions that wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable

from slixmpp import JID

from slixmpp_e2e.trust.trust_uri import keys_in
from xmpp_e2e.identity import Fingerprint, Remembered
from xmpp_e2e.trust.store import Change, TrustStore


class Trust:
    """``e2e.trust``. JIDs may be full: trust is in the account behind them. Errors: ValueError for a malformed fingerprint,
    StoreError if the store cannot be written."""

    def __init__(self, store: TrustStore, changed: Callable[[str], None]) -> None:
        self._store = store
        self._changed = changed

    async def pin(self, jid: str, fingerprint: str | Fingerprint) -> None:
        """This key is the peer's: the user has compared it, or has it by a way that he trusts. A URI of it (XEP-0434) will do,
        too; ValueError if that is for somebody else."""
        bare = JID(jid).bare
        for key in keys_in(fingerprint, bare):
            self._store.pin(bare, key, time.time())
        self._changed(bare)

    async def block(self, jid: str, fingerprint: str | Fingerprint) -> None:
        """This key is refused for good; sessions under it end."""
        bare = JID(jid).bare
        self._store.block(bare, _parsed(fingerprint), time.time())
        self._changed(bare)

    async def forget(self, jid: str, fingerprint: str | Fingerprint | None = None) -> int:
        """Forget one key, or all keys of the peer; returns how many. He is met anew at the next session."""
        bare = JID(jid).bare
        forgotten = self._store.forget(bare, _parsed(fingerprint) if fingerprint is not None else None, time.time())
        self._changed(bare)
        return forgotten

    def show(self, jid: str) -> Remembered:
        """The keys that are remembered of a peer."""
        return self._store.remembered(JID(jid).bare)

    def history(self, jid: str) -> tuple[Change, ...]:
        """Everything that was ever decided about the peer's keys, oldest first."""
        return self._store.history(JID(jid).bare)

    def peers(self) -> tuple[str, ...]:
        """The bare JIDs of which a key is remembered."""
        return self._store.peers()


def _parsed(fingerprint: str | Fingerprint) -> Fingerprint:
    return fingerprint if isinstance(fingerprint, Fingerprint) else Fingerprint.parse(fingerprint)
