"""Set up a key or a password that is shared with a peer. It then must prove each key of the peer that is not verified."""

from __future__ import annotations

import asyncio

from slixmpp import JID

from slixmpp_e2e.store import SQLStore
from slixmpp_e2e.trust.passwords import derive_srp_secret
from xmpp_e2e.authenticate.psk import check_key_length

KEY_ID = "1"
"""The id of a shared secret in the store, which holds one of each kind for a peer."""


class PeerSecrets:
    """``e2e.secrets``: keys and passwords that are shared with peers.

    JIDs may be full; a secret is shared with the account. StoreError if the store cannot be read or written.
    """

    def __init__(self, store: SQLStore, our_jid: str) -> None:
        """``our_jid`` is our bare JID."""
        self._store, self._our_jid = store, our_jid

    def put_key(self, jid: str, key: bytes) -> bool:
        """Share a random key of at least 16 bytes, for ``psk``. Return whether it replaces another. WeakKey."""
        return self.put(jid, "psk", check_key_length(key))

    async def put_password(self, jid: str, password: str) -> bool:
        """Share a password, for ``srp``. Return whether it replaces another. LocalError if it cannot be a password.

        The store keeps the derived password, which takes a thread about 140 ms.
        """
        # not by arguments: the repr of a partial, which to_thread() makes of them, would show the password
        derived = await asyncio.to_thread(lambda: derive_srp_secret(password, self._our_jid, JID(jid).bare))
        return self.put(jid, "srp", derived)

    def has(self, jid: str, method: str) -> bool:
        """Return whether a secret for ``psk`` or ``srp`` is stored."""
        return bool(self._store.secret_ids(JID(jid).bare, method))

    def forget(self, jid: str, method: str) -> bool:
        """Forget the secret for ``psk`` or ``srp``. Return False if there was none."""
        bare = JID(jid).bare
        ids = self._store.secret_ids(bare, method)
        for key_id in ids:
            self._store.forget_secret(bare, method, key_id)
        return bool(ids)

    def failed_attempts(self, jid: str) -> int:
        """Return the number of wrong passwords since the last right one."""
        return self._store.failed_attempts(JID(jid).bare, "srp")

    def unlock_password(self, jid: str) -> int:
        """Allow attempts at the password again. Return the number of failed attempts.

        If neither of you has mistyped it, first agree on a new password by another channel.
        """
        count = self.failed_attempts(jid)
        self._store.clear_failed_attempts(JID(jid).bare, "srp")
        return count

    def put(self, jid: str, method: str, secret: bytes) -> bool:
        """Store a secret as the method uses it: 32 bytes for ``srp``. Return whether it replaces another."""
        bare = JID(jid).bare
        before = self._store.secret_ids(bare, method)
        self._store.put_secret(bare, method, KEY_ID, secret)
        for key_id in before:
            if key_id != KEY_ID:
                self._store.forget_secret(bare, method, key_id)
        return bool(before)


def stored_secret(store: SQLStore, account: str, method: str) -> bytes | None:
    """Return the secret that is stored for an account (a bare JID), the one with the last id; or None. StoreError."""
    ids = store.secret_ids(account, method)
    return store.secret(account, method, ids[-1]) if ids else None
