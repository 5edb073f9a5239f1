"""The filters of the plugin as a function of bytes: whatever stanza comes, they take it or drop it, and raise nothing.

An error that left a filter would end the client's stream.
"""

from __future__ import annotations

import asyncio
from functools import cache
from tempfile import mkdtemp
from typing import Any
from xml.etree.ElementTree import fromstring

from slixmpp import ClientXMPP, Iq, Message, Presence

import slixmpp_e2e
from slixmpp_e2e.policy import Policy
from tests.fuzz.grow import element_of
from tests.xmpp_e2e.negotiate.example import INITIATE
from xmpp_e2e.errors import BytestreamFailed
from xmpp_loopback import no_tls

ALICE, BOB = "alice@localhost/a", "bob@localhost/b"
_TO = f"xmlns='jabber:client' from='{BOB}' to='{ALICE}' id='1'"
_COPY = f"<forwarded xmlns='urn:xmpp:forward:0'><message {_TO} type='chat'><body>x</body></message></forwarded>"
_EVENT = "<event xmlns='http://jabber.org/protocol/pubsub#event'><items node='n'><item id='1'/></items></event>"
_MUC = "<x xmlns='http://jabber.org/protocol/muc#user'><item role='none'/><status code='110'/></x>"
_CAPS = "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='n' ver='v'/>"
_WRITTEN = (
    f"<message {_TO} type='chat'><body>x</body></message>",
    f"<message {_TO} type='groupchat'><subject>x</subject><thread>1</thread></message>",
    f"<message {_TO}><received xmlns='urn:xmpp:carbons:2'>{_COPY}</received></message>",
    f"<message {_TO}><result xmlns='urn:xmpp:mam:2' id='1'>{_COPY}</result></message>",
    f"<message {_TO} type='headline'>{_EVENT}</message>",
    f"<message {_TO}><body/><protection xmlns='urn:x-xmpp-e2e:local:0' token='0'/></message>",
    f"<presence {_TO}><priority>5</priority>{_CAPS}</presence>",
    f"<presence {_TO} type='unavailable'>{_MUC}</presence>",
    f"<presence {_TO} type='subscribe'/>",
    f"<iq {_TO} type='get'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>",
    f"<iq {_TO} type='set'><query xmlns='jabber:iq:roster'><item jid='eve@evil.test'/></query></iq>",
    f"<iq {_TO} type='set'>{INITIATE}</iq>",
    f"<iq {_TO} type='set'>{INITIATE.replace('initiate', 'terminate', 1)}</iq>",
    f"<iq {_TO} type='set'><open xmlns='http://jabber.org/protocol/ibb' sid='1' block-size='4096'/></iq>",
    f"<iq {_TO} type='set'><data xmlns='http://jabber.org/protocol/ibb' sid='1' seq='0'>AAAA</data></iq>",
    f"<iq {_TO} type='result'/>",
    f"<iq {_TO} type='error'><error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>",
)
STANZAS = tuple(fromstring(text) for text in _WRITTEN)
_KINDS = {"message": Message, "iq": Iq, "presence": Presence}


@cache
def _clients() -> tuple[asyncio.AbstractEventLoop, tuple[ClientXMPP, ...]]:
    """A client for each policy, that is not connected, and their loop, which runs between inputs only."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    clients = []
    for policy in Policy:
        client = ClientXMPP(ALICE, "", ssl_context=no_tls())
        client.loop = loop
        client.register_plugin("xep_0045")
        config = {"store_path": f"{mkdtemp()}/store.db", "policy": policy.value, "accept_from": "anyone"}
        client.register_plugin("e2e", config, module=slixmpp_e2e)
        enter: Any = client.make_presence(pto="room@localhost/alice")
        enter.append(fromstring("<x xmlns='http://jabber.org/protocol/muc'/>"))
        _plugin(client)._client._outgoing.filter_outgoing(enter)
        loop.run_until_complete(_plugin(client).wait_ready())
        clients.append(client)
    return loop, tuple(clients)


def _plugin(client: ClientXMPP) -> Any:
    return slixmpp_e2e.of(client)


def stanzas(data: bytes) -> None:
    """``filter_incoming`` returns the stanza, or None, under every policy."""
    element = element_of(data, STANZAS)
    if element is None:
        return
    kind = _KINDS.get(element.tag.rpartition("}")[2])
    if kind is None:
        return
    element.tag = f"{{jabber:client}}{kind.name}"
    loop, clients = _clients()
    for client in clients:
        inside = _plugin(client)._client
        stanza = client._build_stanza(element)
        assert inside._incoming.filter_incoming(stanza) in (stanza, None)
        for driver in inside.registry:
            driver.abort_unreachable(BytestreamFailed("the input has ended"))
        inside._channel.clear()
        while not client.waiting_queue.empty():
            client.waiting_queue.get_nowait()
    loop.run_until_complete(asyncio.sleep(0))
