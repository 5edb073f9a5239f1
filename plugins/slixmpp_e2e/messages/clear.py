"""What may go in plaintext to a person under ``require``: only what their server answers or acts on, and no words of ours.

The lists are in docs/threats.md, too, and a test walks over them.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element

from slixmpp import JID, Iq, Message, Presence

SERVER_ANSWERS = frozenset(
    {
        "{http://jabber.org/protocol/disco#info}query",
        "{http://jabber.org/protocol/disco#items}query",
        "{vcard-temp}vCard",
        "{urn:ietf:params:xml:ns:vcard-4.0}vcard",
        "{http://jabber.org/protocol/pubsub}pubsub",
        "{jabber:iq:last}query",
        "{urn:xmpp:ping}ping",
    }
)
"""What a server answers for an account (RFC 6121 §8.5.2.1.3) when it is asked (type ``get``): XEP-0030, 0054, 0292, 0163, 0012
and 0199."""
IN_PRESENCE = frozenset(
    {
        "show",
        "priority",
        "{http://jabber.org/protocol/caps}c",
        "{vcard-temp:x:update}x",
        "{urn:xmpp:idle:1}idle",
        "{http://jabber.org/protocol/muc}x",
    }
)
"""What presence may hold: a state, a number, hashes of capabilities (XEP-0115) and of a picture (XEP-0153), a time (XEP-0319);
and what asks to enter a room. Not a status, nor a nickname."""
_DISCO_INFO = "{http://jabber.org/protocol/disco#info}query"
_ERROR = "error"
_PAGING = "{http://jabber.org/protocol/rsm}"
_INVITATIONS = ("invite", "decline")
_MUC_USER = "{http://jabber.org/protocol/muc#user}"
_PRIVILEGES = frozenset({"{urn:xmpp:privilege:1}privilege", "{urn:xmpp:privilege:2}privilege"})
_MESSAGE = "{jabber:client}message"
_ADDRESS = "{http://jabber.org/protocol/address}address"


def may_be_clear(stanza: Iq | Presence) -> bool:
    """Return whether a stanza that a person's server acts on holds nothing but what it needs for that.

    A question is of one kind that servers answer. It has attributes (a node, an id) and, but for paging (XEP-0059), no text. An
    answer is one to disco#info, which alone is let in from a bare JID.
    """
    tags = [_name(child, stanza.xml) for child in stanza.xml]
    if isinstance(stanza, Presence):
        return IN_PRESENCE.issuperset(tags)
    match stanza.xml.get("type"):
        case "get":
            return len(tags) == 1 and SERVER_ANSWERS.issuperset(tags) and not _has_text(stanza.xml)
        case "result":
            return {_DISCO_INFO}.issuperset(tags)
        case "error":
            return {_DISCO_INFO, _ERROR}.issuperset(tags) and not _has_text(stanza.xml)
    return False


def reached_through(message: Message) -> Iterator[JID]:
    """Yield to whom a room or a service passes a message on: who is invited, or whose invitation is declined (XEP-0045 §7.8.2);
    whom it is addressed to (XEP-0033); in whose name, and to whom, a component lets a server write (XEP-0356). InvalidJID."""
    yield from _in_invitations(message.xml, "to")
    yield from (JID(each.get("jid", "")) for each in message.xml.iter(_ADDRESS) if each.get("type") in ("to", "cc", "bcc"))
    ours = message["from"].domain
    for child in message.xml if ours else ():
        for said in child.iter(_MESSAGE) if child.tag in _PRIVILEGES else ():
            yield from (party for way in ("from", "to") if (party := JID(said.get(way, ""))).domain != ours)


def invited_by(message: Element) -> Iterator[JID]:
    """Yield who is said to invite, or to decline, by way of a room (XEP-0045 §7.8.2). InvalidJID."""
    return _in_invitations(message, "from")


def _in_invitations(message: Element, way: str) -> Iterator[JID]:
    for name in _INVITATIONS:
        yield from (JID(each.get(way, "")) for each in message.iter(_MUC_USER + name))


def _name(child: Element, stanza: Element) -> str:
    """Return the child's tag; without its namespace, if that is the stanza's own."""
    return child.tag.removeprefix(stanza.tag.rpartition("}")[0] + "}")


def _has_text(element: Element) -> bool:
    return any(
        (text or "").strip()
        for each in element.iter()
        for text in (each.tail, "" if each.tag.startswith(_PAGING) else each.text)
    )
