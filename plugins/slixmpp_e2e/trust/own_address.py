"""Which address of ours keys and secrets are for: those of a component are strangers to each other."""

from __future__ import annotations

from slixmpp import JID

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
