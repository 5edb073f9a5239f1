"""Build the server's own stanzas: results, errors and presence (RFC 6120 §8)."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement

from .wire import CLIENT, STANZA_ERRORS, local_name

MESSAGE = f"{{{CLIENT}}}message"
PRESENCE = f"{{{CLIENT}}}presence"
IQ = f"{{{CLIENT}}}iq"
STANZAS = frozenset((MESSAGE, PRESENCE, IQ))

SUBSCRIPTION_TYPES = frozenset(("subscribe", "subscribed", "unsubscribe", "unsubscribed"))

_ERROR_TYPES = {
    "bad-request": "modify",
    "jid-malformed": "modify",
    "remote-server-not-found": "cancel",
    "service-unavailable": "cancel",
}


def addressed(stanza: Element, to: str) -> Element:
    """Return ``stanza`` with another ``to``. The payload is shared, not copied."""
    twin = Element(stanza.tag, {**stanza.attrib, "to": to})
    twin.text = stanza.text
    twin.extend(stanza)
    return twin


def result(request: Element, *payload: Element) -> Element:
    """Build the result of an iq of type get or set, from the address that was asked."""
    reply = _reply(request, "result")
    reply.extend(payload)
    return reply


def error(stanza: Element, condition: str) -> Element | None:
    """Build the error reply to ``stanza``; None if no error may be sent (RFC 6120 §8.3.1)."""
    kind = stanza.get("type")
    if kind == "error" or (stanza.tag == IQ and kind == "result"):
        return None
    reply = _reply(stanza, "error")
    wrapper = SubElement(reply, f"{{{CLIENT}}}error", type=_ERROR_TYPES[condition])
    SubElement(wrapper, f"{{{STANZA_ERRORS}}}{condition}")
    return reply


def presence(sender: str, to: str, kind: str | None = None) -> Element:
    """Build an empty presence; ``kind`` is its type, None for available."""
    stanza = Element(PRESENCE, {"from": sender, "to": to})
    if kind is not None:
        stanza.set("type", kind)
    return stanza


def payload_of(iq: Element) -> Element | None:
    """Return the first child of an iq that is not an error."""
    return next((child for child in iq if local_name(child) != "error"), None)


def _reply(stanza: Element, kind: str) -> Element:
    reply = Element(stanza.tag, {"type": kind})
    for theirs, ours in (("id", "id"), ("to", "from"), ("from", "to")):
        if (value := stanza.get(theirs)) is not None:
            reply.set(ours, value)
    return reply
