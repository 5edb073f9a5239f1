"""What always stays outside, under every policy: "nothing in clear" means nothing beyond this list."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from xml.etree.ElementTree import Element

from slixmpp import JID, Iq, Message, Presence
from slixmpp.basexmpp import BaseXMPP
from slixmpp.xmlstream.stanzabase import StanzaBase

_DISCO_INFO = "{http://jabber.org/protocol/disco#info}query"
_MUC = "{http://jabber.org/protocol/muc}x"
_MESSAGE = "{jabber:client}message"
_CARBONS = frozenset({"{urn:xmpp:carbons:2}received", "{urn:xmpp:carbons:2}sent"})
_ARCHIVED = "{urn:xmpp:mam:2}result"
_EVENT = "{http://jabber.org/protocol/pubsub#event}event"
_BESIDE_EVENT = frozenset(
    {
        "{urn:xmpp:delay}delay",
        "{http://jabber.org/protocol/address}addresses",
        "{http://jabber.org/protocol/shim}headers",
    }
)
"""What a service writes beside an event (XEP-0060 §12.4 and §12.6, XEP-0163 §4.3)."""
_SUBSCRIPTION = frozenset({"subscribe", "subscribed", "unsubscribe", "unsubscribed", "probe"})


class Rooms:
    """The rooms that we are in: learnt from the directed presence that enters them (XEP-0045 §7.2.2) and from slixmpp's own
    plugin, if it is loaded.

    Who goes wherever he is invited can be invited to a person. So whoever we know as a person stays one: ``is_person`` is
    asked about the bare JID.
    """

    def __init__(self, xmpp: BaseXMPP, is_person: Callable[[str], bool]) -> None:
        self._xmpp = xmpp
        self.is_person = is_person
        self._entered: set[str] = set()

    def notice(self, stanza: StanzaBase) -> None:
        """An outgoing stanza: is it the presence that enters a room?"""
        if isinstance(stanza, Presence) and stanza.xml.find(_MUC) is not None:
            self._entered.add(stanza["to"].bare)

    def __contains__(self, bare: str) -> bool:
        muc = self._xmpp.plugin.get("xep_0045", None)
        entered = bare in self._entered or (muc is not None and bare in muc.rooms)
        return entered and not self.is_person(bare)


def stays_outside(stanza: Message | Iq | Presence, peer: JID, rooms: Rooms, *, component: bool = False) -> bool:
    """Does this stanza that we send to ``peer`` stay outside a session under every policy?

    Presence of the subscription and probe types, disco#info, and whatever is addressed to a server or a room. An iq to a bare
    JID is answered by the account's server (RFC 6121 §8.5.2.1.3), so it counts as addressed to a server. (Undirected presence
    has no peer at all; a ``component`` tells each contact by itself, for it has no server that would.) The type of a message
    makes no room of a person: a bot's reply has the type of what it replies to.
    """
    if not peer.local or peer.bare in rooms:
        return True
    if isinstance(stanza, Presence):
        return component or stanza.xml.get("type") in _SUBSCRIPTION or stanza.xml.find(_MUC) is not None
    if isinstance(stanza, Iq):
        return not peer.resource or stanza.xml.find(_DISCO_INFO) is not None
    return stanza.xml.get("type") == "groupchat" and not rooms.is_person(peer.bare)


def may_come_outside(stanza: Message | Iq, peer: JID, rooms: Rooms, account: str) -> bool:
    """May this stanza that came in clear from ``peer`` be delivered under every policy, as all presence may?

    As above, but nothing that a server could write on a stanza (a type, a child) makes a message of a person one of a room.
    A reply is judged by its id, not here. A request in the name of a bare
    JID is a server's only if it is our own ``account`` (a roster push); one for disco#info holds nothing else, for handlers
    look at every child. Of messages, what can only be a service's, and holds nothing else: the events of a bare JID's nodes
    (PEP, XEP-0163), and what our own archive (XEP-0313) answers.
    """
    if not peer.local or peer.bare in rooms:
        return True
    kind, tags = stanza.xml.get("type"), [child.tag for child in stanza.xml]
    if isinstance(stanza, Iq):
        return kind in ("result", "error") or peer.full == account or (kind == "get" and tags == [_DISCO_INFO])
    if peer.full == account and tags == [_ARCHIVED]:
        return True
    return not peer.resource and tags.count(_EVENT) == 1 and _BESIDE_EVENT.issuperset(set(tags) - {_EVENT})


def is_carbon(message: Element) -> bool:
    """Is it a carbon (XEP-0280) and nothing else?"""
    return [child.tag in _CARBONS for child in message] == [True]


def copies(message: Element, account: str) -> Iterator[tuple[Message, JID]]:
    """The messages of which this one brings carbons, each with the other one of the conversation: who has written it, or to
    whom another client of our own ``account`` has. InvalidJID."""
    for child in message:
        for copy in child.iter(_MESSAGE) if child.tag in _CARBONS else ():
            parties = [JID(copy.get(way, "")) for way in ("from", "to")]
            for other in [jid for jid in parties if jid.bare not in ("", account)] or [JID(account)]:
                yield Message(xml=copy), other
