"""What always stays outside, under every policy: "nothing in clear" means nothing beyond this list."""

from __future__ import annotations

from collections.abc import Callable, Container

from slixmpp import JID, Iq, Message, Presence
from slixmpp.basexmpp import BaseXMPP
from slixmpp.xmlstream.stanzabase import StanzaBase

_DISCO_INFO = "{http://jabber.org/protocol/disco#info}query"
_MUC = "{http://jabber.org/protocol/muc}x"
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
        if isinstance(stanza, Presence) and stanza.xml.find(_MUC) is not None and stanza["to"].local:
            self._entered.add(stanza["to"].bare)

    def __contains__(self, bare: object) -> bool:
        muc = self._xmpp.plugin.get("xep_0045", None)
        entered = bare in self._entered or (muc is not None and bare in muc.rooms)
        return entered and isinstance(bare, str) and not self.is_person(bare)


def stays_outside(stanza: StanzaBase, peer: JID, rooms: Rooms) -> bool:
    """Does this stanza that we send to ``peer`` stay outside a session under every policy?

    Presence of the subscription and probe types, disco#info, and whatever is addressed to a server or a room. An iq to a bare
    JID is answered by the account's server (RFC 6121 §8.5.2.1.3), so it counts as addressed to a server. (Undirected presence
    has no peer at all.) The type of a message makes no room of a person: a bot's reply has the type of what it replies to.
    """
    if not peer.local or peer.bare in rooms:
        return True
    if isinstance(stanza, Presence):
        return stanza.xml.get("type") in _SUBSCRIPTION or stanza.xml.find(_MUC) is not None
    if isinstance(stanza, Iq):
        return not peer.resource or stanza.xml.find(_DISCO_INFO) is not None
    return not isinstance(stanza, Message) or (stanza.xml.get("type") == "groupchat" and not rooms.is_person(peer.bare))


def may_come_outside(stanza: StanzaBase, peer: JID, rooms: Container[str], account: str) -> bool:
    """May this stanza that came in clear from ``peer`` be delivered under every policy?

    As above, but nothing that a server could write on a stanza (a type, a child) makes a message of a person one of a room.
    Presence cannot be told from the undirected kind, and a reply is judged by its id, not here. A request in the name of a bare
    JID is a server's only if it is our own ``account`` (a roster push); one for disco#info holds nothing else, for handlers
    look at every child.
    """
    if not peer.local or peer.bare in rooms or isinstance(stanza, Presence):
        return True
    if isinstance(stanza, Iq):
        kind = stanza.xml.get("type")
        discovers = kind == "get" and [child.tag for child in stanza.xml] == [_DISCO_INFO]
        return kind in ("result", "error") or peer.full == account or discovers
    return not isinstance(stanza, Message)
