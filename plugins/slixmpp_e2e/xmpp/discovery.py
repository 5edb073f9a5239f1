"""Which resources of a peer advertise end-to-end encryption (XEP-0030, XEP-0115)."""

from __future__ import annotations

from slixmpp import JID
from slixmpp.basexmpp import BaseXMPP
from slixmpp.exceptions import IqError, IqTimeout
from slixmpp.plugins.xep_0030 import DiscoInfo

from xmpp_e2e.negotiate.jingle import NS_IBB, NS_JINGLE, NS_SECURITY, NS_XMLSTREAM

FEATURES = (NS_JINGLE, NS_XMLSTREAM, NS_IBB, NS_SECURITY)
"""The features that we advertise. The last one says it all; the others are for people who read disco."""
_TIMEOUT = 30
"""Timeout of one disco#info request, in seconds: a slow link answers within a few."""


def has_sent_presence(xmpp: BaseXMPP) -> bool:
    """Return whether the program is online by its own will. slixmpp would send its first presence for it."""
    return xmpp.client_roster.last_status is not None


def forget(xmpp: BaseXMPP, peer: JID) -> None:
    """Forget what slixmpp remembers of the peer's capabilities, since a new presence came.

    slixmpp never forgets by itself: a peer who logs in again without encryption, under the same full JID, would seem to have
    it for ever. Our own entry stays, since our next presence is made of it.
    """
    ours = peer.domain == xmpp.boundjid.domain if xmpp.is_component else peer == xmpp.boundjid
    if not ours:
        # not by `assign_verstring(peer, None)`: that keeps an entry for everybody who ever sends presence
        xmpp.plugin["xep_0115"].static.jid_vers.pop(peer.full, None)


async def supports(xmpp: BaseXMPP, own_jid: JID, peer: JID) -> bool | None:
    """Return whether this full JID advertises encryption; None if it cannot be asked: offline, or somebody claims so."""
    if await _is_cached_as_supporting(xmpp, peer):
        return True
    try:
        answer = await xmpp.plugin["xep_0030"].get_info(
            jid=peer, ifrom=own_jid if xmpp.is_component else None, cached=False, timeout=_TIMEOUT
        )
    except IqError as error:
        return False if error.condition == "feature-not-implemented" else None
    except IqTimeout:
        return None
    info = answer["disco_info"]
    return None if _is_ambiguous(info) else NS_SECURITY in info["features"]


async def _is_cached_as_supporting(xmpp: BaseXMPP, peer: JID) -> bool:
    """Return whether somebody has told, for the hash that the peer announces (XEP-0115), that it stands for encryption.

    A cached "no" says nothing. XEP-0115 hashes one string for many infos: with ``<`` inside a name, or with features told as a
    form's type, fields and values. Any stranger can so make the hash of a client stand for fewer features than it has. It
    cannot stand for more: the feature would be in the string.
    """
    caps = xmpp.plugin["xep_0115"]
    version = await caps.get_verstring(peer)
    info = await caps.get_caps(verstring=version)
    if info is None or _is_ambiguous(info):
        return False
    # slixmpp keeps its own features under their hash and goes on changing them. A client of the same make, with the features
    # that we had then, would seem to advertise what we advertise now.
    is_whole = version in [caps.generate_verstring(info, name) for name in caps.hashes]
    return is_whole and NS_SECURITY in info["features"]


def is_known_to_support(xmpp: BaseXMPP, peer: JID) -> bool:
    """Return whether this full JID is known to advertise encryption, without asking it."""
    looking = _is_cached_as_supporting(xmpp, peer)
    try:
        looking.send(None)  # slixmpp's lookups are coroutines that wait for nothing
    except StopIteration as result:
        return bool(result.value)
    finally:
        looking.close()
    return False


def _is_ambiguous(info: DiscoInfo) -> bool:
    """Return whether an info holds the character by which XEP-0115 separates names."""
    texts = (text for each in info.xml.iter() for text in (*each.attrib.values(), each.text or ""))
    return any("<" in text for text in texts)


async def is_room(xmpp: BaseXMPP, own_jid: JID, account: JID) -> bool:
    """Return whether a bare JID has the identity of a room (XEP-0045 §6.4), and of nothing else. False if it cannot be asked.

    An occupant's JID would not do: the occupant answers.
    """
    try:
        answer = await xmpp.plugin["xep_0030"].get_info(
            jid=account, ifrom=own_jid if xmpp.is_component else None, cached=False, timeout=_TIMEOUT
        )
    except (IqError, IqTimeout):
        return False
    return {category for category, *_ in answer["disco_info"]["identities"]} == {"conference"}
