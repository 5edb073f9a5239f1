"""Who may open sessions with us. Everyone else gets the server's own error for a resource that does not exist."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from slixmpp import JID
from slixmpp.basexmpp import BaseXMPP

from slixmpp_e2e.jids import bare

OFFERED = 4096
"""Accounts kept to which we have offered sessions, and that may offer some to us in turn. The oldest goes first."""


class AllowList:
    """Decides by the setting ``accept_from``, the roster, and the accounts to which we have offered sessions."""

    def __init__(
        self, xmpp: BaseXMPP, allowed: str | frozenset[str], has_used_e2e: Callable[[str], bool], is_ready: Callable[[], bool]
    ) -> None:
        """``allowed``: ``roster``, ``anyone``, or bare JIDs and domains. ``is_ready``: True once our own key is loaded."""
        self._xmpp, self._allowed = xmpp, allowed
        self._has_used_e2e, self._is_ready = has_used_e2e, is_ready
        self._offered: OrderedDict[tuple[str, str], None] = OrderedDict()
        """(own account, account)"""
        self.has_roster = False
        """True once the roster of this stream has come. Simple bots never ask for it."""

    def allow_sessions_from(self, allowed: str | frozenset[str]) -> None:
        """Replace ``accept_from``. Accounts to which we have offered sessions count again from the next offer."""
        self._allowed = allowed
        self._offered.clear()

    @property
    def needs_roster(self) -> bool:
        """True if the roster decides."""
        return self._allowed == "roster"

    @property
    def accepts_anybody(self) -> bool:
        """True if there is anybody who may open a session without having been offered one."""
        return self._allowed != frozenset()

    def note_offer(self, account: str, own_account: str) -> None:
        """Allow an account to which one of ours offers a session: its answer may need one of its own, and offers may cross."""
        self._offered[own_account, account] = None
        self._offered.move_to_end((own_account, account))
        if len(self._offered) > OFFERED:
            self._offered.popitem(last=False)

    def is_allowed(self, peer: str, own_jid: str) -> bool:
        """Return whether this full JID may open a session with a JID of ours. Costs no look-up in the store."""
        jid = JID(peer)
        if not self._is_ready():
            return False  # we are not there ourselves yet: our key cannot be shown
        if jid.full != peer or JID(own_jid).full != own_jid:
            # another spelling than ours: stanzas would come from one address and go to another, and of a component's address
            # nothing would be known that the user has set up
            return False
        if not jid.resource or not jid.local:
            return False
        allowed = self._allowed
        # Also allowed: any account that our account has offered a session to since start, so that it can answer.
        if allowed == "anyone" or jid.bare == self._xmpp.boundjid.bare or (bare(own_jid), jid.bare) in self._offered:
            return True
        return self.is_contact(peer) if allowed == "roster" else jid.bare in allowed or jid.domain in allowed

    def is_contact(self, peer: str) -> bool:
        """Return whether the account sees our presence, is named in ``accept_from``, or is our own. Costs no look-up."""
        account, roster, allowed = JID(peer).bare, self._xmpp.client_roster, self._allowed
        if account == self._xmpp.boundjid.bare or (isinstance(allowed, frozenset) and account in allowed):
            return True
        return roster.has_jid(account) and roster[account]["subscription"] in ("from", "both")

    def has_place(self, peer: str) -> bool:
        """Return whether it has a place before strangers: a contact, or an account of a domain that ``accept_from`` names.
        Costs no look-up."""
        return self.is_contact(peer) or (isinstance(self._allowed, frozenset) and JID(peer).domain in self._allowed)

    def is_in_roster(self, account: str) -> bool:
        """Return whether the account is subscribed to us, or we to them; True if that is not known. Costs no look-up."""
        return not self.has_roster or self.is_subscribed(account)

    def is_subscribed(self, account: str) -> bool:
        """Return whether the account is a contact, or one to whose presence we are subscribed. Costs no look-up."""
        roster = self._xmpp.client_roster
        if self.is_contact(account):
            return True
        return roster.has_jid(account) and roster[account]["subscription"] == "to"

    def is_known(self, peer: str) -> bool:
        """Return whether it has a place before strangers, or has ever used encryption with us."""
        return self.has_place(peer) or self._has_used_e2e(JID(peer).bare)
