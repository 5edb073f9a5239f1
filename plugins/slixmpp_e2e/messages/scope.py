"""Which stanzas never travel inside a session, and which plaintext is always delivered. No policy changes these two lists.

"Nothing in plaintext" means nothing beyond them. A ``headline`` is on neither: it is a message to a person like any other. It
is encrypted as the policy says. To a bare JID it goes to all devices that have encryption, as a server delivers headlines to
all resources (RFC 6121 §8.5.2.1.1).
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element

from slixmpp import JID, Iq, Message, Presence

from slixmpp_e2e.messages.rooms import MUC, MucRooms

_DISCO_INFO = "{http://jabber.org/protocol/disco#info}query"
_MESSAGE = "{jabber:client}message"
_CARBONS = frozenset({"{urn:xmpp:carbons:2}received", "{urn:xmpp:carbons:2}sent"})
_FORWARDED = "{urn:xmpp:forward:0}forwarded"
_ARCHIVED = "{urn:xmpp:mam:2}result"
_EVENT = "{http://jabber.org/protocol/pubsub#event}event"
SERVERS_SAY = frozenset({*_CARBONS, _ARCHIVED, _EVENT})
"""What servers and services say in messages, and no client."""
_SERVERS_ONLY = {
    "message": SERVERS_SAY,
    "iq": frozenset({"{jabber:iq:roster}query", "{urn:xmpp:blocking}block", "{urn:xmpp:blocking}unblock"}),
}
"""The same, by the kind of stanza."""
_BESIDE_EVENT = frozenset(
    {
        "{urn:xmpp:delay}delay",
        "{http://jabber.org/protocol/address}addresses",
        "{http://jabber.org/protocol/shim}headers",
    }
)
"""What a service writes beside an event (XEP-0060 §12.4 and §12.6, XEP-0163 §4.3)."""
_SUBSCRIPTION = frozenset({"subscribe", "subscribed", "unsubscribe", "unsubscribed", "probe"})


def never_encrypted(stanza: Message | Iq | Presence, peer: JID, rooms: MucRooms, own_jid: str = "") -> bool:
    """Return whether a stanza to ``peer`` from ``own_jid`` stays outside sessions under every policy.

    These are presence of the subscription and probe types, disco#info, and whatever is addressed to a server or a room. An iq
    to a bare JID is answered by the account's server (RFC 6121 §8.5.2.1.3), so it counts as addressed to a server. Undirected
    presence has no peer. A component sends presence to each contact itself, for it has no server that would, and its rooms
    write to occupants. The type of a message makes no room of a person, nor of anybody where encryption is required: a bot's
    reply has the type of what it replies to.
    """
    if not peer.local or rooms.takes(stanza, peer):
        return True
    if isinstance(stanza, Presence):
        return rooms.own.are_many or stanza.xml.get("type") in _SUBSCRIPTION or stanza.xml.find(MUC) is not None
    if isinstance(stanza, Iq):
        return not peer.resource or stanza.xml.find(_DISCO_INFO) is not None
    if stanza.xml.get("type") != "groupchat" or rooms.is_required(peer.bare):
        return False
    return rooms.own.speaks_to_all(own_jid, peer.bare) or not rooms.is_person(peer.bare)


def plaintext_always_allowed(stanza: Message | Iq, peer: JID, rooms: MucRooms, account: str) -> bool:
    """Return whether a stanza in plaintext from ``peer`` is delivered under every policy, as all presence is.

    The list is as above, but nothing that a server could write on a stanza (a type, a child) makes a message of a person one
    of a room. A reply is judged by its id elsewhere. A request in the name of a bare JID is a server's only if it is our own
    ``account`` (a roster push); one for disco#info must hold nothing else, for handlers look at every child. Of messages, only
    those pass that can be nothing but a service's and hold nothing else: events of a bare JID's nodes (PEP, XEP-0163), and
    what our own archive (XEP-0313) answers.
    """
    if not peer.local or rooms.gives(stanza, peer):
        return True
    kind, tags = stanza.xml.get("type"), [child.tag for child in stanza.xml]
    if isinstance(stanza, Iq):
        return kind in ("result", "error") or peer.full == account or (kind == "get" and tags == [_DISCO_INFO])
    if peer.full == account and tags == [_ARCHIVED]:
        return True
    return not peer.resource and tags.count(_EVENT) == 1 and _BESIDE_EVENT.issuperset(set(tags) - {_EVENT})


def only_servers_say(stanza: Element) -> bool:
    """Return whether a stanza that came inside a session holds what no client says: a carbon, an answer of an archive, an event
    of a node, a push of the roster or of the blocklist. slixmpp would take it from any device of our own account."""
    said = _SERVERS_ONLY.get(stanza.tag.rpartition("}")[2], frozenset())
    return any(child.tag in said for child in stanza)


def forwarded_from(message: Element) -> Iterator[JID]:
    """Yield who is said to have written the messages that this one forwards (XEP-0297), however deep. InvalidJID."""
    for forwarded in message.iter(_FORWARDED):
        yield from (JID(each.get("from", "")) for each in forwarded.iter(_MESSAGE))


def is_carbon(message: Element) -> bool:
    """Return whether it is a carbon (XEP-0280) and nothing else."""
    return [child.tag in _CARBONS for child in message] == [True]


def carbon_contents(message: Element, account: str) -> Iterator[tuple[Message, JID]]:
    """Yield the messages of which this one brings carbons, each with the other party of the conversation.

    That is who wrote it, or to whom another client of our own ``account`` wrote. InvalidJID.
    """
    for child in message:
        for copy in child.iter(_MESSAGE) if child.tag in _CARBONS else ():
            parties = [JID(copy.get(way, "")) for way in ("from", "to")]
            for other in [jid for jid in parties if jid.bare not in ("", account)] or [JID(account)]:
                yield Message(xml=copy), other
