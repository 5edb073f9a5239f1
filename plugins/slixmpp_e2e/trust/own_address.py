"""Which address of ours is meant: for keys and secrets, or as an end of a session. Those of a component are strangers."""

from __future__ import annotations

from slixmpp import JID
from slixmpp.basexmpp import BaseXMPP

from slixmpp_e2e.errors import ConfigError


def own_account(our_jid: str, component: bool, own_jid: str | None) -> str:
    """Return the bare JID of ours that is meant. ``our_jid`` is that of the client, or the component's domain.

    ConfigError if a component's address is not named, or is none of ours.
    """
    if own_jid is None:
        if component:
            example = f"name the one that is meant: own_jid='bot@{our_jid}'"
            raise ConfigError(f"each address of the component {our_jid} has keys and secrets of its own; {example}")
        return our_jid
    account = JID(own_jid)
    if (account.domain if component else account.bare) != our_jid:
        ours = f"addresses of the component {our_jid}" if component else our_jid
        raise ConfigError(f"{own_jid} is not ours: we are {ours}")
    return str(account.bare)


def own_end(xmpp: BaseXMPP, own_jid: str | None) -> str:
    """Return the full JID of ours that is meant as the end of a session; ConfigError if it is none, or none of ours."""
    ours = xmpp.boundjid
    end = ours if own_jid is None else JID(own_jid)
    if (end.domain != ours.domain) if xmpp.is_component else (end != ours):
        raise ConfigError(f"{end} is not ours: we are {ours}")
    if not (end.local and end.resource):
        example = f"own_jid='bot@{ours.domain}/bot'"
        raise ConfigError(f"{end} can be no end of a session: name a full JID of the component, such as {example}")
    return str(end.full)
