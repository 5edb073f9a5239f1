"""Between slixmpp and its stream: what goes out is diverted, what comes in is told apart. Synchronous, both of them."""

from __future__ import annotations

import logging
from typing import Protocol

from slixmpp import JID, InvalidJID, Iq, Message, Presence
from slixmpp.basexmpp import BaseXMPP
from slixmpp.xmlstream.stanzabase import StanzaBase

from slixmpp_e2e.errors import PlaintextRefused, SessionGone
from slixmpp_e2e.messages.iq_tracking import InsideIqs, is_request
from slixmpp_e2e.messages.queue import Outbox
from slixmpp_e2e.messages.scope import Rooms, copies, is_carbon, may_come_outside, stays_outside
from slixmpp_e2e.sessions.registry import Sessions
from slixmpp_e2e.store.errors import StoreError
from slixmpp_e2e.xmpp import adapter
from slixmpp_e2e.xmpp import marker as mark
from slixmpp_e2e.xmpp.iq_channel import OwnIq, OwnIqs
from xmpp_e2e.errors import E2EError, JingleError
from xmpp_e2e.stream import NS_CLIENT, writer
from xmpp_e2e.trust.policy import Incoming, Policy

log = logging.getLogger("slixmpp_e2e")


class Host(Protocol):
    """What the filters need of the plugin."""

    xmpp: BaseXMPP
    iqs: OwnIqs
    inside: InsideIqs
    sessions: Sessions
    outbox: Outbox
    rooms: Rooms
    injecting: bool
    """Is it we who hand a stanza to the filters at this moment?"""

    def policy_with(self, bare: str) -> Policy:
        """The policy that is in force with a peer."""

    def permits_clear(self, bare: str) -> bool:
        """Do the terms of this moment let plaintext go to a peer who seems to have no encryption?"""

    def judge_plaintext(self, bare: str) -> Incoming:
        """What becomes of plaintext of this peer."""

    def presence(self, stanza: Presence) -> None:
        """A presence stanza came outside."""

    def asks(self, iq: Iq) -> None:
        """An iq goes inside."""

    def write(self, stanza: StanzaBase, text: bytes | None = None) -> None:
        """Send a stanza by what is left of the ordinary way."""

    def send_failed(self, stanza: StanzaBase, error: E2EError) -> None:
        """A stanza was not sent."""

    def plaintext(self, name: str, stanza: StanzaBase, error: E2EError) -> None:
        """Tell about a stanza that came in clear: ``received`` or ``refused``."""

    def store_failed(self, error: StoreError) -> None:
        """Tell that the store failed."""


class Filters:
    """The three filters of one client."""

    def __init__(self, host: Host) -> None:
        self._host = host

    # --- out -------------------------------------------------------------------------------------------------------

    def first(self, stanza: StanzaBase) -> StanzaBase | None:
        """The first ``out`` filter: None for our own iqs, which leave here."""
        if not isinstance(stanza, OwnIq):
            return stanza
        if (iq := self._host.iqs.turn()) is not None:
            plain = self._host.xmpp.default_ns == NS_CLIENT
            self._host.write(iq, writer.element(iq.xml) if plain else None)
        return None

    def outgoing(self, stanza: StanzaBase) -> StanzaBase | None:
        """The ``out_sync`` filter: the stanza, if it goes out in clear; None, if it goes another way or none."""
        if not isinstance(stanza, Message | Iq | Presence):
            return stanza
        mark.strip(stanza)
        self._host.rooms.notice(stanza)
        try:
            return stanza if self._is_clear(stanza, stanza["to"]) else None
        except E2EError as error:
            self._host.send_failed(stanza, error)
            return None

    def _is_clear(self, stanza: Message | Iq | Presence, to: JID) -> bool:
        """Does it go out in clear? If not, it has been taken care of."""
        host = self._host
        if isinstance(stanza, Iq) and not is_request(stanza):
            if (link := host.inside.owes(stanza)) is not None:
                host.outbox.reply(stanza, link)
                return False
            if not host.inside.may_go_outside(stanza):
                raise SessionGone("no request is known that this answers: if one came inside a session, that has ended")
        if stays_outside(stanza, to, host.rooms, component=host.xmpp.is_component) or host.policy_with(to.bare) is Policy.OFF:
            return True
        ours = self._ours(stanza.xml.get("from", ""))
        route = host.outbox.route(ours, to.full)
        if route is not None and route.clear:
            if host.permits_clear(to.bare):
                return True
            host.outbox.forget_routes(to.bare)  # another process has changed the terms since it was found
        if isinstance(stanza, Iq):
            host.asks(stanza)
        host.outbox.send(stanza, ours, to.full)
        return False

    # --- in --------------------------------------------------------------------------------------------------------

    def incoming(self, stanza: StanzaBase) -> StanzaBase | None:
        """The ``in`` filter: the stanza, if it is to be handled; None if not."""
        if not isinstance(stanza, Message | Iq | Presence):
            return stanza
        try:
            if self._is_admitted(stanza):
                return stanza
        except StoreError as error:
            # out of here it would end the client's stream
            log.error("a stanza of %.200r was dropped", stanza.xml.get("from"))
            self._host.store_failed(error)
            if isinstance(stanza, Iq) and is_request(stanza):
                self._host.iqs.error(stanza, JingleError(str(error), "internal-server-error", type="wait"))
        adapter.keep(self._host.xmpp, stanza, self.incoming)
        return None

    def _is_admitted(self, stanza: Message | Iq | Presence) -> bool:
        host = self._host
        # a token alone is no proof: slixmpp's log has it, at the level DEBUG
        if host.injecting and mark.token_of(stanza) is not None:
            return True
        mark.strip(stanza)
        try:
            peer: JID = stanza["from"]
            _ = stanza["to"]
            copied = list(copies(stanza.xml, self._account)) if isinstance(stanza, Message) else []
        except InvalidJID:
            # many servers let through what slixmpp's stringprep refuses; it would raise again in the middle of slixmpp,
            # where it ends the connection, and no policy can be looked up for such an address
            log.warning("a stanza was dropped: %.200r is no JID", stanza.xml.get("from"))
            return False
        if isinstance(stanza, Presence):
            host.presence(stanza)
            return True
        if isinstance(stanza, Iq) and self._is_ours(stanza):
            return False
        if isinstance(stanza, Iq) and host.inside.forged(stanza):
            error = PlaintextRefused("the answer to a question that was asked inside a session came outside of it")
            host.plaintext("refused", stanza, error)
            return False
        if isinstance(stanza, Iq) and not is_request(stanza) and self._is_unasked(stanza, peer):
            return False
        sender = peer if peer.bare else JID(self._account)  # RFC 6120 §8.1.2.1
        if not all(self._is_welcome(stanza, each, other) for each, other in [*copied, (stanza, sender)]):
            return False
        if isinstance(stanza, Iq):
            host.inside.came_outside(stanza)
        return True

    @property
    def _account(self) -> str:
        return self._host.xmpp.boundjid.bare

    def _is_ours(self, iq: Iq) -> bool:
        host = self._host
        if host.iqs.takes(iq):
            return True
        if iq.xml.get("type") != "set":
            return False
        ours = self._ours(iq.xml.get("to", ""))
        plugins = host.xmpp.plugin
        return host.sessions.takes_jingle(iq, ours, others="xep_0166" in plugins) or host.sessions.takes_block(
            iq, ours, others="xep_0047" in plugins
        )

    def _is_unasked(self, reply: Iq, peer: JID) -> bool:
        """Is it of somebody with whom encryption is required, and answers nothing? Then it is no answer but plaintext. (It
        may also be a late one, to a question that was given up; so nobody is alarmed.)"""
        host = self._host
        if not peer.local or peer.bare in host.rooms or host.policy_with(peer.bare) is not Policy.REQUIRE:
            return False
        return not adapter.awaits(host.xmpp, reply)

    def _is_welcome(self, came: Message | Iq, stanza: Message | Iq, peer: JID) -> bool:
        """May this peer's ``stanza`` be delivered in clear: the one that ``came``, or a message of which that brings a copy?"""
        host = self._host
        if may_come_outside(stanza, peer, host.rooms, self._account):
            return True
        if peer.full == self._account and is_carbon(stanza.xml):
            return True  # what it brings has been judged, however deep
        wrote = f"{peer} wrote in clear" if stanza is came else f"a copy came of what was written from or to {peer} in clear"
        verdict = host.judge_plaintext(peer.bare)
        if verdict is Incoming.REFUSE:
            host.plaintext("refused", came, PlaintextRefused(f"{wrote}, which the policy `require` refuses"))
            if isinstance(came, Iq):
                host.iqs.error(came, JingleError("refused in clear", "service-unavailable"))
        elif verdict is Incoming.DELIVER_AND_TELL:
            host.plaintext("received", came, PlaintextRefused(f"{wrote}, though we have had an encrypted session with him"))
        return verdict is not Incoming.REFUSE

    def _ours(self, stamped: str) -> str:
        """The JID of ours that a stanza is from or to: a component has many."""
        xmpp = self._host.xmpp
        return stamped if xmpp.is_component and stamped else str(xmpp.boundjid.full)
