"""The way in: plaintext is judged, our own iqs are taken, and what came inside a session is put before the handlers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from xml.etree.ElementTree import Element

from slixmpp import JID, InvalidJID, Iq, Message, Presence
from slixmpp.basexmpp import BaseXMPP
from slixmpp.xmlstream.stanzabase import StanzaBase

from slixmpp_e2e.errors import PlaintextNotAllowed
from slixmpp_e2e.events import PlaintextReceived, PlaintextRefused, StoreFailed
from slixmpp_e2e.jids import bare
from slixmpp_e2e.messages.clear import invited_by
from slixmpp_e2e.messages.iq_tracking import IqTracker, is_request
from slixmpp_e2e.messages.room_questions import RoomQuestions
from slixmpp_e2e.messages.rooms import MucRooms
from slixmpp_e2e.messages.scope import (
    carbon_contents,
    forwarded_from,
    is_carbon,
    only_servers_say,
    plaintext_always_allowed,
)
from slixmpp_e2e.policy import Incoming, Policy, incoming_plaintext
from slixmpp_e2e.sessions.driver import DriverEvent, SessionDriver
from slixmpp_e2e.sessions.signalling import Signalling
from slixmpp_e2e.store.errors import StoreError
from slixmpp_e2e.trust.peer_settings import PeerSettingsLookup
from slixmpp_e2e.xmpp import adapter, marker
from slixmpp_e2e.xmpp.emitter import Emitter
from slixmpp_e2e.xmpp.iq_channel import IqChannel
from xmpp_e2e import events
from xmpp_e2e.errors import JingleError

log = logging.getLogger("slixmpp_e2e")

_IQ = "{jabber:client}iq"
_STRICTEST = (Incoming.DELIVER, Incoming.DELIVER_AND_TELL, Incoming.REFUSE)
"""In this order."""


class IncomingFilter:
    """The filter for what comes."""

    def __init__(
        self,
        xmpp: BaseXMPP,
        channel: IqChannel,
        signalling: Signalling,
        rooms: MucRooms,
        questions: RoomQuestions,
        iqs: IqTracker,
        peers: PeerSettingsLookup,
        emitter: Emitter,
        token_of: Callable[[SessionDriver], str],
        on_presence: Callable[[Presence], bool],
        note_plaintext_from: Callable[[tuple[str, str]], None],
    ) -> None:
        """``on_presence``: takes presence in, and returns whether handlers get it. ``token_of``: the marker's token of a
        session that has opened; empty for any other. ``note_plaintext_from``: a message came in plaintext to this address of
        ours, from this full JID."""
        self._xmpp, self._channel, self._signalling, self._rooms = xmpp, channel, signalling, rooms
        self._questions, self._iqs, self._peers, self._emitter = questions, iqs, peers, emitter
        self._token_of, self._on_presence, self._note_plaintext_from = token_of, on_presence, note_plaintext_from
        self._injected: StanzaBase | None = None
        """The stanza that we hand to the filters at this moment."""

    # --- from a session --------------------------------------------------------------------------------------------

    def on_session_event(self, driver: SessionDriver, event: DriverEvent) -> None:
        """Deliver what came through a session that was announced to the user."""
        if isinstance(event, events.StanzaReceived) and (token := self._token_of(driver)):
            self._inject(driver, token, event.stanza)

    def _inject(self, session: SessionDriver, token: str, element: Element) -> None:
        """Put a stanza that came through a session before the handlers, marked with the session's token."""
        stanza = adapter.build(self._xmpp, element)
        marker.put(stanza, token)
        if isinstance(stanza, Iq) and not self._iqs.on_encrypted(stanza, session):
            log.warning("%s answered a question that was asked in another session", session.peer)
            return
        if only_servers_say(element) or not self._may_forward(session, element):
            log.warning("%s says inside a session what is not theirs to say; it was dropped", session.peer)
            if isinstance(stanza, Iq):
                stanza.unhandled()
            return
        before, self._injected = self._injected, stanza
        try:
            adapter.inject(self._xmpp, stanza)
        finally:
            self._injected = before

    def _may_forward(self, session: SessionDriver, element: Element) -> bool:
        """Return whether the messages that a stanza forwards may come so, by the policies for their authors: a session proves
        nobody's words but the peer's own."""
        try:
            said = (*forwarded_from(element), *invited_by(element))
            authors = {author.bare for author in said} - {"", bare(session.peer)}
        except InvalidJID:
            return False
        return all(self._peers.of(author).policy is not Policy.REQUIRE for author in authors)

    # --- from the stream -------------------------------------------------------------------------------------------

    def take_element(self, element: Element) -> bool:
        """Take what belongs to a bytestream of ours, or answers us, before slixmpp makes a stanza of it: most of what comes.
        Return whether it is dealt with."""
        if element.tag != _IQ:  # those of a component have another namespace, and go the long way
            return False
        try:
            if element.get("type") == "set":
                return self._signalling.take_block(element, self._channel.own_jid(element.get("to", "")))
            return self._channel.take_reply(element)
        except StoreError as error:
            self._on_store_error(element, error)
            return True

    def filter_incoming(self, stanza: StanzaBase) -> StanzaBase | None:
        """The ``in`` filter: the stanza, if handlers get it; None if not."""
        if not isinstance(stanza, Message | Iq | Presence):
            return stanza
        try:
            if self._should_deliver(stanza):
                return stanza
        except StoreError as error:
            self._on_store_error(stanza.xml, error)
        adapter.count_as_handled(self._xmpp, stanza, self.filter_incoming)
        return None

    def _on_store_error(self, stanza: Element, error: StoreError) -> None:
        """Tell, and drop a stanza. The error must not go on to slixmpp: it would end the client's stream."""
        log.error("a stanza of %.200r was dropped", stanza.get("from"))
        self._emitter.emit(StoreFailed(error))
        if stanza.tag.endswith("}iq") and stanza.get("type") in ("get", "set"):
            self._channel.error(stanza, JingleError(str(error), "internal-server-error", type="wait"))

    def _should_deliver(self, stanza: Message | Iq | Presence) -> bool:
        # a token alone proves nothing: slixmpp writes it into its debug log
        if self._injected is not None and marker.token_of(stanza) is not None:
            return True
        marker.strip(stanza)
        account = self._xmpp.boundjid.bare
        try:
            peer: JID = stanza["from"]
            _ = stanza["to"]
            copies = list(carbon_contents(stanza.xml, account)) if isinstance(stanza, Message) else []
            inviting = [by for by in invited_by(stanza.xml) if by.local] if isinstance(stanza, Message) else []
        except InvalidJID:
            # many servers let through what slixmpp's stringprep refuses. It would raise again inside slixmpp, where it ends
            # the connection, and no policy can be looked up for such an address
            log.warning("a stanza was dropped: %.200r is no JID", stanza.xml.get("from"))
            return False
        if isinstance(stanza, Presence):
            return self._on_presence(stanza)
        if isinstance(stanza, Iq) and (self._is_e2e_iq(stanza) or self._is_bad_reply(stanza, peer)):
            return False
        sender = peer if peer.bare else JID(account)  # RFC 6120 §8.1.2.1
        # slixmpp takes carbons from any device of ours. In anybody else's message they are nothing, and must alarm nobody
        if not self._plaintext_allowed(stanza, sender, copies if sender.bare == account else [], inviting):
            return False
        if isinstance(stanza, Iq):
            self._iqs.on_plaintext_request(stanza)
        elif peer.local and peer.resource and stanza["type"] in ("chat", "normal") and not self._rooms.may_be(peer.bare):
            self._note_plaintext_from((self._channel.own_jid(stanza.xml.get("to", "")), peer.full))
        return True

    def _is_e2e_iq(self, iq: Iq) -> bool:
        """Return whether it belongs to our sessions; then it has been dealt with."""
        if self._channel.take_reply(iq.xml):
            return True
        if iq.xml.get("type") != "set":
            return False
        own_jid, others = self._channel.own_jid(iq.xml.get("to", "")), self._xmpp.plugin
        return self._signalling.take_jingle(iq.xml, own_jid, shared="xep_0166" in others) or self._signalling.take_ibb(
            iq.xml, own_jid, shared="xep_0047" in others
        )

    def _is_bad_reply(self, iq: Iq, peer: JID) -> bool:
        """Return whether it is a reply that must not be delivered: its request went through a session, or there was none."""
        if is_request(iq):
            return False
        if self._iqs.is_spoofed_reply(iq):
            error = PlaintextNotAllowed("the answer to a question that was asked inside a session came outside of it")
            self._emitter.emit(PlaintextRefused(iq, error))
            return True
        return self._is_unsolicited(iq, peer)

    def _is_unsolicited(self, reply: Iq, peer: JID) -> bool:
        """Return whether a reply answers no request of ours, though the policy for its sender is ``require``.

        Then it is plaintext like any other, and refused. No event says so: it may only be late, after we stopped waiting.
        """
        if not peer.local or peer.bare in self._rooms or self._peers.of(peer.bare).policy is not Policy.REQUIRE:
            return False
        return not adapter.has_reply_handler(self._xmpp, reply)

    def _plaintext_allowed(
        self, came: Message | Iq, sender: JID, copies: list[tuple[Message, JID]], inviting: list[JID]
    ) -> bool:
        """Return whether what came in plaintext may be delivered: by the policies for its sender, for the parties of which it
        brings ``copies``, and for whoever is said to be ``inviting``. At most one event tells of it."""
        told = [(came, sender, f"{sender} wrote in plaintext")]
        told += [(copied, party, f"a copy came of plaintext from or to {party}") for copied, party in copies]
        told += [(came, by, f"{sender} passed on in plaintext what {by} is said to write") for by in inviting]
        verdict, wrote = max(
            ((self._judge(stanza, party), words) for stanza, party, words in told),
            key=lambda judged: _STRICTEST.index(judged[0]),
        )
        if verdict is Incoming.REFUSE:
            if isinstance(came, Message) and self._questions.hold(came, sender):
                return False  # it comes again, once its sender has said whether it is a room
            refused = PlaintextNotAllowed(f"{wrote}, which the policy `require` refuses")
            self._emitter.emit(PlaintextRefused(came, refused))
            if isinstance(came, Iq):
                self._channel.error(came.xml, JingleError("refused in plaintext", "service-unavailable"))
        elif verdict is Incoming.DELIVER_AND_TELL:
            unexpected = PlaintextNotAllowed(f"{wrote}, though we have had an encrypted session with them")
            self._emitter.emit(PlaintextReceived(came, unexpected))
        return verdict is not Incoming.REFUSE

    def _judge(self, stanza: Message | Iq, peer: JID) -> Incoming:
        account = self._xmpp.boundjid.bare
        if plaintext_always_allowed(stanza, peer, self._rooms, account):
            return Incoming.DELIVER
        if peer.full == account and is_carbon(stanza.xml):
            return Incoming.DELIVER  # the messages in it are judged, however deep
        settings = self._peers.of(peer.bare)
        # nobody could have sent it through a session: it must alarm nobody
        for_nobody = self._rooms.own.is_nobody(stanza, self._channel.own_jid(stanza.xml.get("to", "")))
        return incoming_plaintext(settings.policy, seen_before=settings.has_used_e2e and not for_nobody)
