"""Presence and subscriptions (RFC 6121 §3, §4), and the roster pushes that follow from them (§2.1.6)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TypeAlias
from xml.etree.ElementTree import Element, SubElement

from slixmpp import JID

from .directory import Directory, Subscription
from .session import ClientSession
from .stanzas import IQ, addressed, presence
from .wire import CLIENT, ROSTER

Send: TypeAlias = Callable[[ClientSession, Element], None]
SendAbroad: TypeAlias = Callable[[str, Element], bool]
"""Hands a stanza to another domain; returns False if there is no way to it."""


class PresenceService:
    """Sends presence to those who may see it."""

    def __init__(self, directory: Directory, send: Send, send_abroad: SendAbroad) -> None:
        self._directory = directory
        self._send = send
        self._send_abroad = send_abroad
        self._push_ids = itertools.count(1)

    def broadcast(self, session: ClientSession, stanza: Element) -> None:
        """Handle a presence without ``to``: available or unavailable (RFC 6121 §4.2, §4.4, §4.5)."""
        kind = stanza.get("type")
        if kind == "unavailable":
            self._leave(session, stanza)
            return
        if kind is not None:
            return
        initial = session.presence is None
        session.presence = stanza
        session.priority = _priority(stanza)
        self._spread(session, stanza)
        if initial:
            self._answer_probes(session)

    def gone(self, session: ClientSession) -> None:
        """Announce that a session has ended, closed or cut."""
        self._leave(session, presence(session.jid, session.bare, "unavailable"))

    def directed(self, session: ClientSession, stanza: Element, to: JID) -> None:
        """Remember who got directed presence (RFC 6121 §4.6.3). The router delivers it."""
        if stanza.get("type") == "unavailable":
            session.directed.discard(to.full)
        elif stanza.get("type") is None:
            session.directed.add(to.full)

    def probe(self, sender: JID, to: JID) -> None:
        """Send ``sender`` the presence of ``to``, if they may see it (RFC 6121 §4.3.2)."""
        if not self._directory.watches(sender.bare, to.bare):
            return
        watcher = self._directory.session(sender.full)
        if watcher is not None:
            self._tell(watcher, to.bare)
        elif not self._directory.is_ours(sender.bare):
            self._tell_abroad(sender.full, to.bare)

    def subscription(self, stanza: Element, sender: JID, to: JID) -> None:
        """Route a subscription stanza and apply it (RFC 6121 §3). Requests to offline contacts are not stored."""
        kind = stanza.get("type")
        stanza = addressed(stanza, to.bare)
        stanza.set("from", sender.bare)
        watches = self._directory.watches
        if kind == "subscribe" and self._directory.is_ours(to.bare) and watches(sender.bare, to.bare):
            self._send_all(sender.bare, presence(to.bare, sender.bare, "subscribed"))  # §3.1.3: the server answers
            return
        self._send_all(to.bare, stanza)
        if kind == "subscribed":
            self.watch(to.bare, sender.bare, True)
        elif kind == "unsubscribed":
            self.watch(to.bare, sender.bare, False)
        elif kind == "unsubscribe":
            self.watch(sender.bare, to.bare, False)

    def watch(self, watcher: str, contact: str, granted: bool) -> None:
        """Let ``watcher`` see ``contact`` (bare JIDs), or no longer. Pushes rosters and sends presence."""
        if self._directory.watches(watcher, contact) == granted:
            return
        self._directory.watch(watcher, contact, granted)
        self._push(watcher, contact)
        self._push(contact, watcher)
        if not self._directory.is_ours(watcher):
            self._tell_abroad(watcher, contact, None if granted else "unavailable")
        for session in self._directory.available(watcher):
            if granted:
                self._tell(session, contact)
                continue
            for hidden in self._directory.available(contact):
                self._send(session, presence(hidden.jid, session.jid, "unavailable"))

    def roster_item(self, contact: str, state: Subscription) -> Element:
        """Return one ``<item/>`` of a roster."""
        return Element(f"{{{ROSTER}}}item", jid=contact, name=contact.partition("@")[0], subscription=state.value)

    def _leave(self, session: ClientSession, stanza: Element) -> None:
        if session.presence is not None:
            self._spread(session, stanza)
        watchers = {contact for contact in session.directed if not self._told(session, contact)}
        session.presence = None
        session.priority = 0
        session.directed.clear()
        for contact in sorted(watchers):
            jid = JID(contact)
            if not self._directory.is_ours(jid.bare):
                self._send_abroad(jid.domain, addressed(stanza, contact))
                continue
            match = self._directory.session(contact)
            for target in [match] if match else self._directory.available(jid.bare) if not jid.resource else []:
                self._send(target, addressed(stanza, contact))

    def _told(self, session: ClientSession, contact: str) -> bool:
        """Return whether the broadcast has reached this address already."""
        bare = JID(contact).bare
        if session.presence is None or not self._directory.watches(bare, session.bare):
            return False
        match = self._directory.session(contact)
        return match is None or match.presence is not None

    def _spread(self, session: ClientSession, stanza: Element) -> None:
        for other in self._directory.sessions():
            if other.presence is not None and self._directory.watches(other.bare, session.bare):
                self._send(other, addressed(stanza, other.bare))
        for watcher in self._directory.watchers_abroad(session.bare):
            self._send_abroad(JID(watcher).domain, addressed(stanza, watcher))

    def _answer_probes(self, session: ClientSession) -> None:
        """Send a new session the presence of its contacts and of its account's other resources (RFC 6121 §4.2.2, §4.3)."""
        for other in self._directory.sessions():
            if other is not session and other.presence is not None and self._watches(session, other):
                self._send(session, addressed(other.presence, session.jid))
        for contact in self._directory.watched_abroad(session.bare):
            self._send_abroad(JID(contact).domain, presence(session.jid, contact, "probe"))

    def _watches(self, session: ClientSession, other: ClientSession) -> bool:
        return self._directory.watches(session.bare, other.bare)

    def _tell(self, watcher: ClientSession, contact: str) -> None:
        for session in self._directory.available(contact):
            if session.presence is not None:
                self._send(watcher, addressed(session.presence, watcher.jid))

    def _tell_abroad(self, watcher: str, contact: str, kind: str | None = None) -> None:
        for session in self._directory.available(contact):
            if session.presence is not None:
                told = addressed(session.presence, watcher) if kind is None else presence(session.jid, watcher, kind)
                self._send_abroad(JID(watcher).domain, told)

    def _send_all(self, bare: str, stanza: Element) -> None:
        """Send to every available resource of an account of ours, or to another domain."""
        if not self._directory.is_ours(bare):
            self._send_abroad(JID(bare).domain, stanza)
        for session in self._directory.available(bare):
            self._send(session, stanza)

    def _push(self, owner: str, contact: str) -> None:
        for session in self._directory.sessions(owner):
            if session.wants_roster:
                push = Element(IQ, {"type": "set", "id": f"push-{next(self._push_ids)}", "to": session.jid})
                query = SubElement(push, f"{{{ROSTER}}}query")
                query.append(self.roster_item(contact, self._directory.subscription(owner, contact)))
                self._send(session, push)


def _priority(stanza: Element) -> int:
    """Return the priority, from -128 to 127, or 0 if it is absent or invalid (RFC 6121 §4.7.2.3)."""
    try:
        return max(-128, min(127, int(stanza.findtext(f"{{{CLIENT}}}priority") or 0)))
    except ValueError:
        return 0
