"""What becomes of a stanza that goes inside: it waits for a route, for a session, and for the peer's acknowledgement.

In order, bounded, with a deadline, and never in plaintext. For each stanza and target there is one delivery state, and nothing
else decides what becomes of the stanza.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Iterable

from slixmpp import Iq, Message
from slixmpp.xmlstream.stanzabase import StanzaBase

from slixmpp_e2e.errors import NotSent, NotSentReason, PeerWithoutE2E, RefusedByPolicy
from slixmpp_e2e.jids import bare
from slixmpp_e2e.messages.endings import Sent, SessionEndings
from slixmpp_e2e.messages.iq_tracking import IqTracker
from slixmpp_e2e.messages.outstanding import Outstanding
from slixmpp_e2e.messages.owed import EndedSession
from slixmpp_e2e.messages.queue_limits import QueueLimits
from slixmpp_e2e.messages.queued import Delivery, QueuedStanza, Senders
from slixmpp_e2e.messages.route_search import RouteSearch
from slixmpp_e2e.messages.routing import Route, RouteCache
from slixmpp_e2e.messages.scope import SERVERS_SAY
from slixmpp_e2e.messages.target_queues import TargetQueues
from slixmpp_e2e.messages.unacknowledged import Unacknowledged
from slixmpp_e2e.sessions.driver import DriverEvent, SessionDiscarded, SessionDriver
from slixmpp_e2e.sessions.registry import SessionRegistry, Target
from slixmpp_e2e.xmpp import outcomes
from xmpp_e2e import events
from xmpp_e2e.errors import E2EError, InvalidStanza, LocalError
from xmpp_e2e.stream import writer

_SERVERS_SAY = "it holds what servers alone say (a carbon, an answer of an archive, an event of a node): a peer drops that here"
_REQUEST_SESSION_ENDED = "the session in which the request came has ended"


class SendQueue:
    """Everything of one client that goes inside and has not met its end."""

    def __init__(
        self,
        loop: Callable[[], asyncio.AbstractEventLoop],
        routes: RouteCache,
        registry: SessionRegistry,
        iqs: IqTracker,
        senders: Senders,
        is_contact: Callable[[str], bool],
        *,
        seconds: float,
        max_bytes: int,
        patience: float,
        may_open: Callable[[str], bool],
    ) -> None:
        """``loop`` returns the event loop of the moment.

        ``is_contact`` says whether an account has a place before strangers: not by what it can bring about itself.
        ``seconds`` and ``max_bytes``: how long a stanza, and how much for one account, may wait. ``patience``: how long for a
        peer who is offline. ``may_open``: whether the policy lets us have sessions with an account.
        """
        self._routes, self._registry, self._iqs, self._senders = routes, registry, iqs, senders
        self._seconds = seconds
        self._limits = QueueLimits(loop, is_contact, self._expire, seconds=seconds, max_bytes=max_bytes)
        self.outstanding = Outstanding(loop)
        self._search = RouteSearch(loop, routes, self._dispatch, self._settle, self._open_sessions, patience, senders.waits)
        self._left = Unacknowledged(on_none=lambda place: self._queues.tell_change(place))
        self._queues = TargetQueues(
            loop, self._ensure, registry, self._left, self._send_queued, lambda *why: self._endings.fail(*why)
        )
        self._endings = SessionEndings(
            routes, registry, self._limits, self._search, self._left, self._queues, senders, self._settle
        )
        self._may_open = may_open

    # --- the way in ------------------------------------------------------------------------------------------------

    def send(self, stanza: StanzaBase, own_jid: str, to: str, route: Route | None) -> None:
        """Send a stanza through an open session, or keep a copy until it can be sent. If it never can, its sender is told.

        ``route`` is the way to ``to``, or None if that must be found first.
        """
        only = route.targets[0] if route is not None and len(route.targets) == 1 and not route.in_plaintext else None
        if only is not None and self._send_now(stanza, own_jid, to, only):
            return
        item = self._enqueue(stanza, own_jid, to)
        if item is not None:
            self._dispatch(item, route) if route is not None else self._search.find(item)

    def has_open_session(self, route: Route) -> bool:
        """Return whether the route is an open session, with one device, for which nothing waits."""
        if len(route.targets) != 1 or route.in_plaintext:
            return False
        return not self._queues.waiting.get(route.targets[0]) and self._registry.open_with(route.targets[0]) is not None

    def reply(self, stanza: StanzaBase, session: SessionDriver | EndedSession) -> None:
        """Send an answer through the session in which its request came, or if that has ended the next one under the same key:
        behind all that waits there, and no other way."""
        own_jid, peer = target = session.target
        best = self._registry.open_with(target)
        is_open = isinstance(session, SessionDriver) and session.is_open
        if isinstance(session, SessionDriver) and is_open and self._registry.is_outranked(session):
            outranked = f"while another session with {peer} is open, under another key, nothing leaves through this one"
            self._senders.failed(stanza, NotSent(outranked, NotSentReason.SESSION_OUTRANKED))
        elif not is_open and (best.key != session.key if best is not None else isinstance(session, SessionDriver)):
            self._senders.failed(stanza, NotSent(_REQUEST_SESSION_ENDED, NotSentReason.SESSION_CLOSED))
        elif not self._send_now(stanza, own_jid, peer, target) and (item := self._enqueue(stanza, own_jid, peer)) is not None:
            item.session = session
            self._queue_for(item, [target])

    def _send_now(self, stanza: StanzaBase, own_jid: str, to: str, target: Target) -> bool:
        """Send through an open session for which nothing waits, which is the common case. Return whether it is dealt with."""
        if self._queues.waiting.get(target) or (driver := self._registry.open_with(target)) is None:
            return False
        item = QueuedStanza(stanza, own_jid, to)
        account = to.partition("/")[0]  # as bare() says: written out, as it is done for each stanza
        self.outstanding.begin(account)  # a handler of what follows may bring its end about
        try:
            if self._send_through(driver, item):
                item.data = item.sent[target].data
                return True
        except LocalError as error:
            self._end(item)
            self._senders.failed(stanza, error)
            return True
        self.outstanding.end(account)
        return False

    def _send_through(self, driver: SessionDriver, item: QueuedStanza) -> bool:
        """Send a stanza through a session. False if it has no room now; LocalError."""
        target = driver.target
        if isinstance(item.stanza, Message) and any(child.tag in SERVERS_SAY for child in item.stanza.xml):
            raise InvalidStanza(_SERVERS_SAY)
        sent = driver.send(item.stanza.xml, Sent(item, target))
        if sent is None:
            return False
        if not item.outcome.is_taken:  # it has not waited
            item.outcome = outcomes.take(item.stanza)
        item.sent[target], item.delivery[target] = sent, Delivery.SENT
        if isinstance(item.stanza, Iq):
            self._iqs.bind(item.stanza, driver)
        self._senders.sent(item.stanza, driver)
        return True

    # --- routes and sessions ---------------------------------------------------------------------------------------

    def _dispatch(self, item: QueuedStanza, route: Route) -> None:
        for device in [each for each in route.in_plaintext if (item.own_jid, each) not in item.delivery]:
            item.delivery[item.own_jid, device] = Delivery.PLAINTEXT
            self._senders.copy_in_plaintext(item.stanza, device)
        item.waits_until_open = route.opportunistic
        untried = [target for target in route.targets if target not in item.delivery]
        if untried:
            self._queue_for(item, self._routes.reachable(untried) if len(untried) > 1 else untried)
        elif item.error is not None or item.has_sought:  # by itself, a session that fails never falls back to plaintext
            item.error = item.error or PeerWithoutE2E(f"{item.to} had encryption when it was sent, and has none now")
            self._settle(item, item.error)
        else:
            self._end(item)
            self._senders.plaintext(item.stanza)

    def _queue_for(self, item: QueuedStanza, targets: Iterable[Target]) -> None:
        for target in targets:
            self._queues.put(item, target)

    def _send_queued(self, item: QueuedStanza, driver: SessionDriver) -> bool:
        """Send a queued stanza through a session that takes stanzas; return False if it has no room now. What may yet leave in
        plaintext does not leave before the session is open: it could arrive twice."""
        if item.waits_until_open and not driver.is_open:
            return False
        failure: E2EError | None = None
        try:
            if item.session is not None and item.session.key != driver.key:
                raise NotSent(_REQUEST_SESSION_ENDED, NotSentReason.SESSION_CLOSED)
            if not self._send_through(driver, item):
                return False
        except (LocalError, NotSent) as error:
            item.delivery[driver.target], failure = Delivery.FAILED, error
        self._settle(item, failure)
        return True

    # --- sessions come and go --------------------------------------------------------------------------------------

    def on_session_event(self, driver: SessionDriver, event: DriverEvent) -> None:
        """Go on where a session has opened or ended, or the peer has acknowledged. Comes after the registry has heard of it."""
        match event:
            case events.StanzasAcknowledged(stanzas):
                for each in stanzas:
                    if isinstance(each.tag, Sent):
                        self._on_acknowledged(each.tag.item, each.tag.target, driver)
                return
            case events.VerificationRequired():
                self._endings.in_question.add(driver)
                return
            case events.SessionOpened():
                self._endings.in_question.discard(driver)
                self._routes.forget_others(driver.target)
            case events.SessionClosed() | events.SessionFailed():
                self._endings.on_end(driver, event.error, opened=isinstance(event, events.SessionClosed))
            case SessionDiscarded():
                pass  # the peer's own offer takes its place
            case _:
                return
        self._queues.tell_change(driver.target)

    def _on_acknowledged(self, item: QueuedStanza, target: Target, driver: SessionDriver) -> None:
        item.delivery[target] = Delivery.DELIVERED
        item.acknowledged_by.append(driver)
        self._queues.note_progress(driver.target)
        self._left.forget(item, target)
        self._settle(item, None)

    # --- the client's stream, and presence -------------------------------------------------------------------------

    def pause(self) -> list[StanzaBase]:
        """There is no stream. Stop everything, and return the stanzas that have gone nowhere yet, in order."""
        waiting = self._waiting()
        self._search.stop()
        self._queues.stop()
        self._routes.clear()
        taken = []
        for item in waiting:
            self._withdraw(item)
            if not item.sent and not item.is_anywhere(Delivery.PLAINTEXT):
                self._end(item)
                taken.append(item.stanza)
        for item in waiting:
            self._settle(item, item.error or NotSent("the stream is over", NotSentReason.SESSION_CLOSED))
        return taken

    def resume(self, own_jid: str | None) -> None:
        """A new stream is up, and we have a new full JID (None for a component): go on with what was not acknowledged."""
        self._queues.resume()
        for place in self._left.move(own_jid):
            self._queues.start(place)

    def cancel(self, account: str, error: E2EError) -> int:
        """Let what waits for an account fail; return the number of stanzas. What was sent and may have arrived stays."""
        waiting = [item for item in self._waiting() if bare(item.to) == account]
        for item in waiting:
            self._withdraw(item)
            self._settle(item, error)
        return len(waiting)

    def fail_all(self, error: E2EError) -> None:
        """Let everything fail that waits, and what an ended session has left."""
        for account in {bare(item.to) for item in self._waiting()}:
            self.cancel(account, error)
        self.fail_left(error)

    def waiting_for(self, account: str) -> list[float]:
        """Return since when each stanza waits that does for an account, on the loop's clock."""
        return [item.since for item in self._waiting() if bare(item.to) == account]

    def _waiting(self) -> list[QueuedStanza]:
        """Return what waits for a session or a route, in order."""
        queues = (*self._queues.waiting.values(), *self._search.waiting.values())
        return sorted({item for queue in queues for item in queue}, key=lambda item: item.number)

    def fail_left(self, error: E2EError) -> None:
        """Give up what was not acknowledged."""
        for item in self._left.give_up_all():
            self._settle(item, error)

    def on_presence(self, account: str) -> None:
        """A device of an account may be there again: try at once what waits for it, or for the next session with any."""
        self._follow(account)
        self._search.tell_change(account)
        for place in self._left.places(account):
            self._queues.tell_change(place)
            self._search.seek((place[0], account))

    def _follow(self, account: str) -> None:
        """What waits for a device that has gone or is not there yet, and is for any of the account, goes to the one that has
        come: before all that was sent later."""
        for target, queue in tuple(self._queues.waiting.items()):
            if bare(target[1]) != account or (self._registry.open_with(target) and not self._routes.is_away(target)):
                continue
            for item in [each for each in queue if each.to == account and len(each.delivery) == 1]:
                queue.remove(item)
                item.delivery.clear()
                item.has_sought = True
                self._search.find(item)
            self._queues.tell_change(target)

    def _open_sessions(self, route: Route) -> None:
        """Open sessions with all devices of an account: one of them may have got a new full JID."""
        for target in route.targets:
            if target not in self._queues:
                try:
                    self._ensure(target)
                except E2EError:
                    return  # what was not acknowledged waits until its deadline

    def _ensure(self, target: Target) -> SessionDriver:
        """Return the session with a target, which is opened if there is none. NotSent, RefusedByPolicy."""
        account = bare(target[1])
        if self._may_open(account):
            return self._registry.ensure(target)
        off = RefusedByPolicy(f"our policy for {account} is `off` by now: no session is opened with them")
        for item in self._left.give_up_at(target):
            self._settle(item, off)
        raise off

    # --- bounds, deadlines, ends -----------------------------------------------------------------------------------

    def _enqueue(self, stanza: StanzaBase, own_jid: str, to: str) -> QueuedStanza | None:
        """Return a copy of the stanza as it is now, with a deadline; None, and it is reported, if it cannot be queued."""
        try:
            size, shares = len(writer.element(stanza.xml)), self._limits.shares(to)
            item = QueuedStanza(copy.copy(stanza), own_jid, to, size, shares, outcome=outcomes.take(stanza))
            outcomes.share(item.outcome, item.stanza)
            item.since = item.outcome.since
            self._begin_waiting(item)
            item.outcome.since = item.since
        except (LocalError, NotSent) as error:
            self._senders.failed(stanza, error)
            return None
        self.outstanding.begin(item.shares[0].whose)
        return item

    def _begin_waiting(self, item: QueuedStanza) -> None:
        """Let a stanza wait; in place of older ones that have reached a device of the account, if there is no room. NotSent."""
        while True:
            try:
                return self._limits.begin(item)
            except NotSent:
                if not (self._limits.is_account_full(item) and self._drop_copy(item.own_jid, item.shares[0].whose)):
                    raise

    def _drop_copy(self, own_jid: str, account: str) -> bool:
        """Stop waiting with the oldest stanza that has reached one device of an account. Return False if there is none.

        A device whose session does not open must not keep what follows from the others.
        """
        for target, queue in self._queues.waiting.items():
            if target[0] != own_jid or bare(target[1]) != account:
                continue
            gone = (each for each in queue if each.is_anywhere(Delivery.SENT, Delivery.DELIVERED))
            if (item := next(gone, None)) is not None:
                self._withdraw(item)
                self._settle(item, None)
                return True
        return False

    def _expire(self, item: QueuedStanza) -> None:
        """Give up at the deadline. What left in a session that is still there is with that one, which has its own deadline."""
        queued = [target for target, state in item.delivery.items() if state is Delivery.QUEUED]
        if not item.left and any(map(self._registry.waits_for_our_server, queued)):
            self._limits.extend(item)
            return
        self._limits.end(item)
        seconds = f"{self._seconds:g} seconds"
        if item.left:
            unknown = f"{item.to} has not acknowledged within {seconds} what was sent, which may have arrived"
            error: E2EError = NotSent(unknown, NotSentReason.UNACKNOWLEDGED)
        else:
            waited = f"the stanza waited {seconds} for a session with {item.to}"
            item.is_doubted = True  # it may still wait for a proof
            error = item.error or NotSent(waited, NotSentReason.QUEUED_TOO_LONG)
        self._withdraw(item)
        for target in tuple(item.left):
            self._left.give_up(item, target)
        self._settle(item, error)

    def _withdraw(self, item: QueuedStanza) -> None:
        queued = [target for target, state in item.delivery.items() if state is Delivery.QUEUED]
        places = [self._queues.waiting.get(target) for target in queued] or [self._search.waiting.get((item.own_jid, item.to))]
        for queue in places:
            if queue is not None and item in queue:
                queue.remove(item)
        item.delivery.update(dict.fromkeys(queued, Delivery.FAILED))

    def _settle(self, item: QueuedStanza, error: E2EError | None) -> None:
        """Let go of a stanza once it is decided at all targets. It has failed if it reached none."""
        if item.is_over or item.left or item.is_anywhere(Delivery.QUEUED):
            return
        self._limits.end(item)
        if item.is_anywhere(Delivery.SENT):
            return
        self._end(item)
        if item.acknowledged_by:
            self._senders.delivered(item)
        elif item.is_anywhere(Delivery.PLAINTEXT):
            item.outcome.end(outcomes.SendState.PLAINTEXT)
        elif error is None:
            return
        elif error is item.error and item.may_fall_back and self._senders.may_fall_back(item):
            self._senders.fall_back(item, error)
        else:
            self._senders.failed(item.as_sent(), error)

    def _end(self, item: QueuedStanza) -> None:
        item.is_over, item.outcome.is_taken = True, False
        self._limits.end(item)
        self.outstanding.end(bare(item.to))
