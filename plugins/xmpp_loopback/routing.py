"""Route stanzas by the rules of RFC 6120 §10 and RFC 6121 §8.5, for one domain and to other domains. No offline storage.

Where RFC 6121 leaves a choice: a message to a bare JID goes to *all* available resources of non-negative priority
(§8.5.2.1.1). Without one, the server answers chat and normal messages with service-unavailable (§8.5.2.2.1). It treats a
chat message to a resource that is gone as if sent to the bare JID, and answers a normal one with an error (§8.5.3.2.1).
"""

from __future__ import annotations

from xml.etree.ElementTree import Element

from slixmpp import JID, InvalidJID

from .directory import Directory
from .presence import PresenceService, Send, SendAbroad
from .services import Services
from .session import ClientSession
from .stanzas import IQ, MESSAGE, PRESENCE, SUBSCRIPTION_TYPES, error


class Router:
    """Delivers stanzas."""

    def __init__(self, directory: Directory, send: Send, send_abroad: SendAbroad) -> None:
        self._directory = directory
        self._send = send
        self._send_abroad = send_abroad
        self.presences = PresenceService(directory, send, send_abroad)
        self._services = Services(directory, self.presences)

    def route(self, stanza: Element, sender: str) -> None:
        """Deliver a stanza. Errors go to ``sender`` (a full JID); recipients see the stanza's ``from``."""
        try:
            to = JID(stanza.get("to", ""))
        except InvalidJID:
            self._refuse(stanza, sender, "jid-malformed")
            return
        if to.domain and to.domain != self._directory.domain:
            self._abroad(stanza, sender, to)
        elif stanza.tag == MESSAGE:
            self._message(stanza, sender, to)
        elif stanza.tag == IQ:
            self._iq(stanza, sender, to)
        else:
            self._presence(stanza, sender, to)

    def _abroad(self, stanza: Element, sender: str, to: JID) -> None:
        """Send a stanza to another domain, if there is a way to it."""
        if stanza.tag == PRESENCE:
            origin = self._directory.session(sender)
            if stanza.get("type") in SUBSCRIPTION_TYPES:
                self.presences.subscription(stanza, JID(stanza.get("from", sender)), to)
                return
            if origin is not None:
                self.presences.directed(origin, stanza, to)
        if not self._send_abroad(to.domain, stanza):
            self._refuse(stanza, sender, "remote-server-not-found")

    def _message(self, stanza: Element, sender: str, to: JID) -> None:
        if to.domain and not to.user:
            return  # nobody reads messages to the server
        kind = stanza.get("type", "normal")
        target = self._directory.session(to.full)
        if to.resource and target is not None:
            self._send(target, stanza)
            return
        if kind == "error":
            return  # §8.5.2.1.1 and §8.5.3.2.1: silently ignored
        bare = to.bare if to.user else JID(sender).bare
        willing = [session for session in self._directory.available(bare) if session.priority >= 0]
        if kind == "groupchat" or not willing or (to.resource and kind != "chat"):
            if kind != "headline":
                self._refuse(stanza, sender, "service-unavailable")
            return
        for session in willing:
            self._send(session, stanza)

    def _iq(self, stanza: Element, sender: str, to: JID) -> None:
        target = self._directory.session(to.full)
        if to.user and to.resource:
            if target is None:
                self._refuse(stanza, sender, "service-unavailable")
            else:
                self._send(target, stanza)
            return
        asker = self._directory.session(sender) or ClientSession(sender, JID(sender).bare, None)
        reply = self._services.answer(asker, stanza, to if to.domain else JID(asker.bare))
        if reply is not None:
            self._reply(reply, sender)

    def _presence(self, stanza: Element, sender: str, to: JID) -> None:
        origin = self._directory.session(sender)
        kind = stanza.get("type")
        if not to.domain:
            if origin is not None:
                self.presences.broadcast(origin, stanza)
            return
        if kind in SUBSCRIPTION_TYPES:
            self.presences.subscription(stanza, JID(stanza.get("from", sender)), to)
        elif kind == "probe":
            self.presences.probe(JID(sender), to)
        else:
            if origin is not None:
                self.presences.directed(origin, stanza, to)
            for session in self._recipients(to):
                self._send(session, stanza)

    def _recipients(self, to: JID) -> list[ClientSession]:
        if to.resource:
            match = self._directory.session(to.full)
            return [] if match is None else [match]
        return self._directory.available(to.bare)

    def _refuse(self, stanza: Element, sender: str, condition: str) -> None:
        reply = error(stanza, condition)
        if reply is not None:
            self._reply(reply, sender)

    def _reply(self, reply: Element, sender: str) -> None:
        origin = self._directory.session(sender)
        if origin is not None:
            self._send(origin, reply)
        elif not self._is_ours(sender):
            self._send_abroad(JID(sender).domain, reply)

    def _is_ours(self, jid: str) -> bool:
        return self._directory.is_ours(JID(jid).bare)
