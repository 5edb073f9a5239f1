"""``stanza["e2e"]``: how a stanza reached us. A marker element that carries the token of a live session.

Handlers may get copies of a stanza, so a Python attribute can be lost and an element must do; and anybody can send us an
element, so it is taken off whatever comes from the server, and counts only with the token of a session. Markers never
reach the wire.
"""

from __future__ import annotations

import secrets
from typing import ClassVar, Protocol
from weakref import WeakValueDictionary

from slixmpp import Iq, Message, Presence
from slixmpp.xmlstream import ElementBase, register_stanza_plugin
from slixmpp.xmlstream.stanzabase import StanzaBase

from xmpp_e2e.identity import Assurance, Fingerprint


class Protected(Protocol):
    """What a marker can tell about the session that it names."""

    @property
    def assurance(self) -> Assurance: ...
    @property
    def fingerprint(self) -> Fingerprint | None: ...


_sessions: WeakValueDictionary[str, Protected] = WeakValueDictionary()
"""As long as a client keeps them: of a client that has gone nothing stays here."""
_live: set[str] = set()


def admit(session: Protected) -> str:
    """A fresh token for the stanzas of ``session``, which can be asked about it while somebody keeps it."""
    token = secrets.token_hex(16)
    _sessions[token] = session
    _live.add(token)
    return token


def retire(token: str) -> None:
    """No stanza can come from the session of ``token`` any more; what came before can still be asked."""
    _live.discard(token)


class Mark(ElementBase):
    """``stanza["e2e"]["assurance"]`` (an Assurance; ``none`` for plaintext), ``["session"]`` (None for plaintext) and
    ``["fingerprint"]`` (the key of the peer, a Fingerprint; None for plaintext)."""

    name = "protection"
    namespace = "urn:x-xmpp-e2e:local:0"
    plugin_attrib = "e2e"
    interfaces: ClassVar[set[str]] = {"session", "assurance", "fingerprint"}

    def get_session(self) -> Protected | None:
        """The session that the stanza came through."""
        return _sessions.get(self.xml.get("token", ""))

    def get_assurance(self) -> Assurance:
        """What is proved of the key that the stanza came under."""
        session = self.get_session()
        return session.assurance if session else Assurance.NONE

    def get_fingerprint(self) -> Fingerprint | None:
        """The key that the stanza came under."""
        session = self.get_session()
        return session.fingerprint if session else None


for _stanza in (Message, Iq, Presence):
    register_stanza_plugin(_stanza, Mark)

_TAG = Mark.tag_name()


def put(stanza: StanzaBase, token: str) -> None:
    """Mark a stanza that came out of the session of ``token``."""
    strip(stanza)
    stanza["e2e"].xml.set("token", token)


def token_of(stanza: StanzaBase) -> str | None:
    """The live token on a stanza; None if there is none, however it is marked."""
    marks = stanza.xml.findall(_TAG)
    token = marks[0].get("token", "") if len(marks) == 1 else ""
    return token if token in _live else None


def strip(stanza: StanzaBase) -> None:
    """Take every marker off, also of stanzas that are wrapped in this one (XEP-0297)."""
    # no test fails without this shortcut: where there is no marker, none is taken off
    if next(stanza.xml.iter(_TAG), None) is None:
        return
    for parent in list(stanza.xml.iter()):
        for mark in parent.findall(_TAG):
            parent.remove(mark)
    # slixmpp has made an object of each marker already, by its language; one without an element must not take a token
    for key in [key for key in stanza.plugins if key[0] == Mark.plugin_attrib]:
        del stanza.plugins[key]
    stanza.loaded_plugins.discard(Mark.plugin_attrib)
