"""Which resources of which peers are online, by the presence that came (RFC 6121 §4).

slixmpp's own roster forgets all of it when a connection is lost, even if the stream is resumed (XEP-0198). A message to
somebody who is online would then look like one to somebody who is offline.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from slixmpp import JID, Presence
from slixmpp.roster import RosterNode

from slixmpp_e2e.xmpp.namespaces import of_client

ARRIVAL_SECONDS = 3.0
"""Wait for presence after a login: it comes within a second or two. Until then nobody counts as offline."""
RESOURCES = 16
"""Resources kept for one account: twice as many as a message goes to."""
CONTACTS = 65_536
"""Contacts kept, once for each address of ours that they told: 13 bots with 5,000 each, at some 500 bytes 33 MB. The least
recently heard of goes first."""
STRANGERS = 512
"""Other accounts kept, who may send presence without being asked: they take no contact's place."""

_Online = OrderedDict[tuple[str, str], dict[str, int]]
_GONE = frozenset({"unavailable", "error"})


class PresenceCache:
    """The online resources of peers, by the account of ours that they told."""

    def __init__(self, clock: Callable[[], float], is_contact: Callable[[str], bool]) -> None:
        """``is_contact``: whether an account (bare) is one that we know. All are, to a component, which has no roster."""
        self._clock, self._is_contact = clock, is_contact
        self._contacts: _Online = OrderedDict()
        self._strangers: _Online = OrderedDict()
        self._arriving: dict[tuple[str, str], asyncio.Future[None]] = {}
        self._arrival_deadline = 0.0

    def reset(self) -> None:
        """Forget everything: a new stream begins, and presence is about to arrive."""
        self._contacts.clear()
        self._strangers.clear()
        self._arrival_deadline = self._clock() + ARRIVAL_SECONDS

    def load_roster(self, own_jid: str, roster: RosterNode) -> None:
        """Take over what slixmpp knows, on a stream that is up already."""
        for bare in roster:
            resources = {f"{bare}/{name}": _number(data.get("priority")) for name, data in roster[bare].resources.items()}
            if resources:
                self._contacts[own_jid, bare] = resources

    def update(self, own_jid: str, stanza: Presence) -> None:
        """Take in a presence stanza that came to ``own_jid`` (bare)."""
        peer: JID = stanza["from"]
        kind = stanza.xml.get("type")
        if not peer.resource or not (kind is None or kind in _GONE):
            return
        key = (own_jid, peer.bare)
        resources = self._contacts.pop(key, None) or self._strangers.pop(key, {})
        resources.pop(peer.full, None)
        if kind is None and len(resources) < RESOURCES:
            resources[peer.full] = _number(of_client(stanza.xml).findtext("{jabber:client}priority"))
        if resources:
            is_contact = self._is_contact(peer.bare)
            table, most = (self._contacts, CONTACTS) if is_contact else (self._strangers, STRANGERS)
            table[key] = resources
            if len(table) > most:
                table.popitem(last=False)
        if (future := self._arriving.pop(key, None)) is not None:
            future.set_result(None)

    async def online(self, own_jid: str, bare: str) -> list[str]:
        """Return the full JIDs of the peer's online resources, highest priority first; right after a login, wait for them."""
        key = (own_jid, bare)
        patience = self._arrival_deadline - self._clock()
        if key not in self._contacts and key not in self._strangers and patience > 0:
            future = self._arriving.setdefault(key, asyncio.get_running_loop().create_future())
            await asyncio.wait({future}, timeout=patience)
            self._arriving.pop(key, None)
        resources = self._contacts.get(key) or self._strangers.get(key, {})
        return sorted(resources, key=lambda jid: -resources[jid])


def _number(priority: object) -> int:
    try:
        return int(str(priority))
    except ValueError:
        return 0
