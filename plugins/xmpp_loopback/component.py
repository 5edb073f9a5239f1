"""Accept components (XEP-0114): their handshake and their namespace."""

from __future__ import annotations

import hashlib
import hmac
from xml.etree.ElementTree import Element

from .wire import CLIENT

COMPONENT = "jabber:component:accept"
_PREFIX = f"{{{COMPONENT}}}"
HANDSHAKE = f"{_PREFIX}handshake"
STANZAS_OF_COMPONENT = frozenset(f"{_PREFIX}{name}" for name in ("message", "presence", "iq"))


def check_handshake(digest: str | None, stream: str, secret: str) -> bool:
    """Return whether ``digest`` shows that the component knows the secret (XEP-0114 §3)."""
    expected = hashlib.sha1(f"{stream}{secret}".encode()).hexdigest()
    return hmac.compare_digest(expected.encode(), (digest or "").strip().encode())


def to_client_namespace(stanza: Element) -> Element:
    """Move a component's stanza into the namespace of clients. (The other direction needs no change: components use the
    stream's default namespace.)"""
    for element in stanza.iter():
        if element.tag.startswith(_PREFIX):
            element.tag = f"{{{CLIENT}}}{element.tag[len(_PREFIX) :]}"
    return stanza
