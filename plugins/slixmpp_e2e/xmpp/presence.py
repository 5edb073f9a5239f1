"""Which resources of which peers are online, by the presence that came (RFC 6121 §4).

slixmpp's own roster forgets all of it when a connection is lost, although a stream that is resumed (XEP-0198) goes on where it
was: a message to somebody who is online would then go out as one to somebody who is not.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from slixmpp import JID, Presence
from slixmpp.roster import RosterNode

from slixmpp_e2e.xmpp.namespaces import of_client

ARRIVAL_SECONDS = 3.0
"""After a login the presence of contacts comes within a second or two; until then nobody is taken to be offline."""
RESOURCES = 16
"""Resources of one account that are kept: twice as many as a message goes to."""
ACCOUNTS = 20_000
"""Accounts that are kept; a large bot's roster. The one that was heard of longest ago goes first."""

_GONE = frozenset({"unavailable", "error"})


class Presences:
    """The online resources of peers, each account's by what they told which account of ours."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._known: OrderedDict[tuple[str, str], dict[str, int]] = OrderedDict()
        self._waiting: dict[tuple[str, str], asyncio.Future[None]] = {}
        self._settled_at = 0.0

    def begin(self) -> None:
        """A new stream: nothing is known yet, and everything is about to come."""
        self._known.clear()
        self._settled_at = self._loop.time() + ARRIVAL_SECONDS

    def adopt(self, ours: str, roster: RosterNode) -> None:
        """The stream is up already: what slixmpp knows is all there is."""
        for bare in roster:
            resources = {f"{bare}/{name}": _number(data.get("priority")) for name, data in roster[bare].resources.items()}
            if resources:
                self._known[ours, bare] = resources

    def notice(self, ours: str, stanza: Presence) -> None:
        """A presence stanza came to us (a bare JID)."""
        peer: JID = stanza["from"]
        kind = stanza.xml.get("type")
        if not peer.resource or not (kind is None or kind in _GONE):
            return
        key = (ours, peer.bare)
        resources = self._known.pop(key, {})
        resources.pop(peer.full, None)
        if kind is None and len(resources) < RESOURCES:
            resources[peer.full] = _number(of_client(stanza.xml).findtext("{jabber:client}priority"))
        if resources:
            self._known[key] = resources
            if len(self._known) > ACCOUNTS:
                self._known.popitem(last=False)
        if (future := self._waiting.pop(key, None)) is not None:
            future.set_result(None)

    async def online(self, ours: str, bare: str) -> list[str]:
        """The full JIDs of the peer's resources, best priority first; right after a login this waits for them."""
        key = (ours, bare)
        patience = self._settled_at - self._loop.time()
        if key not in self._known and patience > 0:
            future = self._waiting.setdefault(key, self._loop.create_future())
            await asyncio.wait({future}, timeout=patience)
            self._waiting.pop(key, None)
        resources = self._known.get(key, {})
        return sorted(resources, key=lambda jid: -resources[jid])


def _number(priority: object) -> int:
    try:
        return int(str(priority))
    except ValueError:
        return 0
