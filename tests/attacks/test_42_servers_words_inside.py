"""Attack 42: what only servers say comes inside a session, from a device that the server has made up for our own account.

slixmpp takes roster pushes, carbons and the like from any address of our own. A session with such a device must be no way
around that, and no way around the policy for those whose words it brings.
"""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import fromstring

import pytest
from slixmpp import ClientXMPP, Iq, Message

from slixmpp_e2e import E2ESession
from slixmpp_e2e.messages import incoming
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e, turns

OWN, ANOTHER = "alice@localhost", "alice@localhost/another"
FORGED = f"<message xmlns='jabber:client' from='{BOB}' to='{ALICE}' type='chat'><body>forged</body></message>"
FORWARDED = f"<forwarded xmlns='urn:xmpp:forward:0'>{FORGED}</forwarded>"
ITEM = "<item jid='eve@evil.test' subscription='both'/>"
PUSHES = {
    "roster": f"<query xmlns='jabber:iq:roster'>{ITEM}</query>",
    "block": "<block xmlns='urn:xmpp:blocking'><item jid='bob@localhost'/></block>",
    "unblock": "<unblock xmlns='urn:xmpp:blocking'/>",
}
MESSAGES = {
    "received": f"<received xmlns='urn:xmpp:carbons:2'>{FORWARDED}</received>",
    "sent": f"<sent xmlns='urn:xmpp:carbons:2'>{FORWARDED}</sent>",
    "archive": f"<result xmlns='urn:xmpp:mam:2' id='1'>{FORWARDED}</result>",
    "event": "<event xmlns='http://jabber.org/protocol/pubsub#event'><items node='urn:xmpp:omemo:2:devices'/></event>",
}
HEARD = ("message", "carbon_received", "carbon_sent", "pubsub_publish", "roster_update", "blocked", "unblocked")


async def own_device(env: Env, **config: Any) -> tuple[ClientXMPP, E2ESession, list[Events]]:
    """Return Alice, the session that another device of her account has with her, and what her handlers hear from now on."""
    alice = await env.client(ALICE, "xep_0060", "xep_0191", "xep_0280", "xep_0313", **config)
    another = await env.client(ANOTHER)
    await env.settle(alice, another)
    theirs, _ = await env.session(another, alice)
    return alice, theirs, [Events(alice, event) for event in HEARD]


def message(payload: str, sender: str = ANOTHER) -> Message:
    return Message(xml=fromstring(f"<message xmlns='jabber:client' from='{sender}' type='chat'>{payload}</message>"))


def push(payload: str) -> Iq:
    return Iq(xml=fromstring(f"<iq xmlns='jabber:client' type='set' id='push'>{payload}</iq>"))


async def after(env: Env, theirs: E2ESession, alice: ClientXMPP) -> None:
    """Wait until what was sent before has been handled."""
    seen = Events(alice, "message")
    theirs.send(message("<body>and now?</body>"))
    assert await seen.bodies(1) == ["and now?"]
    await turns()


@pytest.mark.parametrize("payload", MESSAGES.values(), ids=MESSAGES.keys())
async def test_nothing_that_only_servers_say_is_taken_from_a_device(env: Env, payload: str) -> None:
    alice, theirs, heard = await own_device(env)
    theirs.send(message(payload))
    await after(env, theirs, alice)
    assert [len(each) for each in heard] == [1, *[0] * 6]


@pytest.mark.parametrize("payload", PUSHES.values(), ids=PUSHES.keys())
async def test_a_push_is_refused(env: Env, payload: str) -> None:
    """It is answered, as any request must be, and changes nothing."""
    alice, theirs, heard = await own_device(env)
    theirs.send(push(payload))
    await after(env, theirs, alice)
    assert [len(each) for each in heard] == [1, *[0] * 6]
    assert "eve@evil.test" not in alice.client_roster


async def test_the_words_of_others_come_by_the_policy_for_them(env: Env) -> None:
    """What a peer forwards is nobody's word for it; it is never marked."""
    alice, bob = await env.pair()
    ours, theirs = await env.session(alice, bob)
    heard, refused = Events(alice, "message"), Events(alice, "e2e_plaintext_refused")
    forged = FORWARDED.replace(BOB, "carol@localhost/c")
    bob.send_message(mto=ALICE, mbody="before")
    assert await heard.bodies(1) == ["before"]
    theirs.send(message(f"<body>look</body>{forged}", BOB))
    came = await heard.take()
    assert came["e2e"]["session"] is ours
    copy = Message(xml=came.xml.find(".//{urn:xmpp:forward:0}forwarded")[0])
    assert (copy["e2e"]["session"], str(copy["e2e"]["assurance"])) == (None, "none")
    e2e(alice).set_policy("carol@localhost", "require")
    for payload in (forged, forged.replace("carol@localhost", "@localhost")):
        theirs.send(message(f"<body>look</body>{payload}", BOB))
    theirs.send(message("<body>after</body>", BOB))
    assert await heard.bodies(1) == ["after"]
    assert len(refused) == 0


async def test_control_where_it_is_not_looked_at(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: without the rule, the device that the server has made up tells what Alice blocks, and who wrote to her."""
    monkeypatch.setattr(incoming, "only_servers_say", lambda stanza: False)
    alice, theirs, _ = await own_device(env)
    carbons, blocked = Events(alice, "carbon_received"), Events(alice, "blocked")
    theirs.send(push(PUSHES["block"]))
    theirs.send(message(MESSAGES["received"]))
    for came in (blocked, carbons):
        await came.take()
