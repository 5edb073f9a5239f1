"""Set up a key or a password that is shared with a peer. It then must prove each key of the peer that is not verified."""

from __future__ import annotations

import asyncio

from slixmpp import JID

from slixmpp_e2e.store import SQLStore
from slixmpp_e2e.trust.own_address import own_account
from slixmpp_e2e.trust.passwords import derive_srp_secret
from xmpp_e2e.authenticate.psk import check_key_length
from xmpp_e2e.errors import LocalError

KEY_ID = "1"
"""The id of a shared secret in the store, which holds one of each kind for a peer."""


class PeerSecrets:
    """``e2e.secrets``: keys and passwords that are shared with peers.

    JIDs may be full; a secret is shared by two accounts: a component names its address as ``own_jid``. ConfigError for an
    address that is not ours, StoreError if the store cannot be read or written.
    """

    def __init__(self, store: SQLStore, our_jid: str) -> None:
        """``our_jid`` is our bare JID."""
        self._store, self._our_jid = store, our_jid

    def put_key(self, jid: str, key: bytes, own_jid: str | None = None) -> bool:
        """Share a random key of at least 16 bytes, for ``psk``. Return whether it replaces another. WeakKey."""
        return self.put(jid, "psk", check_key_length(key), own_jid)

    async def put_password(self, jid: str, password: str, own_jid: str | None = None) -> bool:
        """Share a password, for ``srp``. Return whether it replaces another. LocalError if it cannot be a password.

        The store keeps the derived password, which takes a thread about 140 ms.
        """
        own = self._own(own_jid)
        # not by arguments: the repr of a partial, which to_thread() makes of them, would show the password
        derived = await asyncio.to_thread(lambda: derive_srp_secret(password, own, JID(jid).bare))
        return await self._store.run(lambda: self._put(JID(jid).bare, "srp", derived, own))

    def has(self, jid: str, method: str, own_jid: str | None = None) -> bool:
        """Return whether a secret for ``psk`` or ``srp`` is stored."""
        return bool(_find(self._store, JID(jid).bare, method, self._own(own_jid))[1])

    def forget(self, jid: str, method: str, own_jid: str | None = None) -> bool:
        """Forget the secret for ``psk`` or ``srp``. Return False if there was none.

        One from before a component's addresses were told apart is forgotten for all of them.
        """
        bare = JID(jid).bare
        own, ids = _find(self._store, bare, method, self._own(own_jid))
        with self._store.at_once():
            for key_id in ids:
                self._store.forget_secret(bare, method, key_id, own)
        return bool(ids)

    def failed_attempts(self, jid: str, own_jid: str | None = None) -> int:
        """Return the number of wrong passwords since the last right one: at one address, or at all of a component."""
        return self._store.failed_attempts(JID(jid).bare, "srp", self._own(own_jid) if own_jid is not None else None)

    def unlock_password(self, jid: str, own_jid: str | None = None) -> int:
        """Allow attempts at the password again, at all addresses or one. Return the number of failed attempts.

        If neither of you has mistyped it, first agree on a new password by another channel.
        """
        count = self.failed_attempts(jid, own_jid)
        with self._store.at_once():
            self._store.clear_failed_attempts(JID(jid).bare, "srp", self._own(own_jid) if own_jid is not None else None)
        return count

    def put(self, jid: str, method: str, secret: bytes, own_jid: str | None = None) -> bool:
        """Store a secret as the method uses it: 32 bytes for ``srp``. Return whether it replaces another."""
        own = self._own(own_jid)
        with self._store.at_once():
            return self._put(JID(jid).bare, method, secret, own)

    def _put(self, bare: str, method: str, secret: bytes, own: str) -> bool:
        before = self._store.secret_ids(bare, method, own)
        self._store.put_secret(bare, method, KEY_ID, secret, own)
        for key_id in before:
            if key_id != KEY_ID:
                self._store.forget_secret(bare, method, key_id, own)
        return bool(before)

    def _own(self, own_jid: str | None) -> str:
        return own_account(self._our_jid, self._store.component is not None, own_jid)


def stored_secret(store: SQLStore, account: str, method: str, own: str) -> bytes | None:
    """Return the secret that our account ``own`` shares with an account, the one with the last id; or None. StoreError.

    LocalError for a password from before a component's addresses were told apart: its salt is for the component's domain.
    """
    where, ids = _find(store, account, method, own)
    if ids and method == "srp" and store.component is not None and where != own != store.component:
        again = f"share it for this address: e2e.secrets.put_password({account!r}, …, own_jid={own!r})"
        raise LocalError(f"the password with {account} was stored for {store.component}, and {own} cannot use it; {again}")
    return store.secret(account, method, ids[-1], where) if ids else None


def _find(store: SQLStore, account: str, method: str, own: str) -> tuple[str, tuple[str, ...]]:
    """Return where the secret is that an account of ours shares, and its ids.

    That is ``own``, or else "": for all addresses of the component, from before they were told apart.
    """
    ids = store.secret_ids(account, method, own)
    return (own, ids) if ids or store.component is None else ("", store.secret_ids(account, method))
