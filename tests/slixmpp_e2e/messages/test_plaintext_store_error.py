"""A stanza has waited for its way, which is in clear, and then the policy that it needs cannot be read: its sender is told."""

from __future__ import annotations

from xml.etree.ElementTree import SubElement

from slixmpp import ClientXMPP

from slixmpp_e2e.store import StoreError
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e
from tests.slixmpp_e2e.store.processes import execute

ADDRESSES = "{http://jabber.org/protocol/address}addresses"
ADDRESS = "{http://jabber.org/protocol/address}address"
BROKEN = "INSERT INTO policy (peer, policy, plaintext_allowed) VALUES ('carol@localhost', 'nonsense', 0)"


def send(alice: ClientXMPP, body: str, *, for_carol: bool) -> None:
    """Write to Bob, who may be asked to pass it on to Carol."""
    message = alice.make_message(mto=BOB, mbody=body, mtype="chat")
    if for_carol:
        addresses = SubElement(message.xml, ADDRESSES)
        SubElement(addresses, ADDRESS, {"type": "to", "jid": "carol@localhost"})
    message.send()


async def test_each_stanza_whose_policy_cannot_be_read_fails_once(env: Env) -> None:
    """Also those behind it; those that need no such policy leave, in order."""
    alice, bob = await env.client(ALICE), await env.client(BOB, load=False)
    await env.settle(alice)
    heard, failed = Events(bob, "message"), Events(alice, "e2e_send_failed")
    execute(e2e(alice)._store.path, BROKEN)
    for number in range(6):
        send(alice, str(number), for_carol=number % 2 == 0)
    assert await heard.bodies(3) == ["1", "3", "5"]
    await env.settle(alice, bob)
    assert len(failed) == 3
    assert len(heard) == 0
    for number in (0, 2, 4):
        event = await failed.take()
        assert event.stanza["body"] == str(number)
        assert isinstance(event.error, StoreError)
    assert not e2e(alice)._client.queue.outstanding


async def test_all_that_wait_are_told(env: Env) -> None:
    """Nothing is lost in silence, and what is sent later, once the store is right again, leaves."""
    alice, bob = await env.client(ALICE), await env.client(BOB, load=False)
    await env.settle(alice)
    heard, failed = Events(bob, "message"), Events(alice, "e2e_send_failed")
    execute(e2e(alice)._store.path, BROKEN)
    for number in range(3):
        send(alice, str(number), for_carol=True)
    assert [(await failed.take()).stanza["body"] for _ in range(3)] == ["0", "1", "2"]
    execute(e2e(alice)._store.path, "DELETE FROM policy")
    send(alice, "later", for_carol=True)
    assert await heard.bodies(1) == ["later"]
    await env.settle(alice, bob)
    assert len(failed) == 0
