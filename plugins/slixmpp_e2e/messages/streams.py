"""What a lost, a new and a resumed client stream mean for sessions and for what waits."""

from __future__ import annotations

import asyncio

from slixmpp.basexmpp import BaseXMPP
from slixmpp.xmlstream.stanzabase import StanzaBase

from slixmpp_e2e.errors import NotSent, NotSentReason
from slixmpp_e2e.jids import bare
from slixmpp_e2e.messages.failures import SendFailures
from slixmpp_e2e.messages.outgoing import OutgoingFilter
from slixmpp_e2e.messages.queue import SendQueue
from slixmpp_e2e.messages.rooms import MucRooms
from slixmpp_e2e.sessions.registry import SessionRegistry
from slixmpp_e2e.xmpp import adapter, outcomes
from slixmpp_e2e.xmpp.iq_channel import IqChannel
from slixmpp_e2e.xmpp.presence import PresenceCache
from slixmpp_e2e.xmpp.support import SupportQuestions
from xmpp_e2e.errors import E2EError


class StreamChanges:
    """Hears of the client's stream. A stream that is resumed (XEP-0198) is not lost."""

    def __init__(
        self,
        xmpp: BaseXMPP,
        channel: IqChannel,
        presence: PresenceCache,
        support: SupportQuestions,
        rooms: MucRooms,
        registry: SessionRegistry,
        outgoing: OutgoingFilter,
        queue: SendQueue,
        failures: SendFailures,
        seconds: float,
    ) -> None:
        """``seconds``: how long a stanza may wait, with a stream or without."""
        self._xmpp, self._channel, self._registry = xmpp, channel, registry
        self._presence, self._support = presence, support
        self._rooms, self._outgoing, self._queue, self._failures = rooms, outgoing, queue, failures
        self._seconds = seconds
        self._kept: list[StanzaBase] = []
        """What waits for the next stream."""
        self._timer: asyncio.TimerHandle | None = None
        """While any does: when the time of the first is over."""

    def take_early(self, queued: list[StanzaBase]) -> None:
        """The stream is about to be lost: take what other plugins' filters have now, and what is ``queued`` behind it. What
        leaves in plaintext is lost, as without us."""
        self._refuse_at_others()
        for stanza in queued:
            self._outgoing.filter_outgoing(stanza)

    def on_lost(self, error: E2EError, *, keep: bool = False) -> None:
        """The stream is over, and every path with it. What waits fails, or (``keep``) waits for the next stream."""
        waiting = self._queue.pause()
        for driver in self._registry:
            driver.abort_unreachable(error)
        self._registry.pacing.clear()
        self._channel.clear()
        self._presence.reset()
        self._support.clear()
        self._rooms.forget_identities()
        if keep:
            self._kept += waiting
            for stanza in waiting:  # whoever waits until all have met their end goes on waiting
                self._queue.outstanding.begin(_account(stanza))
            self._expire_kept()
        else:
            self._queue.fail_left(error)
            self._failures.report_all(waiting, error)

    def on_started(self) -> None:
        """A new stream is up: what was kept for it goes on."""
        self._channel.resume()
        self._queue.resume(None if self._xmpp.is_component else self._xmpp.boundjid.full)
        kept, self._kept = self._kept, []
        for stanza in kept:
            if self._outgoing.filter_outgoing(stanza) is not None:
                self._outgoing.write(stanza)
            self._queue.outstanding.end(_account(stanza))
        self._expire_kept()

    def _expire_kept(self) -> None:
        """Let what has waited long enough fail, and look again when the next one has."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop, until = self._xmpp.loop, {id(each): outcomes.begin(each).since + self._seconds for each in self._kept}
        late = [stanza for stanza in self._kept if until[id(stanza)] <= loop.time()]
        self._kept = [stanza for stanza in self._kept if until[id(stanza)] > loop.time()]
        if self._kept:
            self._timer = loop.call_at(min(until[id(stanza)] for stanza in self._kept), self._expire_kept)
        waited = f"the stanza waited {self._seconds:g} seconds, and there is no connection to our own server"
        self._fail_kept(late, NotSent(waited, NotSentReason.QUEUED_TOO_LONG))

    def cancel(self, account: str, error: E2EError) -> int:
        """Let what is kept for the next stream, and is for this account, fail. Return the number of stanzas."""
        cancelled = [stanza for stanza in self._kept if _account(stanza) == account]
        self._kept = [stanza for stanza in self._kept if _account(stanza) != account]
        self._fail_kept(cancelled, error)
        return len(cancelled)

    def waiting_for(self, account: str) -> list[float]:
        """Return since when each stanza waits that is kept for the next stream, and is for an account, on the loop's clock."""
        return [outcomes.begin(stanza).since for stanza in self._kept if _account(stanza) == account]

    def _fail_kept(self, kept: list[StanzaBase], error: E2EError) -> None:
        for stanza in kept:
            self._queue.outstanding.end(_account(stanza))
            self._failures.report(stanza, error)

    def give_up(self, error: E2EError) -> None:
        """The program goes: sessions end, and all that waits fails. So does what has yet to come to our filter, in slixmpp's
        queues or in other plugins' filters; but not our own iqs, which say farewell."""
        self._refuse_at_others()
        self._channel.writer.flush()
        adapter.drop_queued(self._xmpp, self._leaves_in_plaintext)
        for driver in self._registry:
            driver.abort_unreachable(error)
        self._queue.fail_all(error)
        kept, self._kept = self._kept, []
        self._fail_kept(kept, error)
        self._expire_kept()

    def on_unload(self, error: E2EError) -> None:
        """The plugin goes: what has yet to come to our filter would leave in plaintext once ours is gone."""
        self.give_up(error)
        self.on_lost(error)

    def _refuse_at_others(self) -> None:
        others = self._outgoing.at_other_filters()
        adapter.refuse(self._xmpp, [stanza for stanza in others if not self._leaves_in_plaintext(stanza)])

    def _leaves_in_plaintext(self, stanza: StanzaBase) -> bool:
        return self._outgoing.filter_outgoing(stanza) is not None


def _account(stanza: StanzaBase) -> str:
    return bare(stanza["to"].full)
