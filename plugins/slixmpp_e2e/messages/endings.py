"""What the end of a session means for what was sent in it, and what waits for it: the next one, another device, or failure."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from slixmpp_e2e.errors import NotSent, end_of_session, is_for_want_of_path, is_passing, may_come_later
from slixmpp_e2e.jids import bare
from slixmpp_e2e.messages.queue_limits import QueueLimits
from slixmpp_e2e.messages.queued import Delivery, QueuedStanza, Senders
from slixmpp_e2e.messages.route_search import RouteSearch
from slixmpp_e2e.messages.routing import RouteCache
from slixmpp_e2e.messages.target_queues import TargetQueues
from slixmpp_e2e.messages.unacknowledged import Unacknowledged
from slixmpp_e2e.sessions.driver import SessionDriver
from slixmpp_e2e.sessions.registry import SessionRegistry, Target
from xmpp_e2e.errors import Code, E2EError


class Sent(NamedTuple):
    """What the core gives back with an acknowledgement."""

    item: QueuedStanza
    target: Target


class SessionEndings:
    """Decides, for each stanza of a session that has ended or could not be had."""

    def __init__(
        self,
        routes: RouteCache,
        registry: SessionRegistry,
        limits: QueueLimits,
        search: RouteSearch,
        left: Unacknowledged,
        queues: TargetQueues,
        senders: Senders,
        settle: Callable[[QueuedStanza, E2EError | None], None],
    ) -> None:
        """``settle`` lets go of a stanza, and tells its sender, once it is decided at all targets."""
        self._routes, self._registry, self._limits, self._search = routes, registry, limits, search
        self._left, self._queues, self._senders, self._settle = left, queues, senders, settle
        self.in_question: set[SessionDriver] = set()
        """Sessions that wait until their peer's key is proved."""

    def on_end(self, driver: SessionDriver, error: E2EError | None, *, opened: bool) -> None:
        """A session has ended, with this error or by farewells; ``opened``: it was open before."""
        target = driver.target
        if not opened:
            self._routes.mark_unreachable(target)
        failure = end_of_session(driver.peer, error)
        hellos_checked = driver.has_checked_hellos
        for_path = driver not in self.in_question and is_for_want_of_path(failure, hellos_checked=hellos_checked)
        self.in_question.discard(driver)
        successor = self._registry.successor(driver)
        place = successor.target if successor is not None else target
        given_up = []
        for sent in driver.core.unacknowledged:
            if isinstance(sent.tag, Sent):
                item = sent.tag.item
                # who gives up twice on what was sent has decided
                gives_up = opened and sent.tag.target not in item.left
                may_pass = is_passing(error, opened=gives_up, hellos_checked=hellos_checked)
                reason: E2EError | None = failure
                if may_pass:
                    reason = self._leave(item, sent.tag.target, place)
                if reason is not None:
                    item.error = reason
                    self._left.give_up(*sent.tag)
                    given_up.append((item, reason))
        if successor is not None:  # idle, it would not ask about what is left
            successor.request_acknowledgement()
        for item, reason in given_up:
            self._settle(item, reason)
        waiting = self._queues.waiting.get(target)
        is_over = not opened and for_path and failure.code is not Code.PEER_BUSY
        falls_back = is_over and waiting and self._senders.may_fall_back(waiting[0])  # and waits for no other
        if falls_back or (self._registry.best_with(target) is None and not (opened and is_passing(error, opened=True))):
            self.fail(target, failure, for_path=for_path)

    def _leave(self, item: QueuedStanza, target: Target, place: Target) -> NotSent | None:
        """Let the next session with ``place`` send again what was sent in one that has ended, and not acknowledged. Return why
        not, if there is no room for it to wait."""
        try:
            if item.deadline is None:
                item.size, item.shares, item.since = item.sent[target].size, self._limits.shares(item.to), 0.0
                self._limits.begin(item)
        except NotSent as full:
            return full
        self._left.add(item, target, place)
        self._queues.start(place)
        return None

    def fail(self, target: Target, error: E2EError, *, for_path: bool | None = None) -> None:
        """There is no session with this target any more. What waits for it, and was sent nowhere, goes to another device of the
        account to which it is addressed, if there is one by now; else it fails. ``for_path``: nobody doubts a key; None if no
        session was there."""
        self._routes.forget_target(target)
        if for_path is None:
            for_path = is_for_want_of_path(error, hellos_checked=False)
        again = for_path and may_come_later(error)
        nowhere = []
        for item in self._queues.waiting.pop(target, ()):
            if for_path and self._may_come_back(item, target):
                del item.delivery[target]
                item.has_sought = True
                self._search.find(item)
                continue
            if again and self._is_tried_again(item, target):
                item.error = error
                continue
            item.delivery[target], item.error = Delivery.FAILED, error
            item.is_doubted |= not for_path
            if item.sent or item.is_anywhere(Delivery.QUEUED, Delivery.PLAINTEXT) or item.to != bare(item.to):
                nowhere.append(item)
            else:
                self._search.find(item)
        for item in nowhere:
            self._settle(item, error)

    def _is_tried_again(self, item: QueuedStanza, target: Target) -> bool:
        """Let a stanza wait on, within its time, for a device that has said nothing or was cut off, or for another one of the
        account that is there by now. Return False if it is on its way elsewhere, or may leave in plaintext."""
        if item.sent or (item.may_fall_back and self._senders.may_fall_back(item)):
            return False
        if any(state is not Delivery.FAILED for there, state in item.delivery.items() if there != target):
            return False
        if item.to == target[1]:
            self._queues.put(item, target)
        else:
            if item.is_doubted:
                del item.delivery[target]
            else:
                item.delivery.clear()  # those that were silent before may have woken up
            self._search.find(item)
        return True

    def _may_come_back(self, item: QueuedStanza, target: Target) -> bool:
        """Return whether a stanza waits for a contact's device to which it is addressed, and which is not online now: their
        server has answered for it, or nobody."""
        may_wait = item.to == target[1] and not item.sent and self._search.may_wait(item)
        return may_wait and self._routes.is_away(target) and not self._senders.may_fall_back(item)
