"""An XMPP server on 127.0.0.1 that runs inside a test. It has no TLS and keeps everything in memory: not for production.

It answers one question: what do clients do on a server that behaves well, and on one that attacks them? Start it in a test::

    async def test_a_message_arrives() -> None:
        async with LoopbackServer(accounts={"alice": "secret", "bob": "secret"}) as server:
            alice, bob = (ClientXMPP(f"{name}@localhost/x", "secret", ssl_context=no_tls()) for name in ("alice", "bob"))
            arrived = asyncio.get_running_loop().create_future()
            bob.add_event_handler("message", arrived.set_result)
            for client in (alice, bob):
                await online(client, server)
            alice.send_message(mto="bob@localhost/x", mbody="hello")
            assert (await arrived)["body"] == "hello"
            for client in (alice, bob):
                await offline(client)

Or load the fixture ``loopback_server`` with ``pytest_plugins = ["xmpp_loopback.pytest_plugin"]``.

It may import slixmpp and, for `mitm`, the core xmpp_e2e; never the plugin slixmpp_e2e. Bytes of clients enter, stanzas leave:
`wire` parses bytes, `sasl` and `connection` log a client in, `server` logs each stanza and passes it through the hooks,
`routing` delivers it (RFC 6121 §8.5) with `presence` and `services`, and `session` and `acks` (XEP-0198) write it to the
recipient. `hostile` has ready-made hooks that attack, `mitm` a man in the middle, `paths` split or delay bytes, `federation`
joins two servers, `shaper` limits what is read of a client, `component` accepts components (XEP-0114), and `client` connects
slixmpp clients.
"""

from __future__ import annotations

from . import hostile, paths
from .client import LoginFailed, component_online, connect, no_tls, offline, online, reconnect
from .directory import Subscription
from .federation import Federation
from .hooks import Hook
from .mitm import Mitm
from .server import LoopbackServer
from .shaper import RateLimit
from .stanza_log import Direction, HandledStanza
from .wire import parse, to_text

__all__ = [
    "Direction",
    "Federation",
    "HandledStanza",
    "Hook",
    "LoginFailed",
    "LoopbackServer",
    "Mitm",
    "RateLimit",
    "Subscription",
    "component_online",
    "connect",
    "hostile",
    "no_tls",
    "offline",
    "online",
    "parse",
    "paths",
    "reconnect",
    "to_text",
]
