"""The accounts, their sessions and their subscriptions. Holds state only, and sends nothing."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping

from slixmpp import JID, InvalidJID

from .session import ClientSession


class Subscription(enum.Enum):
    """The state of a roster item (RFC 6121 §2.1.2.5), from the roster owner's side."""

    NONE = "none"
    TO = "to"
    FROM = "from"
    BOTH = "both"

    @property
    def watches(self) -> bool:
        """Return whether the owner sees the contact's presence."""
        return self in (Subscription.TO, Subscription.BOTH)

    @property
    def watched(self) -> bool:
        """Return whether the contact sees the owner's presence."""
        return self in (Subscription.FROM, Subscription.BOTH)


_BY_FLAGS = {(item.watches, item.watched): item for item in Subscription}


class Directory:
    """The accounts of one domain, with their sessions and subscriptions. Addresses are normalised strings."""

    def __init__(self, domain: str, accounts: Mapping[str, str] | None, *, mutual: bool) -> None:
        self.domain = str(JID(domain))
        self._passwords = None if accounts is None else {self._bare(user): password for user, password in accounts.items()}
        self._mutual = mutual
        self._accounts: dict[str, dict[str, ClientSession]] = {self._bare(user): {} for user in accounts or ()}
        self._watches: dict[tuple[str, str], bool] = {}

    @property
    def open(self) -> bool:
        """Return whether anybody may log in with any password."""
        return self._passwords is None

    def _bare(self, user: str) -> str:
        return JID(f"{user}@{self.domain}").bare

    def password(self, user: str) -> str | None:
        """Return the password of an account; None without such an account."""
        try:
            return (self._passwords or {}).get(self._bare(user))
        except InvalidJID:
            return None

    def admit(self, user: str) -> str:
        """Return the bare JID of a user who has logged in. An open server adds the account."""
        bare = self._bare(user)
        self._accounts.setdefault(bare, {})
        return bare

    def exists(self, bare: str) -> bool:
        return bare in self._accounts

    def add(self, session: ClientSession) -> None:
        self._accounts[session.bare][session.jid] = session

    def remove(self, session: ClientSession) -> None:
        self._accounts[session.bare].pop(session.jid, None)

    def session(self, jid: str) -> ClientSession | None:
        """Return the session of a full JID, available or not."""
        return self._accounts.get(jid.partition("/")[0], {}).get(jid)

    def sessions(self, bare: str | None = None) -> list[ClientSession]:
        """Return all sessions of one account, or of all accounts."""
        if bare is not None:
            return list(self._accounts.get(bare, {}).values())
        return [session for sessions in self._accounts.values() for session in sessions.values()]

    def available(self, bare: str) -> list[ClientSession]:
        """Return the sessions of an account that have sent presence."""
        return [session for session in self.sessions(bare) if session.presence is not None]

    def watches(self, watcher: str, contact: str) -> bool:
        """Return whether ``watcher`` sees the presence of ``contact`` (bare JIDs). Accounts see themselves."""
        mutual = self._mutual and self.is_ours(watcher) and self.is_ours(contact)
        return watcher == contact or self._watches.get((watcher, contact), mutual)

    def is_ours(self, bare: str) -> bool:
        """Return whether the address is in our domain, existing or not."""
        return bare.rpartition("@")[2] == self.domain

    def watchers_abroad(self, contact: str) -> list[str]:
        """Return the bare JIDs in other domains that see the presence of ``contact``."""
        pairs = self._watches.items()
        return [watcher for (watcher, other), granted in pairs if granted and other == contact and not self.is_ours(watcher)]

    def watched_abroad(self, watcher: str) -> list[str]:
        """Return the bare JIDs in other domains whose presence ``watcher`` sees."""
        pairs = self._watches.items()
        return [contact for (other, contact), granted in pairs if granted and other == watcher and not self.is_ours(contact)]

    def watch(self, watcher: str, contact: str, granted: bool) -> None:
        """Set one direction of a subscription."""
        self._watches[(watcher, contact)] = granted

    def subscription(self, owner: str, contact: str) -> Subscription:
        """Return the state of ``contact`` in the roster of ``owner``."""
        return _BY_FLAGS[self.watches(owner, contact), self.watches(contact, owner)]

    def contacts(self, owner: str) -> Iterator[tuple[str, Subscription]]:
        """Yield the roster of ``owner``: all contacts with a subscription in at least one direction."""
        for contact in dict.fromkeys([*self._accounts, *self.watched_abroad(owner), *self.watchers_abroad(owner)]):
            state = self.subscription(owner, contact)
            if contact != owner and state is not Subscription.NONE:
                yield contact, state
