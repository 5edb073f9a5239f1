"""``stanza["e2e"]``: how a stanza reached us. A marker element that carries the token of a live session.

Handlers may get copies of a stanza, so a Python attribute could be lost; hence an element. Anybody can send the element, so it
is stripped from whatever comes from the server, and counts only with the token of a live session. Markers never reach the wire.
"""

from __future__ import annotations

import secrets
from typing import ClassVar
from weakref import WeakValueDictionary
from xml.etree.ElementTree import Element, SubElement

from slixmpp import Iq, Message, Presence
from slixmpp.xmlstream import ElementBase, register_stanza_plugin
from slixmpp.xmlstream.stanzabase import StanzaBase

from slixmpp_e2e.xmpp import outcomes
from slixmpp_e2e.xmpp.outcomes import MarkedSession, Outcome, SendState
from xmpp_e2e.errors import E2EError
from xmpp_e2e.types import Assurance, Fingerprint

_sessions: WeakValueDictionary[str, MarkedSession] = WeakValueDictionary()
"""By token. The client keeps the sessions, so nothing of a client that has gone stays here."""
_live: WeakValueDictionary[str, MarkedSession] = WeakValueDictionary()
"""Those that are not over."""


def register(session: MarkedSession) -> str:
    """Return a fresh token for the stanzas of ``session``; they can tell about it while somebody keeps the session."""
    token = secrets.token_hex(16)
    _sessions[token] = _live[token] = session
    return token


def retire(token: str) -> None:
    """Accept no more stanzas with this token; those that came before can still tell about their session."""
    _live.pop(token, None)


class E2EMarker(ElementBase):
    """``stanza["e2e"]["assurance"]`` (an Assurance; ``none`` for plaintext), ``["session"]`` (an E2ESession; None for
    plaintext) and ``["fingerprint"]`` (the peer's key, a Fingerprint; None for plaintext).

    Of a stanza that we have sent they tell of the session that it went through, and ``["delivery"]`` (a SendState; None of one
    that came, or was never sent) what has become of it, ``["error"]`` why it failed.
    """

    name = "protection"
    namespace = "urn:x-xmpp-e2e:local:0"
    plugin_attrib = "e2e"
    interfaces: ClassVar[set[str]] = {"session", "assurance", "fingerprint", "delivery", "error"}

    def setup(self, xml: Element | None = None) -> bool:
        """Find the element that is there: ``put()`` adds it without an object, of which most stanzas have no need."""
        stanza = self.parent() if xml is None and self.parent is not None else None
        return super().setup(stanza.xml.find(_TAG) if stanza is not None else xml)

    def get_session(self) -> MarkedSession | None:
        """Return the session that the stanza came through, or has gone through."""
        if (outcome := self._outcome) is not None:
            return outcome.sessions[-1] if outcome.sessions else None
        return _sessions.get(self.xml.get("token", ""))

    def get_delivery(self) -> SendState | None:
        """Return what has become of a stanza that we have sent."""
        outcome = self._outcome
        return outcome.state if outcome is not None else None

    def get_error(self) -> E2EError | None:
        """Return why a stanza that we have sent has failed."""
        outcome = self._outcome
        return outcome.error if outcome is not None else None

    @property
    def _outcome(self) -> Outcome | None:
        stanza = self.parent() if self.parent is not None else None
        return outcomes.of(stanza) if stanza is not None else None

    def get_assurance(self) -> Assurance:
        """Return what is proved of the key that the stanza came under."""
        session = self.get_session()
        return session.assurance if session else Assurance.NONE

    def get_fingerprint(self) -> Fingerprint | None:
        """Return the key that the stanza came under."""
        session = self.get_session()
        return session.fingerprint if session else None


for _stanza in (Message, Iq, Presence):
    register_stanza_plugin(_stanza, E2EMarker)

_TAG = E2EMarker.tag_name()


def put(stanza: StanzaBase, token: str) -> None:
    """Mark a stanza that came out of the session of ``token``."""
    strip(stanza)
    SubElement(stanza.xml, _TAG, {"token": token})


def token_of(stanza: StanzaBase) -> str | None:
    """Return the live token on a stanza; None if there is no marker, several, or a token that is not live."""
    markers = stanza.xml.findall(_TAG)
    token = markers[0].get("token", "") if len(markers) == 1 else ""
    return token if token in _live else None


def strip(stanza: StanzaBase) -> None:
    """Take every marker off, also from stanzas that are wrapped in this one (XEP-0297)."""
    # no test fails without this shortcut: where there is no marker, none is taken off
    if next(stanza.xml.iter(_TAG), None) is None:
        return
    for parent in list(stanza.xml.iter()):
        for marker in parent.findall(_TAG):
            parent.remove(marker)
    # slixmpp has already made an object of each marker, by its language; one without an element must not take a token
    for key in [key for key in stanza.plugins if key[0] == E2EMarker.plugin_attrib]:
        del stanza.plugins[key]
    stanza.loaded_plugins.discard(E2EMarker.plugin_attrib)
