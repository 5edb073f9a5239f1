"""Attack 7 end to end: Mallory's client passes every iq of a session on between Alice, who means Mallory, and Bob.

So Mallory announces Alice's fingerprint to Bob, and Bob's to Alice: TLS runs between the two, and Mallory reads nothing.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from slixmpp import ClientXMPP, Iq
from slixmpp.xmlstream.stanzabase import StanzaBase

from slixmpp_e2e.xmpp.discovery import FEATURES
from tests.attacks.test_07_misbinding import believe_the_header
from tests.pair import has_code
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e
from xmpp_e2e.errors import Code, StreamError
from xmpp_e2e.inner.elements import Hello
from xmpp_e2e.negotiate.jingle import NS_JINGLE
from xmpp_e2e.transport.ibb import NS_IBB

MALLORY = "carol@localhost/lair"
SECRET = "the treasure is under the oak"


class OfferRelay:
    """What Mallory's client does with the iqs of sessions: nothing but pass them on, answers too."""

    def __init__(self, client: ClientXMPP) -> None:
        self._client = client
        self._asked: dict[str, Iq] = {}
        client.add_filter("in", self._pass_on)

    def _pass_on(self, stanza: StanzaBase) -> StanzaBase | None:
        if not isinstance(stanza, Iq):
            return stanza
        if (asked := self._asked.pop(stanza["id"], None)) is not None:
            self._say(stanza, asked["from"].full, asked["id"])
        elif len(stanza.xml) and stanza.xml[0].tag.startswith((f"{{{NS_JINGLE}}}", f"{{{NS_IBB}}}")):
            number = f"passed-{stanza['from'].user}-{stanza['id']}"
            self._asked[number] = stanza
            self._say(stanza, ALICE if stanza["from"].full == BOB else BOB, number)
        else:
            return stanza
        return None

    def _say(self, stanza: Iq, to: str, number: str) -> None:
        iq = Iq(self._client)
        iq["type"], iq["to"], iq["id"] = stanza["type"], to, number
        iq.xml.extend(deepcopy(child) for child in stanza.xml)
        self._client.send(iq)


async def misbound(env: Env) -> tuple[ClientXMPP, ClientXMPP]:
    """Alice and Bob, and Mallory between them, whose client says that it has encryption."""
    alice, bob = await env.pair()
    mallory = await env.client(MALLORY, "xep_0030", load=False)
    disco: Any = mallory.plugin["xep_0030"]
    for feature in FEATURES:
        disco.add_feature(feature)
    OfferRelay(mallory)
    await env.settle(alice, bob, mallory)
    return alice, bob


async def test_bob_never_shows_alice_as_mallory(env: Env) -> None:
    """The stream inside is addressed to somebody else: Bob ends it, nothing is delivered, and Alice is told that it failed."""
    alice, bob = await misbound(env)
    failed, heard, broken = Events(alice, "e2e_send_failed"), Events(bob, "message"), Events(bob, "e2e_session_failed")
    alice.send_message(mto=MALLORY, mbody=SECRET, mtype="chat")
    happened = await broken.take()
    assert happened.peer == MALLORY
    assert happened.session.fingerprint == e2e(alice).fingerprint  # TLS alone has nothing against it
    assert isinstance(happened.error, StreamError)
    assert happened.error.condition == "invalid-from"
    assert (await failed.take()).stanza["body"] == SECRET
    await env.settle(alice, bob)
    assert len(heard) == 0
    assert not e2e(alice).sessions()
    assert not e2e(bob).sessions()
    assert e2e(bob)._store.known_keys("carol@localhost").keys == ()
    assert env.in_clear(SECRET) == []


async def test_addresses_are_in_the_digest_too(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the header believed, the digest of the negotiation still differs: it covers who wrote to whom."""
    believe_the_header(monkeypatch)
    alice, bob = await misbound(env)
    failed, heard, broken = Events(alice, "e2e_send_failed"), Events(bob, "message"), Events(bob, "e2e_session_failed")
    alice.send_message(mto=MALLORY, mbody=SECRET, mtype="chat")
    assert has_code(Code.NEGOTIATION_ALTERED)((await broken.take()).error)
    assert (await failed.take()).stanza["body"] == SECRET
    assert len(heard) == 0


async def test_control_without_either_the_attack_succeeds(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: with neither check Bob shows Alice's words as Mallory's, encrypted; only Mallory could not read them."""
    believe_the_header(monkeypatch)
    monkeypatch.setattr(Hello, "verify_matches", lambda self, ours: None)
    alice, bob = await misbound(env)
    heard = Events(bob, "message")
    alice.send_message(mto=MALLORY, mbody=SECRET, mtype="chat")
    message = await heard.take()
    assert (message["from"].full, message["body"]) == (MALLORY, SECRET)
    assert message["e2e"]["fingerprint"] == e2e(alice).fingerprint
    assert env.in_clear(SECRET) == []
