"""Let the user pin, accept, block, forget and list the keys of peers. Each change applies to the sessions that are there."""

from __future__ import annotations

import time
from collections.abc import Callable

from slixmpp import JID

from slixmpp_e2e.store import Change, SQLStore
from slixmpp_e2e.trust.own_address import own_account
from slixmpp_e2e.trust.trust_uri import parse_keys
from xmpp_e2e.types import Fingerprint, KnownKeys


class PeerKeys:
    """``e2e.trust``: the keys of peers.

    JIDs may be full; a key is trusted for the account, by our account: a component names its address as ``own_jid``.
    ValueError for a malformed fingerprint, ConfigError for an address that is not ours, StoreError if the store cannot be read
    or written.
    """

    def __init__(self, store: SQLStore, on_change: Callable[[str, str], None], our_jid: str) -> None:
        """``on_change`` hears of each account about which an account of ours has decided. ``our_jid`` is our bare JID."""
        self._store, self._on_change, self._our_jid = store, on_change, our_jid

    async def pin(self, jid: str, fingerprint: str | Fingerprint, own_jid: str | None = None) -> None:
        """Trust a key that the user has compared, or has from a source that they trust.

        From then on the peer's other keys are held, unless verified or accepted too: ``e2e_other_key_held`` names each.
        ``fingerprint`` may also be a Trust Message URI (XEP-0434). ValueError if the URI is for another account.
        """
        bare, own = JID(jid).bare, self._own(own_jid)
        for key in parse_keys(fingerprint, bare):
            await self._store.run(self._store.pin, bare, key, time.time(), own)
        self._on_change(bare, own)

    async def accept(self, jid: str, fingerprint: str | Fingerprint, own_jid: str | None = None) -> None:
        """Let stanzas flow to a key without a proof, though another key of the peer is verified: it stays below ``verified``.

        KeyBlocked if the user has blocked it.
        """
        bare, own = JID(jid).bare, self._own(own_jid)
        await self._store.run(self._store.accept, bare, _parse(fingerprint), time.time(), own)
        self._on_change(bare, own)

    async def block(self, jid: str, fingerprint: str | Fingerprint, own_jid: str | None = None) -> None:
        """Refuse a key until it is forgotten. Sessions with this key end."""
        bare, own = JID(jid).bare, self._own(own_jid)
        await self._store.run(self._store.block, bare, _parse(fingerprint), time.time(), own)
        self._on_change(bare, own)

    async def forget(self, jid: str, fingerprint: str | Fingerprint | None = None, own_jid: str | None = None) -> int:
        """Forget one key, or all keys of the peer, and return their number. The next session is a first contact again."""
        bare, own = JID(jid).bare, self._own(own_jid)
        key = _parse(fingerprint) if fingerprint is not None else None
        forgotten = await self._store.run(self._store.forget, bare, key, time.time(), own)
        self._on_change(bare, own)
        return forgotten

    def show(self, jid: str, own_jid: str | None = None) -> KnownKeys:
        """Return the remembered keys of a peer."""
        return self._store.known_keys(JID(jid).bare, self._own(own_jid))

    def history(self, jid: str, own_jid: str | None = None) -> tuple[Change, ...]:
        """Return all changes of the peer's keys, the oldest first."""
        return self._store.history(JID(jid).bare, self._own(own_jid))

    def peers(self) -> tuple[str, ...]:
        """Return the bare JIDs of all peers of whom any address of ours remembers a key."""
        return self._store.peers()

    def _own(self, own_jid: str | None) -> str:
        return own_account(self._our_jid, self._store.component is not None, own_jid)


def _parse(fingerprint: str | Fingerprint) -> Fingerprint:
    return fingerprint if isinstance(fingerprint, Fingerprint) else Fingerprint.parse(fingerprint)
