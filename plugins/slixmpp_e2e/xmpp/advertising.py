"""Advertises end-to-end encryption (XEP-0030, XEP-0115), without taking the place of what the program itself answers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from xml.etree.ElementTree import Element, SubElement

from slixmpp import JID, Iq
from slixmpp.basexmpp import BaseXMPP
from slixmpp.xmlstream.stanzabase import StanzaBase

from slixmpp_e2e.xmpp.discovery import FEATURES, has_sent_presence
from xmpp_e2e.negotiate.jingle import NS_IBB, NS_JINGLE

_SHARED = {NS_JINGLE: "xep_0166", NS_IBB: "xep_0261"}
"""Other plugins that advertise some of them too."""
_DISCO = "{http://jabber.org/protocol/disco#info}"


class Advertiser:
    """Adds our features to each answer to disco#info when it leaves, whoever made it: slixmpp, or a handler of the program."""

    def __init__(self, xmpp: BaseXMPP, tells: Callable[[JID | None, JID | None], bool]) -> None:
        """``tells``: whether an asker is told that this address of ours accepts sessions; for None, whether everybody is."""
        self._xmpp, self._tells, self._is_on = xmpp, tells, False

    async def advertise(self, *, announce: bool) -> None:
        """Advertise our features to those from whom sessions are accepted; ``announce``: send presence again, if one has gone
        out.

        Presence tells all the same (XEP-0115). So if nobody may open sessions but a few whom we know, it says nothing of them,
        and these few learn of them when they ask. The same goes for a component: it has many addresses, and slixmpp keeps the
        features of its domain, which is no end of a session.
        """
        if not self._is_on:
            self._xmpp.add_filter("out", self.complete)
            self._is_on = True
        if not self._xmpp.is_component:
            disco = self._xmpp.plugin["xep_0030"]
            tells_everybody = self._tells(None, None)
            for feature in FEATURES if tells_everybody else self._not_shared():
                disco.add_feature(feature) if tells_everybody else disco.del_feature(feature=feature)
            await self._xmpp.plugin["xep_0115"].update_caps(broadcast=announce and has_sent_presence(self._xmpp))

    async def withdraw(self) -> None:
        """Remove our features, except those that another plugin advertises too, and announce it in the next presence."""
        if self._is_on:
            self._xmpp.del_filter("out", self.complete)
            self._is_on = False
        if not self._xmpp.is_component:
            for feature in self._not_shared():
                self._xmpp.plugin["xep_0030"].del_feature(feature=feature)
            await self._xmpp.plugin["xep_0115"].update_caps(broadcast=has_sent_presence(self._xmpp))

    def complete(self, stanza: StanzaBase) -> StanzaBase:
        """The ``out`` filter: what an address of ours answers about itself names our features, too.

        An answer about a node is left as it is: it may be what stands behind a hash (XEP-0115 §6.2).
        """
        if isinstance(stanza, Iq) and stanza.xml.get("type") == "result":
            info = stanza.xml.find(f"{_DISCO}query")
            own = stanza["from"] if stanza.xml.get("from") else self._xmpp.boundjid
            if info is not None and not info.get("node") and self._tells(stanza["to"], own):
                stanza.xml.remove(info)  # it may be what the program keeps, and tells others
                stanza.xml.append(_completed(info))
        return stanza

    def _not_shared(self) -> list[str]:
        """Return our features but for those that another plugin advertises too."""
        return [feature for feature in FEATURES if _SHARED.get(feature) not in self._xmpp.plugin]


def _completed(info: Element) -> Element:
    completed = copy.deepcopy(info)
    told = {feature.get("var") for feature in info.iter(f"{_DISCO}feature")}
    for feature in FEATURES:
        if feature not in told:
            SubElement(completed, f"{_DISCO}feature", var=feature)
    return completed
