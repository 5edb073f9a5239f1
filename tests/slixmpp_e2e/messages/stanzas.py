"""Stanzas, clients that are not connected, and the settings of peers, for what is tested by itself."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import fromstring

from slixmpp import ClientXMPP, ComponentXMPP, Iq, Message, Presence
from slixmpp.basexmpp import BaseXMPP

from slixmpp_e2e.policy import Policy
from slixmpp_e2e.trust.peer_settings import PeerSettings
from tests.slixmpp_e2e.env import ALICE, BOTS
from xmpp_e2e.key_decision import OnKeyChange
from xmpp_e2e.types import TrustModel
from xmpp_loopback import no_tls

KINDS: dict[str, Any] = {"message": Message, "iq": Iq, "presence": Presence}
BODY = "<body>x</body>"
NS_MUC, NS_DISCO = "http://jabber.org/protocol/muc", "http://jabber.org/protocol/disco#info"
MUC, DISCO, VERSION = f"<x xmlns='{NS_MUC}'/>", f"<query xmlns='{NS_DISCO}'/>", "<query xmlns='jabber:iq:version'/>"

EVENT = "<event xmlns='http://jabber.org/protocol/pubsub#event'><items node='n'><item id='1'/></items></event>"
DELAY = "<delay xmlns='urn:xmpp:delay' stamp='2020-01-01T00:00:00Z'/>"


def stanza(name: str, kind: str = "", *children: str, **attributes: str) -> Any:
    """A stanza of this name and type; ``sender`` stands for ``from``."""
    attributes = {"type": kind, "from": attributes.pop("sender", ""), **attributes}
    written = "".join(f" {key}='{value}'" for key, value in attributes.items() if value)
    return KINDS[name](xml=fromstring(f"<{name} xmlns='jabber:client'{written}>{''.join(children)}</{name}>"))


def offline_client(*, component: bool = False) -> BaseXMPP:
    return ComponentXMPP(BOTS, "") if component else ClientXMPP(ALICE, "", ssl_context=no_tls())


def settings(policy: Policy = Policy.PREFER, *, has_used_e2e: bool = False) -> PeerSettings:
    return PeerSettings(policy, TrustModel.SERVER_AUTHENTICATES, OnKeyChange.BY_TRUST_MODEL, has_used_e2e=has_used_e2e)


def copied(sender: str, to: str = ALICE, inner: str = BODY) -> str:
    """A message as servers wrap it (XEP-0297)."""
    message = f"<message xmlns='jabber:client' from='{sender}' to='{to}' type='chat'>{inner}</message>"
    return f"<forwarded xmlns='urn:xmpp:forward:0'>{message}</forwarded>"


def carbon(kind: str, *inner: str) -> str:
    namespace = "urn:xmpp:mam:2" if kind == "result" else "urn:xmpp:carbons:2"
    return f"<{kind} xmlns='{namespace}'>{''.join(inner)}</{kind}>"
