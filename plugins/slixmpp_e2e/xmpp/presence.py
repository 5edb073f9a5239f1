"""Which resources of which peers are online, by the presence that came (RFC 6121 §4).

slixmpp's own roster forgets all of it when a connection is lost, even if the stream is resumed (XEP-0198). A message to
somebody who is online would then look like one to somebody who is offline.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from sys import getsizeof

from slixmpp import JID, Presence
from slixmpp.roster import RosterNode

from slixmpp_e2e.bounded import keep_newest
from slixmpp_e2e.xmpp.namespaces import of_client

ARRIVAL_SECONDS = 3.0
"""Wait for presence after a login: it comes within a second or two. Until then nobody counts as offline."""
RESOURCES = 16
"""Resources kept for one account: twice as many as a message goes to."""
PLACES = 65_536
"""Resources kept in all: 13 bots with 5,000 contacts each, at some 500 bytes 33 MB. Of strangers the least recently heard of
goes first, then of contacts. ``python -m tests.evidence.presence`` measures what they take at most."""
PLACES_OF_STRANGERS = 1024
"""Resources kept of accounts that may send presence to a client without being asked, and to which we have not written."""
ADDRESS_BYTES = 384
"""Bytes in memory that two addresses, ours and theirs, have in one place: few have as many. Longer ones take more places."""
WRITTEN = 32_768
"""Accounts remembered to which we have written, once for each address of ours: half of the places. The oldest goes first. As
many are remembered whose presence a component has asked for."""

_Pair = tuple[str, str]
"""(account of ours, account of the peer)"""
_GONE = frozenset({"unavailable", "error"})
_NOT_THERE = frozenset({*_GONE, "unsubscribed"})
"""How a server answers a probe for an account of which no resource is online, or whose presence we may not see."""


class _Table:
    """Pairs with their online resources, the least recently put first, and the places that they take."""

    def __init__(self) -> None:
        self.pairs: OrderedDict[_Pair, dict[str, int]] = OrderedDict()
        self.places = 0

    def put(self, pair: _Pair, resources: dict[str, int]) -> None:
        """Put a pair that is not there."""
        self.pairs[pair] = resources
        self.places += _places(pair, resources)

    def take(self, pair: _Pair) -> dict[str, int]:
        """Remove a pair; return its resources, none if it is not there."""
        resources = self.pairs.pop(pair, {})
        self.places -= _places(pair, resources)
        return resources

    def drop_oldest(self) -> None:
        self.take(next(iter(self.pairs)))

    def clear(self) -> None:
        self.pairs.clear()
        self.places = 0


class PresenceCache:
    """The online resources of peers, by the account of ours that they told.

    What is kept is bounded by the number of resources. Contacts, and those to whom we have written, keep their places before
    strangers.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        is_contact: Callable[[str], bool],
        places_of_strangers: int = PLACES_OF_STRANGERS,
        probe: Callable[[str, str], None] | None = None,
    ) -> None:
        """``is_contact``: whether an account (bare) is one that we know by the roster. A component has none, so there
        ``places_of_strangers`` are all: its users are strangers until it writes to them. ``probe`` asks for the presence of
        an account by one of ours: no server does that for a component when it starts (RFC 6121 §4.3)."""
        self._clock, self._is_contact, self._places_of_strangers = clock, is_contact, places_of_strangers
        self._probe = probe
        self._probed: dict[_Pair, float] = {}
        """Until when an answer is waited for."""
        self._contacts, self._strangers = _Table(), _Table()
        self._written: dict[_Pair, None] = {}
        self._arriving: dict[_Pair, asyncio.Future[None]] = {}
        self._arrival_deadline = 0.0

    def reset(self) -> None:
        """Forget who is online: a new stream begins, and presence is about to arrive."""
        self._contacts.clear()
        self._strangers.clear()
        self._probed.clear()
        self._arrival_deadline = self._clock() + ARRIVAL_SECONDS

    def load_roster(self, own_jid: str, roster: RosterNode) -> None:
        """Take over what slixmpp knows, on a stream that is up already."""
        for bare in roster:
            found = list(roster[bare].resources.items())[:RESOURCES]
            if found:
                self._keep((own_jid, bare), {f"{bare}/{name}": _number(data.get("priority")) for name, data in found})

    def note_written_to(self, own_jid: str, bare: str) -> None:
        """We write to a peer, from this account of ours: they are no stranger any more."""
        pair = (own_jid, bare)
        self._written.pop(pair, None)
        keep_newest(self._written, pair, None, WRITTEN)
        if resources := self._strangers.take(pair):
            self._contacts.put(pair, resources)

    def is_contact(self, own_jid: str, bare: str) -> bool:
        """Return whether a peer is a contact who is online, or one to whom we have written."""
        return (own_jid, bare) in self._contacts.pairs

    def is_away(self, own_jid: str, full: str) -> bool:
        """Return whether a device is one of somebody in the roster, and not online as far as we know."""
        account, _, _ = full.partition("/")
        return self._is_contact(account) and full not in self.known_online(own_jid, account)

    def update(self, own_jid: str, stanza: Presence) -> bool:
        """Take in a presence stanza that came to ``own_jid`` (bare). Return True if it is nobody else's business.

        So is the answer to a probe of ours that nobody is there: the program has not asked. It might take ``unsubscribed`` for
        a decision of the peer, and end a friendship.
        """
        peer: JID = stanza["from"]
        kind = stanza.xml.get("type")
        pair = (own_jid, peer.bare)
        if not peer.resource and kind in _NOT_THERE and self._probed.get(pair, 0) > self._clock():
            self._probed[pair] = 0
            self._arrived(pair)
            return True
        if not peer.resource or not (kind is None or kind in _GONE):
            return False
        resources = self._contacts.take(pair) or self._strangers.take(pair)
        resources.pop(peer.full, None)
        if kind is None and len(resources) < RESOURCES:
            resources[peer.full] = _number(of_client(stanza.xml).findtext("{jabber:client}priority"))
        if resources:
            self._keep(pair, resources)
        self._arrived(pair)
        return False

    def _arrived(self, pair: _Pair) -> None:
        if (future := self._arriving.pop(pair, None)) is not None:
            future.set_result(None)

    def _keep(self, pair: _Pair, resources: dict[str, int]) -> None:
        contacts, strangers = self._contacts, self._strangers
        table = contacts if pair in self._written or self._is_contact(pair[1]) else strangers
        table.put(pair, resources)
        while strangers.pairs and (strangers.places > self._places_of_strangers or contacts.places + strangers.places > PLACES):
            strangers.drop_oldest()
        while contacts.places > PLACES:
            contacts.drop_oldest()

    async def online(self, own_jid: str, bare: str) -> dict[str, int]:
        """Return the peer's online resources (full JIDs) and their priorities, highest first; right after a login, wait for
        them. What is for the bare JID goes to none with a negative one (RFC 6121 §8.5.2.1.1).

        A component asks for them, once on a stream: from then on the peer's server tells what changes.
        """
        pair = (own_jid, bare)
        unknown = pair not in self._contacts.pairs and pair not in self._strangers.pairs
        if unknown and self._probe is not None and pair not in self._probed:
            keep_newest(self._probed, pair, self._clock() + ARRIVAL_SECONDS, WRITTEN)
            self._probe(*pair)
        patience = max(self._arrival_deadline, self._probed.get(pair, 0)) - self._clock()
        if unknown and patience > 0:
            future = self._arriving.setdefault(pair, asyncio.get_running_loop().create_future())
            await asyncio.wait({future}, timeout=patience)
            self._arriving.pop(pair, None)
        return self.known_online(own_jid, bare)

    def known_online(self, own_jid: str, bare: str) -> dict[str, int]:
        """Return those that are known by now."""
        pair = (own_jid, bare)
        resources = self._contacts.pairs.get(pair) or self._strangers.pairs.get(pair, {})
        return dict(sorted(resources.items(), key=lambda item: -item[1]))


def _places(pair: _Pair, resources: dict[str, int]) -> int:
    return sum(1 + (getsizeof(pair[0]) + getsizeof(full)) // ADDRESS_BYTES for full in resources)


def _number(priority: object) -> int:
    """Return a priority as a number (RFC 6121 §4.7.2.3); 0 if it is none."""
    try:
        return max(-128, min(int(str(priority)), 127))
    except ValueError:
        return 0
