"""What was sent in a session that has ended, and was not acknowledged: the next session with the same keys sends it again.

The core does that, whichever session it is; here it is known what waits for that, with whom, and until when.
"""

from __future__ import annotations

from collections.abc import Callable

from slixmpp_e2e.jids import bare
from slixmpp_e2e.messages.queued import Delivery, QueuedStanza
from slixmpp_e2e.sessions.registry import Target


class Unacknowledged:
    """Stanzas that wait for the next session, by the target with which that is sought."""

    def __init__(self, on_none: Callable[[Target], None]) -> None:
        """``on_none`` is told of a target for which nothing waits any more."""
        self._on_none = on_none
        self._by_place: dict[Target, dict[QueuedStanza, None]] = {}

    def __contains__(self, place: Target) -> bool:
        return place in self._by_place

    def __bool__(self) -> bool:
        return bool(self._by_place)

    def add(self, item: QueuedStanza, target: Target, place: Target) -> None:
        """What was sent to ``target`` waits for the next session with ``place``."""
        self.forget(item, target)
        item.left[target] = place
        self._by_place.setdefault(place, {})[item] = None

    def forget(self, item: QueuedStanza, target: Target) -> None:
        """It waits no more."""
        if (place := item.left.pop(target, None)) is None or place in item.left.values():
            return
        left = self._by_place[place]
        del left[item]
        if not left:
            del self._by_place[place]
            self._on_none(place)

    def give_up(self, item: QueuedStanza, target: Target) -> None:
        """Do not send it again."""
        item.delivery[target] = Delivery.FAILED
        item.sent[target].give_up()
        self.forget(item, target)

    def give_up_all(self) -> list[QueuedStanza]:
        """Send nothing again; return what has waited."""
        return [item for place in list(self._by_place) for item in self.give_up_at(place)]

    def give_up_at(self, place: Target) -> list[QueuedStanza]:
        """Send nothing again in the next session with ``place``; return what has waited for it."""
        items = list(self._by_place.get(place, ()))
        for item in items:
            for target in [target for target, there in item.left.items() if there == place]:
                self.give_up(item, target)
        return items

    def places(self, account: str) -> list[Target]:
        """Return the targets of an account with which the next session is sought."""
        return [place for place in self._by_place if bare(place[1]) == account]

    def move(self, own_jid: str | None) -> list[Target]:
        """We have a new full JID, or none to move to (a component). Return with whom the next sessions are sought."""
        for ours, peer in [place for place in self._by_place if own_jid not in (None, place[0])]:
            place = (own_jid or ours, peer)
            left = self._by_place.pop((ours, peer))
            for item in left:
                item.left.update({target: place for target, old in item.left.items() if old == (ours, peer)})
            self._by_place.setdefault(place, {}).update(left)
        return list(self._by_place)
