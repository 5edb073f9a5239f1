"""An embedded XMPP server on 127.0.0.1, for demonstration and tests, not for production.

``async with LoopbackServer(accounts={"alice": "secret"}) as server: await online(client, server)``. The folder in
the order in which a stanza passes: wire (bytes to elements), sasl and connection (who is it), server (hooks, record),
routing (RFC 6121 §8.5) with presence and services, session and acks (XEP-0198) back to the wire. `hostile` has hooks
that attack, `relay` is a man in the middle, `paths` are what bytes go through on their way to a client, `federation`
joins two servers, `component` is how a component gets in (XEP-0114); `client` puts slixmpp clients on it.
"""

from __future__ import annotations

from . import hostile, paths
from .client import LoginFailed, back_online, component_online, connect, no_tls, offline, online
from .directory import Subscription
from .federation import Federation
from .hooks import Hook
from .record import Handled, Way
from .relay import Relay
from .server import LoopbackServer
from .wire import parse, to_text

__all__ = [
    "Federation",
    "Handled",
    "Hook",
    "LoginFailed",
    "LoopbackServer",
    "Relay",
    "Subscription",
    "Way",
    "back_online",
    "component_online",
    "connect",
    "hostile",
    "no_tls",
    "offline",
    "online",
    "parse",
    "paths",
    "to_text",
]
