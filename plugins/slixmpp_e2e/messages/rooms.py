"""Which addresses are rooms (XEP-0045), and what goes to and comes from those that only say so."""

from __future__ import annotations

from collections.abc import Callable

from slixmpp import JID, Iq, Message, Presence
from slixmpp.basexmpp import BaseXMPP

from slixmpp_e2e.bounded import keep_newest
from slixmpp_e2e.messages.clear import invited_by, may_be_clear
from slixmpp_e2e.messages.own_addresses import OwnAddresses
from slixmpp_e2e.xmpp import adapter, discovery

MUC = "{http://jabber.org/protocol/muc}x"
_MUC_USER = "{http://jabber.org/protocol/muc#user}x"
_SELF = "{http://jabber.org/protocol/muc#user}status[@code='110']"
_FORM = "{jabber:x:data}x"
_FORM_TYPE = "{jabber:x:data}field[@var='FORM_TYPE']/{jabber:x:data}value"
_FORMS = "http://jabber.org/protocol/muc#"
_SETTINGS = frozenset(
    {
        "{http://jabber.org/protocol/muc#admin}query",
        "{http://jabber.org/protocol/muc#owner}query",
        "{jabber:iq:register}query",
        "{urn:xmpp:mam:2}query",
    }
)
"""Payloads of iqs by which a room is governed, entered for good, and asked for its archive (XEP-0045 §7.10, §9 and §10,
XEP-0313)."""
ROOMS = 1024
"""Rooms that we have asked to enter, and as many that say they are rooms. The oldest goes first; slixmpp's plugin for rooms
still knows it, or it is asked again."""


class MucRooms:
    """The rooms that we are in (XEP-0045 §7.2), and those that say they are rooms.

    We ask to enter by directed presence, and are in when our own presence comes back from the room; or slixmpp's plugin for
    rooms says so, which may have been loaded before. A bot that goes wherever it is invited can be invited to a person. So
    whoever is known as a person stays one, and where encryption is required, asking to enter makes no room of anybody.

    A room that was entered before we could see it says itself that it is one, when its bare JID is asked (XEP-0045 §6.4). The
    server of a person could say the same. So where encryption is required, only what rooms alone take goes there in plaintext.
    """

    def __init__(
        self,
        xmpp: BaseXMPP,
        is_person: Callable[[str], bool],
        is_required: Callable[[str], bool],
        believes_server: Callable[[str], bool],
    ) -> None:
        """All of an account (bare). ``is_person``: whether it is known as one. ``is_required``: whether the policy for it is
        ``require``. ``believes_server``: whether the trust model takes its server's word for anything."""
        self._xmpp, self.is_person, self.is_required = xmpp, is_person, is_required
        self.own = OwnAddresses(xmpp)
        """What is known of our own addresses: a component may have rooms of its own."""
        self._believes_server = believes_server
        self._entering: dict[str, str] = {}
        """By room: our own address in it, as we asked for it."""
        self._entered: set[str] = set()
        self._identified: dict[str, None] = {}
        """Bare JIDs of which disco#info says so."""

    def note_entry(self, presence: Presence) -> None:
        """Take in outgoing presence: it may ask to enter a room, or come from one of our own."""
        self.own.note_presence(presence)
        to = presence["to"]
        if presence.xml.find(MUC) is not None:
            self._entering.pop(to.bare, None)
            keep_newest(self._entering, to.bare, to.full, ROOMS)

    def note_presence(self, presence: Presence) -> None:
        """Take in presence that came: it may be our own, from a room. It says so, or has the address that we asked for.

        What we have not asked to enter is no room, whatever it sends.
        """
        sender = presence["from"]
        extension = presence.xml.find(_MUC_USER)
        if extension is None or sender.bare not in self._entering:
            return
        if extension.find(_SELF) is not None or sender.full == self._entering[sender.bare]:
            if presence.xml.get("type") == "unavailable":
                self._entered.discard(sender.bare)
            else:
                self._entered.add(sender.bare)

    def forget_identities(self) -> None:
        """A new stream begins: whoever has said to be a room is asked again."""
        self._identified.clear()

    def __contains__(self, account: str) -> bool:
        entered, asked = account in self._entered, account in self._entering or self._says_so(account)
        if not entered and "xep_0045" in self._xmpp.plugin:
            joined = adapter.joined_room(self._xmpp, account)
            entered, asked = joined is True, asked or joined is not None
        if not (entered or asked) or self.is_person(account):
            return False
        return entered or not self.is_required(account)

    def may_be(self, account: str) -> bool:
        """Return whether it is a room, or says so. No session is opened with anybody there, and none of them is kept."""
        return account in self or self._says_so(account)

    def may_ask(self, account: str) -> bool:
        """Return whether its own word could make a room of an account that has not given it yet."""
        return account not in self and not self._says_so(account) and self._counts(account)

    async def ask(self, own_jid: str, account: str) -> bool:
        """Return ``may_be()``, and ask the account if that is not known. Its bare JID: of others, an occupant answers."""
        if self.may_ask(account) and await discovery.is_room(self._xmpp, JID(own_jid), JID(account)):
            keep_newest(self._identified, account, None, ROOMS)
        return self.may_be(account)

    def takes(self, stanza: Message | Iq | Presence, peer: JID) -> bool:
        """Return whether a stanza that leaves is for a room: any to one that we are in, or to somebody there; to what only says
        that it is one, what rooms alone take."""
        return peer.bare in self or (self._says_so(peer.bare) and goes_to_rooms(stanza, peer))

    def gives(self, stanza: Message | Iq, peer: JID) -> bool:
        """Return whether a stanza that came is from a room: any from one that we are in, or from somebody there; from what only
        says that it is one, what rooms alone send."""
        return peer.bare in self or (comes_from_rooms(stanza, peer) and self._says_so(peer.bare))

    def _says_so(self, account: str) -> bool:
        return account in self._identified and self._counts(account)

    def _counts(self, account: str) -> bool:
        """Return whether the word of an account's server makes a room of it."""
        return self._believes_server(account) and not self.is_person(account)


def goes_to_rooms(stanza: Message | Iq | Presence, peer: JID) -> bool:
    """Return whether a stanza is what rooms alone take: messages to all, mediated invitations, requests for voice, what governs
    the room, questions that hold no words, and presence without any.

    Private messages are not: they would look the same if it were a person.
    """
    if isinstance(stanza, Presence):
        return may_be_clear(stanza)
    if isinstance(stanza, Message):
        return not peer.resource and (stanza.xml.get("type") == "groupchat" or _is_form(stanza))
    tags = [child.tag for child in stanza.xml]
    return may_be_clear(stanza) or (bool(tags) and not peer.resource and _SETTINGS.issuperset(tags))


def comes_from_rooms(stanza: Message | Iq, peer: JID) -> bool:
    """Return whether a stanza is what rooms alone send: messages to all, their own forms and notices, errors, questions.

    Invitations are not: they come from rooms that we are not in.
    """
    if isinstance(stanza, Message) and stanza.xml.get("type") == "groupchat":
        return True
    if peer.resource:
        return False
    if isinstance(stanza, Iq):
        return may_be_clear(stanza)
    return stanza.xml.get("type") == "error" or (_is_form(stanza) and not any(True for _ in invited_by(stanza.xml)))


def _is_form(message: Message) -> bool:
    """Return whether a message holds forms and notices of rooms and nothing else (XEP-0045 §7.8.2, §7.13 and §8.6)."""
    tags = [child.tag for child in message.xml]
    forms = [form.findtext(_FORM_TYPE, "") for form in message.xml.findall(_FORM)]
    return (
        bool(tags)
        and message.xml.get("type") in (None, "normal")
        and {_MUC_USER, _FORM}.issuperset(tags)
        and all(form.startswith(_FORMS) for form in forms)
    )
