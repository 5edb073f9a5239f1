"""Stanzas that no honest server sends: the client must stay connected, deliver nothing that it should not, and go on."""

from __future__ import annotations

import pytest

from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events

EMOJI = "bob@localhost/\N{PARTY POPPER}"
"""A resource that many servers accept and slixmpp's stringprep does not: anybody can have it."""
SENDERS = [EMOJI, "@localhost", "bob@localhost/", "a b@localhost/x", "bob@localhost/\N{ZERO WIDTH SPACE}", "x" * 5000]

JINGLE = "urn:xmpp:jingle:1"
IBB = "http://jabber.org/protocol/ibb"
STANZAS = {
    "message": "<message {} type='chat'><body>boo</body></message>",
    "groupchat": "<message {} type='groupchat'><body>boo</body></message>",
    "presence": "<presence {}/>",
    "presence gone": "<presence {} type='unavailable'/>",
    "presence odd": "<presence {} type='banana'><priority>many</priority></presence>",
    "iq get": "<iq {} type='get' id='h1'><query xmlns='jabber:iq:version'/></iq>",
    "iq empty": "<iq {} type='set' id='h1'/>",
    "iq result": "<iq {} type='result' id='h1'/>",
    "iq odd": "<iq {} type='banana' id='h1'/>",
    "iq without type": "<iq {} id='h1'/>",
    "initiate": f"<iq {{}} type='set' id='h1'><jingle xmlns='{JINGLE}' action='session-initiate' sid='s'/></iq>",
    "jingle without anything": f"<iq {{}} type='set' id='h1'><jingle xmlns='{JINGLE}'/></iq>",
    "accept of nothing": f"<iq {{}} type='set' id='h1'><jingle xmlns='{JINGLE}' action='session-accept' sid='s'/></iq>",
    "jingle in message": f"<message {{}}><jingle xmlns='{JINGLE}' action='session-initiate' sid='s'/></message>",
    "ibb open": f"<iq {{}} type='set' id='h1'><open xmlns='{IBB}' sid='s' block-size='4096'/></iq>",
    "ibb data": f"<iq {{}} type='set' id='h1'><data xmlns='{IBB}' sid='s' seq='0'>AAAA</data></iq>",
    "ibb unknown": f"<iq {{}} type='set' id='h1'><banana xmlns='{IBB}'/></iq>",
    "ibb without sid": f"<iq {{}} type='set' id='h1'><data xmlns='{IBB}' seq='0'>AAAA</data></iq>",
    "error without condition": "<iq {} type='error' id='h1'><error/></iq>",
    "marker": "<message {}><protection xmlns='urn:x-xmpp-e2e:local:0' token='&#xE9;'/></message>",
    "markers": "<message {}>" + "<protection xmlns='urn:x-xmpp-e2e:local:0' xml:lang='x'/>" * 50 + "</message>",
    "deep": "<message {}>" + "<a>" * 500 + "</a>" * 500 + "</message>",
    "wide": "<message {}>" + "<a/>" * 20_000 + "</message>",
    "long": "<message {}><body>" + "x" * 200_000 + "</body></message>",
}


async def survives(env: Env, policy: str, *stanzas: str) -> None:
    """Alice's client gets them, stays connected, and still has a session with Bob."""
    alice, bob = await env.pair(policy=policy)
    lost = [Events(alice, event) for event in ("disconnected", "session_end", "stream_error")]
    for stanza in stanzas:
        env.server.inject(ALICE, stanza)
    await env.settle(alice, bob)
    assert not any(map(len, lost))
    heard = Events(bob, "message")
    alice.send_message(mto=BOB, mbody="still here", mtype="chat")
    assert str((await heard.take())["e2e"]["assurance"]) == "vouched"
    assert env.in_clear("still here") == []


@pytest.mark.parametrize("policy", ["prefer", "require"])
@pytest.mark.parametrize("stanza", STANZAS.values(), ids=STANZAS.keys())
async def test_from_whomever_it_claims_to_be(env: Env, stanza: str, policy: str) -> None:
    """From Bob, from a stranger, from nobody, and from addresses that are none: each stanza is survived."""
    senders = [BOB, "carol@localhost/c", "localhost", "bob@localhost", *SENDERS]
    addresses = [f"from='{sender}' to='{ALICE}'" for sender in senders]
    await survives(env, policy, *[stanza.replace("{}", address) for address in (*addresses, "", "from=''")])
