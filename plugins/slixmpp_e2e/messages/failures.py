"""Tells senders what was not sent, and answers requests that will get no answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from slixmpp import Iq
from slixmpp.basexmpp import BaseXMPP
from slixmpp.xmlstream.stanzabase import StanzaBase

from slixmpp_e2e.errors import end_of_session, is_passing
from slixmpp_e2e.events import SendFailed
from slixmpp_e2e.jids import bare
from slixmpp_e2e.messages.iq_tracking import IqTracker, PendingRequest, is_request
from slixmpp_e2e.sessions.admission.rate_limit import Rate, TokenBuckets, take_all
from slixmpp_e2e.sessions.driver import DriverEvent, SessionDriver
from slixmpp_e2e.xmpp import adapter, outcomes
from slixmpp_e2e.xmpp.emitter import Emitter
from slixmpp_e2e.xmpp.outcomes import SendState
from xmpp_e2e import events
from xmpp_e2e.errors import E2EError

log = logging.getLogger("slixmpp_e2e")

ANSWERS = Rate(0.1, 10)
"""Answers to one account of which it is told that they were not sent: a peer can ask without end what cannot be answered."""
ANSWERS_IN_ALL = Rate(1, 100)
"""The same in all: whoever has many accounts could ask by each."""


class SendFailures:
    """Leaves nobody waiting for what will not come."""

    def __init__(
        self,
        xmpp: BaseXMPP,
        iqs: IqTracker,
        emitter: Emitter,
        clock: Callable[[], float],
        goes_on: Callable[[SessionDriver], bool] = lambda driver: False,
    ) -> None:
        """``goes_on``: returns whether another session with the same address and key takes the place of one that has ended."""
        self._xmpp, self._iqs, self._emitter, self._clock = xmpp, iqs, emitter, clock
        self._goes_on = goes_on
        self._answers, self._answers_in_all = TokenBuckets(ANSWERS), TokenBuckets(ANSWERS_IN_ALL)

    def report(self, stanza: StanzaBase, error: E2EError) -> None:
        """Emit that a stanza was not sent; answer it with an error, if it is a request. Of answers, which come at the peers'
        will, it is told at a bounded rate."""
        if isinstance(stanza, Iq) and not is_request(stanza) and not self._may_tell(stanza):
            log.debug("an answer was not sent to %s: %s", stanza["to"], error)
            outcomes.begin(stanza).end(SendState.FAILED, error=error)
            return
        outcomes.begin(stanza).end(SendState.FAILED, error=error)
        self._emitter.emit(SendFailed(stanza, error))
        if isinstance(stanza, Iq) and (request := self._iqs.forget(stanza)) is not None:
            self._answer(request, "service-unavailable", str(error))

    def report_all(self, stanzas: Iterable[StanzaBase], error: E2EError) -> None:
        """Report each of these."""
        for stanza in stanzas:
            self.report(stanza, error)

    def _may_tell(self, answer: Iq) -> bool:
        account = bare(answer.xml.get("to", ""))
        return take_all(self._clock(), (self._answers, account), (self._answers_in_all, ""))

    def track(self, iq: Iq) -> None:
        """Track a request that goes inside; the oldest one is answered with an error if there are too many."""
        if (oldest := self._iqs.add(iq)) is not None:
            self._answer(oldest, "resource-constraint", "too many requests wait for answers")

    def on_session_event(self, driver: SessionDriver, event: DriverEvent) -> None:
        """Answer the requests that went through a session which has ended."""
        if isinstance(event, events.SessionClosed | events.SessionFailed):
            error = end_of_session(driver.peer, event.error)
            opened = isinstance(event, events.SessionClosed)
            passes = is_passing(event.error, opened=opened, hellos_checked=driver.has_checked_hellos)
            cut = event.error is not None and passes
            for request in self._iqs.on_session_closed(driver, goes_on=cut or self._goes_on(driver)):
                self._answer(request, "recipient-unavailable", str(error))

    def _answer(self, request: PendingRequest, condition: str, text: str) -> None:
        """Inject the error that the peer's server would send, had the request been sent to nobody."""
        answer = Iq(self._xmpp)
        answer["type"], answer["id"] = "error", request.id
        answer["from"], answer["to"] = request.to, request.own_jid or self._xmpp.boundjid
        answer["error"]["type"], answer["error"]["condition"], answer["error"]["text"] = "cancel", condition, text
        adapter.inject(self._xmpp, answer)
