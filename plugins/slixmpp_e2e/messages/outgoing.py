"""The way out: filter → scope → route → session → wire. Synchronous, from the first step to the last.

``filter_outgoing`` strips markers and asks, in this order: is it an answer that belongs to a session, is it outside the scope
of encryption (``scope.py``), what holds for the peer (``trust/peer_settings.py``), which route is known (``routing.py``). The
queue then sends the stanza through the open session, or keeps it until there is one.
"""

from __future__ import annotations

import copy
import enum
from functools import partial
from weakref import ReferenceType, ref
from xml.etree.ElementTree import Element

from slixmpp import JID, InvalidJID, Iq, Message, Presence
from slixmpp.basexmpp import BaseXMPP
from slixmpp.xmlstream.stanzabase import StanzaBase

from slixmpp_e2e.errors import NotSent, NotSentReason, PeerWithoutE2E
from slixmpp_e2e.jids import bare
from slixmpp_e2e.messages.clear import may_be_clear, reached_through
from slixmpp_e2e.messages.failures import SendFailures
from slixmpp_e2e.messages.iq_tracking import IqTracker, is_request
from slixmpp_e2e.messages.own_addresses import no_end
from slixmpp_e2e.messages.queue import SendQueue
from slixmpp_e2e.messages.queued import QueuedStanza
from slixmpp_e2e.messages.rooms import MucRooms, goes_to_rooms
from slixmpp_e2e.messages.routing import UNREACHABLE_BACKOFF, Route, RouteCache
from slixmpp_e2e.messages.scope import never_encrypted, only_servers_say
from slixmpp_e2e.policy import Policy
from slixmpp_e2e.routing_events import PlaintextSent
from slixmpp_e2e.store.errors import StoreError
from slixmpp_e2e.trust.peer_settings import PeerSettingsLookup
from slixmpp_e2e.xmpp import adapter, marker, outcomes
from slixmpp_e2e.xmpp.emitter import Emitter
from slixmpp_e2e.xmpp.iq_channel import IqChannel
from xmpp_e2e.errors import E2EError

_PRIVATE, _NO_COPY = "{urn:xmpp:carbons:2}private", "{urn:xmpp:hints}no-copy"
"""XEP-0280 §9, XEP-0334."""

RECENT_SECONDS = 0.05
"""How old the settings for a stanza may be, where another process has changed them: as if it had been sent before that."""


class Way(enum.Enum):
    """What happens next to a stanza."""

    PLAINTEXT = "plaintext"
    """slixmpp sends it."""
    TAKEN = "taken"
    """It went into a session, or waits for one."""


class OutgoingFilter:
    """The two filters for what leaves."""

    def __init__(
        self,
        xmpp: BaseXMPP,
        channel: IqChannel,
        rooms: MucRooms,
        iqs: IqTracker,
        peers: PeerSettingsLookup,
        routes: RouteCache,
        failures: SendFailures,
        emitter: Emitter,
    ) -> None:
        self._xmpp, self._channel, self._rooms, self._iqs = xmpp, channel, rooms, iqs
        self._peers, self._routes, self._failures, self._emitter = peers, routes, failures, emitter
        self._requeued: dict[int, StanzaBase] = {}
        """What has waited and goes through slixmpp's queue once more: what follows to the same address must stay behind it."""
        self._at_others: dict[int, ReferenceType[StanzaBase]] = {}
        """What other plugins' filters have now, by id(): they may take their time."""
        channel.writer.write = partial(adapter.write_iqs, xmpp, outgoing=self.filter_outgoing)
        self._others = adapter.FiltersOfMessages(xmpp, self.filter_first)

    def attach(self, queue: SendQueue) -> None:
        """Send what is to be encrypted through this queue, which itself sends plaintext by way of ``write()``."""
        self._queue = queue

    def filter_first(self, stanza: StanzaBase) -> StanzaBase | None:
        """The first ``out`` filter: None for a message that goes straight into an open session."""
        if type(stanza) is Message and self._go_straight(stanza):
            return None
        key, others = id(stanza), self._at_others
        others[key] = ref(stanza, lambda gone: others.pop(key, None))
        return stanza

    def _go_straight(self, stanza: Message) -> bool:
        """Let a message for an open session pass the other filters here and now, without a task for each. Return whether it is
        dealt with; False if that may take its time, or if something is under way that it must not overtake."""
        if self._requeued or self._at_others or (others := self._others.synchronous()) is None:
            return False
        own_jid = self._channel.own_jid(stanza.xml.get("from", ""))
        route = self._routes.known.get((own_jid, stanza.xml.get("to", "")))
        if route is None or not self._queue.has_open_session(route) or adapter.has_sce_filter(self._xmpp):
            return False
        passed: StanzaBase | None = stanza
        for other in others:
            if (passed := other(passed)) is None:
                return True
        assert passed is not None
        if (passed := self.filter_outgoing(passed)) is not None:
            self.write(passed)
        return True

    def filter_outgoing(self, stanza: StanzaBase) -> StanzaBase | None:
        """The ``out_sync`` filter: the stanza, if it leaves in plaintext; None, if it goes another way or fails."""
        self._at_others.pop(id(stanza), None)
        if not isinstance(stanza, Message | Iq | Presence):
            return stanza
        if self._requeued and self._requeued.pop(id(stanza), None) is None:
            to = stanza.xml.get("to")
            if any(each.xml.get("to") == to for each in self._requeued.values()):
                self._requeue(stanza)
                return None
        marker.strip(stanza)
        if isinstance(stanza, Presence):
            self._rooms.note_entry(stanza)
        try:
            if self._send(stanza, stanza["to"]) is Way.TAKEN:
                return None
            outcomes.note_plaintext(stanza)
            return stanza
        except E2EError as error:
            self._failures.report(stanza, error)
            return None

    def _send(self, stanza: Message | Iq | Presence, to: JID) -> Way:
        if isinstance(stanza, Iq) and not is_request(stanza):
            if (session := self._iqs.session_for_reply(stanza)) is not None:
                self._queue.reply(stanza, session)
                return Way.TAKEN
            if not self._iqs.may_reply_plaintext(stanza):
                unknown = "no request is known that this answers: if one came inside a session, that has ended"
                raise NotSent(unknown, NotSentReason.SESSION_CLOSED)
            if may_be_clear(stanza) or not self._is_required(to):  # it goes the way that the request came (RFC 6120 §8.2.3)
                return Way.PLAINTEXT
        own_jid = self._channel.own_jid(stanza.xml.get("from", ""))
        if self._xmpp.is_component and (not self._rooms.own.can_end(own_jid) or only_servers_say(stanza.xml)):
            self._check_sender(stanza, own_jid, to)
            return self._plaintext(stanza)
        route = self._routes.known.get((own_jid, to.full))
        # no room has a way to devices: who has used encryption is known as a person
        has_way = route is not None and not route.plaintext and isinstance(stanza, Message)
        outside = not has_way and never_encrypted(stanza, to, self._rooms, own_jid)
        if outside and self._may_stay_outside(stanza, to):
            return self._plaintext(stanza)
        settings = self._peers.of(to.bare, RECENT_SECONDS if has_way else 0.0)  # what may leave in plaintext is judged anew
        if settings.policy is Policy.OFF and (not has_way or self._peers.of(to.bare).policy is Policy.OFF):
            return self._plaintext(stanza)
        if route is not None and route.plaintext:
            if settings.allows_plaintext:
                self._plaintext(stanza)
                return self._tell_plaintext(stanza, route)
            self._routes.forget(to.bare)  # the settings have changed since it was found
            route = None
        if isinstance(stanza, Iq):
            self._failures.track(stanza)
        self._queue.send(stanza, own_jid, to.full, route)
        return Way.TAKEN

    def _check_sender(self, stanza: Message | Iq | Presence, own_jid: str, to: JID) -> None:
        """Raise NotSent if a stanza that can go through no session, for its sender is no end of one, or says what servers alone
        say (a component is its own), holds words for a person with whom encryption is required."""
        if (not isinstance(stanza, Message) and may_be_clear(stanza)) or not to.local or self._rooms.takes(stanza, to):
            return
        if self._is_required(to):
            if isinstance(stanza, Iq):
                self._failures.track(stanza)
            raise no_end(own_jid, to.bare)

    def _may_stay_outside(self, stanza: Message | Iq | Presence, to: JID) -> bool:
        """Return whether a stanza that is outside the scope of encryption may leave in plaintext; NotSent if it can go no other
        way. Nothing with a user's words in it goes so to a person where encryption is required."""
        own = self._channel.own_jid(stanza.xml.get("from", ""))
        if isinstance(stanza, Message) or not to.local or to.bare == bare(own) or self._rooms.takes(stanza, to):
            return True
        if may_be_clear(stanza) or not self._is_required(to):
            return True
        if isinstance(stanza, Iq) and goes_to_rooms(stanza, to) and self._rooms.may_ask(to.bare):
            return False  # on the way there it is asked whether it is a room
        if to.resource if isinstance(stanza, Iq) else stanza.xml.get("type") in (None, "unavailable"):
            return False
        if isinstance(stanza, Iq):
            self._failures.track(stanza)
        words = f"the server of {to.bare} would read it, and their policy is `require`: leave out the words, or use a full JID"
        raise NotSent(words, NotSentReason.SERVER_WOULD_READ)

    def _plaintext(self, stanza: StanzaBase) -> Way:
        """Let a stanza leave in plaintext; NotSent if a room or a service would pass it on to a person where encryption is
        required."""
        if not isinstance(stanza, Message):
            return Way.PLAINTEXT
        try:
            required = next(filter(self._is_required, reached_through(stanza)), None)
        except InvalidJID:
            unknown = "a room or a service would pass it on to what is no JID"
            raise NotSent(unknown, NotSentReason.SERVER_WOULD_READ) from None
        if required is not None:
            through = f"{stanza['to']} would read what is for {required}, whose policy is `require`: write to them (XEP-0249)"
            raise NotSent(through, NotSentReason.SERVER_WOULD_READ)
        return Way.PLAINTEXT

    def _tell_plaintext(self, stanza: StanzaBase, route: Route | None) -> Way:
        if route is not None and route.why is not None:
            self._emitter.emit(PlaintextSent(stanza, route.why))
        return Way.PLAINTEXT

    def _is_required(self, person: JID) -> bool:
        return bool(person.local) and person.bare not in self._rooms and self._peers.of(person.bare).policy is Policy.REQUIRE

    def _check_room_takes(self, stanza: StanzaBase) -> None:
        """Raise NotSent if a stanza would leave to what only says that it is a room, and is for one person."""
        to: JID = stanza["to"]
        assert isinstance(stanza, Message | Iq | Presence)
        if not self._rooms.own.can_end(own_jid := self._channel.own_jid(stanza.xml.get("from", ""))):
            self._check_sender(stanza, own_jid, to)  # while it waited, the program has said that it is a room of its own
            return
        if self._peers.of(to.bare).allows_plaintext or self._rooms.takes(stanza, to):
            return
        if not self._rooms.may_be(to.bare):
            raise NotSent(f"the policy for {to.bare} has become `require` meanwhile", NotSentReason.ROUTE_UNKNOWN)
        unseen = f"{to.bare} says that it is a room, but we have not seen ourselves enter it, and their policy is `require`"
        raise NotSent(unseen, NotSentReason.ROOM_NOT_ENTERED)

    def at_other_filters(self) -> list[StanzaBase]:
        """Return the stanzas that have passed our first filter, and have yet to come to the second."""
        return [stanza for held in self._at_others.values() if (stanza := held()) is not None]

    # --- behind our filter -----------------------------------------------------------------------------------------

    def write(self, stanza: StanzaBase) -> None:
        """Send a stanza through the filters that stand behind ours."""
        adapter.write(self._xmpp, stanza, outgoing=self.filter_outgoing)

    def write_plaintext(self, stanza: StanzaBase) -> None:
        """Put a stanza that has waited on the wire, before all that is sent after it."""
        own_jid = self._channel.own_jid(stanza.xml.get("from", ""))
        try:
            self._check_room_takes(stanza)
            self._plaintext(stanza)
        except E2EError as error:
            self._failures.report(stanza, error)
            return
        if isinstance(stanza, Iq):
            self._iqs.forget(stanza)
        if self._channel.paused or adapter.has_sce_filter(self._xmpp):
            if isinstance(stanza, Iq):
                self._iqs.return_plaintext_reply(stanza)
            self._requeue(stanza)  # our filter knows its route, and lets it pass
        else:
            outcomes.begin(stanza).end(outcomes.SendState.PLAINTEXT)
            self._tell_plaintext(stanza, self._routes.known.get((own_jid, stanza["to"].full)))
            self.write(stanza)

    def _requeue(self, stanza: StanzaBase) -> None:
        self._requeued[id(stanza)] = stanza
        self._xmpp.send(stanza)

    def copy_in_plaintext(self, stanza: StanzaBase, device: str) -> None:
        """Send a copy to one device that has no encryption. The servers shall not copy it in turn to those that have."""
        copied = copy.copy(stanza)
        copied["to"] = device
        if isinstance(copied, Message):
            copied.xml.extend((Element(_PRIVATE), Element(_NO_COPY)))
        without = PeerWithoutE2E(f"{device} is online but does not advertise end-to-end encryption, which another device has")
        self._routes.note_plaintext((self._channel.own_jid(stanza.xml.get("from", "")), device), without)
        self.write_plaintext(copied)

    def may_fall_back(self, item: QueuedStanza) -> bool:
        """Return whether what fails for want of a path may leave in plaintext."""
        try:
            return self._peers.of(bare(item.to)).policy is Policy.OPPORTUNISTIC
        except StoreError:
            return False  # it fails over its path, and its sender is told

    def fall_back(self, item: QueuedStanza, error: E2EError) -> None:
        """Send in plaintext what has failed for want of a path, and for a while all that follows it."""
        self._routes.note_plaintext((item.own_jid, item.to), error)
        self._xmpp.loop.call_later(UNREACHABLE_BACKOFF, self._routes.forget, bare(item.to))
        self.write_plaintext(item.stanza)
