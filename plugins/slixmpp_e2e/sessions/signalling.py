"""Takes Jingle and IBB iqs from peers: to the session that they belong to, or through admission to a new one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from xml.etree.ElementTree import Element

from slixmpp_e2e.jids import bare
from slixmpp_e2e.sessions.admission.check import Admission
from slixmpp_e2e.sessions.driver import DriverEvent, SessionDriver
from slixmpp_e2e.sessions.registry import SessionKey, SessionRegistry
from slixmpp_e2e.xmpp.iq_channel import IqChannel
from xmpp_e2e import events
from xmpp_e2e.errors import JingleError
from xmpp_e2e.negotiate.digest import wins_tie_break
from xmpp_e2e.negotiate.jingle import NS_JINGLE, NS_SECURITY, NS_XMLSTREAM, Action, Jingle, Reason, parse
from xmpp_e2e.states import State
from xmpp_e2e.transport.ibb import NS_IBB, sid_of
from xmpp_e2e.types import Assurance

_JINGLE = f"{{{NS_JINGLE}}}jingle"
_OURS = (f".//{{{NS_SECURITY}}}security", f".//{{{NS_XMLSTREAM}}}description")
CreateResponder = Callable[[str, str, Assurance], SessionDriver]
"""Makes the driver of a session that a peer offers, from our own JID, the peer's, and a minimum assurance beyond the settings.
JingleError if there can be none."""


class Signalling:
    """Sorts the iqs of peers, and answers each of them."""

    def __init__(
        self,
        registry: SessionRegistry,
        admission: Admission,
        iqs: IqChannel,
        create: CreateResponder,
        resolve_room: Callable[[str, str, Callable[[bool], None]], None],
    ) -> None:
        """``resolve_room(own_jid, account, act)`` calls ``act`` with whether an account is a room, now or later."""
        self._resolve_room = resolve_room
        self._registry, self._admission, self._iqs, self._create = registry, admission, iqs, create

    def take_jingle(self, iq: Element, own_jid: str, *, shared: bool) -> bool:
        """Take a Jingle iq; return whether it is for us. ``shared``: another Jingle plugin is loaded."""
        jingle = iq.find(_JINGLE)
        if jingle is None:
            return False
        key = (own_jid, iq.get("from", ""), jingle.get("sid", ""))
        driver = self._registry.find(key)
        starts = jingle.get("action") == Action.SESSION_INITIATE.value
        is_ours = any(jingle.find(path) is not None for path in _OURS) if starts else self._registry.has_ended(key)
        if driver is None and shared and not is_ours:
            return False
        new: SessionDriver | None = None
        try:
            if driver is None:
                driver = new = self._no_session(key, jingle)
            if driver is not None:
                driver.receive_jingle(jingle)
        except JingleError as error:
            self._iqs.error(iq, error)
            if new is not None:
                self._admission.limits.leave(new)
        else:
            self._iqs.result(iq)
            if new is not None:
                self._registry.add(new)
        if driver is not None and driver.state is not State.IDLE:
            driver.process()
        return True

    def take_block(self, iq: Element, own_jid: str) -> bool:
        """Take an IBB iq of a bytestream that there is; return whether it was one."""
        payload = iq[0] if len(iq) else None
        if payload is None or (sid := sid_of(payload)) is None:
            return False
        driver = self._registry.by_stream((own_jid, iq.get("from", ""), sid))
        if driver is not None:
            driver.receive_ibb(iq, payload)
        return driver is not None

    def take_ibb(self, iq: Element, own_jid: str, *, shared: bool) -> bool:
        """Take an IBB iq; return whether it is for us. ``shared``: another IBB plugin is loaded."""
        if self.take_block(iq, own_jid):
            return True
        payload = iq[0] if len(iq) else None
        if payload is None or not payload.tag.startswith(f"{{{NS_IBB}}}"):
            return False
        key = (own_jid, iq.get("from", ""), sid_of(payload) or "")
        ended = self._registry.has_ended_stream(key)
        if shared and not ended:
            return False
        try:
            if not ended:  # else the peer could not know
                self._admission.check(key[1], key[0])
            raise JingleError("no such bytestream", "item-not-found")
        except JingleError as error:
            self._iqs.error(iq, error)
        return True

    def on_session_event(self, driver: SessionDriver, event: DriverEvent) -> None:
        """Accept an offer that is in order: whoever made it was admitted before. Unless a room turns out to be behind it, which
        we did not see ourselves enter: a session with an occupant would make a known account of the room."""
        if isinstance(event, events.SessionOffered):
            self._resolve_room(driver.own_jid, bare(driver.peer), partial(self._answer_offer, driver))

    def _answer_offer(self, driver: SessionDriver, is_room: bool) -> None:
        if driver.state is not State.OFFER_RECEIVED:
            return  # it has ended meanwhile
        if is_room:
            driver.close(Reason.DECLINE)
        else:
            driver.accept_offer()

    def _no_session(self, key: SessionKey, jingle: Element) -> SessionDriver | None:
        """Take an iq of a session that is not there: an offer makes one. The last word about an ended one is welcome once."""
        action = jingle.get("action")
        starts = action == Action.SESSION_INITIATE.value
        if action == Action.SESSION_TERMINATE.value and self._registry.has_ended(key):
            self._registry.forget_ended(key)
            return None
        self._admission.check(key[1], key[0], crosses_ours=starts and self._crosses_ours(key))
        if not starts:
            raise JingleError("no such session", "item-not-found", "unknown-session")
        return self._offered(key, parse(jingle))

    def _offered(self, key: SessionKey, jingle: Jingle) -> SessionDriver:
        """Handle an allowed offer: resolve a tie-break, then reserve a slot."""
        own_jid, peer, sid = key
        content = jingle.secured
        stream = content.transport.sid if content is not None and content.transport is not None else ""
        if self._registry.by_stream((own_jid, peer, stream)) is not None:  # each would take the other's bytes
            raise JingleError("a session uses a bytestream with this sid already", "bad-request")
        ours = self._registry.offered((own_jid, peer)) if content is not None else None
        if ours is None:
            waiting = self._registry.waiting((own_jid, peer)) if content is not None else None
            needed = waiting.min_assurance if waiting is not None else Assurance.NONE
            driver = self._admission.reserve(peer, lambda: self._create(own_jid, peer, needed))
            if waiting is not None:
                waiting.discard()  # they were faster
            return driver
        if wins_tie_break(ours.sid, sid):
            raise JingleError("our own offer has precedence", "conflict", "tie-break")
        ours.discard()  # and no slot is reserved: the peer's offer takes the place of ours, and counts as ours
        return self._create(own_jid, peer, ours.min_assurance)

    def _crosses_ours(self, key: SessionKey) -> bool:
        """Return whether this offer crosses one of ours. Each of ours lets one through, so we decide how many."""
        ours = self._registry.offered(key[:2])
        if ours is None or ours.offers_crossed:
            return False
        ours.note_crossing()
        return True
