"""What is shared with a peer: a key or a password, which then must prove each key of his that is not verified."""

from __future__ import annotations

import asyncio

from slixmpp import JID

from slixmpp_e2e.trust.passwords import stretched
from xmpp_e2e.authenticate.psk import strong
from xmpp_e2e.trust.store import TrustStore

KEY_ID = "1"
"""In the store, of what is set up with a peer: one secret of each kind."""


class Shared:
    """``e2e.shared``. JIDs may be full: what is shared is shared with the account behind them. StoreError if the store cannot
    be written."""

    def __init__(self, store: TrustStore, ours: str) -> None:
        """``ours``: our own bare JID."""
        self._store, self._ours = store, ours

    def put_key(self, jid: str, key: bytes) -> bool:
        """A key of a random generator, 16 bytes at least, for ``psk``. True if it took the place of another. WeakKey."""
        return self.put(jid, "psk", strong(key))

    async def put_password(self, jid: str, password: str) -> bool:
        """A password, for ``srp``; stored stretched (Argon2id), which takes some 140 ms in a thread. True if it took the place
        of another. LocalError if it cannot be one."""
        return self.put(jid, "srp", await asyncio.to_thread(stretched, password, self._ours, JID(jid).bare))

    def forget(self, jid: str, method: str) -> bool:
        """What is shared for ``psk`` or ``srp`` is shared no more. False if nothing was."""
        bare = JID(jid).bare
        ids = self._store.secret_ids(bare, method)
        for key_id in ids:
            self._store.forget_secret(bare, method, key_id)
        return bool(ids)

    def unlock(self, jid: str) -> int:
        """Wrong guesses of the password are forgotten; returns how many there were. Agree on a new one before, by another
        way, if you have not mistyped it yourselves."""
        bare = JID(jid).bare
        count = self._store.failures(bare, "srp")
        self._store.clear_failures(bare, "srp")
        return count

    def put(self, jid: str, method: str, secret: bytes) -> bool:
        """What two share, ready to be used: 32 bytes for ``srp``. True if it took the place of another."""
        bare = JID(jid).bare
        before = self._store.secret_ids(bare, method)
        self._store.put_secret(bare, method, KEY_ID, secret)
        for key_id in before:
            if key_id != KEY_ID:
                self._store.forget_secret(bare, method, key_id)
        return bool(before)
