"""What waits until it can be sent: for a route, or for a session. In order, bounded, with a deadline, and never in plaintext.

One coroutine for each address finds the route; one for each target sends what waits for its session. For each stanza and target
there is one delivery state, and nothing else decides what becomes of the stanza.
"""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from slixmpp import Iq
from slixmpp.xmlstream.stanzabase import StanzaBase

from slixmpp_e2e.errors import NotSent, NotSentReason, end_of_session
from slixmpp_e2e.jids import account_and_domain, bare
from slixmpp_e2e.messages.iq_tracking import IqTracker
from slixmpp_e2e.messages.queued import Delivery, QueuedStanza, Share
from slixmpp_e2e.messages.routing import Address, Route, RouteCache
from slixmpp_e2e.sessions.driver import DriverEvent, SessionDiscarded, SessionDriver
from slixmpp_e2e.sessions.registry import SessionRegistry, Target
from xmpp_e2e import events
from xmpp_e2e.errors import E2EError, LocalError
from xmpp_e2e.stream import writer

QUEUE_STANZAS = 4096
"""Stanzas that may wait for one account: a burst of a busy bot."""
QUEUE_BYTES = 8 * 1024 * 1024
"""Bytes that may wait for one account: pictures in messages, until a person has compared a key."""
FULL_ACCOUNTS = 8
"""Total queue limit, as a multiple of the limit of one account: whoever answers strangers must not wait for all of them."""
FULL_STRANGERS = 4
"""The same for all strangers: half, so that they never take the other half from contacts."""
FULL_STRANGERS_PER_DOMAIN = 2
"""The same for the strangers of one domain, whose server makes up as many as it likes: half of what strangers have."""
_REQUEST_SESSION_ENDED = "the session in which the request came has ended"


@dataclass(frozen=True)
class Senders:
    """How a stanza leaves the queue other than through a session."""

    plaintext: Callable[[StanzaBase], None]
    """Puts it on the wire."""
    failed: Callable[[StanzaBase, E2EError], None]
    """Is told that it was not sent."""


class SendQueue:
    """Everything of one client that cannot be sent at once."""

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
    ) -> None:
        """``loop`` returns the event loop of the moment.

        ``is_contact`` says whether an account has a place before strangers: not by what it can bring about itself.
        ``seconds`` and ``max_bytes``: how long a stanza, and how much for one account, may wait.
        """
        self._loop, self._routes, self._registry = loop, routes, registry
        self._iqs, self._senders, self._is_contact = iqs, senders, is_contact
        self._seconds, self._max_bytes = seconds, max_bytes
        self._unrouted: dict[Address, deque[QueuedStanza]] = {}
        self._queues: dict[Target, deque[QueuedStanza]] = {}
        self._routing: dict[Address, asyncio.Task[None]] = {}
        self._sending: dict[Target, asyncio.Task[None]] = {}
        self._changed: dict[Target, asyncio.Future[None]] = {}
        self._early: dict[SessionDriver, list[QueuedStanza]] = {}
        self._waiting: dict[Share, tuple[int, int]] = {}
        """Stanzas and bytes."""

    # --- the way in ------------------------------------------------------------------------------------------------

    def send(self, stanza: StanzaBase, own_jid: str, to: str, route: Route | None) -> None:
        """Send a stanza through an open session, or keep a copy until it can be sent. If it never can, its sender is told.

        ``route`` is the way to ``to``, or None if that must be found first.
        """
        if route is not None and len(route.targets) == 1 and self._send_now(stanza, route.targets[0]):
            return
        item = self._enqueue(stanza, own_jid, to)
        if item is not None:
            self._dispatch(item, route) if route is not None else self._find_route(item)

    def reply(self, stanza: StanzaBase, session: SessionDriver) -> None:
        """Send an answer through the session in which its request came: behind all that waits there, and no other way."""
        if not session.is_open:
            self._senders.failed(stanza, NotSent(_REQUEST_SESSION_ENDED, NotSentReason.SESSION_CLOSED))
        elif self._registry.is_outranked(session):
            outranked = f"while another session with {session.peer} is open, under another key, nothing leaves through this one"
            self._senders.failed(stanza, NotSent(outranked, NotSentReason.SESSION_OUTRANKED))
        elif not self._send_now(stanza, session.target) and (item := self._enqueue(stanza, *session.target)) is not None:
            item.session = session
            self._queue_for(item, [session.target])

    def _send_now(self, stanza: StanzaBase, target: Target) -> bool:
        """Send through an open session for which nothing waits, which is the common case. Return whether it is dealt with."""
        if self._queues.get(target) or (driver := self._registry.open_with(target)) is None:
            return False
        try:
            if not driver.send(stanza.xml):
                return False
        except LocalError as error:
            self._senders.failed(stanza, error)
        else:
            if isinstance(stanza, Iq):
                self._iqs.bind(stanza, driver)
        return True

    # --- routes: one coroutine for each address --------------------------------------------------------------------

    def _find_route(self, item: QueuedStanza) -> None:
        address = (item.own_jid, item.to)
        self._unrouted.setdefault(address, deque()).append(item)
        if address not in self._routing:
            self._routing[address] = self._loop().create_task(self._route(address))

    async def _route(self, address: Address) -> None:
        """Find the route to an address for all that waits for it. Whatever happens, nothing waits for it afterwards."""
        failure: E2EError | None = None
        try:
            route = await self._routes.find(address)
            waiting = self._unrouted.get(address, deque())
            for _ in range(len(waiting)):
                if self._unrouted.get(address) is not waiting:
                    break  # a handler of a failure has taken all back
                self._dispatch(waiting.popleft(), route)
        except E2EError as error:
            failure = error
        finally:
            if self._routing.get(address) is _current_task():
                del self._routing[address]
                for item in self._unrouted.pop(address, ()):
                    unknown = f"it could not be found out how to reach {address[1]}"
                    self._settle(item, item.error or failure or NotSent(unknown, NotSentReason.ROUTE_UNKNOWN))

    def _dispatch(self, item: QueuedStanza, route: Route) -> None:
        untried = [target for target in route.targets if target not in item.delivery]
        if untried:
            self._queue_for(item, self._routes.reachable(untried))
        elif item.error is not None:  # a session that fails never falls back to plaintext
            self._settle(item, item.error)
        else:
            self._release(item)
            self._senders.plaintext(item.stanza)

    # --- sessions: one coroutine for each target -------------------------------------------------------------------

    def _queue_for(self, item: QueuedStanza, targets: Iterable[Target]) -> None:
        for target in targets:
            item.delivery[target] = Delivery.QUEUED
            self._queues.setdefault(target, deque()).append(item)
            if target not in self._sending:
                self._sending[target] = self._loop().create_task(self._deliver(target))

    async def _deliver(self, target: Target) -> None:
        """Send what waits for a target, in order, as its sessions let it. Nothing waits for it afterwards."""
        driver: SessionDriver | None = None
        try:
            while queue := self._queues.get(target):
                # While a session is closing, none is offered in its place: `_fail` decides about what waits when it has closed.
                if driver is None or driver.closed.done() or self._registry.best_with(target) is not None:
                    try:
                        driver = self._registry.ensure(target)
                    except E2EError as error:
                        self._fail(target, error)
                        continue
                if driver.is_writable:
                    item = queue.popleft()
                    if self._send_queued(item, driver):
                        continue
                    queue.appendleft(item)
                changed = self._changed[target] = asyncio.get_running_loop().create_future()
                driver.notify_writable(changed)
                await changed
        finally:
            if self._sending.get(target) is _current_task():
                del self._sending[target]
                if not self._queues.get(target):
                    self._queues.pop(target, None)
                else:
                    self._fail(target, NotSent(f"sending to {target[1]} failed", NotSentReason.ROUTE_UNKNOWN))

    def _send_queued(self, item: QueuedStanza, driver: SessionDriver) -> bool:
        """Send a queued stanza through a session that takes stanzas; return False if it has no room now."""
        target = driver.target
        failure: E2EError | None = None
        try:
            if item.session not in (None, driver):
                raise NotSent(_REQUEST_SESSION_ENDED, NotSentReason.SESSION_CLOSED)
            if not driver.send(item.stanza.xml):
                return False
        except (LocalError, NotSent) as error:
            item.delivery[target], failure = Delivery.FAILED, error
        else:
            if isinstance(item.stanza, Iq):
                self._iqs.bind(item.stanza, driver)
            if driver.is_open:
                item.delivery[target] = Delivery.SENT
            else:
                item.delivery[target] = Delivery.SENT_EARLY
                self._early.setdefault(driver, []).append(item)
        self._settle(item, failure)
        return True

    def on_session_event(self, driver: SessionDriver, event: DriverEvent) -> None:
        """Go on where a session has opened or ended. Comes after the registry has heard of it."""
        match event:
            case events.SessionOpened():
                self._routes.forget_others(driver.target)
                # Not before the next turn: a session that opens may end in this one. Then what was sent early is lost.
                self._loop().call_soon(self._settle_early, driver, Delivery.SENT, None)
            case events.SessionClosed() | events.SessionFailed():
                if isinstance(event, events.SessionFailed):
                    self._routes.mark_unreachable(driver.target)
                error = end_of_session(driver.peer, event.error)
                self._settle_early(driver, Delivery.LOST, error)
                if self._registry.best_with(driver.target) is None:
                    self._fail(driver.target, error)
            case SessionDiscarded():
                pass  # the peer's own offer takes its place
            case _:
                return
        if (changed := self._changed.pop(driver.target, None)) is not None and not changed.done():
            changed.set_result(None)

    def _settle_early(self, driver: SessionDriver, state: Delivery, error: E2EError | None) -> None:
        for item in self._early.pop(driver, ()):
            item.delivery[driver.target] = state
            self._settle(item, error)

    def _fail(self, target: Target, error: E2EError) -> None:
        """There is no session with this target any more. What waits for it goes to another device of the account to which it
        is addressed, if there is one by now; else it fails."""
        self._routes.forget_target(target)
        for item in self._queues.pop(target, ()):
            item.delivery[target] = Delivery.FAILED
            left = item.is_anywhere(Delivery.QUEUED, Delivery.SENT_EARLY, Delivery.SENT, Delivery.LOST)
            if left or item.to != bare(item.to):
                self._settle(item, error)
            else:
                item.error = error
                self._find_route(item)

    # --- bounds and deadlines --------------------------------------------------------------------------------------

    def take_all(self) -> list[StanzaBase]:
        """Stop everything, and return the stanzas that have gone nowhere yet, in order."""
        for task in (*self._routing.values(), *self._sending.values()):
            task.cancel()
        queues = (*self._queues.values(), *self._unrouted.values())
        waiting = list(dict.fromkeys(item for queue in queues for item in queue))
        for kept in (self._routing, self._sending, self._changed, self._unrouted, self._queues):
            kept.clear()
        self._routes.clear()
        for item in waiting:
            self._withdraw(item)
            self._release(item)
        return [item.stanza for item in waiting if not item.is_anywhere(Delivery.SENT, Delivery.SENT_EARLY)]

    def _enqueue(self, stanza: StanzaBase, own_jid: str, to: str) -> QueuedStanza | None:
        """Return a copy of the stanza as it is now, with a deadline; None, and it is reported, if it cannot be queued."""
        try:
            item = QueuedStanza(copy.copy(stanza), own_jid, to, len(writer.element(stanza.xml)), self._shares(to))
            self._check_room(item)
        except (LocalError, NotSent) as error:
            self._senders.failed(stanza, error)
            return None
        self._count(item, 1)
        item.deadline = self._loop().call_later(self._seconds, self._expire, item)
        return item

    def _check_room(self, item: QueuedStanza) -> None:
        """Raise NotSent unless each of its shares has room for one more stanza."""
        account = item.shares[0]
        while self._is_full(account, item.size) and self._drop_copy(item.own_jid, account.whose):
            pass
        for share in item.shares:
            if self._is_full(share, item.size):
                count, size = self._waiting.get(share, (0, 0))
                limits = f"{share.accounts * QUEUE_STANZAS} and {share.accounts * self._max_bytes}"
                waiting = f"{count} stanzas with {size} bytes wait for {share.whose} already; the limits are {limits}"
                raise NotSent(waiting, NotSentReason.QUEUE_FULL)

    def _is_full(self, share: Share, more: int) -> bool:
        count, size = self._waiting.get(share, (0, 0))
        return count >= share.accounts * QUEUE_STANZAS or size + more > share.accounts * self._max_bytes

    def _shares(self, to: str) -> tuple[Share, ...]:
        account, domain = account_and_domain(to)
        shares = (Share(account, 1), Share("all peers", FULL_ACCOUNTS))
        if self._is_contact(account):
            return shares
        of_domain = Share(f"strangers of {domain}", FULL_STRANGERS_PER_DOMAIN)
        return (*shares, of_domain, Share("all strangers", FULL_STRANGERS))

    def _drop_copy(self, own_jid: str, account: str) -> bool:
        """Stop waiting with the oldest stanza that has reached one device of an account. Return False if there is none.

        A device whose session does not open must not keep what follows from the others.
        """
        for target, queue in self._queues.items():
            if target[0] != own_jid or bare(target[1]) != account:
                continue
            if (item := next((each for each in queue if each.is_anywhere(Delivery.SENT)), None)) is not None:
                self._withdraw(item)
                self._settle(item, None)
                return True
        return False

    def _expire(self, item: QueuedStanza) -> None:
        """Give up at the deadline. What left early is with its session, which has a deadline of its own."""
        self._withdraw(item)
        waited = f"the stanza waited {self._seconds:g} seconds for a session with {item.to}"
        self._settle(item, item.error or NotSent(waited, NotSentReason.QUEUED_TOO_LONG))

    def _withdraw(self, item: QueuedStanza) -> None:
        queued = [target for target, state in item.delivery.items() if state is Delivery.QUEUED]
        places = [self._queues.get(target) for target in queued] or [self._unrouted.get((item.own_jid, item.to))]
        for queue in places:
            if queue is not None and item in queue:
                queue.remove(item)
        item.delivery.update(dict.fromkeys(queued, Delivery.FAILED))

    def _settle(self, item: QueuedStanza, error: E2EError | None) -> None:
        """Let go of a stanza once it is decided at all targets. It has failed if it reached none."""
        if item.is_anywhere(Delivery.QUEUED, Delivery.SENT_EARLY):
            return
        self._release(item)
        if error is not None and not item.is_anywhere(Delivery.SENT):
            self._senders.failed(item.stanza, error)

    def _release(self, item: QueuedStanza) -> None:
        if item.deadline is not None:
            item.deadline.cancel()
            item.deadline = None
            self._count(item, -1)

    def _count(self, item: QueuedStanza, one: int) -> None:
        """Count a stanza that waits, or (-1) that waits no more."""
        for share in item.shares:
            count, size = self._waiting.get(share, (0, 0))
            self._waiting[share] = (count + one, size + one * item.size)
            if not count + one:
                del self._waiting[share]


def _current_task() -> asyncio.Task[None] | None:
    """Return the running task; None in a coroutine that is only collected, after its loop has ended."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
