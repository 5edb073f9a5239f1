"""What differs when it is a component that connects: the handshake and the namespace (XEP-0114)."""

from __future__ import annotations

import hashlib
import hmac
from xml.etree.ElementTree import Element

from .wire import CLIENT

COMPONENT = "jabber:component:accept"
_PREFIX = f"{{{COMPONENT}}}"
HANDSHAKE = f"{_PREFIX}handshake"
STANZAS_OF_COMPONENT = frozenset(f"{_PREFIX}{name}" for name in ("message", "presence", "iq"))


def proves(digest: str | None, stream: str, secret: str) -> bool:
    """Is ``digest`` what only who knows the secret can say on this stream (XEP-0114 §3)?"""
    expected = hashlib.sha1(f"{stream}{secret}".encode()).hexdigest()
    return hmac.compare_digest(expected.encode(), (digest or "").strip().encode())


def as_of_client(stanza: Element) -> Element:
    """The same element, now in the namespace of clients. (The other way none is needed: it is the stream's default one.)"""
    for element in stanza.iter():
        if element.tag.startswith(_PREFIX):
            element.tag = f"{{{CLIENT}}}{element.tag[len(_PREFIX) :]}"
    return stanza
