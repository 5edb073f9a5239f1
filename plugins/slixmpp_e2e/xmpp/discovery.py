"""Which resources of a peer advertise end-to-end encryption (XEP-0030, XEP-0115)."""

from __future__ import annotations

import asyncio
from functools import partial

from slixmpp import JID
from slixmpp.basexmpp import BaseXMPP
from slixmpp.exceptions import IqError, IqTimeout
from slixmpp.plugins.xep_0030 import DiscoInfo

from xmpp_e2e.negotiate.jingle import NS_IBB, NS_JINGLE, NS_SECURITY, NS_XMLSTREAM

FEATURES = (NS_JINGLE, NS_XMLSTREAM, NS_IBB, NS_SECURITY)
"""What we advertise. The last one says it all; the others are for people who read disco."""
_SHARED = {NS_JINGLE: "xep_0166", NS_IBB: "xep_0261"}
"""Other plugins that advertise some of it."""
_TIMEOUT = 30
"""Seconds for one disco#info request: a slow link answers within a few."""


async def advertise(xmpp: BaseXMPP, *, announce: bool) -> None:
    """Add our features, and say so in the next presence; ``announce``: there has been one already, so send it again."""
    disco = xmpp.plugin["xep_0030"]
    for feature in FEATURES:
        disco.add_feature(feature)
    if xmpp.is_component:
        disco.api.register(partial(_of_any_address, xmpp), "get_info")
    await xmpp.plugin["xep_0115"].update_caps(broadcast=announce)


def _of_any_address(xmpp: BaseXMPP, jid: JID | None, node: str | None, asker: JID | None, data: object) -> object:
    """A component's answer to disco#info: slixmpp adds features to its domain alone, and its people are at other addresses."""
    disco = xmpp.plugin["xep_0030"]
    info = disco.static.get_info(jid, node, asker, data)
    if not node and isinstance(info, DiscoInfo):
        for feature in (DiscoInfo.namespace, *FEATURES):
            info.add_feature(feature)
    return info


async def withdraw(xmpp: BaseXMPP) -> None:
    """Take our features back, but for those that are another plugin's too, and say so in the next presence."""
    disco = xmpp.plugin["xep_0030"]
    shared = {feature for feature, plugin in _SHARED.items() if plugin in xmpp.plugin}
    for feature in FEATURES:
        if feature not in shared:
            disco.del_feature(feature=feature)
    if xmpp.is_component:
        disco.api.register(disco.static.get_info, "get_info")
    await xmpp.plugin["xep_0115"].update_caps()


def forget(xmpp: BaseXMPP, peer: JID) -> None:
    """A presence came: what slixmpp remembers of the peer's earlier ones is void, until it has looked at this one.

    (It never forgets: who logs in again without encryption, under the same full JID, would seem to have it for ever. Our own
    entry is the one that our next presence is made of.)
    """
    ours = peer.domain == xmpp.boundjid.domain if xmpp.is_component else peer == xmpp.boundjid
    if not ours:
        xmpp.plugin["xep_0115"].assign_verstring(peer, None)


async def supports(xmpp: BaseXMPP, ours: JID, peer: JID) -> bool | None:
    """Does this full JID advertise it? None if it cannot be asked: offline, or somebody says so."""
    caps = xmpp.plugin["xep_0115"]
    version = await caps.get_verstring(peer)
    info = await caps.get_caps(verstring=version)
    # slixmpp files its own features under their hash, and goes on changing them: what a client of the same make, with no more
    # features than we had then, would be taken to advertise is what we advertise now.
    if info is None or version not in [caps.generate_verstring(info, name) for name in caps.hashes]:
        try:
            answer = await xmpp.plugin["xep_0030"].get_info(
                jid=peer, ifrom=ours if xmpp.is_component else None, cached=False, timeout=_TIMEOUT
            )
        except IqError as error:
            return False if error.condition == "feature-not-implemented" else None
        except IqTimeout:
            return None
        info = answer["disco_info"]
    return NS_SECURITY in info["features"]


async def supporting(xmpp: BaseXMPP, ours: JID, jids: list[str]) -> dict[str, bool | None]:
    """Ask them all at once."""
    answers = await asyncio.gather(*(supports(xmpp, ours, JID(jid)) for jid in jids))
    # no test fails without `strict`: asyncio.gather gives as many answers as it was asked for
    return dict(zip(jids, answers, strict=True))
