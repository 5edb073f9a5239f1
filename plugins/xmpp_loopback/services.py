"""Answer iqs for the server itself: roster, service discovery, ping (RFC 6121 §2, XEP-0030, XEP-0199, RFC 3921 §3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, TypeAlias
from xml.etree.ElementTree import Element

from slixmpp import JID, InvalidJID

from .directory import Directory
from .presence import PresenceService
from .session import ClientSession
from .stanzas import error, payload_of, result
from .wire import DISCO_INFO, DISCO_ITEMS, PING, ROSTER, SESSION

Answer: TypeAlias = Callable[["Services", ClientSession, Element, Element, JID], Element | None]


class Services:
    """Answers an iq of type get or set to the domain, or to an account for which the server answers."""

    def __init__(self, directory: Directory, presences: PresenceService) -> None:
        self._directory = directory
        self._presences = presences

    def answer(self, session: ClientSession, iq: Element, to: JID) -> Element | None:
        """Return the reply; None for a stanza that is itself a result or an error.

        ``to`` is the domain or one of its bare JIDs. It is the sender's own if the iq had no ``to``.
        """
        request = payload_of(iq)
        if request is None:
            return error(iq, "bad-request")
        spoken_for = not to.resource and (not to.user or self._directory.exists(to.bare))
        if spoken_for and (rule := self._RULES.get((iq.get("type", ""), request.tag))) is not None:
            reply = rule(self, session, iq, request, to)
            if reply is not None:
                return reply
        return error(iq, "service-unavailable")

    def _roster_get(self, session: ClientSession, iq: Element, request: Element, to: JID) -> Element | None:
        if to.bare != session.bare:
            return None
        session.wants_roster = True
        query = Element(f"{{{ROSTER}}}query")
        for contact, state in self._directory.contacts(session.bare):
            query.append(self._presences.roster_item(contact, state))
        return result(iq, query)

    def _roster_set(self, session: ClientSession, iq: Element, request: Element, to: JID) -> Element | None:
        """Apply removals, which end both subscriptions (RFC 6121 §2.5). Names and groups are not kept."""
        if to.bare != session.bare:
            return None
        for item in request:
            if item.get("subscription") == "remove":
                try:
                    contact = JID(item.get("jid", "")).bare
                except InvalidJID:
                    return error(iq, "jid-malformed")
                self._presences.watch(session.bare, contact, False)
                self._presences.watch(contact, session.bare, False)
        return result(iq)

    def _info(self, session: ClientSession, iq: Element, request: Element, to: JID) -> Element | None:
        query = Element(f"{{{DISCO_INFO}}}query")
        if not to.user:
            identity = {"category": "server", "type": "im", "name": "loopback, not for production"}
            features = [DISCO_INFO, DISCO_ITEMS, PING, ROSTER]
        elif self._directory.watches(session.bare, to.bare):
            identity = {"category": "account", "type": "registered"}
            features = [DISCO_INFO, DISCO_ITEMS]
        else:
            return None
        query.append(Element(f"{{{DISCO_INFO}}}identity", identity))
        query.extend(Element(f"{{{DISCO_INFO}}}feature", var=feature) for feature in features)
        return result(iq, query)

    def _items(self, session: ClientSession, iq: Element, request: Element, to: JID) -> Element | None:
        query = Element(f"{{{DISCO_ITEMS}}}query")
        if to.user:
            if not self._directory.watches(session.bare, to.bare):
                return None
            for other in self._directory.available(to.bare):
                query.append(Element(f"{{{DISCO_ITEMS}}}item", jid=other.jid))
        return result(iq, query)

    def _pong(self, session: ClientSession, iq: Element, request: Element, to: JID) -> Element | None:
        return result(iq) if not to.user or to.bare == session.bare else None

    _RULES: ClassVar[dict[tuple[str, str], Answer]] = {
        ("get", f"{{{ROSTER}}}query"): _roster_get,
        ("set", f"{{{ROSTER}}}query"): _roster_set,
        ("get", f"{{{DISCO_INFO}}}query"): _info,
        ("get", f"{{{DISCO_ITEMS}}}query"): _items,
        ("get", f"{{{PING}}}ping"): _pong,
        ("set", f"{{{SESSION}}}session"): _pong,
    }
