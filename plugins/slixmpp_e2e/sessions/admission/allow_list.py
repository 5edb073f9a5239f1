"""Who may open sessions with us. To others we are not there: they hear what a server says for a resource that is none."""

from __future__ import annotations

from collections import OrderedDict

from slixmpp import JID
from slixmpp.basexmpp import BaseXMPP

from slixmpp_e2e.trust.own_key import Own
from xmpp_e2e.trust.store import TrustStore

APPROACHED = 4096
"""Accounts to which we have offered sessions that may offer some to us in turn; the one of longest ago goes first."""


class Callers:
    """Goes by ``accept_from``, the roster, and whom we have written to ourselves."""

    def __init__(self, xmpp: BaseXMPP, own: Own, store: TrustStore, allowed: str | frozenset[str]) -> None:
        """``allowed``: ``roster``, ``anyone``, or bare JIDs and domains."""
        self._xmpp, self._own, self._store = xmpp, own, store
        self._allowed = allowed
        self._approached: OrderedDict[str, None] = OrderedDict()

    def allow(self, who: str | frozenset[str]) -> None:
        """From now on these may open sessions with us, and others when we have approached them again."""
        self._allowed = who
        self._approached.clear()

    def approach(self, bare: str) -> None:
        """Whom we write to is no stranger: his answer may need a session of his own, and offers may cross."""
        self._approached[bare] = None
        self._approached.move_to_end(bare)
        if len(self._approached) > APPROACHED:
            self._approached.popitem(last=False)

    def is_listed(self, peer: str) -> bool:
        """May this full JID open a session with us, by ``accept_from`` or because we have offered one to its account ourselves?
        The answer to others must not tell that we are here."""
        jid = JID(peer)
        if not self._own.is_open:
            return False  # nor are we: our own key cannot be shown yet
        if jid.full != peer:
            return False  # another spelling than ours: his stanzas would come from one address, and ours go to another
        if not jid.resource or not jid.local:
            return False
        allowed = self._allowed
        if allowed == "anyone" or jid.bare == self._xmpp.boundjid.bare or jid.bare in self._approached:
            return True
        return self.is_contact(peer) if allowed == "roster" else jid.bare in allowed or jid.domain in allowed

    def is_contact(self, peer: str) -> bool:
        """Does this account see our presence, is it named in ``accept_from``, or is it our own?"""
        bare, roster, allowed = JID(peer).bare, self._xmpp.client_roster, self._allowed
        if bare == self._xmpp.boundjid.bare or (isinstance(allowed, frozenset) and bare in allowed):
            return True
        return roster.has_jid(bare) and roster[bare]["subscription"] in ("from", "both")

    def is_acquainted(self, peer: str) -> bool:
        """Is it, or has this account ever had encryption?"""
        return self.is_contact(peer) or self._store.seen(JID(peer).bare)
