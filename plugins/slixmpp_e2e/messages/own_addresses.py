"""Which addresses of ours can be an end of a session. A client has one, which can. A component (XEP-0114) has many.

A peer opens sessions with a full JID of a person. So the domain of a component, its bare JIDs and its rooms are no ends: what
leaves from there is outside of sessions by rule, as what goes to a server or a room is.
"""

from __future__ import annotations

import asyncio
import logging

from slixmpp import JID, Iq, Message, Presence
from slixmpp.basexmpp import BaseXMPP
from slixmpp.exceptions import XMPPError
from slixmpp.plugins.xep_0030 import DiscoInfo

from slixmpp_e2e.bounded import keep_newest
from slixmpp_e2e.errors import NotSent, NotSentReason
from slixmpp_e2e.jids import bare
from slixmpp_e2e.sessions.driver import DriverEvent, SessionDriver
from xmpp_e2e import events

log = logging.getLogger("slixmpp_e2e")

OWN_ROOMS = 65_536
"""Rooms of our own that are remembered, some 200 bytes each: a large gateway's. The oldest goes first, and is asked again."""
OWN_PEOPLE = 4096
"""Addresses of our own that are known to be no rooms, and ends of sessions that were open: as many as routes are kept. The
oldest goes first; peers can make up as many as they like."""
OWN_DISCO_SECONDS = 5.0
"""Seconds for the program's own handler of disco#info to say what an address is: it looks into a database at most."""
_MUC_USER = "{http://jabber.org/protocol/muc#user}x"
_INFO = "http://jabber.org/protocol/disco#info"


class OwnAddresses:
    """What the program says of its own addresses: by the presence that its rooms send, and by its answers to disco#info."""

    def __init__(self, xmpp: BaseXMPP) -> None:
        self._xmpp = xmpp
        self._rooms: dict[str, None] = {}
        self._people: dict[str, None] = {}
        self._ends: dict[tuple[str, str], None] = {}
        """Full JIDs of ours with accounts that have had a session."""

    @property
    def are_many(self) -> bool:
        """True for a component."""
        return self._xmpp.is_component

    def note_presence(self, presence: Presence) -> None:
        """Take in presence that leaves: to occupants, from one of our own rooms (XEP-0045 §7.2.2)."""
        if self.are_many and presence.xml.find(_MUC_USER) is not None:
            self._note_room(presence["from"].bare)

    def on_session_event(self, driver: SessionDriver, event: DriverEvent) -> None:
        """A session has opened: this address of ours is a person for the account."""
        if isinstance(event, events.SessionOpened):
            keep_newest(self._ends, (driver.own_jid, bare(driver.peer)), None, OWN_PEOPLE)

    def can_end(self, own_jid: str) -> bool:
        """Return whether an address of ours, from or to which a stanza is, can be an end of a session, as far as is known."""
        if not self.are_many:
            return True
        account, _, resource = own_jid.partition("/")
        return bool(resource) and "@" in account and account not in self._rooms

    def is_nobody(self, stanza: Message | Iq, own_jid: str) -> bool:
        """Return whether a stanza that came is for no person of ours: for the domain, a room, or, if it is an iq, for a bare
        JID, which its server answers (RFC 6121 §8.5.2.1.3)."""
        if not self.are_many or isinstance(stanza, Iq):
            return not self.can_end(own_jid)
        return "@" not in own_jid or bare(own_jid) in self._rooms

    def speaks_to_all(self, own_jid: str, account: str) -> bool:
        """Return whether a ``groupchat`` message from an address of ours is what a room says to an occupant (XEP-0045 §7.4).

        The account has had no session with the address then: a bot's reply has the type of what it replies to.
        """
        return self.are_many and (own_jid, account) not in self._ends

    async def is_room(self, own_jid: str, asker: str) -> bool:
        """Return whether an address of ours is in a room, or is one: the program's own handler is asked as ``asker`` would."""
        account = bare(own_jid)
        if account in self._people:
            return False
        if account not in self._rooms:
            if await self._says_room(account, asker):
                self._note_room(account)
            else:
                keep_newest(self._people, account, None, OWN_PEOPLE)
        return account in self._rooms

    def _note_room(self, account: str) -> None:
        self._people.pop(account, None)
        keep_newest(self._rooms, account, None, OWN_ROOMS)

    async def _says_room(self, account: str, asker: str) -> bool:
        request = self._xmpp.make_iq_get(queryxmlns=_INFO, ito=JID(account), ifrom=JID(asker))
        try:
            async with asyncio.timeout(OWN_DISCO_SECONDS):
                info = await self._xmpp.plugin["xep_0030"].api["get_info"](JID(account), "", JID(asker), request)
        except XMPPError:
            return False  # there is nobody
        except Exception:  # an edge: the program's own code
            log.exception("the program failed to say what %s is; it is taken for a person", account)
            return False
        if isinstance(info, Iq):
            info = info["disco_info"]
        return isinstance(info, DiscoInfo) and "conference" in {category for category, *_ in info["identities"]}


def no_end(own_jid: str, account: str) -> NotSent:
    """Return why nothing leaves from an address of ours that can be no end of a session, or of what only servers say."""
    ours = f"{own_jid} can be no end of a session (a domain, a bare JID, a room), or says what servers alone say (an event)"
    words = f"{ours}, and the policy for {account} is `require`: write from the full JID of a person"
    return NotSent(words, NotSentReason.SERVER_WOULD_READ)
